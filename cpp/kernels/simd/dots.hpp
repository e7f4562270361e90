// Dot products of rows with each other.
#pragma once

#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

// Multiplies dots_rows x dots_columns rows with each other at a time. Each product has a vector of sums
// in a register.
constexpr Index dots_rows = registers == 32 ? 4 : 2;
constexpr Index dots_columns = 4;

V load_entries(const float* x) {
    V v;
    memcpy(&v, x, sizeof v);
    return v;
}

V load_entries(const std::uint8_t* x) {
    return __builtin_convertvector(widened(x), V);
}

// dot[i * dots_columns + j] = a[i] . b[j] over n entries.
template <typename Value>
void dots(const Value* const* a, const Value* const* b, Index n, float* dot) {
    V sum[dots_rows * dots_columns] = {};
    Index k = 0;
    for (; k + lanes <= n; k += lanes) {
        V b_k[dots_columns];
#pragma GCC unroll 16
        for (Index j = 0; j < dots_columns; ++j) {
            b_k[j] = load_entries(b[j] + k);
        }
#pragma GCC unroll 16
        for (Index i = 0; i < dots_rows; ++i) {
            const V a_k = load_entries(a[i] + k);
#pragma GCC unroll 16
            for (Index j = 0; j < dots_columns; ++j) {
                sum[i * dots_columns + j] += a_k * b_k[j];
            }
        }
    }
#pragma GCC unroll 16
    for (Index first = 0; first < dots_rows * dots_columns; first += lanes) {
        const V total = sum_each(sum + first);
        memcpy(dot + first, &total, sizeof total);
    }
    for (; k < n; ++k) {
        for (Index i = 0; i < dots_rows; ++i) {
            for (Index j = 0; j < dots_columns; ++j) {
                dot[i * dots_columns + j] += static_cast<float>(a[i][k]) * static_cast<float>(b[j][k]);
            }
        }
    }
}

}  // namespace
}  // namespace omp_mlp
