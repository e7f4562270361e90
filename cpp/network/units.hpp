// The units of a layer in memory: for each sample a row, which is z until it is activated, and then
// a = phi(z).
#pragma once

#include "base/buffer.hpp"
#include "kernels/kernels.hpp"

namespace omp_mlp {

// Rows are padded to whole cache lines with zeros. activate keeps them zero, also where phi(0) is not 0.
class Units {
public:
    Units() = default;
    // Room for `samples` rows of `units` numbers, all zero.
    Units(Activation activation, Index samples, Index units);

    float* row(Index sample) { return rows_.data() + sample * stride_; }
    const float* row(Index sample) const { return rows_.data() + sample * stride_; }
    Index stride() const { return stride_; }

    // In the rows [first, first + count), z becomes a. Threads may do this to different rows at the same
    // time.
    void activate(const Kernels& kernels, Index first, Index count);
    // delta *= phi'(z), of those rows; delta: count x stride.
    void multiply_derivative(const Kernels& kernels, Index first, Index count, float* delta) const;

    // Overwrites a row, and its z if that is kept, with another row.
    void copy_row(Index from, Index to);

private:
    Activation activation_ = Activation::identity;
    bool clears_padding_ = false;
    Index units_ = 0;
    Index stride_ = 0;
    Buffer rows_;
    Buffer z_;  // of all rows, if the derivative needs it; else empty
};

}  // namespace omp_mlp
