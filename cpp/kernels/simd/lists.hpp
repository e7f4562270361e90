// The first layer from lists of nonzeros.
#pragma once

#include "kernels/simd/tiles.hpp"
#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

// The hidden units of one sample stay in registers while its rows of W stream past.
void lists_forward(const ListedRow* x, Index samples, const float* W, const float* bias, Index width,
                   float* z) {
    for_each_tile(width, [&]<Index N>(Index column) {
        for (Index s = 0; s < samples; ++s) {
            V sum[N];
#pragma GCC unroll 16
            for (Index v = 0; v < N; ++v) {
                sum[v] = load(bias + column + v * lanes);
            }
            const ListedRow row = x[s];  // local, so that no store can change it
            const Index stride = width;
            const float* const columns = W + column;
            for (Index i = 0; i < row.count; ++i) {
                const float* w = columns + row.index[i] * stride;
                const float value = row.value[i];
#pragma GCC unroll 16
                for (Index v = 0; v < N; ++v) {
                    sum[v] += value * load(w + v * lanes);
                }
            }
#pragma GCC unroll 16
            for (Index v = 0; v < N; ++v) {
                store(z + s * width + column + v * lanes, sum[v]);
            }
        }
    });
}

// The delta of one sample stays in registers while its rows of W are read, changed and written.
void lists_update_one(const ListedRow& x, const float* step, float* W, Index width) {
    for_each_tile(width, [&]<Index N>(Index column) {
        const ListedRow row = x;  // local, so that no store can change it
        const Index stride = width;
        float* const columns = W + column;
        V change[N];
#pragma GCC unroll 16
        for (Index v = 0; v < N; ++v) {
            change[v] = load(step + column + v * lanes);
        }
        // Backwards, because the rows that the forward pass read last are still in the fastest cache.
        for (Index i = row.count - 1; i >= 0; --i) {
            float* w = columns + row.index[i] * stride;
            const float value = row.value[i];
#pragma GCC unroll 16
            for (Index v = 0; v < N; ++v) {
                store(w + v * lanes, load(w + v * lanes) + value * change[v]);
            }
        }
    });
}

// Turns the lists of up to 32 samples into lists for each input: the samples in which the input is not
// zero (a bit each), and their values. Returns the number of inputs that occur.
Index transpose(const ListedRow* x, Index samples, const BatchTranspose& t) {
    Index inputs = 0;
    for (Index s = 0; s < samples; ++s) {
        const std::uint32_t bit = std::uint32_t{1} << s;
        for (Index i = 0; i < x[s].count; ++i) {
            const std::int32_t k = x[s].index[i];
            const std::uint32_t before = t.present[k];
            t.inputs[inputs] = k;
            inputs += before == 0;
            t.present[k] = before | bit;
            t.values[static_cast<Index>(k) * BatchTranspose::samples + s] = x[s].value[i];
        }
    }
    return inputs;
}

// A row of W stays in registers while the deltas of all samples with a nonzero input for it are added.
// Gradient and step are one, and every row is read and written once for a batch.
void lists_update(const ListedRow* x, Index samples, const float* step, float* W, float* bias,
                  Index width, const BatchTranspose& t) {
    update_bias(step, samples, bias, width);
    if (samples == 1) {
        lists_update_one(*x, step, W, width);
        return;
    }
    const Index inputs = transpose(x, samples, t);
    for_each_tile(width, [&]<Index N>(Index column) {
        const BatchTranspose lists = t;  // local, so that no store can change it
        const Index stride = width;
        const float* const steps = step + column;
        float* const columns = W + column;
        for (Index i = 0; i < inputs; ++i) {
            const Index k = lists.inputs[i];
            float* w = columns + k * stride;
            V sum[N];
#pragma GCC unroll 16
            for (Index v = 0; v < N; ++v) {
                sum[v] = load(w + v * lanes);
            }
            for (std::uint32_t left = lists.present[k]; left != 0; left &= left - 1) {
                const Index s = __builtin_ctz(left);
                const float value = lists.values[k * BatchTranspose::samples + s];
                const float* d = steps + s * stride;
#pragma GCC unroll 16
                for (Index v = 0; v < N; ++v) {
                    sum[v] += value * load(d + v * lanes);
                }
            }
#pragma GCC unroll 16
            for (Index v = 0; v < N; ++v) {
                store(w + v * lanes, sum[v]);
            }
        }
    });
    for (Index i = 0; i < inputs; ++i) {
        t.present[t.inputs[i]] = 0;
    }
}

}  // namespace
}  // namespace omp_mlp
