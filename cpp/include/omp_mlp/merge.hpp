// Merging: from the replicas of a network, and the base they started from, to the next master.
//
// Methods see flat spans and layer boundaries, never a network. To add one: write its function(s) in
// merge.cpp, add its row to the table there, and its oracle to tests/reference.py. Error messages,
// documentation, benchmarks and tests read the table.
#pragma once

#include <array>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "omp_mlp/buffer.hpp"

namespace omp_mlp {

// A piece of the flat buffer; it lies within one layer.
struct Slice {
    Index begin;
    Index end;
    std::size_t layer;
};

struct MergeInput {
    std::span<const float* const> replicas;  // each a flat buffer, in the order of their index
    std::span<const double> sample_share;    // of each replica in the samples of the round; sums to 1
    const float* base;                       // where the round started, or null if there is none
};

// What a method has to know of a whole layer before it can merge any slice of it: sums over the slices.
using LayerSums = std::array<double, 2>;

// How often a method is best applied.
enum class Cadence { once, periodic };

struct MergeMethod {
    std::string_view name;
    std::string_view summary;
    std::string_view formula;
    std::string_view reference;
    Cadence cadence;
    bool needs_base;
    // First pass, optional: this slice's part of the layer's sums.
    LayerSums (*measure)(const MergeInput& input, const Slice& slice);
    // Second pass: writes the slice's merged parameters to merged[0 .. slice.end - slice.begin), which
    // may be the base's own memory.
    void (*combine)(const MergeInput& input, const Slice& slice, const LayerSums& sums, float* merged);
};

std::span<const MergeMethod> merge_methods();

// Throws std::invalid_argument, listing the names, if there is none of that name.
const MergeMethod& merge_method(std::string_view name);

// Runs fn(0), ..., fn(count - 1), in any order, perhaps in parallel.
using ForEach = std::function<void(Index count, const std::function<void(Index)>& fn)>;

// Applies a method slice by slice, then outer momentum: M = beta M + (merged - base), master = base + M.
// The slices are the same for any number of workers, and their sums are added up in order, so the result
// is the same bits too.
class Merger {
public:
    // layer_ends: where each layer ends in the flat buffer, ascending; the last one is its size.
    Merger(const MergeMethod& method, std::span<const Index> layer_ends, double outer_momentum);

    // `master` may be input.base; outer momentum needs a base.
    void merge(const MergeInput& input, const ForEach& for_each, float* master);

private:
    const MergeMethod* method_;
    std::vector<Slice> slices_;
    std::size_t layers_;
    float outer_momentum_;
    Buffer velocity_;  // empty without outer momentum
};

}  // namespace omp_mlp
