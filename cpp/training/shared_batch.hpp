// Samples that several threads read together and then all use, and the first layer on these samples: a
// batch, or several small ones (network.hpp).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "network/network.hpp"

namespace omp_mlp {

// The first layer, or some of its columns: rows of `width` floats.
struct FirstWeights {
    float* weights;
    float* biases;
    float* shift;  // s of centering.hpp, or null
    // Scratch memory, a row, where rows are not centered and yet the parameters are (Wc, bc); else null.
    float* raw_biases;
    Index width;
};

class SharedBatch {
public:
    // Scratch memory of one thread for updates.
    class Scratch {
    private:
        friend class SharedBatch;
        std::vector<std::uint32_t> present_;
        std::vector<std::int32_t> inputs_;
        Buffer values_;
        std::vector<ListedRow> rows_;
        std::vector<std::uint64_t> marks_;
        std::vector<const float*> float_rows_;
        std::vector<const std::uint8_t*> byte_rows_;
        std::vector<float> factors_;
    };

    // `centering`: null, or what is taken off the inputs.
    SharedBatch(const Samples& X, Index samples, Reading reading, const Centering* centering);

    // The cuts between threads have to be multiples of so many rows.
    Index row_unit() const { return reading_ == Reading::marks ? bits : 1; }

    // Reads samples ids[begin .. end). Threads may read different parts at the same time.
    void read(const Kernels& kernels, Index begin, Index end);

    // z of samples [begin, end), (end - begin) x width.
    void forward(const Kernels& kernels, Index begin, Index end, const FirstWeights& layer,
                 float* z) const;

    // Adds a step to the rows [first, last) of W, to the biases, and to the shift if there is one:
    // W[k] += sum over the samples s < samples of x[s][k] step[s]; step: samples x width.
    void update(const Kernels& kernels, Index samples, const float* step, const FirstWeights& layer,
                Index first, Index last, Scratch& scratch) const;

    // What the columns [first, last) add to x[s] . x[t], for all t in an earlier batch than s < samples,
    // in the layout of Kernels::gram_float32. Marks and dense only.
    void multiply(const Kernels& kernels, Index samples, Index batch, Index first, Index last,
                  float* products) const;
    // How much a step of sample t moves z of sample s, besides the product of the two
    // (add_earlier_steps).
    float step_factor(Index s, Index t) const;

    // Lists only.
    std::span<const ListedRow> rows() const { return rows_; }
    // Dense only.
    const float* row(Index sample) const { return values_.data() + sample * row_stride_; }

    std::vector<Index> ids;

private:
    static constexpr Index bits = 64;  // of a word of marks

    MarkedRows marked(Index first, Index count) const;
    void update_lists(const Kernels& kernels, Index samples, const float* step,
                      const FirstWeights& layer, Index first, Index last, Scratch& scratch) const;
    void update_marks(const Kernels& kernels, Index samples, const float* step,
                      const FirstWeights& layer, Index first, Index last, Scratch& scratch) const;

    const Samples* X_;
    Reading reading_;
    const Centering* centering_;
    Index features_;
    Index row_stride_;  // of the lists and of the dense rows, in entries
    std::vector<ListedRow> rows_;
    std::vector<std::int32_t> indices_;
    Buffer values_;  // of the lists, or of the dense rows
    Index words_ = 0;
    Index words_a_visit_ = 1;
    std::vector<std::uint64_t> marks_;
    std::vector<const float*> float_rows_;
    std::vector<const std::uint8_t*> byte_rows_;
    std::vector<float> projections_;  // mu . x of each sample
};

}  // namespace omp_mlp
