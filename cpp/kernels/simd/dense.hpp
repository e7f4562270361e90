// Dense layers.
#pragma once

#include "kernels/simd/product.hpp"
#include "kernels/simd/tiles.hpp"
#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

// Rows of W, and those that are multiplied with them: `filled` numbers each, `stride` from one to the next. Products leave
// out the empty line that a row may have (row_stride).
struct Columns {
    explicit constexpr Columns(Index fan_out) : filled{padded(fan_out)}, stride{row_stride(fan_out)} {}
    Index filled;
    Index stride;
};

// Samples whose rows fit a tile, and the first cache.
constexpr Index most_few = smaller(product_rows, 8);

// Whether W has so few and so short rows that a product had better read them where they are.
bool is_small(Index fan_in, Index columns) {
    return columns <= 256 && fan_in * columns <= (Index{1} << 16);
}

// z = bias + a W, for one sample and a W that is as wide as a few tiles. One row of W has too few sums to keep the
// multipliers busy, so a narrow tile takes four rows at a time.
void forward_one_in_tiles(const float* a, Index fan_in, const float* W, const float* bias,
                          const Columns& of_W, float* z) {
    for_each_tile(of_W.filled, [&]<Index N>(Index column) {
        constexpr Index chains = N >= 4 ? 1 : 4;
        V sum[chains][N] = {};
        Index k = 0;
        const auto add = [&](Index row, Index chain) {
            const float value = a[row];
            const float* w = W + row * of_W.stride + column;
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
            V total = load(bias + column + v * lanes);
#pragma GCC unroll 16
            for (Index chain = 0; chain < chains; ++chain) {
                total += sum[chain][v];
            }
            store(z + column + v * lanes, total);
        }
    });
}

// The same for a wider W, whose rows in tiles would be a page for each piece: some rows of W at a time, from their
// beginning to their end, as memory likes best, with z in the first cache.
void forward_one_by_rows(const float* a, Index fan_in, const float* W, const float* bias,
                         const Columns& of_W, float* z) {
    constexpr Index rows_together = 8;
    memcpy(z, bias, static_cast<std::size_t>(of_W.filled) * sizeof(float));
    const auto add = [=]<Index M>(Index k) {
        V value[M];
#pragma GCC unroll 16
        for (Index m = 0; m < M; ++m) {
            value[m] = broadcast(a[k + m]);
        }
        const float* rows = W + k * of_W.stride;
        for (Index column = 0; column < of_W.filled; column += lanes) {
            V sum = load(z + column);
#pragma GCC unroll 16
            for (Index m = 0; m < M; ++m) {
                sum += value[m] * load(rows + m * of_W.stride + column);
            }
            store(z + column, sum);
        }
    };
    Index k = 0;
    for (; k + rows_together <= fan_in; k += rows_together) {
        add.template operator()<rows_together>(k);
    }
    for (; k < fan_in; ++k) {
        add.template operator()<1>(k);
    }
}

void forward_one(const float* a, Index fan_in, const float* W, const float* bias, const Columns& of_W,
                 float* z) {
    // Tiles of rows within a page, or nearly so, are as good as whole rows.
    constexpr Index widest_in_tiles = 512;
    const auto forward = of_W.filled <= widest_in_tiles ? forward_one_in_tiles : forward_one_by_rows;
    forward(a, fan_in, W, bias, of_W, z);
}

// W goes through in blocks that are as wide as they are deep at most. While the tiles of a block are computed, memory is
// asked for the next.
template <typename F>
void forward_in_blocks(const DenseRows& a, Index samples, Index fan_in, const float* W,
                       const float* bias, const Columns& of_W, float* z, const Scratch& scratch) {
    const Index most_columns = smaller(columns_that_fit(scratch.count / 2, block_depth), block_depth);
    const Index most_samples = rows_that_fit<F>(scratch.count - panels_size(most_columns, block_depth));
    for_each_block(samples, most_samples, copy_unit<F>(), [&](Index s, Index rows) {
        float* panels = scratch.floats + rows_of_copy<F>(rows) * copied_row;
        for_each_block(fan_in, block_depth * F::terms, F::terms, [&](Index k, Index depth) {
            const Index steps = steps_of<F>(depth);
            copy_rows<F>(part_of(a, s, k), rows, depth, scratch.floats);
            for_each_block(of_W.filled, most_columns, column_unit, [&](Index j, Index columns) {
                copy_panels<F>(W + k * of_W.stride + j, of_W.stride, depth, columns, panels);
                const bool is_last = j + columns == of_W.filled;
                const Index next_rows = is_last ? smaller(depth, fan_in - k - depth) : depth;
                Ahead<F> ahead{W + (is_last ? (k + depth) * of_W.stride : k * of_W.stride + j + columns),
                               of_W.stride};
                Index asked = 0;
                for_each_group_of<F>(rows, [&]<Index M>(Index m, Index group = M) {
                    for_each_panel(columns, [&]<Index N>(Index column) {
                        float* to = z + (s + m) * of_W.stride + j + column;
                        multiply_group<F, M, N>(
                            scratch.floats + m * copied_row, group, steps,
                            panels + panel_begin(column, steps),
                            {k == 0 ? bias + j + column : to, k == 0 ? 0 : of_W.stride, to, of_W.stride},
                            asked < next_rows ? &ahead : nullptr);
                        asked += Ahead<F>::rows_of(steps);
                        ahead.rows += Ahead<F>::rows_of(steps) * of_W.stride;
                    });
                });
            });
        });
    });
}

// The same for few samples, where a copy of W would take as long as the product: some rows of W at a time, from their
// beginning to their end, as memory likes best, with the sums in the first cache.
void forward_few(const DenseRows& a, Index samples, Index fan_in, const float* W, const float* bias,
                 const Columns& of_W, float* z, const Scratch& scratch) {
    constexpr Index rows_together = 8;
    constexpr Index most_columns = 1024;
    static_assert(most_few * (most_columns + copied_row) <= Scratch::least);
    float* sums = scratch.floats;
    float* copy = sums + most_few * most_columns;
    for_each_block(of_W.filled, most_columns, cache_line_floats, [&](Index j, Index columns) {
        for_each_block(fan_in, block_depth, 1, [&](Index k, Index depth) {
            DenseRows own = part_of(a, 0, k);
            if (own.each != nullptr) {
                copy_rows<Float32>(own, samples, depth, copy);
                own = {copy, copied_row};
            }
            memset(sums, 0, static_cast<std::size_t>(samples * columns) * sizeof(float));
            for (Index d = 0; d < depth; d += rows_together) {
                for_each_panel(columns, [&]<Index N>(Index column) {
                    with_rows(samples, 0, [&]<Index M>(Index /*first*/) {
                        continue_tile<M, N>(own.first + d, own.stride, smaller(rows_together, depth - d),
                                            W + (k + d) * of_W.stride + j + column, of_W.stride,
                                            sums + column, columns);
                    });
                });
            }
            for (Index s = 0; s < samples; ++s) {
                float* to = z + s * of_W.stride + j;
                const float* from = k == 0 ? bias + j : to;
                for (Index column = 0; column < columns; column += lanes) {
                    store(to + column, load(from + column) + load(sums + s * columns + column));
                }
            }
        });
    });
}

// The same for a small W. A product of it reads a and W where they are.
void forward_small(const DenseRows& a, Index samples, Index fan_in, const float* W, const float* bias,
                   const Columns& of_W, float* z) {
    for (Index s = 0; s < samples; ++s) {
        memcpy(z + s * of_W.stride, bias, static_cast<std::size_t>(of_W.filled) * sizeof(float));
    }
    multiply({a.first, a.stride, 1, fan_in, W, of_W.stride, z, of_W.stride, samples}, of_W.filled);
}

void dense_forward(const DenseRows& a, Index samples, Index fan_in, const float* W, const float* bias,
                   Index fan_out, float* z, const Scratch& scratch) {
    const Columns of_W{fan_out};
    if (samples == 1) {
        forward_one(row_of(a, 0), fan_in, W, bias, of_W, z);
    } else if (is_small(fan_in, of_W.filled) && a.each == nullptr) {
        forward_small(a, samples, fan_in, W, bias, of_W, z);
    } else if (samples <= most_few) {
        forward_few(a, samples, fan_in, W, bias, of_W, z, scratch);
    } else {
        forward_in_blocks<Float32>(a, samples, fan_in, W, bias, of_W, z, scratch);
    }
}

// below[i] = delta . W[i] for the rows i < `lanes`, of which the first `rows` exist.
template <bool all>
[[gnu::always_inline]] inline V dot_rows(const float* delta, const float* W, Index rows,
                                         const Columns& of_W) {
    V sum[lanes] = {};
    for (Index j = 0; j < of_W.filled; j += lanes) {
        const V d = load(delta + j);
#pragma GCC unroll 16
        for (Index i = 0; i < lanes; ++i) {
            if (all || i < rows) {
                sum[i] += d * load(W + i * of_W.stride + j);
            }
        }
    }
    return sum_each(sum);
}

// The dot products of some rows of W with some samples, as many as a vector has lanes: each row is loaded once for all
// of these samples. Lane s * dotted_rows + i is delta[s] . W[i].
constexpr Index dotted_rows = 4;
constexpr Index dotted_samples = lanes / dotted_rows;

[[gnu::always_inline]] inline V dot_tile(const float* const* delta, const float* W,
                                         const Columns& of_W) {
    V sum[lanes] = {};
    for (Index j = 0; j < of_W.filled; j += lanes) {
        V d[dotted_samples];
#pragma GCC unroll 16
        for (Index s = 0; s < dotted_samples; ++s) {
            d[s] = load(delta[s] + j);
        }
#pragma GCC unroll 16
        for (Index i = 0; i < dotted_rows; ++i) {
            const V row = load(W + i * of_W.stride + j);
#pragma GCC unroll 16
            for (Index s = 0; s < dotted_samples; ++s) {
                sum[s * dotted_rows + i] += d[s] * row;
            }
        }
    }
    return sum_each(sum);
}

// below[s][k] = delta[s] . W[k] for the rows k .. k + dotted_rows, of up to dotted_samples samples from s on.
void backward_tile(const float* delta, Index s, Index samples, const float* W, Index k,
                   const Columns& of_W, float* below, Index below_stride) {
    const float* rows[dotted_samples];
    for (Index t = 0; t < dotted_samples; ++t) {
        rows[t] = delta + smaller(s + t, samples - 1) * of_W.stride;
    }
    alignas(cache_line_bytes) float dots[lanes];
    store(dots, dot_tile(rows, W + k * of_W.stride, of_W));
    for (Index t = 0; t < dotted_samples && s + t < samples; ++t) {
        memcpy(below + (s + t) * below_stride + k, dots + t * dotted_rows, dotted_rows * sizeof(float));
    }
}

// below[s][k] = delta[s] . W[k] for the rows from k on, each sample by itself: as many rows at a time as a vector has lanes.
[[gnu::always_inline]] inline void backward_apart(const float* delta, Index samples, const float* W,
                                                  Index k, Index fan_in, const Columns& of_W,
                                                  float* below, Index below_stride) {
    for (; k + lanes <= fan_in; k += lanes) {
        for (Index s = 0; s < samples; ++s) {
            store(below + s * below_stride + k,
                  dot_rows<true>(delta + s * of_W.stride, W + k * of_W.stride, lanes, of_W));
        }
    }
    for (; k < padded(fan_in); k += lanes) {
        for (Index s = 0; s < samples; ++s) {
            store(below + s * below_stride + k,
                  dot_rows<false>(delta + s * of_W.stride, W + k * of_W.stride, fan_in - k, of_W));
        }
    }
}

// below[s][k] = delta[s] . W[k], for few samples: W is read once.
void backward_few(const float* delta, Index samples, const float* W, Index fan_in, const Columns& of_W,
                  float* below, Index below_stride) {
    const Index in_tiles = 2 * samples > dotted_samples ? fan_in / lanes * lanes : 0;
    for (Index k = 0; k < in_tiles; k += dotted_rows) {
        for (Index s = 0; s < samples; s += dotted_samples) {
            backward_tile(delta, s, samples, W, k, of_W, below, below_stride);
        }
    }
    if (of_W.stride == cache_line_floats) {
        // With places that are known beforehand.
        constexpr Columns one_line{cache_line_floats};
        backward_apart(delta, samples, W, in_tiles, fan_in, one_line, below, below_stride);
    } else {
        backward_apart(delta, samples, W, in_tiles, fan_in, of_W, below, below_stride);
    }
}

alignas(cache_line_bytes) constexpr float zeros[product_columns] = {};

// to[i * to_stride + m] = sums[m * stride + i] for i < columns and m < rows, where stride is `columns` in whole vectors.
void store_transposed(const float* sums, Index rows, Index columns, float* to, Index to_stride) {
    const Index stride = (columns + lanes - 1) / lanes * lanes;
    for (Index column = 0; column < stride; column += lanes) {
        for (Index m = 0; m < rows; m += lanes) {
            V v[lanes];
#pragma GCC unroll 16
            for (Index i = 0; i < lanes; ++i) {
                v[i] = load(sums + (m + i) * stride + column);
            }
            transpose(v);
#pragma GCC unroll 16
            for (Index i = 0; i < lanes; ++i) {
                if (column + i < columns) {
                    store(to + (column + i) * to_stride + m, v[i]);
                }
            }
        }
    }
}

// below = delta W transposed, as W delta transposed: rows of W are copied as they are, and delta is transposed, which
// is smaller. What comes out is transposed back.
template <typename F>
void backward_in_blocks(const float* delta, Index samples, const float* W, Index fan_in,
                        const Columns& of_W, float* below, Index below_stride, const Scratch& scratch) {
    float* rows_of_W = scratch.floats;
    float* deltas = rows_of_W + group_rows<F>() * copied_row;
    const Index half = (scratch.count - group_rows<F>() * copied_row) / 2;
    const Index most_samples = half / (block_depth + 2) / lanes * lanes;
    for_each_block(samples, most_samples, lanes, [&](Index s, Index together) {
        const Index filled = (together + lanes - 1) / lanes * lanes;
        float* sums = deltas + panels_size(filled, block_depth);
        const Index most_rows =
            (scratch.count - (sums - scratch.floats)) / filled / cache_line_floats * cache_line_floats;
        for_each_block(fan_in, most_rows, cache_line_floats, [&](Index k, Index rows) {
            for_each_block(of_W.filled, block_depth * F::terms, cache_line_floats,
                           [&](Index j, Index depth) {
                               const Index steps = steps_of<F>(depth);
                               copy_panels_transposed<F>(delta + s * of_W.stride + j, of_W.stride, depth,
                                                         together, filled, deltas);
                               for_each_group_of<F>(rows, [&]<Index M>(Index m, Index group = M) {
                                   const float* own = W + (k + m) * of_W.stride + j;
                                   copy_rows<F>({own, of_W.stride}, group, depth, rows_of_W);
                                   Ahead<F> ahead{own + M * of_W.stride, of_W.stride};
                                   Index asked = m + M;
                                   for_each_panel(filled, [&]<Index N>(Index column) {
                                       float* to = sums + m * filled + column;
                                       multiply_group<F, M, N>(
                                           rows_of_W, group, steps, deltas + panel_begin(column, steps),
                                           {j == 0 ? zeros : to, j == 0 ? 0 : filled, to, filled},
                                           asked < rows ? &ahead : nullptr);
                                       asked += Ahead<F>::rows_of(steps);
                                       ahead.rows += Ahead<F>::rows_of(steps) * of_W.stride;
                                   });
                               });
                           });
            const Index padding = padded(rows) - rows;
            memset(sums + rows * filled, 0, static_cast<std::size_t>(padding * filled) * sizeof(float));
            store_transposed(sums, padded(rows), together, below + s * below_stride + k, below_stride);
        });
    });
}

// below = delta W transposed, panel by panel of W transposed.
void backward_in_place(const float* delta, Index samples, const float* W, Index fan_in,
                       const Columns& of_W, float* below, Index below_stride, const Scratch& scratch) {
    for_each_panel(padded(fan_in), [&]<Index N>(Index k) {
        copy_panels_transposed<Float32>(W + k * of_W.stride, of_W.stride, of_W.filled,
                                        smaller(fan_in - k, N * lanes), N * lanes, scratch.floats);
        for_each_group(samples, [&]<Index M>(Index s) {
            multiply_tile<Float32, M, N>(delta + s * of_W.stride, of_W.stride, 1, of_W.filled,
                                         scratch.floats, N * lanes,
                                         {zeros, 0, below + s * below_stride + k, below_stride});
        });
    });
}

// An empty line at the end of each row (row_stride) becomes 0; the products write the lines before it.
void clear_empty_line(float* below, Index samples, Index fan_in, Index below_stride) {
    const Index written = padded(fan_in);
    for (Index s = 0; s < samples && written < below_stride; ++s) {
        memset(below + s * below_stride + written, 0,
               static_cast<std::size_t>(below_stride - written) * sizeof(float));
    }
}

void dense_backward(const float* delta, Index samples, const float* W, Index fan_in, Index fan_out,
                    float* below, Index below_stride, const Scratch& scratch) {
    const Columns of_W{fan_out};
    clear_empty_line(below, samples, fan_in, below_stride);
    if (samples <= most_few) {
        backward_few(delta, samples, W, fan_in, of_W, below, below_stride);
        return;
    }
    // What is transposed takes time: W in place, and in blocks delta and what comes out.
    if (is_small(fan_in, of_W.filled) && fan_in * of_W.filled <= samples * (fan_in + of_W.filled)) {
        backward_in_place(delta, samples, W, fan_in, of_W, below, below_stride, scratch);
    } else {
        backward_in_blocks<Float32>(delta, samples, W, fan_in, of_W, below, below_stride, scratch);
    }
}

template <typename F>
void update_in_blocks(const DenseRows& a, Index samples, Index fan_in, const float* step, float* W,
                      const Columns& of_W, const Scratch& scratch) {
    for_each_block(samples, block_depth * F::terms, F::terms, [&](Index s, Index depth) {
        const Index steps = steps_of<F>(depth);
        const Index most_rows = ColumnsOfA<F>::most(scratch.count / 4, steps);
        float* columns_of_a = scratch.floats;
        float* panels = columns_of_a + ColumnsOfA<F>::size(most_rows, steps);
        const Index left = scratch.count - (panels - scratch.floats);
        const Index most_columns = columns_that_fit(left / 2, steps);
        for_each_block(of_W.filled, most_columns, column_unit, [&](Index j, Index columns) {
            copy_panels<F>(step + s * of_W.stride + j, of_W.stride, depth, columns, panels);
            for_each_block(fan_in, most_rows, group_rows<F>(), [&](Index k, Index together) {
                ColumnsOfA<F>::copy(part_of(a, s, k), together, depth, columns_of_a);
                for_each_group_of<F>(together, [&]<Index M>(Index m, Index group = M) {
                    float* rows = W + (k + m) * of_W.stride + j;
                    const float* own = columns_of_a + ColumnsOfA<F>::begin(m, steps);
                    for_each_panel(columns, [&]<Index N>(Index column) {
                        prefetch_rows<M, N>(rows + M * of_W.stride + column, of_W.stride);
                        ColumnsOfA<F>::template multiply<M, N>(
                            own, group, steps, panels + panel_begin(column, steps),
                            {rows + column, of_W.stride, rows + column, of_W.stride});
                    });
                });
            });
        });
    });
}

// W[k] += a[k] step, for one sample and rows of one line: the step stays in registers.
void update_one_line(const float* a, Index fan_in, const float* step, float* W) {
    constexpr Index vectors = cache_line_floats / lanes;
    V change[vectors];
    for (Index v = 0; v < vectors; ++v) {
        change[v] = load(step + v * lanes);
    }
    for (Index k = 0; k < fan_in; ++k) {
        float* row = W + k * cache_line_floats;
        const float value = a[k];
#pragma GCC unroll 16
        for (Index v = 0; v < vectors; ++v) {
            store(row + v * lanes, load(row + v * lanes) + value * change[v]);
        }
    }
}

// W[k] += a[k] step, for one sample: W is read and written once, row by row.
void update_one(const float* a, Index fan_in, const float* step, float* W, const Columns& of_W) {
    if (of_W.stride == cache_line_floats) {
        update_one_line(a, fan_in, step, W);
        return;
    }
    for (Index k = 0; k < fan_in; ++k) {
        const float value = a[k];
        float* row = W + k * of_W.stride;
        for (Index j = 0; j < of_W.filled; j += cache_line_floats) {
#pragma GCC unroll 16
            for (Index i = 0; i < cache_line_floats; i += lanes) {
                store(row + j + i, load(row + j + i) + value * load(step + j + i));
            }
        }
    }
}

void dense_update(const DenseRows& a, Index samples, Index fan_in, const float* step, float* W,
                  float* bias, Index fan_out, const Scratch& scratch) {
    const Columns of_W{fan_out};
    update_bias(step, samples, bias, of_W.stride);
    if (samples == 1) {
        update_one(row_of(a, 0), fan_in, step, W, of_W);
    } else if (is_small(fan_in, of_W.filled) && a.each == nullptr) {
        multiply({a.first, 1, a.stride, samples, step, of_W.stride, W, of_W.stride, fan_in},
                 of_W.filled);
    } else {
        update_in_blocks<Float32>(a, samples, fan_in, step, W, of_W, scratch);
    }
}

#if OMP_MLP_HAS_BFLOAT16_PAIRS

// ---- The same with factors rounded to bfloat16, where that is faster ----

// As measured, on Zen 5. It asks the samples and the columns alone where a product may be handed out in blocks of rows of
// W, which must not decide how a row is rounded.
bool pays_off(Index samples, Index columns) {
    return columns >= 128 && samples >= (columns > 256 ? 16 : 32);
}

bool pays_off(Index samples, Index fan_in, Index columns) {
    return fan_in >= 64 && pays_off(samples, columns);
}

template <typename F>
void dense_forward_rounded(const DenseRows& a, Index samples, Index fan_in, const float* W,
                           const float* bias, Index fan_out, float* z, const Scratch& scratch) {
    const Columns of_W{fan_out};
    if (pays_off(samples, fan_in, of_W.filled)) {
        [[maybe_unused]] const typename F::Unit unit{};
        forward_in_blocks<F>(a, samples, fan_in, W, bias, of_W, z, scratch);
    } else {
        dense_forward(a, samples, fan_in, W, bias, fan_out, z, scratch);
    }
}

template <typename F>
void dense_backward_rounded(const float* delta, Index samples, const float* W, Index fan_in,
                            Index fan_out, float* below, Index below_stride, const Scratch& scratch) {
    const Columns of_W{fan_out};
    if (pays_off(samples, fan_in, of_W.filled)) {
        clear_empty_line(below, samples, fan_in, below_stride);
        [[maybe_unused]] const typename F::Unit unit{};
        backward_in_blocks<F>(delta, samples, W, fan_in, of_W, below, below_stride, scratch);
    } else {
        dense_backward(delta, samples, W, fan_in, fan_out, below, below_stride, scratch);
    }
}

template <typename F>
void dense_update_rounded(const DenseRows& a, Index samples, Index fan_in, const float* step, float* W,
                          float* bias, Index fan_out, const Scratch& scratch) {
    const Columns of_W{fan_out};
    if (pays_off(samples, of_W.filled)) {
        update_bias(step, samples, bias, of_W.stride);
        [[maybe_unused]] const typename F::Unit unit{};
        update_in_blocks<F>(a, samples, fan_in, step, W, of_W, scratch);
    } else {
        dense_update(a, samples, fan_in, step, W, bias, fan_out, scratch);
    }
}

#endif

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
