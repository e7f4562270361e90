// The pieces of a flat buffer that a merge goes through, each on one worker.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "merging/methods.hpp"

namespace omp_mlp {

// A piece of the flat buffer; it lies within one layer.
struct Slice {
    Index begin;
    Index end;
    std::size_t layer;
};

// Slices of `size` positions; the last of a layer may be shorter. layer_ends: where each layer ends in the
// flat buffer, ascending.
inline std::vector<Slice> slices_of(std::span<const Index> layer_ends, Index size) {
    std::vector<Slice> slices;
    Index begin = 0;
    for (std::size_t layer = 0; layer < layer_ends.size(); ++layer) {
        for (; begin < layer_ends[layer]; begin = slices.back().end) {
            slices.push_back({begin, std::min(begin + size, layer_ends[layer]), layer});
        }
    }
    return slices;
}

// Where the slice lies in the replicas.
inline ReplicaRows rows_of(const MergeInput& input, const Slice& slice) {
    const bool is_deferred = input.deferred != nullptr && slice.begin < input.deferred->end;
    return {input.replicas.data(), static_cast<Index>(input.replicas.size()), slice.begin,
            slice.end - slice.begin, is_deferred ? input.deferred : nullptr};
}

}  // namespace omp_mlp
