// The first layer from dense rows with marks of their nonzeros.
#pragma once

#include "kernels/simd/tiles.hpp"
#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

// The float that a marked entry stands for.
struct FloatValues {
    const float* row;
    float operator()(Index k) const { return row[k]; }
};

struct ByteValues {
    const std::uint8_t* row;
    const float* byte_value;
    float operator()(Index k) const { return byte_value[row[k]]; }
};

struct FloatRows {
    const float* const* rows;
    FloatValues row(Index s) const { return {rows[s]}; }
};

struct ByteRows {
    const std::uint8_t* const* rows;
    const float* byte_value;
    ByteValues row(Index s) const { return {rows[s], byte_value}; }
};

// Calls fn with the rows of x.
template <typename Fn>
void with_rows(const MarkedRows& x, const Fn& fn) {
    if (x.floats != nullptr) {
        fn(FloatRows{x.floats});
    } else {
        fn(ByteRows{x.bytes, x.byte_value});
    }
}

// Where there are enough registers, two samples (or two rows of W) are worked on together. What both
// need is loaded once. These loops wait for loads.
constexpr bool is_double = registers == 32;

// sum += the sum over the bits k of `left` of values(k) rows[k].
template <Index N, typename Bits, typename Values>
[[gnu::always_inline]] inline void add_rows(Bits left, const Values& values, const float* rows,
                                            Index stride, V* sum) {
    for (; left != 0; left &= left - 1) {
        const Index k = __builtin_ctzll(left);
        const float* row = rows + k * stride;
        const float value = values(k);
#pragma GCC unroll 16
        for (Index v = 0; v < N; ++v) {
            sum[v] += value * load(row + v * lanes);
        }
    }
}

// The same for two sums, each with its own bits and values.
template <Index N, typename Bits, typename Values0, typename Values1>
[[gnu::always_inline]] inline void add_rows_to_two(Bits left_0, Bits left_1, const Values0& values_0,
                                                   const Values1& values_1, const float* rows,
                                                   Index stride, V* sum_0, V* sum_1) {
    const Bits both = in_register(left_0 & left_1);
    for (Bits left = both; left != 0; left &= left - 1) {
        const Index k = __builtin_ctzll(left);
        const float* row = rows + k * stride;
        const float value_0 = values_0(k);
        const float value_1 = values_1(k);
#pragma GCC unroll 16
        for (Index v = 0; v < N; ++v) {
            const V loaded = loaded_once(row + v * lanes);
            sum_0[v] += value_0 * loaded;
            sum_1[v] += value_1 * loaded;
        }
    }
    add_rows<N>(in_register(left_0 ^ both), values_0, rows, stride, sum_0);
    add_rows<N>(in_register(left_1 ^ both), values_1, rows, stride, sum_1);
}

// after = before + the sum over the marked k of values[k] W[k], for `words` words of marks. This is a
// function of its own so that all it needs has a register.
template <Index N, typename Values>
[[gnu::noinline]] void visit(const std::uint64_t* marks, Index words, Values values, const float* W,
                             Index stride, const float* before, float* after) {
    V sum[N];
    load_tile<N>(before, sum);
    for (Index word = 0; word < words; ++word) {
        add_rows<N>(marks[word], values, W, stride, sum);
        W += 64 * stride;
        values.row += 64;
    }
    store_tile<N>(after, sum);
}

// The same for two samples. Their marks, values and sums are the given distances apart.
template <Index N, typename Values>
[[gnu::noinline]] void visit_two(const std::uint64_t* marks, Index marks_apart, Index words,
                                 Values values_0, Values values_1, const float* W, Index stride,
                                 const float* before, Index before_apart, float* after) {
    V sum_0[N];
    V sum_1[N];
    load_tile<N>(before, sum_0);
    load_tile<N>(before + before_apart, sum_1);
    for (Index word = 0; word < words; ++word) {
        add_rows_to_two<N>(marks[word], marks[word + marks_apart], values_0, values_1, W, stride, sum_0,
                           sum_1);
        W += 64 * stride;
        values_0.row += 64;
        values_1.row += 64;
    }
    store_tile<N>(after, sum_0);
    store_tile<N>(after + stride, sum_1);
}

// Prefetches the entries of a row that belong to `words` words of marks from `first` on.
template <typename Entry>
[[gnu::always_inline]] inline void prefetch_block(const void* row, Index first, Index words,
                                                  Index columns) {
    if (row == nullptr) {
        return;
    }
    const auto* bytes = static_cast<const char*>(row);
    const auto size = static_cast<Index>(sizeof(Entry));
    const Index last = 64 * (first + words) < columns ? 64 * (first + words) : columns;
    for (Index offset = 64 * first * size; offset < last * size; offset += cache_line_bytes) {
        __builtin_prefetch(bytes + offset);
    }
}

// As lists_forward, but all samples visit one block of rows of W at a time. The rows that samples share
// come from the second-level cache once, and not once for each sample.
template <typename Rows>
void forward_marked(const MarkedRows& x, const Rows& rows, Index words_a_visit, const float* W,
                    const float* bias, Index width, float* z) {
    const Index words = (x.columns + 63) / 64;
    for_each_tile(width, [&]<Index N>(Index column) {
        for (Index first = 0; first < words; first += words_a_visit) {
            const Index count = first + words_a_visit < words ? words_a_visit : words - first;
            const float* block = W + 64 * first * width + column;
            const auto values_of = [&](Index s) {
                auto values = rows.row(s);
                values.row += 64 * first;
                if (x.upcoming != nullptr && column == 0) {
                    prefetch_block<decltype(*values.row)>(x.upcoming[s], first, count, x.columns);
                }
                return values;
            };
            for (Index s = 0; s < x.samples;) {
                const std::uint64_t* marks = x.marks + s * x.words + first;
                float* z_s = z + s * width + column;
                const float* before = first == 0 ? bias + column : z_s;
                if (is_double && s + 2 <= x.samples) {
                    const auto values_0 = values_of(s);
                    const auto values_1 = values_of(s + 1);
                    if (first == 0 || count > 1 || (marks[0] | marks[x.words]) != 0) {
                        visit_two<N>(marks, x.words, count, values_0, values_1, block, width, before,
                                     first == 0 ? 0 : width, z_s);
                    }
                    s += 2;
                } else {
                    visit<N>(marks, count, values_of(s), block, width, before, z_s);
                    s += 1;
                }
            }
        }
    });
}

void marked_forward(const MarkedRows& x, Index words_a_visit, const float* W, const float* bias,
                    Index width, float* z) {
    with_rows(x, [&](const auto& rows) { forward_marked(x, rows, words_a_visit, W, bias, width, z); });
}

// Entries beside [first, last) count as zero.
void clear_neighbours(const MarkedRows& x, Index first, Index last, std::uint32_t* present) {
    if (first > 0) {
        present[first - 1] = 0;
    }
    if (last < x.columns) {
        present[last] = 0;
    }
}

// present[k] gets a bit for each sample in which entry k is marked. This takes as many 32 x 32 blocks of
// bits at a time as a vector has lanes (Hacker's Delight, 7-3: halves, quarters, ... change places).
void transpose_marks(const MarkedRows& x, Index first, Index last, std::uint32_t* present) {
    constexpr Index most = MarkedRows::most;
    const Index words = 2 * x.words;
    for (Index begin = first / 32 / lanes * lanes; begin * 32 < last; begin += lanes) {
        VBits block[most];
        for (Index s = 0; s < most; ++s) {
            block[s] = VBits{};
            if (s < x.samples) {
                memcpy(&block[s], reinterpret_cast<const char*>(x.marks + s * x.words) + 4 * begin,
                       sizeof(VBits));
            }
        }
        const auto exchange = [&](Index distance, std::uint32_t low) {
#pragma GCC unroll 32
            for (Index s = 0; s < most; ++s) {
                if ((s & distance) == 0) {
                    const VBits moved = ((block[s] >> distance) ^ block[s + distance]) & low;
                    block[s + distance] ^= moved;
                    block[s] ^= moved << distance;
                }
            }
        };
        exchange(16, 0x0000FFFF);
        exchange(8, 0x00FF00FF);
        exchange(4, 0x0F0F0F0F);
        exchange(2, 0x33333333);
        exchange(1, 0x55555555);
        for (Index lane = 0; lane < lanes && begin + lane < words; ++lane) {
            for (Index bit = 0; bit < most; ++bit) {
                present[(begin + lane) * 32 + bit] = block[bit][lane];
            }
        }
    }
    clear_neighbours(x, first, last, present);
}

// Whether an entry makes a pair with the one before it: of entries that follow each other and are not zero, the first
// makes one with the second, and so on.
bool is_second_of_pair(const std::uint32_t* present, Index k) {
    Index before = k;
    while (before > 0 && present[before - 1] != 0) {
        --before;
    }
    return present[k] != 0 && (k - before) % 2 == 1;
}

// A row of W stays in registers while the steps of all samples that have its input are added. Gradient and step are one,
// and every row is read and written once. W is the row of entry k. Two rows that make a pair load the steps that they
// share once, and add them first. Returns the entry that is left, which may make a pair with `last`; `last` if none is.
// A function of its own so that all it needs has a register.
template <Index N, typename Rows>
[[gnu::noinline]] Index update_pairs(Index k, Index last, const std::uint32_t* present, Rows rows,
                                     const float* step, float* W, Index stride) {
    while (k + 1 < last) {
        if (present[k] == 0) {
            W += stride;
            k += 1;
            continue;
        }
        const auto values_0 = [rows, k](Index s) { return rows.row(s)(k); };
        V sum_0[N];
        if (is_double && present[k + 1] != 0) {
            const auto values_1 = [rows, k](Index s) { return rows.row(s)(k + 1); };
            V sum_1[N];
            load_tile<N>(W, sum_0);
            load_tile<N>(W + stride, sum_1);
            add_rows_to_two<N>(present[k], present[k + 1], values_0, values_1, step, stride, sum_0,
                               sum_1);
            store_tile<N>(W, sum_0);
            store_tile<N>(W + stride, sum_1);
            W += 2 * stride;
            k += 2;
            continue;
        }
        load_tile<N>(W, sum_0);
        add_rows<N>(present[k], values_0, step, stride, sum_0);
        store_tile<N>(W, sum_0);
        W += stride;
        k += 1;
    }
    return k;
}

// The same for one row whose partner, which has the steps of `other`, is not here. Its bits do not depend on that.
template <Index N, typename Rows>
[[gnu::noinline]] void update_row(Index k, std::uint32_t own, std::uint32_t other, Rows rows,
                                  const float* step, float* w, Index stride) {
    const auto values = [rows, k](Index s) { return rows.row(s)(k); };
    V sum[N];
    load_tile<N>(w, sum);
    add_rows<N>(own & other, values, step, stride, sum);
    add_rows<N>(own & ~other, values, step, stride, sum);
    store_tile<N>(w, sum);
}

// The rows of the entries in [first, last). W is the row of the first.
template <Index N, typename Rows>
void update_columns(Index first, Index last, Index columns, const std::uint32_t* present, Rows rows,
                    const float* step, float* W, Index stride) {
    Index begin = first;
    if (is_double && 0 < first && first < last && is_second_of_pair(present, first)) {
        update_row<N>(first, present[first], present[first - 1], rows, step, W, stride);
        begin += 1;
    }
    const Index k =
        update_pairs<N>(begin, last, present, rows, step, W + (begin - first) * stride, stride);
    if (k < last && present[k] != 0) {
        const std::uint32_t other = is_double && k + 1 < columns ? present[k + 1] : 0;
        update_row<N>(k, present[k], other, rows, step, W + (k - first) * stride, stride);
    }
}

void marked_update(const MarkedRows& x, const std::uint32_t* present, Index first, Index count,
                   const float* step, float* W, float* bias, Index width) {
    update_bias(step, x.samples, bias, width);
    with_rows(x, [&](const auto& rows) {
        for_each_tile(width, [&]<Index N>(Index column) {
            update_columns<N>(first, first + count, x.columns, present, rows, step + column, W + column,
                              width);
        });
    });
}

}  // namespace
}  // namespace omp_mlp
