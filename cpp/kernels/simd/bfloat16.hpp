// Pairs of bfloat16 in one place of a vector, and their products with other pairs.
#pragma once

#include "kernels/simd/vectors.hpp"

#if OMP_MLP_HAS_BFLOAT16_PAIRS

namespace omp_mlp {
namespace {

// The same pair, for all lanes.
struct Pair {
    __m512bh both;
    explicit Pair(std::uint32_t bits)
        : both{reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(bits)))} {}
};

[[gnu::always_inline]] inline V multiply_pair(V sum, const Pair& x, VBits w) {
    return reinterpret_cast<V>(
        _mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(w), x.both));
}

// Rounded to nearest, ties to even: `lower` in the first 16 lanes of 16 bits, `upper` in the others.
VBits rounded_halves(V lower, V upper) {
    return reinterpret_cast<VBits>(
        _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(upper), reinterpret_cast<__m512>(lower)));
}

// The same, lane by lane in pairs.
VBits paired(V even, V odd) {
    const __m512i interleaved =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return reinterpret_cast<VBits>(
        _mm512_permutexvar_epi16(interleaved, reinterpret_cast<__m512i>(rounded_halves(even, odd))));
}

}  // namespace
}  // namespace omp_mlp

#endif
