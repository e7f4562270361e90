// The unit that multiplies tiles of bfloat16: AMX. A tile has 16 rows of 16 pairs, or of 16 floats.
#pragma once

#include "kernels/simd/vectors.hpp"

#if OMP_MLP_HAS_TILE_UNIT

namespace omp_mlp {
namespace {

constexpr Index tile_rows = 16;

#if defined(OMP_MLP_EMULATES_TILE_UNIT)

// For tests on machines without the unit: what it does, by the manual, in the memory that it would read.
struct TileUnit {};

inline float term_of(const float* pairs, Index half) {
    std::uint32_t bits = 0;
    memcpy(&bits, pairs, sizeof bits);
    bits = half == 0 ? bits << 16 : bits & 0xFFFF0000U;
    float term = 0.0F;
    memcpy(&term, &bits, sizeof term);
    return term;
}

template <Index N>
void emulate_chain(const float* a, Index a_stride, Index steps, const float* b, Index chain,
                   float* sums) {
    for (Index m = 0; m < tile_rows; ++m) {
        for (Index column = 0; column < N * lanes; ++column) {
            float sum = 0.0F;
            for (Index d = chain * tile_rows; d < steps; d += 2 * tile_rows) {
                for (Index k = d; k < d + tile_rows; ++k) {
                    for (Index half = 0; half < 2; ++half) {
                        sum += term_of(a + m * a_stride + k, half) *
                               term_of(b + k * N * lanes + column, half);
                    }
                }
            }
            sums[m * N * lanes + column] = sum;
        }
    }
}

// sums[0] and sums[1]: the products of the even and of the odd tiles of the depth, tile_rows x N vectors each.
template <Index N>
void multiply_tiles(const float* a, Index a_stride, Index steps, const float* b,
                    float (*sums)[tile_rows * N * lanes]) {
    emulate_chain<N>(a, a_stride, steps, b, 0, sums[0]);
    emulate_chain<N>(a, a_stride, steps, b, 1, sums[1]);
}

#else

// While one of these is there, the unit of this thread is set up for whole tiles.
class TileUnit {
public:
    TileUnit() {
        // Intel's manual, volume 1, 18.4: the palette, then bytes a row and rows of each tile.
        struct alignas(cache_line_bytes) Setup {
            std::uint8_t palette = 1;
            std::uint8_t start_row = 0;
            std::uint8_t reserved[14] = {};
            std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
            std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
        };
        static_assert(sizeof(Setup) == 64);
        const Setup setup;
        _tile_loadconfig(&setup);
    }
    ~TileUnit() { _tile_release(); }
    TileUnit(const TileUnit&) = delete;
    TileUnit(TileUnit&&) = delete;
    TileUnit& operator=(const TileUnit&) = delete;
    TileUnit& operator=(TileUnit&&) = delete;
};

// sums[0] and sums[1]: the products of the even and of the odd tiles of the depth, tile_rows x N vectors each. A product
// of tiles takes three times as long to come out as the next takes to go in, so that two chains are too few, and four
// enough.
// The intrinsics take the numbers of tiles as literals alone.
template <Index N>
[[gnu::noinline]] void multiply_tiles(const float* a, Index a_stride, Index steps, const float* b,
                                      float (*sums)[tile_rows * N * lanes]) {
    constexpr Index row = N * lanes;
    constexpr int row_bytes = static_cast<int>(row * sizeof(float));
    const auto a_bytes = static_cast<int>(a_stride * static_cast<Index>(sizeof(float)));
    // GCC's intrinsics do not say that they read and write memory.
    // NOLINTBEGIN(portability-no-assembler)
    asm volatile("" : : "r"(a), "r"(b), "r"(sums) : "memory");
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (Index d = 0; d < steps; d += 2 * tile_rows) {
        _tile_loadd(4, a + d, a_bytes);
        _tile_loadd(6, b + d * row, row_bytes);
        _tile_dpbf16ps(0, 4, 6);
        if constexpr (N == 2) {
            _tile_loadd(7, b + d * row + lanes, row_bytes);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (d + tile_rows < steps) {
            const Index odd = d + tile_rows;
            _tile_loadd(5, a + odd, a_bytes);
            _tile_loadd(6, b + odd * row, row_bytes);
            _tile_dpbf16ps(2, 5, 6);
            if constexpr (N == 2) {
                _tile_loadd(7, b + odd * row + lanes, row_bytes);
                _tile_dpbf16ps(3, 5, 7);
            }
        }
    }
    _tile_stored(0, sums[0], row_bytes);
    _tile_stored(2, sums[1], row_bytes);
    if constexpr (N == 2) {
        _tile_stored(1, sums[0] + lanes, row_bytes);
        _tile_stored(3, sums[1] + lanes, row_bytes);
    }
    asm volatile("" : : "r"(sums) : "memory");
    // NOLINTEND(portability-no-assembler)
}

#endif

}  // namespace
}  // namespace omp_mlp

#endif
