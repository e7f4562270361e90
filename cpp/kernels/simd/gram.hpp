// Products of samples with each other.
#pragma once

#include "kernels/simd/dots.hpp"
#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

// Calls tile(s, t, out) for the tiles of the lower triangle that hold products between batches. Rows
// beyond the last sample repeat the last sample. No loop reads the entries with their products.
template <typename Tile>
void for_each_gram_tile(Index samples, Index batch, float* product, const Tile& tile) {
    for (Index s = 0; s < samples; s += dots_rows) {
        const Index bottom = s + dots_rows - 1 < samples ? s + dots_rows - 1 : samples - 1;
        for (Index t = 0; t < bottom / batch * batch; t += dots_columns) {
            tile(s, t, product + s * MarkedRows::most + t);
        }
    }
}

template <typename Value>
void gram(const Value* const* x, Index samples, Index batch, Index n, float factor, float* product) {
    const Index last = samples - 1;
    for_each_gram_tile(samples, batch, product, [&](Index s, Index t, float* out) {
        const Value* a[dots_rows];
        const Value* b[dots_columns];
        for (Index i = 0; i < dots_rows; ++i) {
            a[i] = x[s + i < last ? s + i : last];
        }
        for (Index j = 0; j < dots_columns; ++j) {
            b[j] = x[t + j < last ? t + j : last];
        }
        float dot[dots_rows * dots_columns];
        dots(a, b, n, dot);
        for (Index i = 0; i < dots_rows; ++i) {
            for (Index j = 0; j < dots_columns; ++j) {
                out[i * MarkedRows::most + j] = factor * dot[i * dots_columns + j];
            }
        }
    });
}

void gram_float32(const float* const* x, Index samples, Index batch, Index n, float* product) {
    gram(x, samples, batch, n, 1.0F, product);
}

#if OMP_MLP_HAS_BYTE_PRODUCTS

// Exact, in integers. The instruction multiplies unsigned with signed bytes. So the second factor is
// byte - 128, and 128 times the sum of the first is added afterwards. A sum might overflow above 60,000
// entries.
void gram_uint8(const std::uint8_t* const* x, Index samples, Index batch, Index n, float scale,
                float* product) {
    if (n > 60000) {
        gram(x, samples, batch, n, scale * scale, product);
        return;
    }
    const Index last = samples - 1;
    const __m512i half = _mm512_set1_epi8(static_cast<char>(0x80));
    const Index whole = n / 64 * 64;
    const __mmask64 rest = (std::uint64_t{1} << (n - whole)) - 1;
    float correction[MarkedRows::most];
    for (Index s = 0; s < samples; ++s) {
        const __m512i none = _mm512_setzero_si512();
        __m512i sum = _mm512_sad_epu8(_mm512_maskz_loadu_epi8(rest, x[s] + whole), none);
        for (Index k = 0; k < whole; k += 64) {
            sum = _mm512_add_epi64(sum, _mm512_sad_epu8(_mm512_loadu_si512(x[s] + k), none));
        }
        correction[s] = 128.0F * static_cast<float>(_mm512_reduce_add_epi64(sum));
    }
    for_each_gram_tile(samples, batch, product, [&](Index s, Index t, float* out) {
        const std::uint8_t* a[4];
        const std::uint8_t* b[4];
        for (Index i = 0; i < 4; ++i) {
            a[i] = x[s + i < last ? s + i : last];
            b[i] = x[t + i < last ? t + i : last];
        }
        __m512i sum[16] = {};
        const auto add = [&](Index k, __mmask64 inside) {
            __m512i b_k[4];
#pragma GCC unroll 16
            for (Index j = 0; j < 4; ++j) {
                b_k[j] = _mm512_xor_si512(_mm512_maskz_loadu_epi8(inside, b[j] + k), half);
            }
#pragma GCC unroll 16
            for (Index i = 0; i < 4; ++i) {
                const __m512i a_k = _mm512_maskz_loadu_epi8(inside, a[i] + k);
#pragma GCC unroll 16
                for (Index j = 0; j < 4; ++j) {
                    sum[4 * i + j] = _mm512_dpbusd_epi32(sum[4 * i + j], a_k, b_k[j]);
                }
            }
        };
        for (Index k = 0; k < whole; k += 64) {
            add(k, ~std::uint64_t{0});
        }
        if (whole < n) {
            add(whole, rest);
        }
        V sums[16];
#pragma GCC unroll 16
        for (Index i = 0; i < 16; ++i) {
            sums[i] = reinterpret_cast<V>(_mm512_cvtepi32_ps(sum[i]));
        }
        const V total = sum_each(sums);
        float totals[16];
        memcpy(totals, &total, sizeof total);
        for (Index i = 0; i < 4; ++i) {
            for (Index j = 0; j < 4; ++j) {
                const float sum_of_products =
                    totals[4 * i + j] + correction[s + i < last ? s + i : last];
                out[i * MarkedRows::most + j] = scale * scale * sum_of_products;
            }
        }
    });
}

#else

void gram_uint8(const std::uint8_t* const* x, Index samples, Index batch, Index n, float scale,
                float* product) {
    gram(x, samples, batch, n, scale * scale, product);
}

#endif

}  // namespace
}  // namespace omp_mlp
