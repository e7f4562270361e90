// A layer with few outputs, whose weights are stored transposed.
#pragma once

#include "kernels/simd/dots.hpp"
#include "kernels/simd/product.hpp"
#include "kernels/simd/tiles.hpp"
#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

// One sample. The lanes of the outputs' sums are added up at the end, for all outputs together.
void narrow_forward_one(const float* a, Index width, const float* W, const float* bias, Index outputs,
                        float* z) {
    V partial[most_narrow] = {};
    for_each_tile(width, [&]<Index N>(Index column) {
        V below[N];
#pragma GCC unroll 16
        for (Index v = 0; v < N; ++v) {
            below[v] = load(a + column + v * lanes);
        }
        for (Index k = 0; k < outputs; ++k) {
            const float* w = W + k * width + column;
            V sum = partial[k];
#pragma GCC unroll 16
            for (Index v = 0; v < N; ++v) {
                sum += below[v] * load(w + v * lanes);
            }
            partial[k] = sum;
        }
    });
    float total[most_narrow];
#pragma GCC unroll 16
    for (Index k = 0; k < most_narrow; k += lanes) {
        const V sums = sum_each(partial + k);
        memcpy(total + k, &sums, sizeof sums);
    }
    for (Index k = 0; k < outputs; ++k) {
        z[k] = bias[k] + total[k];
    }
}

void narrow_forward(const float* a, Index a_stride, Index samples, const float* W, const float* bias,
                    Index outputs, Index z_stride, float* z) {
    if (samples < dots_rows) {
        for (Index s = 0; s < samples; ++s) {
            narrow_forward_one(a + s * a_stride, a_stride, W, bias, outputs, z + s * z_stride);
        }
        return;
    }
    for (Index s = 0; s < samples; s += dots_rows) {
        for (Index k = 0; k < outputs; k += dots_columns) {
            const float* rows[dots_rows];
            const float* columns[dots_columns];
            for (Index i = 0; i < dots_rows; ++i) {
                rows[i] = a + (s + i < samples ? s + i : samples - 1) * a_stride;
            }
            for (Index j = 0; j < dots_columns; ++j) {
                columns[j] = W + (k + j < outputs ? k + j : outputs - 1) * a_stride;
            }
            float dot[dots_rows * dots_columns];
            dots(rows, columns, a_stride, dot);
            for (Index i = 0; i < dots_rows && s + i < samples; ++i) {
                for (Index j = 0; j < dots_columns && k + j < outputs; ++j) {
                    z[(s + i) * z_stride + k + j] = bias[k + j] + dot[i * dots_columns + j];
                }
            }
        }
    }
}

// One sample. Each row of W is read once, for its part of `below` and for its step.
void narrow_step_one(const float* a, Index width, const float* delta, Index outputs, float* W,
                     float* below) {
    for_each_tile(width, [&]<Index N>(Index column) {
        V activation[N];
        V sum[N] = {};
#pragma GCC unroll 16
        for (Index v = 0; v < N; ++v) {
            activation[v] = load(a + column + v * lanes);
        }
        for (Index k = 0; k < outputs; ++k) {
            float* w = W + k * width + column;
            const float d = delta[k];
#pragma GCC unroll 16
            for (Index v = 0; v < N; ++v) {
                const V row = load(w + v * lanes);
                sum[v] += d * row;
                store(w + v * lanes, row + d * activation[v]);
            }
        }
#pragma GCC unroll 16
        for (Index v = 0; v < N; ++v) {
            store(below + column + v * lanes, sum[v]);
        }
    });
}

void narrow_step(const float* a, Index a_stride, Index samples, const float* delta, Index delta_stride,
                 Index outputs, float* W, float* bias, float* below) {
    if (samples == 1) {
        narrow_step_one(a, a_stride, delta, outputs, W, below);
    } else {
        memset(below, 0, static_cast<std::size_t>(samples * a_stride) * sizeof(float));
        multiply({delta, delta_stride, 1, outputs, W, a_stride, below, a_stride, samples}, a_stride);
        multiply({delta, 1, delta_stride, samples, a, a_stride, W, a_stride, outputs}, a_stride);
    }
    for (Index s = 0; s < samples; ++s) {
        for (Index k = 0; k < outputs; ++k) {
            bias[k] += delta[s * delta_stride + k];
        }
    }
}

}  // namespace
}  // namespace omp_mlp
