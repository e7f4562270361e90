// Samples in memory as the first layer reads them: lists of their nonzeros, dense rows with a mark for each nonzero,
// or dense rows alone. Reused for one batch after another.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/centering.hpp"
#include "data/reading.hpp"
#include "data/samples.hpp"
#include "kernels/kernels.hpp"

namespace omp_mlp {

class LoadedSamples {
public:
    // Room for `samples` samples of X, which must outlive this. `centering`: null, or what is taken off the inputs:
    // here if they are dense rows alone, else by the first layer (first_layer.hpp).
    LoadedSamples(const Samples& X, Index samples, Reading reading, const Centering* centering);

    // Loads the samples `ids` of X to the places from `begin` on, and has the memory start on `next`, which will be
    // loaded there after them. Several threads may load to different places at the same time.
    void load(const Kernels& kernels, Index begin, std::span<const Index> ids,
              std::span<const Index> next = {});

    // Whether the forward pass of these samples has the memory start on those of `next`.
    bool takes_next() const {
        return looks_ahead_ && reading_ == Reading::marks && X_.kind != Samples::Kind::csr;
    }

    // Overwrites the sample in one place with that in another.
    void move(Index from, Index to);

    Reading reading() const { return reading_; }
    Index features() const { return X_.columns; }
    const Centering* centering() const { return centering_; }
    // mu . x of each sample (centering.hpp). Null without centering, or where rows are centered.
    const float* projections() const { return projections_.empty() ? nullptr : projections_.data(); }

    // Lists.
    const ListedRow* lists() const { return lists_.data(); }

    // Marks: the samples [first, first + count), up to MarkedRows::most of them.
    MarkedRows marked(Index first, Index count) const;
    // Words of W's rows that one visit takes, for the samples [first, first + count).
    Index words_a_visit(Index first, Index count) const;
    // Those of the first `count` samples, words_a_sample() for each.
    std::span<const std::uint64_t> marks(Index count) const {
        return std::span{marks_}.first(static_cast<std::size_t>(count * words_));
    }
    Index words_a_sample() const { return words_; }

    // Marks and dense rows: the rows as floats, or as bytes worth byte_scale() each; one is null.
    const float* const* float_rows() const { return float_rows_.empty() ? nullptr : float_rows_.data(); }
    const std::uint8_t* const* byte_rows() const {
        return byte_rows_.empty() ? nullptr : byte_rows_.data();
    }
    float byte_scale() const { return X_.scale; }

    // Dense rows: those from `sample` on, from this column on.
    DenseRows rows(Index sample, Index column) const {
        if (reads_in_place()) {
            return {.each = float_rows_.data() + sample, .column = column};
        }
        return {.first = values_.data() + sample * row_stride_ + column, .stride = row_stride_};
    }

private:
    // Whether dense rows are X's own. Products read copies of short rows faster than they find these in memory; long
    // ones drive each other out of the caches before they are read again.
    bool reads_in_place() const {
        constexpr Index long_row = 4096;
        return reading_ == Reading::dense && X_.kind == Samples::Kind::dense_float32 &&
               X_.columns >= long_row && centering_ == nullptr;
    }
    void load_list(const Kernels& kernels, Index place, Index id);
    void load_marks(const Kernels& kernels, Index place, Index id);
    void load_row(const Kernels& kernels, Index place, Index id);

    Samples X_;
    Reading reading_;
    const Centering* centering_;
    bool looks_ahead_;  // whether a batch is small enough to wait in the second cache
    Index row_stride_;  // from one row or list of values_ to the next
    std::vector<ListedRow> lists_;
    std::vector<std::int32_t> indices_;  // of the lists
    Buffer values_;                      // of the lists, or of rows that are not X's own
    Index words_ = 0;
    std::vector<std::uint64_t> marks_;
    std::vector<Index> marked_;  // how many marks each sample has
    std::vector<const float*> float_rows_;
    std::vector<const std::uint8_t*> byte_rows_;
    std::vector<const void*> upcoming_;  // as MarkedRows has it
    std::vector<float> projections_;
};

}  // namespace omp_mlp
