// What the factors of a product become in their copies: what they are, or rounded to bfloat16, two terms in one place.
//
// A row of A and a row of B meet step by step of the depth. A step is one term of float32, or a pair of bfloat16.
#pragma once

#include "kernels/simd/bfloat16.hpp"
#include "kernels/simd/tile_unit.hpp"
#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

// Steps of so many terms, in whole units of them. What lacks a term has a zero there.
template <typename F>
constexpr Index steps_of(Index depth) {
    return ((depth + F::terms - 1) / F::terms + F::unit - 1) / F::unit * F::unit;
}

[[gnu::always_inline]] inline const float* row_of(const DenseRows& a, Index s) {
    return a.each != nullptr ? a.each[s] + a.column : a.first + s * a.stride;
}

// The rows from this one on, from this column on.
[[gnu::always_inline]] inline DenseRows part_of(const DenseRows& a, Index row, Index column) {
    if (a.each != nullptr) {
        return {.each = a.each + row, .column = a.column + column};
    }
    return {.first = a.first + row * a.stride + column, .stride = a.stride};
}

struct Float32 {
    static constexpr Index terms = 1;       // of a step
    static constexpr Index unit = 1;        // steps that go together
    static constexpr bool in_unit = false;  // of the processor, for tiles (tile_unit.hpp)

    // A's part of a step, for all lanes.
    struct Step {
        float value;
        explicit Step(const float* a) : value{*a} {}
        [[gnu::always_inline]] V add(V sum, V b) const { return sum + value * b; }
    };

    // The row of a matrix that is step d of a product.
    struct Rows {
        const float* row;
        Rows(const DenseRows& b, Index /*depth*/, Index d) : row{row_of(b, d)} {}

        [[gnu::always_inline]] V step(Index column) const { return load(row + column); }

        // M columns from this one on.
        template <Index M>
        [[gnu::always_inline]] void copy_some(Index column, float* to) const {
            memcpy(to, row + column, M * sizeof(float));
        }
    };

    static void copy_row(const float* row, Index depth, float* to) {
        memcpy(to, row, static_cast<std::size_t>(depth) * sizeof(float));
    }

    // Steps d and on of a row, which is a multiple of `lanes` long.
    [[gnu::always_inline]] static V steps(const float* row, Index d, Index /*depth*/) {
        return load(row + d);
    }
};

#if OMP_MLP_HAS_BFLOAT16_PAIRS

// Floats [i, i + lanes) of a row that ends at `size`, with zeros beyond.
[[gnu::always_inline]] inline V load_within(const float* row, Index i, Index size) {
    const Index left = size - i;
    const unsigned all = (1U << lanes) - 1U;
    const unsigned mask = left >= lanes ? all : (left <= 0 ? 0U : (1U << left) - 1U);
    return reinterpret_cast<V>(_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), row + i));
}

struct Bfloat16 {
    static constexpr Index terms = 2;
    static constexpr Index unit = 1;
    static constexpr bool in_unit = false;
    struct Unit {};  // what has to be set up for a product: nothing

    struct Step {
        Pair pair;
        explicit Step(const float* a) : pair{word(a)} {}
        [[gnu::always_inline]] V add(V sum, V b) const {
            return multiply_pair(sum, pair, reinterpret_cast<VBits>(b));
        }

        static std::uint32_t word(const float* a) {
            std::uint32_t bits = 0;
            memcpy(&bits, a, sizeof bits);
            return bits;
        }
    };

    struct Rows {
        const float* even;
        const float* odd;  // or null, after the last row
        Rows(const DenseRows& b, Index depth, Index d)
            : even{row_of(b, 2 * d)}, odd{2 * d + 1 < depth ? row_of(b, 2 * d + 1) : nullptr} {}

        [[gnu::always_inline]] V step(Index column) const {
            return reinterpret_cast<V>(
                paired(load(even + column), odd != nullptr ? load(odd + column) : V{}));
        }

        template <Index M>
        [[gnu::always_inline]] void copy_some(Index column, float* to) const {
            static_assert(M <= lanes);
            const V second = odd != nullptr ? load_within(odd + column, 0, M) : V{};
            const VBits pairs = paired(load_within(even + column, 0, M), second);
            _mm512_mask_storeu_epi32(to, static_cast<__mmask16>((1U << M) - 1U),
                                     reinterpret_cast<__m512i>(pairs));
        }
    };

    static void copy_row(const float* row, Index depth, float* to) {
        for (Index d = 0; 2 * d < depth; d += lanes) {
            store(to + d, steps(row, d, depth));
        }
    }

    [[gnu::always_inline]] static V steps(const float* row, Index d, Index depth) {
        return reinterpret_cast<V>(
            rounded_halves(load_within(row, 2 * d, depth), load_within(row, 2 * d + lanes, depth)));
    }
};

#if OMP_MLP_HAS_TILE_UNIT

// The same for the unit that multiplies tiles, which takes as many steps as a tile has rows.
struct Bfloat16InUnit : Bfloat16 {
    static constexpr Index unit = tile_rows;
    static constexpr bool in_unit = true;
    using Unit = TileUnit;

    struct Rows {
        const float* even;  // null after the last row, as odd
        const float* odd;
        Rows(const DenseRows& b, Index depth, Index d)
            : even{2 * d < depth ? row_of(b, 2 * d) : nullptr},
              odd{2 * d + 1 < depth ? row_of(b, 2 * d + 1) : nullptr} {}

        [[gnu::always_inline]] V step(Index column) const { return step_within(column, column + lanes); }

        // The same, with zeros from the column `size` on.
        [[gnu::always_inline]] V step_within(Index column, Index size) const {
            return reinterpret_cast<V>(paired(even != nullptr ? load_within(even, column, size) : V{},
                                              odd != nullptr ? load_within(odd, column, size) : V{}));
        }
    };
};

#endif

#endif

}  // namespace
}  // namespace omp_mlp
