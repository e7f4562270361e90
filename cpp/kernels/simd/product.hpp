// The matrix products that dense layers are made of.
//
// C = C_0 + A B, where a tile of C stays in registers while a loop runs over the depth of the product. A small
// product reads A and B where they are. A large one is cut into blocks that stay in the caches, and copies them
// first, so that rows which lie a power of two apart do not share a place in the cache, and a block needs few
// pages (Goto & van de Geijn 2008, Anatomy of high-performance matrix multiplication): panels of B, as wide as a
// tile, for the first cache, and as much as the scratch memory holds for the second.
//
// A copy may be rounded on its way (factors.hpp). Then a step of the depth is a pair of terms.
//
// Every entry is a sum over up to block_depth steps in their order, which is then added to what was there. So an
// entry's bits depend on the depth alone: not on the tile, the scratch memory, or the number of rows and columns.
#pragma once

#include "kernels/simd/factors.hpp"
#include "kernels/simd/tiles.hpp"
#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

// A tile: 12 x 2 vectors of 16 floats, 6 x 4 vectors of 4 floats in 32 registers, 6 x 2 in 16. More rows and fewer
// vectors would load less of B, and more of A.
constexpr Index product_rows = registers == 32 && lanes == cache_line_floats ? 12 : 6;
constexpr Index product_vectors = registers == 32 && lanes < cache_line_floats ? 4 : 2;
constexpr Index product_columns = product_vectors * lanes;
// The least number of columns that are both whole tiles and whole cache lines.
constexpr Index column_unit = product_columns > cache_line_floats ? product_columns : cache_line_floats;

// Steps that are added up in registers.
constexpr Index block_depth = 256;
// From one row of A to the next in a copy: a line more than the rows have, against rows that share a place in the
// first cache.
constexpr Index copied_row = block_depth + cache_line_floats;

constexpr Index smaller(Index a, Index b) {
    return a < b ? a : b;
}

// Calls fn(begin, size) for blocks of at most `most` that cover n, of about equal sizes that are multiples of
// `unit`, but for the last.
template <typename Fn>
[[gnu::always_inline]] inline void for_each_block(Index n, Index most, Index unit, const Fn& fn) {
    const Index blocks = (n + most - 1) / most;
    const Index size = ((n + blocks - 1) / blocks + unit - 1) / unit * unit;
    for (Index begin = 0; begin < n; begin += size) {
        fn(begin, smaller(size, n - begin));
    }
}

// Calls fn.template operator()<M>(first row) for groups of up to product_rows rows. The last two are about equally
// large: a group of one row takes as long as one of three.
template <Index M = product_rows, typename Fn>
[[gnu::always_inline]] inline void with_rows(Index rows, Index first, const Fn& fn) {
    if (rows == M) {
        fn.template operator()<M>(first);
    } else if constexpr (M > 1) {
        with_rows<M - 1>(rows, first, fn);
    }
}

template <typename Fn>
[[gnu::always_inline]] inline void for_each_group(Index rows, const Fn& fn) {
    Index first = 0;
    for (; rows - first >= 2 * product_rows || rows - first == product_rows; first += product_rows) {
        fn.template operator()<product_rows>(first);
    }
    if (rows - first > product_rows) {
        const Index half = (rows - first) / 2;
        with_rows(half, first, fn);
        first += half;
    }
    if (rows > first) {
        with_rows(rows - first, first, fn);
    }
}

// Calls fn.template operator()<N>(first column) for panels of N vectors that cover the columns, a multiple of
// `lanes`.
template <typename Fn>
[[gnu::always_inline]] inline void for_each_panel(Index columns, const Fn& fn) {
    Index column = 0;
    for (; column + product_columns <= columns; column += product_columns) {
        fn.template operator()<product_vectors>(column);
    }
    if constexpr (product_vectors == 4) {
        if (column + 2 * lanes <= columns) {
            fn.template operator()<2>(column);
            column += 2 * lanes;
        }
    }
    if (column < columns) {
        fn.template operator()<1>(column);
    }
}

// What is added to a product, and where the sum goes: the row m of each starts m times the stride further on.
struct Sum {
    const float* from;
    Index from_stride;
    float* to;
    Index to_stride;
};

// The rows that a tile asks memory for while it multiplies. They are copied after it, and a copy that had to wait for
// them would take up to half the time of a product with 32 samples.
template <typename F>
struct Ahead {
    // Floats of a row that are asked for, those that its copy takes at most.
    static constexpr Index row_floats = block_depth * F::terms;
    // Every so many steps of the depth, a tile asks for some lines: for the fewer, the sooner it is done with a step.
    static constexpr Index steps = 8;
    static constexpr Index lines = steps * F::terms * product_rows * product_columns / (Index{12} * 32);
    static constexpr Index rows_of(Index depth) {
        return depth / steps * lines * cache_line_floats / row_floats;
    }

    const float* rows;
    Index stride;

    // Before the first of the steps that begin at d: into the second cache, from the beginning of the rows on.
    [[gnu::always_inline]] void ask(Index d) const {
        const Index first = d / steps * lines * cache_line_floats;
        const float* from = rows + first / row_floats * stride + first % row_floats;
#pragma GCC unroll 16
        for (Index line = 0; line < lines; ++line) {
            __builtin_prefetch(from + line * cache_line_floats, 0, 2);
        }
    }
};

template <typename F, Index M, Index N>
[[gnu::always_inline]] inline void add_steps(const float* a, Index a_row, Index a_step, Index depth,
                                             const float* b, Index b_stride, V (&sum)[M][N]) {
    for (Index d = 0; d < depth; ++d) {
        V row[N];
        load_tile<N>(b, row);
#pragma GCC unroll 16
        for (Index m = 0; m < M; ++m) {
            const typename F::Step step{a + m * a_row};
#pragma GCC unroll 16
            for (Index n = 0; n < N; ++n) {
                sum[m][n] = step.add(sum[m][n], row[n]);
            }
        }
        a += a_step;
        b += b_stride;
    }
}

// A(m, d) = a[m * a_row + d * a_step], for M rows and N vectors of columns. depth: in steps.
template <typename F, Index M, Index N>
[[gnu::always_inline]] inline void multiply_tile(const float* a, Index a_row, Index a_step, Index depth,
                                                 const float* b, Index b_stride, Sum c,
                                                 const Ahead<F>* ahead = nullptr) {
    V sum[M][N] = {};
    Index done = 0;
    if (ahead != nullptr) {
        constexpr Index steps = Ahead<F>::steps;
        for (; done + steps <= depth; done += steps) {
            ahead->ask(done);
            add_steps<F, M, N>(a + done * a_step, a_row, a_step, steps, b + done * b_stride, b_stride,
                               sum);
        }
    }
    add_steps<F, M, N>(a + done * a_step, a_row, a_step, depth - done, b + done * b_stride, b_stride,
                       sum);
#pragma GCC unroll 16
    for (Index m = 0; m < M; ++m) {
        const float* from = c.from + m * c.from_stride;
        float* to = c.to + m * c.to_stride;
#pragma GCC unroll 16
        for (Index n = 0; n < N; ++n) {
            store(to + n * lanes, load(from + n * lanes) + sum[m][n]);
        }
    }
}

// The same, with sums that have begun already, of rows of A where they are.
template <Index M, Index N>
[[gnu::always_inline]] inline void continue_tile(const float* a, Index a_stride, Index depth,
                                                 const float* b, Index b_stride, float* sums,
                                                 Index sums_stride) {
    V sum[M][N];
#pragma GCC unroll 16
    for (Index m = 0; m < M; ++m) {
        load_tile<N>(sums + m * sums_stride, sum[m]);
    }
    add_steps<Float32, M, N>(a, a_stride, 1, depth, b, b_stride, sum);
#pragma GCC unroll 16
    for (Index m = 0; m < M; ++m) {
        store_tile<N>(sums + m * sums_stride, sum[m]);
    }
}

// ---- Small products ----

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

template <Index M, Index N>
[[gnu::noinline]] void add_tile(const float* a, Index a_row, Index a_step, Index depth, const float* b,
                                Index b_stride, float* c, Index c_stride) {
    multiply_tile<Float32, M, N>(a, a_row, a_step, depth, b, b_stride, {c, c_stride, c, c_stride});
}

// C (rows x width) += A B, from where A and B are.
void multiply(const Product& p, Index width) {
    for_each_panel(width, [&]<Index N>(Index column) {
        for_each_block(p.depth, block_depth, 1, [&](Index d, Index depth) {
            for_each_group(p.rows, [&]<Index M>(Index m) {
                add_tile<M, N>(p.a + m * p.a_row + d * p.a_step, p.a_row, p.a_step, depth,
                               p.b + d * p.b_stride + column, p.b_stride, p.c + m * p.c_stride + column,
                               p.c_stride);
            });
        });
    });
}

template <int h, int... l>
[[gnu::always_inline]] inline void exchange(V& a, V& b,
                                            const std::integer_sequence<int, l...>& /*lanes*/) {
    const V first = __builtin_shufflevector(a, b, ((l & h) == 0 ? l : lanes + (l ^ h))...);
    b = __builtin_shufflevector(a, b, ((l & h) == 0 ? (l ^ h) : lanes + l)...);
    a = first;
}

// Lane j of v[i] becomes lane i of v[j].
template <int h = lanes / 2>
[[gnu::always_inline]] inline void transpose(V* v) {
    if constexpr (h > 0) {
#pragma GCC unroll 16
        for (Index i = 0; i < lanes; ++i) {
            if ((i & h) == 0) {
                exchange<h>(v[i], v[i + h], std::make_integer_sequence<int, lanes>{});
            }
        }
        transpose<h / 2>(v);
    }
}

// ---- Large products ----

// Tiles of blocks that are copied: A by rows (copy_rows) or by columns (copy_columns), B as panels. What is said of the
// size of a copy is in steps: two terms of a rounded copy take one float's place.
template <typename F, Index M, Index N>
[[gnu::noinline]] void multiply_rows(const float* a, Index steps, const float* b, Sum c,
                                     const Ahead<F>* ahead) {
    multiply_tile<F, M, N>(a, copied_row, 1, steps, b, N * lanes, c, ahead);
}

template <typename F, Index M, Index N>
[[gnu::noinline]] void multiply_columns(const float* a, Index steps, const float* b, Sum c) {
    multiply_tile<F, M, N>(a, 1, M, steps, b, N * lanes, c);
}

#if OMP_MLP_HAS_TILE_UNIT

// The first `rows` rows of a product in the unit for tiles. A has as many rows as a tile, of which more may be anything.
template <Index N>
void multiply_in_unit(const float* a, Index rows, Index steps, const float* b, Sum c,
                      const Ahead<Bfloat16InUnit>* ahead) {
    for (Index d = 0; ahead != nullptr && d < steps; d += Ahead<Bfloat16InUnit>::steps) {
        ahead->ask(d);
    }
    alignas(cache_line_bytes) float sums[2][tile_rows * N * lanes];
    multiply_tiles<N>(a, copied_row, steps, b, sums);
    for (Index m = 0; m < rows; ++m) {
        for (Index n = 0; n < N * lanes; n += lanes) {
            const Index at = m * N * lanes + n;
            store(c.to + m * c.to_stride + n,
                  load(c.from + m * c.from_stride + n) + (load(sums[0] + at) + load(sums[1] + at)));
        }
    }
}

#endif

// Rows of a copy of A that are multiplied together, at most.
template <typename F>
constexpr Index group_rows() {
#if OMP_MLP_HAS_TILE_UNIT
    if constexpr (F::in_unit) {
        return tile_rows;
    }
#endif
    return product_rows;
}

// The unit for tiles reads whole ones, so that a copy has rows for them.
template <typename F>
constexpr Index copy_unit() {
    return F::in_unit ? group_rows<F>() : 1;
}

// Rows that a copy of so many takes.
template <typename F>
constexpr Index rows_of_copy(Index rows) {
    return (rows + copy_unit<F>() - 1) / copy_unit<F>() * copy_unit<F>();
}

// Rows whose copy takes so many floats at most, or the least that a copy can have.
template <typename F>
constexpr Index rows_that_fit(Index floats) {
    const Index units = floats / copied_row / copy_unit<F>();
    return (units > 0 ? units : 1) * copy_unit<F>();
}

// Calls fn.template operator()<M>(first row) for groups of M rows; in tiles (first row, rows), of which there may be less.
template <typename F, typename Fn>
[[gnu::always_inline]] inline void for_each_group_of(Index rows, const Fn& fn) {
    if constexpr (F::in_unit) {
        for (Index first = 0; first < rows; first += group_rows<F>()) {
            fn.template operator()<group_rows<F>()>(first, smaller(group_rows<F>(), rows - first));
        }
    } else {
        for_each_group(rows, fn);
    }
}

// The product of a group of `rows` rows of A, which are copied row by row.
template <typename F, Index M, Index N>
[[gnu::always_inline]] inline void multiply_group(const float* a, [[maybe_unused]] Index rows,
                                                  Index steps, const float* b, Sum c,
                                                  const Ahead<F>* ahead) {
#if OMP_MLP_HAS_TILE_UNIT
    if constexpr (F::in_unit) {
        multiply_in_unit<N>(a, rows, steps, b, c, ahead);
        return;
    }
#endif
    if constexpr (!F::in_unit) {
        multiply_rows<F, M, N>(a, steps, b, c, ahead);
    }
}

// Asks for the lines of M rows that a tile will need: into the second cache, because rows that lie a power of two apart
// have too few places in the first.
template <Index M, Index N>
[[gnu::always_inline]] inline void prefetch_rows(const float* rows, Index stride) {
#pragma GCC unroll 16
    for (Index m = 0; m < M; ++m) {
        for (Index j = 0; j < N * lanes; j += cache_line_floats) {
            __builtin_prefetch(rows + m * stride + j, 0, 2);
        }
    }
}

// Asks for what will be copied next of a row. Rows that lie anywhere are X's own, which are read from memory, and too long
// for the hardware to go on with one while others are copied.
[[gnu::always_inline]] inline void ask_for_more(const DenseRows& a, const float* next, Index size) {
    if (a.each == nullptr) {
        return;
    }
    for (Index k = 0; k < size; k += cache_line_floats) {
        __builtin_prefetch(next + k, 0, 2);
    }
}

// Copies rows of up to block_depth steps, copied_row apart.
template <typename F>
void copy_rows(const DenseRows& a, Index rows, Index depth, float* copy) {
    for (Index m = 0; m < rows; ++m) {
        const float* row = row_of(a, m);
        ask_for_more(a, row + depth, depth);
        F::copy_row(row, depth, copy + m * copied_row);
    }
}

// Groups of columns of A that are copied together. Row by row, they are whole lines that follow one another.
constexpr Index most_groups = 16;

// Where the group that begins with this column begins in a copy: a line further on than the groups before it take,
// against groups that share a place in the first cache.
constexpr Index group_begin(Index column, Index depth) {
    return column * depth + column / product_rows * cache_line_floats;
}

// Floats of the groups of so many columns.
constexpr Index groups_size(Index columns, Index depth) {
    return padded(columns * depth) + (columns / product_rows + 1) * cache_line_floats;
}

// Columns in whole groups, and at least one group, that take about so many floats at most.
constexpr Index columns_in_groups(Index floats, Index depth) {
    const Index groups = floats / groups_size(product_rows, depth);
    return smaller(groups > 0 ? groups : 1, most_groups) * product_rows;
}

// Copies columns of A (depth rows), group by group: of a group of M, copy[d * M + m] = a[d][m] at step d.
template <typename F>
void copy_columns(const DenseRows& a, Index columns, Index depth, float* copy) {
    const Index steps = steps_of<F>(depth);
    for (Index d = 0; d < steps; ++d) {
        const typename F::Rows rows{a, depth, d};
        for (Index row = d * F::terms; row < smaller((d + 1) * F::terms, depth); ++row) {
            ask_for_more(a, row_of(a, row) + columns, columns);
        }
        for_each_group(columns, [&]<Index M>(Index m) {
            rows.template copy_some<M>(m, copy + group_begin(m, steps) + d * M);
        });
    }
}

// The same where A is read in tiles: columns become rows of the copy, copied_row apart. Of the last tile, rows that are
// no columns become zero.
#if OMP_MLP_HAS_TILE_UNIT

void copy_columns_as_rows(const DenseRows& a, Index columns, Index depth, float* copy) {
    for (Index d = 0; d < steps_of<Bfloat16InUnit>(depth); d += lanes) {
        for (Index m = 0; m < columns; m += lanes) {
            V v[lanes];
#pragma GCC unroll 16
            for (Index i = 0; i < lanes; ++i) {
                v[i] = Bfloat16InUnit::Rows{a, depth, d + i}.step_within(m, columns);
            }
            transpose(v);
#pragma GCC unroll 16
            for (Index i = 0; i < lanes; ++i) {
                store(copy + (m + i) * copied_row + d, v[i]);
            }
        }
    }
}

#endif

// Columns of A that are copied together, the floats of their copy, where one begins there, and the copy itself.
template <typename F>
struct ColumnsOfA {
    static constexpr Index most(Index floats, Index depth) {
        return F::in_unit ? smaller(rows_that_fit<F>(floats), most_groups * group_rows<F>())
                          : columns_in_groups(floats, depth);
    }
    static constexpr Index size(Index columns, Index depth) {
        return F::in_unit ? columns * copied_row : groups_size(columns, depth);
    }
    static constexpr Index begin(Index column, Index depth) {
        return F::in_unit ? column * copied_row : group_begin(column, depth);
    }
    static void copy(const DenseRows& a, Index columns, Index depth, float* to) {
#if OMP_MLP_HAS_TILE_UNIT
        if constexpr (F::in_unit) {
            copy_columns_as_rows(a, columns, depth, to);
            return;
        }
#endif
        if constexpr (!F::in_unit) {
            copy_columns<F>(a, columns, depth, to);
        }
    }
    // The product of a group of `rows` columns.
    template <Index M, Index N>
    [[gnu::always_inline]] static void multiply(const float* a, Index rows, Index steps, const float* b,
                                                Sum c) {
        if constexpr (F::in_unit) {
            multiply_group<F, M, N>(a, rows, steps, b, c, nullptr);
        } else {
            multiply_columns<F, M, N>(a, steps, b, c);
        }
    }
};

// Where the panel of a column begins: a line further on than the panels before it take, against panels that share a
// place in the caches.
Index panel_begin(Index column, Index depth) {
    return column * depth + column / product_columns * cache_line_floats;
}

// Floats of the panels of so many columns.
constexpr Index panels_size(Index columns, Index depth) {
    return columns * depth + (columns / product_columns + 1) * cache_line_floats;
}

// Columns whose panels take about so many floats: whole units, and at least one.
Index columns_that_fit(Index floats, Index depth) {
    const Index units = floats / (depth + 4) / column_unit;
    return (units > 0 ? units : 1) * column_unit;
}

// Copies b (depth x columns) panel by panel: that of column j starts at panels + panel_begin(j, depth).
template <typename F>
void copy_panels(const float* b, Index b_stride, Index depth, Index columns, float* panels) {
    constexpr Index ahead = 4;
    const Index steps = steps_of<F>(depth);
    for (Index d = 0; d < steps; ++d) {
        const typename F::Rows rows{{b, b_stride}, depth, d};
        for (Index row = d * F::terms + ahead; row < (d + 1) * F::terms + ahead; ++row) {
            for (Index j = 0; j < columns; j += cache_line_floats) {
                __builtin_prefetch(b + row * b_stride + j, 0, 2);
            }
        }
        for_each_panel(columns, [&]<Index N>(Index column) {
            float* to = panels + panel_begin(column, steps) + d * N * lanes;
#pragma GCC unroll 16
            for (Index n = 0; n < N; ++n) {
                store(to + n * lanes, rows.step(column + n * lanes));
            }
        });
    }
}

// The same as copy_panels, of b transposed: b has `columns` rows, of which `depth` floats are copied, a multiple of
// `lanes`. Further columns, up to `filled`, become zero.
template <typename F>
void copy_panels_transposed(const float* b, Index b_stride, Index depth, Index columns, Index filled,
                            float* panels) {
    const Index steps = steps_of<F>(depth);
    for_each_panel(filled, [&]<Index N>(Index first) {
        for (Index n = 0; n < N; ++n) {
            const Index column = first + n * lanes;
            float* to = panels + panel_begin(first, steps) + n * lanes;
            for (Index d = 0; d < steps; d += lanes) {
                V v[lanes];
#pragma GCC unroll 16
                for (Index i = 0; i < lanes; ++i) {
                    v[i] = column + i < columns ? F::steps(b + (column + i) * b_stride, d, depth) : V{};
                }
                transpose(v);
#pragma GCC unroll 16
                for (Index i = 0; i < lanes; ++i) {
                    if (F::terms == 1 || d + i < steps) {
                        store(to + (d + i) * N * lanes, v[i]);
                    }
                }
            }
        }
    });
}

}  // namespace
}  // namespace omp_mlp
