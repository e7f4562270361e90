// Rows of a layer in tiles: as many vectors as stay in registers while a loop over rows runs.
#pragma once

#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

// The number of vectors that a loop over rows keeps in registers, beside the other registers that it
// needs.
constexpr Index tile_vectors = registers == 32 ? 12 : 8;
// Filling makes every width a multiple of 16 floats, so the last tile has a multiple of this many
// vectors.
constexpr Index vectors_per_line = cache_line_floats / lanes;

// Calls fn.template operator()<N>(first column) with N = vectors.
template <Index N, typename Fn>
void with_vectors(Index vectors, Index column, const Fn& fn) {
    if (vectors == N) {
        fn.template operator()<N>(column);
    } else if constexpr (N > vectors_per_line) {
        with_vectors<N - vectors_per_line>(vectors, column, fn);
    }
}

// The same for tiles of about equal widths that cover `width` floats. A tile of 128 floats and one of 16
// would take longer than two of 80 and 64.
template <typename Fn>
void for_each_tile(Index width, const Fn& fn) {
    constexpr Index lines_a_tile = tile_vectors / vectors_per_line;
    const Index lines = width / cache_line_floats;
    const Index tiles = (lines + lines_a_tile - 1) / lines_a_tile;
    for (Index tile = 0; tile < tiles; ++tile) {
        const Index begin = tile * lines / tiles;
        const Index end = (tile + 1) * lines / tiles;
        with_vectors<tile_vectors>((end - begin) * vectors_per_line, begin * cache_line_floats, fn);
    }
}

template <Index N>
[[gnu::always_inline]] inline void load_tile(const float* p, V* v) {
#pragma GCC unroll 16
    for (Index i = 0; i < N; ++i) {
        v[i] = load(p + i * lanes);
    }
}

template <Index N>
[[gnu::always_inline]] inline void store_tile(float* p, const V* v) {
#pragma GCC unroll 16
    for (Index i = 0; i < N; ++i) {
        store(p + i * lanes, v[i]);
    }
}

// The step of the biases, which are the row of an input that is always 1. They may be null.
void update_bias(const float* step, Index samples, float* bias, Index width) {
    if (bias == nullptr) {
        return;
    }
    for (Index j = 0; j < width; j += lanes) {
        V sum{};
        for (Index s = 0; s < samples; ++s) {
            sum += load(step + s * width + j);
        }
        store(bias + j, load(bias + j) + sum);
    }
}

}  // namespace
}  // namespace omp_mlp
