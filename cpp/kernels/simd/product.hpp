// The matrix product that dense layers are made of.
#pragma once

#include "kernels/simd/tiles.hpp"
#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

// The one matrix product that the three dense loops are made of: C[m][:] += sum_d A(m, d) B[d][:]
// for M rows and N vectors of columns, with M x N sums in registers. A(m, d) = a[m * a_row + d * a_step].
template <Index M, Index N>
void multiply_tile(const float* a, Index a_row, Index a_step, Index depth, const float* b,
                   Index b_stride, float* c, Index c_stride) {
    V sum[M][N] = {};
    for (Index d = 0; d < depth; ++d) {
        V row[N];
#pragma GCC unroll 16
        for (Index n = 0; n < N; ++n) {
            row[n] = load(b + n * lanes);
        }
#pragma GCC unroll 16
        for (Index m = 0; m < M; ++m) {
            const float value = a[m * a_row];
#pragma GCC unroll 16
            for (Index n = 0; n < N; ++n) {
                sum[m][n] += value * row[n];
            }
        }
        a += a_step;
        b += b_stride;
    }
#pragma GCC unroll 16
    for (Index m = 0; m < M; ++m) {
#pragma GCC unroll 16
        for (Index n = 0; n < N; ++n) {
            float* entry = c + m * c_stride + n * lanes;
            store(entry, load(entry) + sum[m][n]);
        }
    }
}

// 6 x 4 sums in 32 registers, 6 x 2 in 16.
constexpr Index block_rows = 6;
constexpr Index block_vectors = registers == 32 ? 4 : 2;
// Rows of B that are used again for every block of rows while they are in the cache.
constexpr Index block_depth = 256;

struct Product {
    const float* a;
    Index a_row;
    Index a_step;
    Index depth;
    const float* b;
    Index b_stride;
    float* c;
    Index c_stride;
    Index rows;
};

template <Index N>
void multiply_columns(const Product& p, Index column) {
    for (Index d = 0; d < p.depth; d += block_depth) {
        const Index depth = p.depth - d < block_depth ? p.depth - d : block_depth;
        const float* a = p.a + d * p.a_step;
        const float* b = p.b + d * p.b_stride + column;
        const auto tile = [&]<Index M>(Index m) {
            multiply_tile<M, N>(a + m * p.a_row, p.a_row, p.a_step, depth, b, p.b_stride,
                                p.c + m * p.c_stride + column, p.c_stride);
        };
        Index m = 0;
        for (; m + block_rows <= p.rows; m += block_rows) {
            tile.template operator()<block_rows>(m);
        }
        switch (p.rows - m) {
            case 5:
                tile.template operator()<5>(m);
                break;
            case 4:
                tile.template operator()<4>(m);
                break;
            case 3:
                tile.template operator()<3>(m);
                break;
            case 2:
                tile.template operator()<2>(m);
                break;
            case 1:
                tile.template operator()<1>(m);
                break;
            default:
                break;
        }
    }
}

// C (rows x width) += A B.
void multiply(const Product& p, Index width) {
    constexpr Index step = block_vectors * lanes;
    Index column = 0;
    for (; column + step <= width; column += step) {
        multiply_columns<block_vectors>(p, column);
    }
    for (; column < width; column += cache_line_floats) {
        multiply_columns < vectors_per_line<block_vectors ? vectors_per_line : block_vectors>(p, column);
        if constexpr (vectors_per_line > block_vectors) {
            multiply_columns<block_vectors>(p, column + step);
        }
    }
}

}  // namespace
}  // namespace omp_mlp
