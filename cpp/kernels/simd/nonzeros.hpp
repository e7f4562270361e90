// Finding the nonzeros of a sample: as a list, or as marks.
#pragma once

#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

#if OMP_MLP_HAS_MASKS

// 16 entries of X as floats; beyond the end, zeros.
struct Floats {
    const float* x;
    __m512 operator()(Index k, __mmask16 inside) const { return _mm512_maskz_loadu_ps(inside, x + k); }
};

struct Bytes {
    const std::uint8_t* x;
    __m512 scale;
    __m512 operator()(Index k, __mmask16 inside) const {
        const __m128i bytes = _mm_maskz_loadu_epi8(inside, x + k);
        return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)), scale);
    }
};

__mmask16 is_nonzero(__m512 x) {
    return _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NEQ_UQ);
}

// Calls step(k, the indices k .. k + 15, which of them are below n) for k = 0, 16, ...
template <typename Step>
void for_each_sixteen(Index n, const Step& step) {
    const __m512i sixteen = _mm512_set1_epi32(16);
    __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    Index k = 0;
    for (; k + 16 <= n; k += 16) {
        step(k, at, static_cast<__mmask16>(0xFFFF));
        at = _mm512_add_epi32(at, sixteen);
    }
    if (k < n) {
        step(k, at, static_cast<__mmask16>((1 << (n - k)) - 1));
    }
}

template <typename Source>
Index gather(const Source& x, Index n, std::int32_t* index, float* value) {
    Index count = 0;
    for_each_sixteen(n, [&](Index k, __m512i at, __mmask16 inside) {
        const __m512 sixteen = x(k, inside);
        const __mmask16 kept = is_nonzero(sixteen);
        _mm512_storeu_si512(index + count, _mm512_maskz_compress_epi32(kept, at));
        _mm512_storeu_ps(value + count, _mm512_maskz_compress_ps(kept, sixteen));
        count += __builtin_popcount(kept);
    });
    return count;
}

Floats source(const float* x, float /*scale*/) {
    return {x};
}

Bytes source(const std::uint8_t* x, float scale) {
    return {x, _mm512_set1_ps(scale)};
}

#else

struct Floats {
    const float* x;
    float operator[](Index k) const { return x[k]; }
    // Whether x[k .. k + 7] are all zero. -0 does not count as zero here, and is dropped later.
    bool eight_zeros(Index k) const {
        std::uint64_t bits[4];
        memcpy(bits, x + k, sizeof bits);
        return (bits[0] | bits[1] | bits[2] | bits[3]) == 0;
    }
};

struct Bytes {
    const std::uint8_t* x;
    float scale;
    float operator[](Index k) const { return scale * static_cast<float>(x[k]); }
    bool eight_zeros(Index k) const {
        std::uint64_t bits = 0;
        memcpy(&bits, x + k, sizeof bits);
        return bits == 0;
    }
};

// There is no branch for each entry: a zero is written, and the next entry overwrites it.
template <typename Source>
Index gather(const Source& x, Index n, std::int32_t* index, float* value) {
    Index count = 0;
    for (Index k = 0; k < n; k += 8) {
        if (k + 8 <= n && x.eight_zeros(k)) {
            continue;
        }
        for (Index i = k; i < k + 8 && i < n; ++i) {
            index[count] = static_cast<std::int32_t>(i);
            value[count] = x[i];
            count += x[i] != 0.0F;
        }
    }
    return count;
}

Floats source(const float* x, float /*scale*/) {
    return {x};
}

Bytes source(const std::uint8_t* x, float scale) {
    return {x, scale};
}

#endif

Index gather_float32(const float* x, Index n, std::int32_t* index, float* value) {
    return gather(source(x, 1.0F), n, index, value);
}

Index gather_uint8(const std::uint8_t* x, Index n, float scale, std::int32_t* index, float* value) {
    return gather(source(x, scale), n, index, value);
}

#if OMP_MLP_HAS_MASKS

Index mark_float32(const float* x, Index n, std::uint64_t* marks) {
    auto* sixteen = reinterpret_cast<__mmask16*>(marks);  // little-endian: the first are the lowest bits
    marks[(n - 1) / 64] = 0;
    Index count = 0;
    for_each_sixteen(n, [&](Index k, __m512i /*at*/, __mmask16 inside) {
        const __mmask16 set = is_nonzero(_mm512_maskz_loadu_ps(inside, x + k));
        sixteen[k / 16] = set;
        count += __builtin_popcount(set);
    });
    return count;
}

Index mark_uint8(const std::uint8_t* x, Index n, std::uint64_t* marks) {
    Index count = 0;
    const auto mark = [&](Index k, __m512i bytes) {
        const std::uint64_t set = _mm512_test_epi8_mask(bytes, bytes);
        marks[k / 64] = set;
        count += __builtin_popcountll(set);
    };
    Index k = 0;
    for (; k + 64 <= n; k += 64) {
        mark(k, _mm512_loadu_si512(x + k));
    }
    if (k < n) {
        const __mmask64 inside = (std::uint64_t{1} << (n - k)) - 1;
        mark(k, _mm512_maskz_loadu_epi8(inside, x + k));
    }
    return count;
}

#else

template <typename Value>
Index mark(const Value* x, Index n, std::uint64_t* marks) {
    Index count = 0;
    for (Index begin = 0; begin < n; begin += 64) {
        const Index end = begin + 64 < n ? begin + 64 : n;
        std::uint64_t word = 0;
        for (Index k = begin; k < end; ++k) {
            word |= static_cast<std::uint64_t>(x[k] != Value{}) << (k - begin);
        }
        marks[begin / 64] = word;
        count += __builtin_popcountll(word);
    }
    return count;
}

Index mark_float32(const float* x, Index n, std::uint64_t* marks) {
    return mark(x, n, marks);
}

Index mark_uint8(const std::uint8_t* x, Index n, std::uint64_t* marks) {
    return mark(x, n, marks);
}

#endif

}  // namespace
}  // namespace omp_mlp
