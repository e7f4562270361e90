// A batch that several threads read together and then all use, and the first layer as it sees it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "omp_mlp/network.hpp"

namespace omp_mlp {

// Scratch memory of one thread for updates of the first layer from lists.
class UpdateScratch {
public:
    UpdateScratch(Index features, Index samples, Reading reading);
    BatchTranspose transpose() { return {present_.data(), values_.data(), inputs_.data()}; }

    std::vector<SparseRow> rows;  // the part of the batch's lists that is updated

private:
    std::vector<std::uint32_t> present_;
    std::vector<std::int32_t> inputs_;
    Buffer values_;
};

// A layer as several threads see it: fan_in rows of `width` floats, and a row of biases.
struct FirstWeights {
    float* weights;
    float* biases;
    Index width;
};

class SharedBatch {
public:
    // `reading`: lists or matrix.
    SharedBatch(const Samples& X, Index samples, Reading reading);

    // Reads samples ids[begin .. end). Threads may read different parts at the same time.
    void read(const Kernels& kernels, Index begin, Index end);

    // z of samples [begin, end), (end - begin) x width.
    void forward(const Kernels& kernels, Index begin, Index end, const FirstWeights& layer,
                 float* z) const;

    // A step of the rows [first, last) of W and of the biases over the samples [0, samples); delta:
    // samples x width.
    void update(const Kernels& kernels, Index samples, const float* delta, float scale,
                const FirstWeights& layer, Index first, Index last, UpdateScratch& scratch) const;

    std::span<const SparseRow> rows() const { return rows_; }

    std::vector<Index> ids;

private:
    const Samples* X_;
    Reading reading_;
    Index features_;
    Index row_stride_;  // of the lists and of the matrix, in entries
    std::vector<SparseRow> rows_;
    std::vector<std::int32_t> indices_;
    Buffer values_;  // of the lists, or the matrix
};

}  // namespace omp_mlp
