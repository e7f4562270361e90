// Vectors of floats, integers and bytes, as wide as those of the instruction set that this is compiled
// for, and what differs between machines.
//
// Like every header of this folder, this is a part of table.cpp and of no other translation unit. All
// names are local to it.
#pragma once

#include <string.h>

#include <utility>  // integer_sequence, which is a type only

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/kernels.hpp"

#if !defined(OMP_MLP_VECTOR_BYTES) || !defined(OMP_MLP_REGISTERS)
#error "compiled by table.cpp, once for each instruction set; see CMakeLists.txt"
#endif

// What the instruction set has, besides vectors of floats. Only this header looks at the compiler's
// macros.
// NOLINTBEGIN(modernize-macro-to-enum): the preprocessor asks for them
#if defined(__AVX512F__)
#define OMP_MLP_HAS_MASKS 1  // vectors of 16 floats, of which a mask says which count
#else
#define OMP_MLP_HAS_MASKS 0
#endif
#if defined(__AVX512BF16__)
#define OMP_MLP_HAS_BFLOAT16_PAIRS 1  // products of two bfloat16 with two others, added to a float
#else
#define OMP_MLP_HAS_BFLOAT16_PAIRS 0
#endif
#if defined(__AMX_BF16__) || defined(__AMXBF16__) || defined(OMP_MLP_EMULATES_TILE_UNIT)
// Registers of 1 KB for tiles of a matrix, and products of these. Old Clangs have the second name for it.
#define OMP_MLP_HAS_TILE_UNIT 1
#else
#define OMP_MLP_HAS_TILE_UNIT 0
#endif
#if defined(__AVX512VNNI__)
#define OMP_MLP_HAS_BYTE_PRODUCTS 1  // products of four bytes with four others, added to an integer
#else
#define OMP_MLP_HAS_BYTE_PRODUCTS 0
#endif
// NOLINTEND(modernize-macro-to-enum)

namespace omp_mlp {
namespace {

using V = float __attribute__((vector_size(OMP_MLP_VECTOR_BYTES), may_alias));
using VInt = std::int32_t __attribute__((vector_size(OMP_MLP_VECTOR_BYTES), may_alias));
using VBits = std::uint32_t __attribute__((vector_size(OMP_MLP_VECTOR_BYTES), may_alias));
using VBytes = std::uint8_t __attribute__((vector_size(OMP_MLP_VECTOR_BYTES / 4), may_alias));

constexpr Index lanes = OMP_MLP_VECTOR_BYTES / 4;
// Registers for vectors: 32 for AVX-512 and aarch64, 16 for AVX2 and SSE.
constexpr Index registers = OMP_MLP_REGISTERS;

V load(const float* p) {
    return *reinterpret_cast<const V*>(p);
}

void store(float* p, V v) {
    *reinterpret_cast<V*>(p) = v;
}

VInt as_bits(V x) {
    return reinterpret_cast<VInt>(x);
}

V from_bits(VInt x) {
    return reinterpret_cast<V>(x);
}

V broadcast(float x) {
    V v{};
#pragma GCC unroll 16
    for (Index lane = 0; lane < lanes; ++lane) {
        v[lane] = x;
    }
    return v;
}

// Loads a value once, into a register. GCC would load it twice, once in each instruction that uses it,
// and would keep bits in mask registers, from which they have to be fetched. An assembler statement
// without instructions hides from GCC where the value came from.
// NOLINTBEGIN(portability-no-assembler, misc-const-correctness)
[[gnu::always_inline]] inline V loaded_once(const float* p) {
    V v = load(p);
#if defined(__x86_64__)
    asm("" : "+v"(v));
#elif defined(__aarch64__)
    asm("" : "+w"(v));
#endif
    return v;
}

template <typename Bits>
[[gnu::always_inline]] inline Bits in_register(Bits bits) {
    asm("" : "+r"(bits));
    return bits;
}
// NOLINTEND(portability-no-assembler, misc-const-correctness)

// As many bytes as a vector has lanes, to integers and back (integers outside 0..255 become anything).
// This is written by hand, because GCC splits a conversion of bytes into single entries.
#if defined(__AVX512F__)

VInt widened(const std::uint8_t* x) {
    return reinterpret_cast<VInt>(
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))));
}

void store_bytes(VInt v, std::uint8_t* to) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(v)));
}

#elif defined(__AVX2__)

VInt widened(const std::uint8_t* x) {
    return reinterpret_cast<VInt>(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x))));
}

void store_bytes(VInt v, std::uint8_t* to) {
    const auto both = reinterpret_cast<__m256i>(v);
    const __m128i halves =
        _mm_packs_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(halves, halves));
}

#elif defined(__x86_64__)

VInt widened(const std::uint8_t* x) {
    std::int32_t four = 0;
    memcpy(&four, x, sizeof four);
    const __m128i zero = _mm_setzero_si128();
    const __m128i halves = _mm_unpacklo_epi8(_mm_cvtsi32_si128(four), zero);
    return reinterpret_cast<VInt>(_mm_unpacklo_epi16(halves, zero));
}

void store_bytes(VInt v, std::uint8_t* to) {
    const auto whole = reinterpret_cast<__m128i>(v);
    const __m128i halves = _mm_packs_epi32(whole, whole);
    const std::int32_t four = _mm_cvtsi128_si32(_mm_packus_epi16(halves, halves));
    memcpy(to, &four, sizeof four);
}

#else

VInt widened(const std::uint8_t* x) {
    VBytes bytes;
    memcpy(&bytes, x, sizeof bytes);
    return __builtin_convertvector(bytes, VInt);
}

void store_bytes(VInt v, std::uint8_t* to) {
    const VBytes bytes = __builtin_convertvector(v, VBytes);
    memcpy(to, &bytes, sizeof bytes);
}

#endif

// Whole numbers, and the quotients that they stand for. A division rounds the quotient once, and is
// slow. Three fused multiply-adds give the same (Markstein 1990).
V divided(V whole, float divisor, float inverse) {
#if defined(__FMA__) || defined(__aarch64__)
    const V quotient = whole * inverse;
    const V remainder = whole - quotient * divisor;
    return quotient + remainder * inverse;
#else
    (void)inverse;
    return whole / divisor;
#endif
}

// {a[0] + a[h], ...}: lane l of the result has a[l] + a[l ^ h] where bit h of l is 0, else that of b.
template <int h, int... l>
V fold(V a, V b, const std::integer_sequence<int, l...>& /*lanes*/) {
    return __builtin_shufflevector(a, b, ((l & h) == 0 ? l : lanes + l)...) +
           __builtin_shufflevector(a, b, ((l & h) == 0 ? l ^ h : lanes + (l ^ h))...);
}

// Lane l of the result is the sum of the lanes of v[l].
template <int h = lanes / 2>
[[gnu::always_inline]] inline V sum_each(V* v) {
    if constexpr (h == 0) {
        return v[0];
    } else {
#pragma GCC unroll 16
        for (int i = 0; i < h; ++i) {
            v[i] = fold<h>(v[i], v[i + h], std::make_integer_sequence<int, lanes>{});
        }
        return sum_each<h / 2>(v);
    }
}

// Every lane of the result: op over all lanes of v.
template <int h = lanes / 2, typename Op, int... l>
V over_lanes(V v, const Op& op, const std::integer_sequence<int, l...>& all) {
    v = op(v, __builtin_shufflevector(v, v, (l ^ h)...));
    if constexpr (h > 1) {
        return over_lanes<h / 2>(v, op, all);
    } else {
        return v;
    }
}

}  // namespace
}  // namespace omp_mlp
