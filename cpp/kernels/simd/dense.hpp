// Dense layers.
#pragma once

#include "kernels/simd/product.hpp"
#include "kernels/simd/tiles.hpp"
#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

void dense_forward(const float* a, Index a_stride, Index samples, Index fan_in, const float* W,
                   const float* bias, Index width, float* z) {
    for (Index s = 0; s < samples; ++s) {
        memcpy(z + s * width, bias, static_cast<std::size_t>(width) * sizeof(float));
    }
    if (samples == 1) {
        // One row of W has too few sums to keep the multipliers busy, so this takes four rows at a time.
        for_each_tile(width, [&]<Index N>(Index column) {
            constexpr Index chains = N >= 4 ? 1 : 4;
            V sum[chains][N] = {};
            Index k = 0;
            const auto add = [&](Index row, Index chain) {
                const float value = a[row];
                const float* w = W + row * width + column;
#pragma GCC unroll 16
                for (Index v = 0; v < N; ++v) {
                    sum[chain][v] += value * load(w + v * lanes);
                }
            };
            for (; k + chains <= fan_in; k += chains) {
#pragma GCC unroll 16
                for (Index chain = 0; chain < chains; ++chain) {
                    add(k + chain, chain);
                }
            }
            for (; k < fan_in; ++k) {
                add(k, 0);
            }
#pragma GCC unroll 16
            for (Index v = 0; v < N; ++v) {
                V total = load(z + column + v * lanes);
#pragma GCC unroll 16
                for (Index chain = 0; chain < chains; ++chain) {
                    total += sum[chain][v];
                }
                store(z + column + v * lanes, total);
            }
        });
        return;
    }
    multiply({a, a_stride, 1, fan_in, W, width, z, width, samples}, width);
}

// below[i] = delta . W[i] for the rows i < `lanes`, of which the first `rows` exist.
template <bool all>
[[gnu::always_inline]] inline V dot_rows(const float* delta, const float* W, Index rows, Index width) {
    V sum[lanes] = {};
    for (Index j = 0; j < width; j += lanes) {
        const V d = load(delta + j);
#pragma GCC unroll 16
        for (Index i = 0; i < lanes; ++i) {
            if (all || i < rows) {
                sum[i] += d * load(W + i * width + j);
            }
        }
    }
    return sum_each(sum);
}

// below[k] = delta . W[k], for one sample. This takes as many rows of W at a time as a vector has lanes.
void dense_backward_one(const float* delta, const float* W, Index fan_in, Index width, float* below) {
    Index k = 0;
    for (; k + lanes <= fan_in; k += lanes) {
        store(below + k, dot_rows<true>(delta, W + k * width, lanes, width));
    }
    if (k < fan_in) {
        store(below + k, dot_rows<false>(delta, W + k * width, fan_in - k, width));
    }
}

// scratch[j][i] = W[k + i][j] for a panel of up to `panel` rows of W. The product with W transposed then
// runs over contiguous rows.
constexpr Index panel = 64;

void transpose_panel(const float* W, Index rows, Index width, float* scratch) {
    for (Index j = 0; j < width; j += cache_line_floats) {
        for (Index i = 0; i < rows; ++i) {
            const float* w = W + i * width + j;
            for (Index lane = 0; lane < cache_line_floats; ++lane) {
                scratch[(j + lane) * panel + i] = w[lane];
            }
        }
    }
}

void dense_backward(const float* delta, Index samples, const float* W, Index fan_in, Index width,
                    float* below, Index below_stride, float* scratch) {
    if (samples < 4) {
        for (Index s = 0; s < samples; ++s) {
            dense_backward_one(delta + s * width, W, fan_in, width, below + s * below_stride);
        }
        return;
    }
    for (Index s = 0; s < samples; ++s) {
        memset(below + s * below_stride, 0, static_cast<std::size_t>(below_stride) * sizeof(float));
    }
    for (Index k = 0; k < fan_in; k += panel) {
        const Index rows = fan_in - k < panel ? fan_in - k : panel;
        if (rows < panel) {
            memset(scratch, 0, static_cast<std::size_t>(width * panel) * sizeof(float));
        }
        transpose_panel(W + k * width, rows, width, scratch);
        const Index filled = padded(rows);
        multiply({delta, width, 1, width, scratch, panel, below + k, below_stride, samples}, filled);
    }
}

void dense_update(const float* a, Index a_stride, Index samples, Index fan_in, const float* step,
                  float* W, float* bias, Index width) {
    update_bias(step, samples, bias, width);
    multiply({a, 1, a_stride, samples, step, width, W, width, fan_in}, width);
}

// c[m] += A b, for the rows m of c.
void add_product(const float* a, Index a_row, Index rows, Index depth, const float* b, Index width,
                 float* c) {
    if (rows > 1) {
        multiply({a, a_row, 1, depth, b, width, c, width, rows}, width);
        return;
    }
    for_each_tile(width, [&]<Index N>(Index column) {
        V sum[N];
#pragma GCC unroll 16
        for (Index v = 0; v < N; ++v) {
            sum[v] = load(c + column + v * lanes);
        }
        for (Index d = 0; d < depth; ++d) {
            const float value = a[d];
            const float* row = b + d * width + column;
#pragma GCC unroll 16
            for (Index v = 0; v < N; ++v) {
                sum[v] += value * load(row + v * lanes);
            }
        }
#pragma GCC unroll 16
        for (Index v = 0; v < N; ++v) {
            store(c + column + v * lanes, sum[v]);
        }
    });
}

}  // namespace
}  // namespace omp_mlp
