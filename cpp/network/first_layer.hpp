// The first layer, or some of its units: forward pass and gradient on loaded samples, however they are read.
//
// With centering there are three ways (centering.hpp): dense rows are centered when they are loaded, and the
// parameters are (Wc, bc). Else they are (W, v) with a shift s, or, with raw_biases, (Wc, bc) from which the mean is
// taken off once a batch (centered_layer.hpp).
#pragma once

#include <cstdint>
#include <vector>

#include "data/centering.hpp"
#include "kernels/kernels.hpp"
#include "network/loaded_samples.hpp"
#include "network/parameters.hpp"
#include "network/row_blocks.hpp"

namespace omp_mlp {

// The weights, or what stands for them: rows of fan_out numbers, one for each input.
template <typename Float>
struct FirstWeights {
    Float* weights;
    Float* biases;
    Float* shift;  // s of centering.hpp, or null
    // Scratch memory, a row, where rows are not centered and yet the parameters are (Wc, bc); else null.
    float* raw_biases;
    Index fan_out;

    Index width() const { return row_stride(fan_out); }
};

// Scratch memory of one thread for gradients.
struct FirstScratch {
    std::vector<std::uint32_t> present;
    std::vector<std::int32_t> inputs;
    Buffer values;
    std::vector<ListedRow> lists;
    std::vector<std::int32_t> indices;  // of the lists
    std::vector<float> factors;
};

// Rows of W that cuts between threads must be multiples of.
Index row_unit(Reading reading);

// z of the samples in places [begin, end), (end - begin) x width.
void first_forward(const Kernels& kernels, const LoadedSamples& samples, Index begin, Index end,
                   const FirstWeights<const float>& layer, float* z, const Scratch& products);

// Adds the gradient of the first `count` samples to the rows [first, last) of W, to the biases, and to the shift if
// there is one: W[k] += sum over s < count of x[s][k] delta[s]; delta: count x width.
void add_first_gradient(const Kernels& kernels, const LoadedSamples& samples, Index count,
                        const float* delta, const FirstWeights<float>& layer, Index first, Index last,
                        FirstScratch& scratch, const Scratch& products);

// The same gradient of all rows and of the biases, block by block. raw_biases: as FirstWeights has them.
void hand_out_first_gradient(const Kernels& kernels, const LoadedSamples& samples, Index count,
                             const float* delta, const LayerShape& shape, float* raw_biases,
                             FirstScratch& scratch, const Scratch& products, const RowBlocks& blocks);

// What the columns [first, last) add to x[s] . x[t], for all t in an earlier batch than s < count, in the layout of
// Kernels::gram_float32. Not for lists.
void multiply_samples(const Kernels& kernels, const LoadedSamples& samples, Index count, Index batch,
                      Index first, Index last, float* products);
// What centering adds to the product of two samples: (x[s] - mu) . (x[t] - mu) - x[s] . x[t].
inline float centered_part(const LoadedSamples& samples, Index s, Index t) {
    const float* projections = samples.projections();
    return projections == nullptr ? 0.0F
                                  : samples.centering()->squared_norm - projections[s] - projections[t];
}

// The first layer for inputs minus their means, with sign 1 from the one for raw inputs, with sign -1 back:
// biases += sign mean W.
void move_means(const Centering& centering, float sign, const LayerView<float>& layer);
// W[k] += mean[k] shift.
void fold_shift(const Kernels& kernels, const Centering& centering, const float* shift,
                const LayerView<float>& layer);

}  // namespace omp_mlp
