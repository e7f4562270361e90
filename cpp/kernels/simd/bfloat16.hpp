// Weights in bfloat16, two rows in one, and their products with two entries of a sample.
#pragma once

#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

// The upper half of a float32, rounded to nearest, ties to even.
std::uint32_t rounded_half(float value) {
    std::uint32_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    return (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
}

#if OMP_MLP_HAS_BFLOAT16_PAIRS

// Entries k and k + 1 of a sample, for all lanes.
struct Pair {
    __m512bh both;
    explicit Pair(std::uint32_t bits)
        : both{reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(bits)))} {}
};

[[gnu::always_inline]] inline V multiply_pair(V sum, const Pair& x, VBits w) {
    return reinterpret_cast<V>(
        _mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(w), x.both));
}

VBits paired(V even, V odd) {
    const auto halves = reinterpret_cast<__m512i>(
        _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(odd), reinterpret_cast<__m512>(even)));
    const __m512i interleaved =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return reinterpret_cast<VBits>(_mm512_permutexvar_epi16(interleaved, halves));
}

#else

struct Pair {
    float even;
    float odd;
    explicit Pair(std::uint32_t bits) {
        const std::uint32_t lower = bits << 16;
        const std::uint32_t upper = bits & 0xFFFF0000U;
        memcpy(&even, &lower, sizeof even);
        memcpy(&odd, &upper, sizeof odd);
    }
};

[[gnu::always_inline]] inline V multiply_pair(V sum, const Pair& x, VBits w) {
    sum += x.even * reinterpret_cast<V>(w << 16);
    return sum + x.odd * reinterpret_cast<V>(w & 0xFFFF0000U);
}

VBits paired(V even, V odd) {
    const auto half = [](V v) {
        const auto bits = reinterpret_cast<VBits>(v);
        const VBits quiet = (bits >> 16) | 0x40U;  // rounding could make a NaN infinite
        return v == v ? (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16 : quiet;
    };
    return half(even) | half(odd) << 16;
}

#endif

void store_pair(std::uint32_t* p, V even, V odd) {
    *reinterpret_cast<VBits*>(p) = paired(even, odd);
}

void pair_rows(const float* W, Index rows, Index width, std::uint32_t* pairs) {
    for (Index k = 0; k < rows; k += 2) {
        const float* w = W + k * width;
        for (Index j = 0; j < width; j += lanes) {
            store_pair(pairs + k / 2 * width + j, load(w + j), k + 1 < rows ? load(w + width + j) : V{});
        }
    }
}

}  // namespace
}  // namespace omp_mlp
