// How the loops of merging take replicas: some at a time and in order. In the first layer, a row is the
// replica's or the base's.
//
// The functions are static, so every file has its own copy: some files are compiled for one instruction
// set (kernels/simd says why).
#pragma once

#include <cstdint>

#include "base/buffer.hpp"

namespace omp_mlp {

// Replicas that are read side by side. The totals are loaded and stored once for all of them. There are
// no more streams than a core's prefetcher follows.
constexpr Index side_by_side = 4;

// Calls fn.template operator()<count>(first) for groups of up to `side_by_side` of n replicas, in order.
template <Index count = side_by_side, typename Fn>
static void for_each_group(Index n, const Fn& fn, Index first = 0) {
    for (; first + count <= n; first += count) {
        fn.template operator()<count>(first);
    }
    if constexpr (count > 1) {
        for_each_group<count - 1>(n, fn, first);
    }
}

// Whether a row is among those that a replica has touched (Deferred).
static bool is_touched(const std::uint64_t* touched, Index row) {
    return ((touched[row / 64] >> (row % 64)) & 1) != 0;
}

}  // namespace omp_mlp
