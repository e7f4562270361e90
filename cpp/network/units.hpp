// The units of a layer in memory: for each sample a row, which is z until it is activated, and then
// a = phi(z).
#pragma once

#include <cstdint>

#include "base/buffer.hpp"
#include "kernels/kernels.hpp"

namespace omp_mlp {

// Rows are padded to whole cache lines with zeros. activate keeps them zero, also where phi(0) is not 0.
class Units {
public:
    Units() = default;
    // Room for `samples` rows of `units` numbers, all zero. `dropout`: the rate of leave_out.
    Units(Activation activation, Index samples, Index units, double dropout = 0.0);

    float* row(Index sample) { return rows_.data() + sample * stride_; }
    const float* row(Index sample) const { return rows_.data() + sample * stride_; }
    Index stride() const { return stride_; }

    // In the rows [first, first + count), z becomes a. Threads may do this to different rows at the same
    // time.
    void activate(const Kernels& kernels, Index first, Index count);
    // Leaves units out of an activated row, by the draws [first_unit, first_unit + units) of the stream of `key`
    // (dropout.hpp). Without a rate, nothing happens.
    void leave_out(Index sample, std::uint64_t key, Index first_unit);
    // delta *= phi'(z), of those rows, and the factors of dropout; delta: count x stride.
    void multiply_derivative(const Kernels& kernels, Index first, Index count, float* delta) const;

    // Overwrites a row, and all that is kept of it, with another row.
    void copy_row(Index from, Index to);

private:
    Activation activation_ = Activation::identity;
    bool clears_padding_ = false;
    Index units_ = 0;
    Index stride_ = 0;
    Buffer rows_;
    bool needs_z_ = false;
    double dropout_ = 0.0;
    // What the derivative reads of all rows, where that is not the rows themselves: z, or with dropout phi(z) of all
    // units. Else empty.
    Buffer kept_;
    Buffer factors_;  // of dropout: 0 or 1 / (1 - rate); empty without
};

}  // namespace omp_mlp
