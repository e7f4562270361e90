// The first layer on centered inputs x - mu. Its parameters are (Wc, bc) of centering.hpp, and the
// kernels read x. For S samples with deltas d_s,
//     z_s = Wc^T (x_s - mu) + bc = Wc^T x_s + (bc - Wc^T mu),
//     gradient of Wc = sum over s of (x_s - mu) d_s^T = (sum over s of x_s d_s^T) - mu (sum over s of d_s)^T,
//     gradient of bc = sum over s of d_s.
// So a batch takes the mean off once forward and once back, and its samples stay sparse.
#pragma once

#include <span>

#include "kernels/kernels.hpp"

namespace omp_mlp {

// raw = bias - W^T mean; W: a row of `width` floats for each entry of the mean.
void take_mean_off_biases(const Kernels& kernels, std::span<const float> mean, const float* W,
                          const float* bias, Index width, float* raw);

// minus_sum = -(sum over s of delta[s]), a row of `width` floats.
void subtract_sum(const float* delta, Index samples, Index width, float* minus_sum);

// gradient += mean minus_sum^T, for the rows of W that have an entry in `mean`.
void take_mean_off_gradient(const Kernels& kernels, std::span<const float> mean, const float* minus_sum,
                            Index width, float* gradient);

}  // namespace omp_mlp
