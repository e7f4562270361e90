// The fast loops, on GCC/Clang vector types. This file is compiled once for each instruction set, with
// OMP_MLP_TABLE and OMP_MLP_NAME (its table), OMP_MLP_VECTOR_BYTES and OMP_MLP_REGISTERS (its registers) set.
//
// Everything here is in an unnamed namespace, and nothing of the standard library that is a template or
// inline is used: the linker would keep one copy of it for the whole program, perhaps one compiled for
// AVX-512 on a machine without.
//
// What the loops are bound by, and how far from it they are, stands in docs/benchmarks.md.
#include <math.h>  // NOLINT(modernize-deprecated-headers): plain functions, see above
#include <string.h>

#include <utility>  // integer_sequence, which is a type only

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/tables.hpp"

namespace omp_mlp {
namespace {

using V = float __attribute__((vector_size(OMP_MLP_VECTOR_BYTES), may_alias));
using VInt = std::int32_t __attribute__((vector_size(OMP_MLP_VECTOR_BYTES), may_alias));

using VBits = std::uint32_t __attribute__((vector_size(OMP_MLP_VECTOR_BYTES), may_alias));

constexpr Index lanes = OMP_MLP_VECTOR_BYTES / 4;
using VBytes = std::uint8_t __attribute__((vector_size(OMP_MLP_VECTOR_BYTES / 4), may_alias));
// Vectors that a loop over rows keeps in registers, next to what it needs besides.
constexpr Index tile_vectors = OMP_MLP_REGISTERS == 32 ? 12 : 8;
// Filling makes every width a multiple of 16 floats, so the last tile has a multiple of this many vectors.
constexpr Index vectors_per_line = cache_line_floats / lanes;

V load(const float* p) {
    return *reinterpret_cast<const V*>(p);
}

void store(float* p, V v) {
    *reinterpret_cast<V*>(p) = v;
}

// As many bytes as a vector has lanes, to integers and back (what is not within 0..255 becomes anything). By
// hand, for GCC takes a conversion of bytes apart, entry by entry.
#if defined(__AVX512F__)

VInt widened(const std::uint8_t* x) {
    return reinterpret_cast<VInt>(
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))));
}

void store_bytes(VInt v, std::uint8_t* to) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(v)));
}

#elif defined(__AVX2__)

VInt widened(const std::uint8_t* x) {
    return reinterpret_cast<VInt>(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x))));
}

void store_bytes(VInt v, std::uint8_t* to) {
    const auto both = reinterpret_cast<__m256i>(v);
    const __m128i halves =
        _mm_packs_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(halves, halves));
}

#elif defined(__x86_64__)

VInt widened(const std::uint8_t* x) {
    std::int32_t four = 0;
    memcpy(&four, x, sizeof four);
    const __m128i zero = _mm_setzero_si128();
    const __m128i halves = _mm_unpacklo_epi8(_mm_cvtsi32_si128(four), zero);
    return reinterpret_cast<VInt>(_mm_unpacklo_epi16(halves, zero));
}

void store_bytes(VInt v, std::uint8_t* to) {
    const auto whole = reinterpret_cast<__m128i>(v);
    const __m128i halves = _mm_packs_epi32(whole, whole);
    const std::int32_t four = _mm_cvtsi128_si32(_mm_packus_epi16(halves, halves));
    memcpy(to, &four, sizeof four);
}

#else

VInt widened(const std::uint8_t* x) {
    VBytes bytes;
    memcpy(&bytes, x, sizeof bytes);
    return __builtin_convertvector(bytes, VInt);
}

void store_bytes(VInt v, std::uint8_t* to) {
    const VBytes bytes = __builtin_convertvector(v, VBytes);
    memcpy(to, &bytes, sizeof bytes);
}

#endif

// Calls fn.template operator()<N>(first column) with N = vectors.
template <Index N, typename Fn>
void with_vectors(Index vectors, Index column, const Fn& fn) {
    if (vectors == N) {
        fn.template operator()<N>(column);
    } else if constexpr (N > vectors_per_line) {
        with_vectors<N - vectors_per_line>(vectors, column, fn);
    }
}

// The same for tiles of about equal widths that cover `width` floats: one of 128 floats and one of 16 would
// take longer than two of 80 and 64.
template <typename Fn>
void for_each_tile(Index width, const Fn& fn) {
    constexpr Index lines_a_tile = tile_vectors / vectors_per_line;
    const Index lines = width / cache_line_floats;
    const Index tiles = (lines + lines_a_tile - 1) / lines_a_tile;
    for (Index tile = 0; tile < tiles; ++tile) {
        const Index begin = tile * lines / tiles;
        const Index end = (tile + 1) * lines / tiles;
        with_vectors<tile_vectors>((end - begin) * vectors_per_line, begin * cache_line_floats, fn);
    }
}

// ---- Lists of nonzeros ------------------------------------------------------------------------------

#if defined(__AVX512F__)

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
    // Whether x[k .. k + 7] are all zero; -0 counts as not, and is dropped later.
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

// Without a branch for each entry: a zero is written, and overwritten by the next.
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

// ---- Marks of nonzeros --------------------------------------------------------------------------------

#if defined(__AVX512F__)

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

// Whole numbers, and the quotients that they stand for. A quotient rounded once is what a division gives, and
// slow; with fused multiply-adds it takes three of them (Markstein 1990).
V divided(V whole, float divisor, float inverse) {
#if defined(__FMA__) || defined(__aarch64__)
    const V quotient = whole * inverse;
    const V remainder = whole - quotient * divisor;
    return quotient + remainder * inverse;
#else
    (void)inverse;
    return whole / divisor;
#endif
}

bool to_bytes(const float* x, Index n, float divisor, std::uint8_t* bytes) {
    const float inverse = 1.0F / divisor;
    VInt wrong{};
    const auto convert = [&](const float* from, std::uint8_t* to) {
        V values;
        memcpy(&values, from, sizeof values);
        // What is no number from 0 to 255, NaN too, becomes an integer outside that range, or comes back as
        // something else.
        const VInt whole = __builtin_convertvector(values * divisor + 0.5F, VInt);
        const V back = divided(__builtin_convertvector(whole, V), divisor, inverse);
        wrong |= (whole & ~255) | (back != values);
        store_bytes(whole, to);
    };
    Index k = 0;
    for (; k + lanes <= n; k += lanes) {
        convert(x + k, bytes + k);
    }
    if (k < n) {
        float rest[lanes] = {};
        std::uint8_t rest_bytes[lanes];
        memcpy(rest, x + k, static_cast<std::size_t>(n - k) * sizeof(float));
        convert(rest, rest_bytes);
        memcpy(bytes + k, rest_bytes, static_cast<std::size_t>(n - k));
    }
    std::int32_t any = 0;
    for (Index lane = 0; lane < lanes; ++lane) {
        any |= wrong[lane];
    }
    return any == 0;
}

void widen_uint8(const std::uint8_t* x, Index n, float scale, float* row) {
    for (Index k = 0; k < n; ++k) {
        row[k] = scale * static_cast<float>(x[k]);
    }
}

// ---- First layer, sparse rows -----------------------------------------------------------------------

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
        // Backwards: the rows that the forward pass read last are still in the fastest cache.
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

void update_bias(const float* step, Index samples, float* bias, Index width) {
    for (Index j = 0; j < width; j += lanes) {
        V sum{};
        for (Index s = 0; s < samples; ++s) {
            sum += load(step + s * width + j);
        }
        store(bias + j, load(bias + j) + sum);
    }
}

// Turns the lists of up to 32 samples into lists for each input: which samples have it nonzero (a bit
// each), and their values. Returns how many inputs occur.
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

// A row of W stays in registers while the deltas of all samples that have its input nonzero are added:
// gradient and step in one, and every row is read and written once for a batch.
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

// ---- First layer, marked rows --------------------------------------------------------------------------

// What a marked entry is worth.
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

// Where there are registers for it, two samples (or two rows of W) are worked on together: what both need is
// loaded once, and loads are what these loops wait for.
constexpr bool is_double = OMP_MLP_REGISTERS == 32;

// Loaded once, into a register: GCC would rather load twice, once in each instruction that uses it, and keep
// bits in mask registers, from which it has to fetch them. An assembler statement without instructions hides
// from it where the value came from.
// NOLINTBEGIN(portability-no-assembler, misc-const-correctness)
[[gnu::always_inline]] inline V loaded_once(const float* p) {
    V v = load(p);
#if defined(__x86_64__)
    asm("" : "+v"(v));
#elif defined(__aarch64__)
    asm("" : "+w"(v));
#endif
    return v;
}

template <typename Bits>
[[gnu::always_inline]] inline Bits in_register(Bits bits) {
    asm("" : "+r"(bits));
    return bits;
}
// NOLINTEND(portability-no-assembler, misc-const-correctness)

template <Index N>
[[gnu::always_inline]] inline void load_tile(const float* p, V* v) {
#pragma GCC unroll 16
    for (Index i = 0; i < N; ++i) {
        v[i] = load(p + i * lanes);
    }
}

template <Index N>
[[gnu::always_inline]] inline void store_tile(float* p, const V* v) {
#pragma GCC unroll 16
    for (Index i = 0; i < N; ++i) {
        store(p + i * lanes, v[i]);
    }
}

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

// The same for two sums with bits and values of their own.
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

// The upper half of a float32, rounded to nearest, ties to even.
std::uint32_t rounded_half(float value) {
    std::uint32_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    return (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
}

// Entries k and k + 1 in bfloat16, the first in the lower half; nothing is read beyond `last`, where W is 0.
[[gnu::always_inline]] inline std::uint32_t pair_of(const FloatValues& values, Index k, Index last) {
    const Index next = k + static_cast<Index>(k < last);
    return rounded_half(values(k)) | rounded_half(values(next)) << 16;
}

// Bytes times a power of two are in bfloat16 what they are.
[[gnu::always_inline]] inline std::uint32_t pair_of(const ByteValues& values, Index k, Index last) {
    const Index next = k + static_cast<Index>(k < last);
    std::uint32_t even = 0;
    std::uint32_t odd = 0;
    memcpy(&even, values.byte_value + values.row[k], sizeof even);
    memcpy(&odd, values.byte_value + values.row[next], sizeof odd);
    return even >> 16 | odd;
}

#if defined(__AVX512BF16__)

// Entries k and k + 1 of a sample, for all lanes.
struct Pair {
    __m512bh both;
    explicit Pair(std::uint32_t bits)
        : both{reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(bits)))} {}
};

[[gnu::always_inline]] inline V multiply_pair(V sum, const Pair& x, VBits w) {
    return reinterpret_cast<V>(
        _mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(w), x.both));
}

VBits paired(V even, V odd) {
    const auto halves = reinterpret_cast<__m512i>(
        _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(odd), reinterpret_cast<__m512>(even)));
    const __m512i interleaved =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return reinterpret_cast<VBits>(_mm512_permutexvar_epi16(interleaved, halves));
}

#else

struct Pair {
    float even;
    float odd;
    explicit Pair(std::uint32_t bits) {
        const std::uint32_t lower = bits << 16;
        const std::uint32_t upper = bits & 0xFFFF0000U;
        memcpy(&even, &lower, sizeof even);
        memcpy(&odd, &upper, sizeof odd);
    }
};

[[gnu::always_inline]] inline V multiply_pair(V sum, const Pair& x, VBits w) {
    sum += x.even * reinterpret_cast<V>(w << 16);
    return sum + x.odd * reinterpret_cast<V>(w & 0xFFFF0000U);
}

VBits paired(V even, V odd) {
    const auto half = [](V v) {
        const auto bits = reinterpret_cast<VBits>(v);
        const VBits quiet = (bits >> 16) | 0x40U;  // rounding could make a NaN infinite
        return v == v ? (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16 : quiet;
    };
    return half(even) | half(odd) << 16;
}

#endif

void store_pair(std::uint32_t* p, V even, V odd) {
    *reinterpret_cast<VBits*>(p) = paired(even, odd);
}

void pair_rows(const float* W, Index rows, Index width, std::uint32_t* pairs) {
    for (Index k = 0; k < rows; k += 2) {
        const float* w = W + k * width;
        for (Index j = 0; j < width; j += lanes) {
            store_pair(pairs + k / 2 * width + j, load(w + j), k + 1 < rows ? load(w + width + j) : V{});
        }
    }
}

template <typename Weight>
constexpr bool is_bfloat16 = std::is_same_v<Weight, std::uint32_t>;

// add_rows from W in bfloat16: k runs over the even entries, each with the one after it, which is not read
// beyond `last`. What is not marked is 0.
template <Index N, typename Values>
[[gnu::always_inline]] inline void add_pairs(std::uint64_t left, const Values& values, Index last,
                                             const std::uint32_t* rows, Index stride, V* sum) {
    for (; left != 0; left &= left - 1) {
        const Index k = __builtin_ctzll(left);
        const std::uint32_t* row = rows + k / 2 * stride;
        const Pair x{pair_of(values, k, last)};
#pragma GCC unroll 16
        for (Index v = 0; v < N; ++v) {
            sum[v] = multiply_pair(sum[v], x, *reinterpret_cast<const VBits*>(row + v * lanes));
        }
    }
}

template <Index N, typename Values>
[[gnu::always_inline]] inline void add_pairs_to_two(std::uint64_t left_0, std::uint64_t left_1,
                                                    const Values& values_0, const Values& values_1,
                                                    Index last, const std::uint32_t* rows, Index stride,
                                                    V* sum_0, V* sum_1) {
    const std::uint64_t both = in_register(left_0 & left_1);
    for (std::uint64_t left = both; left != 0; left &= left - 1) {
        const Index k = __builtin_ctzll(left);
        const auto* row = reinterpret_cast<const float*>(rows + k / 2 * stride);
        const Pair x_0{pair_of(values_0, k, last)};
        const Pair x_1{pair_of(values_1, k, last)};
#pragma GCC unroll 16
        for (Index v = 0; v < N; ++v) {
            const auto w = reinterpret_cast<VBits>(loaded_once(row + v * lanes));
            sum_0[v] = multiply_pair(sum_0[v], x_0, w);
            sum_1[v] = multiply_pair(sum_1[v], x_1, w);
        }
    }
    add_pairs<N>(in_register(left_0 ^ both), values_0, last, rows, stride, sum_0);
    add_pairs<N>(in_register(left_1 ^ both), values_1, last, rows, stride, sum_1);
}

// A bit at every even place where it or the next is marked.
std::uint64_t pair_marks(std::uint64_t marks) {
    return (marks | marks >> 1) & 0x5555555555555555U;
}

// after = before + the sum over the marked k of values[k] W[k], for `words` words of marks. `last`: the last
// entry that there is, counted from the first mark. A function of its own, so that all it needs has a
// register.
template <Index N, typename Values, typename Weight>
[[gnu::noinline]] void visit(const std::uint64_t* marks, Index words, Values values, Index last,
                             const Weight* W, Index stride, const float* before, float* after) {
    V sum[N];
    load_tile<N>(before, sum);
    for (Index word = 0; word < words; ++word) {
        if constexpr (is_bfloat16<Weight>) {
            add_pairs<N>(pair_marks(marks[word]), values, last, W, stride, sum);
            W += 32 * stride;
        } else {
            add_rows<N>(marks[word], values, W, stride, sum);
            W += 64 * stride;
        }
        values.row += 64;
        last -= 64;
    }
    store_tile<N>(after, sum);
}

// The same for two samples, whose marks, values and sums are the given distances apart.
template <Index N, typename Values, typename Weight>
[[gnu::noinline]] void visit_two(const std::uint64_t* marks, Index marks_apart, Index words,
                                 Values values_0, Values values_1, Index last, const Weight* W,
                                 Index stride, const float* before, Index before_apart, float* after) {
    V sum_0[N];
    V sum_1[N];
    load_tile<N>(before, sum_0);
    load_tile<N>(before + before_apart, sum_1);
    for (Index word = 0; word < words; ++word) {
        if constexpr (is_bfloat16<Weight>) {
            add_pairs_to_two<N>(pair_marks(marks[word]), pair_marks(marks[word + marks_apart]), values_0,
                                values_1, last, W, stride, sum_0, sum_1);
            W += 32 * stride;
        } else {
            add_rows_to_two<N>(marks[word], marks[word + marks_apart], values_0, values_1, W, stride,
                               sum_0, sum_1);
            W += 64 * stride;
        }
        values_0.row += 64;
        values_1.row += 64;
        last -= 64;
    }
    store_tile<N>(after, sum_0);
    store_tile<N>(after + stride, sum_1);
}

// Has the memory start on the entries of a row that belong to `words` words of marks from `first` on.
template <typename Entry>
void prefetch_block(const void* row, Index first, Index words, Index columns) {
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

// As in lists_forward, but one block of rows of W at a time for all samples: the rows that samples share
// come from the second cache once, not once for each of them.
//
// Weights: the type of W's entries. With bfloat16, a row of W is two of them.
template <typename Rows, typename Weight>
void forward_marked(const MarkedRows& x, const Rows& rows, Index words_a_visit, const Weight* W,
                    const float* bias, Index width, float* z) {
    constexpr Index rows_a_word = is_bfloat16<Weight> ? 32 : 64;
    const Index words = (x.columns + 63) / 64;
    for_each_tile(width, [&]<Index N>(Index column) {
        for (Index first = 0; first < words; first += words_a_visit) {
            const Index count = first + words_a_visit < words ? words_a_visit : words - first;
            const Weight* block = W + rows_a_word * first * width + column;
            const Index last = x.columns - 1 - 64 * first;
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
                        visit_two<N>(marks, x.words, count, values_0, values_1, last, block, width,
                                     before, first == 0 ? 0 : width, z_s);
                    }
                    s += 2;
                } else {
                    visit<N>(marks, count, values_of(s), last, block, width, before, z_s);
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

void marked_forward_bfloat16(const MarkedRows& x, Index words_a_visit, const std::uint32_t* pairs,
                             const float* bias, Index width, float* z) {
    with_rows(x,
              [&](const auto& rows) { forward_marked(x, rows, words_a_visit, pairs, bias, width, z); });
}

// present[k] has a bit for each sample in which entry k is marked: as many 32 x 32 blocks of bits at a time
// as a vector has lanes (Hacker's Delight, 7-3: halves, quarters, ... change places).
void transpose_marks(const MarkedRows& x, std::uint32_t* present) {
    constexpr Index most = MarkedRows::most;
    const Index words = 2 * x.words;
    for (Index first = 0; first * 32 < x.columns; first += lanes) {
        VBits block[most];
        for (Index s = 0; s < most; ++s) {
            block[s] = VBits{};
            if (s < x.samples) {
                memcpy(&block[s], reinterpret_cast<const char*>(x.marks + s * x.words) + 4 * first,
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
        for (Index lane = 0; lane < lanes && first + lane < words; ++lane) {
            for (Index bit = 0; bit < most; ++bit) {
                present[(first + lane) * 32 + bit] = block[bit][lane];
            }
        }
    }
}

// A row of W stays in registers while the steps of all samples that have its input are added: gradient and
// step in one, and every row is read and written once.
template <Index N, typename Rows>
[[gnu::noinline]] void update_columns(Index columns, const std::uint32_t* present, Rows rows,
                                      const float* step, float* W, Index stride) {
    for (Index k = 0; k < columns;) {
        const auto values_0 = [rows, k](Index s) { return rows.row(s)(k); };
        float* w = W + k * stride;
        V sum_0[N];
        if (is_double && k + 1 < columns && present[k] != 0 && present[k + 1] != 0) {
            const auto values_1 = [rows, k](Index s) { return rows.row(s)(k + 1); };
            V sum_1[N];
            load_tile<N>(w, sum_0);
            load_tile<N>(w + stride, sum_1);
            add_rows_to_two<N>(present[k], present[k + 1], values_0, values_1, step, stride, sum_0,
                               sum_1);
            store_tile<N>(w, sum_0);
            store_tile<N>(w + stride, sum_1);
            k += 2;
            continue;
        }
        if (present[k] != 0) {
            load_tile<N>(w, sum_0);
            add_rows<N>(present[k], values_0, step, stride, sum_0);
            store_tile<N>(w, sum_0);
        }
        k += 1;
    }
}

// The same, keeping up a copy in bfloat16: rows 2 p and 2 p + 1 always together.
template <Index N, typename Rows>
[[gnu::noinline]] void update_pairs(Index columns, const std::uint32_t* present, Rows rows,
                                    const float* step, float* W, Index stride, std::uint32_t* pairs) {
    for (Index k = 0; k < columns; k += 2) {
        const std::uint32_t left_0 = present[k];
        const std::uint32_t left_1 = present[k + 1];
        if ((left_0 | left_1) == 0) {
            continue;
        }
        const auto values_0 = [rows, k](Index s) { return rows.row(s)(k); };
        const auto values_1 = [rows, k](Index s) { return rows.row(s)(k + 1); };
        float* w = W + k * stride;
        V sum_0[N];
        V sum_1[N] = {};
        load_tile<N>(w, sum_0);
        if (k + 1 < columns) {
            load_tile<N>(w + stride, sum_1);
        }
        add_rows_to_two<N>(left_0, left_1, values_0, values_1, step, stride, sum_0, sum_1);
        if (left_0 != 0) {
            store_tile<N>(w, sum_0);
        }
        if (left_1 != 0) {
            store_tile<N>(w + stride, sum_1);
        }
#pragma GCC unroll 16
        for (Index v = 0; v < N; ++v) {
            store_pair(pairs + k / 2 * stride + v * lanes, sum_0[v], sum_1[v]);
        }
    }
}

void marked_update(const MarkedRows& x, const float* step, float* W, float* bias, Index width,
                   std::uint32_t* scratch, std::uint32_t* pairs) {
    update_bias(step, x.samples, bias, width);
    transpose_marks(x, scratch);
    with_rows(x, [&](const auto& rows) {
        for_each_tile(width, [&]<Index N>(Index column) {
            if (pairs != nullptr) {
                update_pairs<N>(x.columns, scratch, rows, step + column, W + column, width,
                                pairs + column);
            } else {
                update_columns<N>(x.columns, scratch, rows, step + column, W + column, width);
            }
        });
    });
}

// ---- Dense layers -----------------------------------------------------------------------------------

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

// Registers: 6 x 4 sums of the 32 of AVX-512 and aarch64, 6 x 2 of the 16 of AVX2 and SSE.
#if OMP_MLP_REGISTERS == 32
constexpr Index block_rows = 6;
constexpr Index block_vectors = 4;
#else
constexpr Index block_rows = 6;
constexpr Index block_vectors = 2;
#endif
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

void dense_forward(const float* a, Index a_stride, Index samples, Index fan_in, const float* W,
                   const float* bias, Index width, float* z) {
    for (Index s = 0; s < samples; ++s) {
        memcpy(z + s * width, bias, static_cast<std::size_t>(width) * sizeof(float));
    }
    if (samples == 1) {
        // Too few sums to keep the multipliers busy one by one: four rows of W at a time.
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

// {a[0] + a[h], ...}: lane l of the result has a[l] + a[l ^ h] where bit h of l is 0, else that of b.
template <int h, int... l>
V fold(V a, V b, const std::integer_sequence<int, l...>& /*lanes*/) {
    return __builtin_shufflevector(a, b, ((l & h) == 0 ? l : lanes + l)...) +
           __builtin_shufflevector(a, b, ((l & h) == 0 ? l ^ h : lanes + (l ^ h))...);
}

// Lane l of the result is the sum of the lanes of v[l].
template <int h = lanes / 2>
[[gnu::always_inline]] inline V sum_each(V* v) {
    if constexpr (h == 0) {
        return v[0];
    } else {
#pragma GCC unroll 16
        for (int i = 0; i < h; ++i) {
            v[i] = fold<h>(v[i], v[i + h], std::make_integer_sequence<int, lanes>{});
        }
        return sum_each<h / 2>(v);
    }
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

// below[k] = delta . W[k], for one sample: as many rows of W at a time as a vector has lanes.
void dense_backward_one(const float* delta, const float* W, Index fan_in, Index width, float* below) {
    Index k = 0;
    for (; k + lanes <= fan_in; k += lanes) {
        store(below + k, dot_rows<true>(delta, W + k * width, lanes, width));
    }
    if (k < fan_in) {
        store(below + k, dot_rows<false>(delta, W + k * width, fan_in - k, width));
    }
}

// scratch[j][i] = W[k + i][j] for a panel of up to `panel` rows of W, so that the product with W
// transposed runs over contiguous rows.
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

// ---- Dot products ---------------------------------------------------------------------------------------

// Of dots_rows x dots_columns rows with each other at a time, with a vector of sums for each in registers.
constexpr Index dots_rows = OMP_MLP_REGISTERS == 32 ? 4 : 2;
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

// ---- A layer with few outputs, transposed ---------------------------------------------------------------

// One sample: all sums of an output's lanes are taken at the end, for all outputs together.
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

// One sample: each row of W is read once for both what it hands down and its step.
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

// ---- Products of samples with each other ----------------------------------------------------------------

// Calls tile(s, t, out) for the tiles of the lower triangle that products between batches lie in. Rows beyond
// the last sample are the last once more: their products land in entries that nobody reads.
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

#if defined(__AVX512VNNI__)

// In integers, exactly. The instruction multiplies unsigned with signed bytes, so the second factor is taken
// as byte - 128, and 128 times the sum of the first is added afterwards. Above 60,000 entries a sum might
// overflow.
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

// ---- Functions --------------------------------------------------------------------------------------

VInt as_bits(V x) {
    return reinterpret_cast<VInt>(x);
}

V from_bits(VInt x) {
    return reinterpret_cast<V>(x);
}

V broadcast(float x) {
    V v{};
#pragma GCC unroll 16
    for (Index lane = 0; lane < lanes; ++lane) {
        v[lane] = x;
    }
    return v;
}

// e^x, relative error below 2e-7 for results that are normal numbers; 0 below x = -87.3, infinite above
// 88.7; NaN stays NaN. x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial for e^r (Cephes' expf), and 2^n by
// way of the exponent's bits.
V exponential(V x) {
    const V too_small = broadcast(-87.3F);
    const V too_large = broadcast(88.7F);
    const V clipped_below = x < too_small ? too_small : x;
    const V clipped = clipped_below > too_large ? too_large : clipped_below;
    const V magic = broadcast(12582912.0F);  // 1.5 x 2^23: adding it rounds to the nearest integer
    const V shifted = clipped * broadcast(1.44269504088896341F) + magic;
    const V n = shifted - magic;
    V r = clipped - n * broadcast(0.693359375F);
    r = r - n * broadcast(-2.12194440e-4F);
    V p = broadcast(1.9875691500e-4F);
    p = p * r + broadcast(1.3981999507e-3F);
    p = p * r + broadcast(8.3334519073e-3F);
    p = p * r + broadcast(4.1665795894e-2F);
    p = p * r + broadcast(1.6666665459e-1F);
    p = p * r + broadcast(5.0000001201e-1F);
    p = p * r * r + r + broadcast(1.0F);
    const VInt exponent = (as_bits(shifted) - as_bits(magic) + 127) << 23;
    V result = p * from_bits(exponent);
    result = x < too_small ? V{} : result;
    result = x > too_large ? broadcast(__builtin_inff()) : result;
    return x == x ? result : x;
}

V logistic(V x) {
    return broadcast(1.0F) / (broadcast(1.0F) + exponential(-x));
}

// Relative error below 3e-7: a polynomial near 0 (Cephes' tanhf), else by way of e^(2x).
V hyperbolic_tangent(V x) {
    const V square = x * x;
    V p = broadcast(-5.70498872745e-3F);
    p = p * square + broadcast(2.06390887954e-2F);
    p = p * square + broadcast(-5.37397155531e-2F);
    p = p * square + broadcast(1.33314422036e-1F);
    p = p * square + broadcast(-3.33332819422e-1F);
    const V near_zero = p * square * x + x;
    const V far = broadcast(1.0F) - broadcast(2.0F) / (exponential(x + x) + broadcast(1.0F));
    return square < broadcast(0.390625F) ? near_zero : far;
}

template <typename Fn>
void map(float* a, Index n, const Fn& fn) {
    for (Index i = 0; i < n; i += lanes) {
        store(a + i, fn(load(a + i)));
    }
}

void activate(Activation activation, float* a, Index n) {
    switch (activation) {
        case Activation::relu:
            map(a, n, [](V x) { return x < V{} ? V{} : x; });  // NaN stays NaN
            break;
        case Activation::tanh:
            map(a, n, hyperbolic_tangent);
            break;
        case Activation::logistic:
            map(a, n, logistic);
            break;
        case Activation::identity:
            break;
    }
}

void multiply_derivative(Activation activation, const float* a, float* delta, Index n) {
    for (Index i = 0; i < n; i += lanes) {
        const V x = load(a + i);
        const V d = load(delta + i);
        switch (activation) {
            case Activation::relu:
                store(delta + i, x > V{} ? d : V{});
                break;
            case Activation::tanh:
                store(delta + i, d * (broadcast(1.0F) - x * x));
                break;
            case Activation::logistic:
                store(delta + i, d * x * (broadcast(1.0F) - x));
                break;
            case Activation::identity:
                break;
        }
    }
}

// Every lane of the result: op over all lanes of v.
template <int h = lanes / 2, typename Op, int... l>
V over_lanes(V v, const Op& op, const std::integer_sequence<int, l...>& all) {
    v = op(v, __builtin_shufflevector(v, v, (l ^ h)...));
    if constexpr (h > 1) {
        return over_lanes<h / 2>(v, op, all);
    } else {
        return v;
    }
}

double softmax(const float* z, Index n, float* p) {
    constexpr std::make_integer_sequence<int, lanes> all{};
    VInt lane{};
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) {
        lane[i] = i;
    }
    const auto is_inside = [&](Index k) { return lane < static_cast<std::int32_t>(n - k); };
    const auto larger = [](V a, V b) {
        const V larger_one = b > a ? b : a;
        return b == b ? larger_one : b;  // NaN stays NaN
    };
    V most = broadcast(-__builtin_inff());
    for (Index k = 0; k < n; k += lanes) {
        most = larger(most, is_inside(k) ? load(z + k) : broadcast(z[0]));
    }
    most = over_lanes(most, larger, all);
    V sum{};
    for (Index k = 0; k < n; k += lanes) {
        const V e = is_inside(k) ? exponential(load(z + k) - most) : V{};
        store(p + k, e);
        sum += e;
    }
    sum = over_lanes(sum, [](V a, V b) { return a + b; }, all);
    const V inverse = broadcast(1.0F) / sum;
    const Index width = padded(n);
    for (Index k = 0; k < width; k += lanes) {
        store(p + k, k < n ? load(p + k) * inverse : V{});
    }
    return static_cast<double>(most[0]) + log(static_cast<double>(sum[0]));
}

}  // namespace

extern const Kernels OMP_MLP_TABLE{
    .name = OMP_MLP_NAME,
#if defined(__AVX512VNNI__)
    .bytes_together = 32,
#else
    .bytes_together = 16,
#endif
    .gather_float32 = gather_float32,
    .gather_uint8 = gather_uint8,
    .mark_float32 = mark_float32,
    .mark_uint8 = mark_uint8,
    .to_bytes = to_bytes,
    .widen_uint8 = widen_uint8,
    .lists_forward = lists_forward,
    .lists_update = lists_update,
    .marked_forward = marked_forward,
    .marked_update = marked_update,
    .pair_rows = pair_rows,
    .marked_forward_bfloat16 = marked_forward_bfloat16,
    .gram_float32 = gram_float32,
    .gram_uint8 = gram_uint8,
    .dense_forward = dense_forward,
    .dense_backward = dense_backward,
    .dense_update = dense_update,
    .add_product = add_product,
    .narrow_forward = narrow_forward,
    .narrow_step = narrow_step,
    .activate = activate,
    .multiply_derivative = multiply_derivative,
    .softmax = softmax,
};

}  // namespace omp_mlp
