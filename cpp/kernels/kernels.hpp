// The hot loops, on plain memory. A Kernels table is one way to run them. Every table computes the same
// up to the rounding of float32 sums, and is tested against the plain loops.
//
// Conventions: a matrix is a pointer and the distance between its rows in floats. `width` is the
// padded width of a layer's rows: a multiple of 16, rows start on cache lines. Row k of W (fan_in rows)
// holds the weights that leave input k.
#pragma once

#include <cstdint>

#include "base/buffer.hpp"

namespace omp_mlp {

// The nonzero entries of one sample.
struct ListedRow {
    const std::int32_t* index;
    const float* value;
    Index count;
};

// Up to 32 samples as dense rows, and a bit for each entry that is not zero.
struct MarkedRows {
    static constexpr Index most = 32;  // samples: they are the bits of one word in marked_update
    // Words of a sample's marks: whole cache lines.
    static constexpr Index words_for(Index columns) { return (columns + 511) / 512 * 8; }

    const std::uint64_t* marks;  // samples x words; bit k % 64 of word k / 64 is entry k's
    Index words;                 // a multiple of 8; padded with zeros
    Index columns;
    Index samples;
    const float* const* floats;        // the rows, as floats ...
    const std::uint8_t* const* bytes;  // ... or as bytes, each of which ...
    const float* byte_value;           // ... stands for byte_value[byte]
    // Rows of the same kind that will be read after these. They are prefetched bit by bit. `upcoming`
    // may be null, and so may each row.
    const void* const* upcoming;
};

// Scratch memory of lists_update: the samples of a batch in which each input is nonzero.
struct BatchTranspose {
    static constexpr Index samples = 32;  // at a time

    std::uint32_t* present;  // for each input, a bit for each sample; zero between calls
    float* values;           // for each input, `samples` values, where the bit is set
    std::int32_t* inputs;    // the inputs that occur; room for one more than there are inputs
};

// The rows of a matrix: at equal distances from the first, or each anywhere.
struct DenseRows {
    const float* first = nullptr;
    Index stride = 0;
    const float* const* each = nullptr;  // if it is not null, row s begins at each[s] + column
    Index column = 0;
};

// Memory that the products of dense layers copy blocks of their factors to: as much as should stay in a core's
// second cache (product_memory.hpp). How much it is makes no difference to any bit of a result.
struct Scratch {
    static constexpr Index least = Index{1} << 14;

    float* floats;  // on a cache line
    Index count;    // at least `least`, unless there is one sample
};

// What the units make of z; network/activation.hpp has the table of them.
enum class Activation { relu, leaky_relu, tanh, logistic, gelu, silu, selu, mish, identity };

// What leaky_relu multiplies negative z by.
inline constexpr float leaky_slope = 0.01F;
// lambda and lambda alpha of selu.
inline constexpr float selu_scale = 1.05070098735548049342F;
inline constexpr float selu_depth = 1.75809934084737685995F;

// Outputs of a layer that the narrow_ kernels take.
inline constexpr Index most_narrow = 16;

struct Kernels {
    const char* name;

    // The same, but products of dense layers round their factors to bfloat16, to nearest, ties to even, where that
    // is faster: as the numbers of samples, rows and columns say. Sums stay float32. Null: there are none.
    const Kernels* bfloat16;

    // The best number of samples of a stretch of bytes (stretch_of). In a longer stretch more samples
    // share a visit of the first layer, and need more of the products of gram_uint8.
    Index bytes_together;

    // ---- Nonzeros of a sample ----

    // Lists the nonzeros of x (n floats, or n bytes times scale); room for n + 16 entries. Returns how
    // many.
    Index (*gather_float32)(const float* x, Index n, std::int32_t* index, float* value);
    Index (*gather_uint8)(const std::uint8_t* x, Index n, float scale, std::int32_t* index,
                          float* value);

    // Sets bit k % 64 of marks[k / 64] where x[k] is not zero, and clears the others, for k < n rounded
    // up to a multiple of 64. Returns how many are set.
    Index (*mark_float32)(const float* x, Index n, std::uint64_t* marks);
    Index (*mark_uint8)(const std::uint8_t* x, Index n, std::uint64_t* marks);

    // ---- Bytes ----

    // bytes[k] = x[k] times divisor. Returns whether every x[k] is a whole number from 0 to 255 divided
    // by divisor, to the last bit. If not, bytes become anything.
    bool (*to_bytes)(const float* x, Index n, float divisor, std::uint8_t* bytes);
    // row[k] = scale * x[k] for n bytes.
    void (*widen_uint8)(const std::uint8_t* x, Index n, float scale, float* row);

    // ---- First layer, from lists of nonzeros ----

    // z[s] = bias + sum over the nonzeros k of sample s of x[s][k] W[k]; z: samples x width.
    void (*lists_forward)(const ListedRow* x, Index samples, const float* W, const float* bias,
                          Index width, float* z);
    // W[k] += sum over s of x[s][k] step[s], bias += sum over s of step[s], unless bias is null; at most
    // BatchTranspose::samples samples.
    void (*lists_update)(const ListedRow* x, Index samples, const float* step, float* W, float* bias,
                         Index width, const BatchTranspose& scratch);

    // ---- First layer, from dense rows with marks of their nonzeros ----

    // z[s] = bias + sum over the marked k of x[s][k] W[k]. The rows of W are visited in blocks of 64 x
    // words_a_visit. All samples visit a block in turn, so the rows that they share come from the
    // fastest cache.
    void (*marked_forward)(const MarkedRows& x, Index words_a_visit, const float* W, const float* bias,
                           Index width, float* z);
    // Bit s of present[k] becomes sample s's mark of entry k, for the entries [first, last). The one before and the one
    // after them become 0, and others anything; present: 64 x x.words entries.
    void (*transpose_marks)(const MarkedRows& x, Index first, Index last, std::uint32_t* present);
    // W[k] += sum over s of x[s][first + k] step[s] for k < count, bias += sum over s of step[s], unless bias is
    // null. present: of transpose_marks, for these entries and perhaps more. Whether rows are updated together or in
    // several calls makes no difference to any bit.
    void (*marked_update)(const MarkedRows& x, const std::uint32_t* present, Index first, Index count,
                          const float* step, float* W, float* bias, Index width);

    // ---- Products of samples with each other ----

    // product[s * MarkedRows::most + t] = x[s] . x[t] for all t in an earlier batch than s < samples; a
    // batch is `batch` samples. Other entries become anything.
    void (*gram_float32)(const float* const* x, Index samples, Index batch, Index n, float* product);
    void (*gram_uint8)(const std::uint8_t* const* x, Index samples, Index batch, Index n, float scale,
                       float* product);

    // ---- Dense layers ----

    // Rows of W, z, delta and step have fan_out numbers, and are row_stride(fan_out) apart. What fills them up to whole
    // lines is multiplied like the numbers, and is 0; an empty line is left as it is.

    // z[s] = bias + sum over k < fan_in of a[s][k] W[k].
    void (*dense_forward)(const DenseRows& a, Index samples, Index fan_in, const float* W,
                          const float* bias, Index fan_out, float* z, const Scratch& scratch);
    // below[s][k] = delta[s] . W[k] for k < fan_in; below: samples x below_stride, its padding becomes
    // 0.
    void (*dense_backward)(const float* delta, Index samples, const float* W, Index fan_in,
                           Index fan_out, float* below, Index below_stride, const Scratch& scratch);
    // W[k] += sum over s of a[s][k] step[s], bias as above, or null.
    void (*dense_update)(const DenseRows& a, Index samples, Index fan_in, const float* step, float* W,
                         float* bias, Index fan_out, const Scratch& scratch);

    // c[m] += sum over d < depth of a[d + m * a_row] b[d]; b: depth x width, c: rows x width.
    void (*add_product)(const float* a, Index a_row, Index rows, Index depth, const float* b,
                        Index width, float* c);

    // ---- A layer with few outputs ----

    // A layer with at most most_narrow outputs, whose weights are stored transposed: row k of W (outputs
    // x a_stride) holds those that lead to output k. The padding of a must be 0.
    //     z[s] = bias + W a[s]; the padding of z is left as it is.
    void (*narrow_forward)(const float* a, Index a_stride, Index samples, const float* W,
                           const float* bias, Index outputs, Index z_stride, float* z);
    // below[s] = delta[s] W for all s, then W[k] += sum over s of delta[s][k] a[s], and bias likewise.
    void (*narrow_step)(const float* a, Index a_stride, Index samples, const float* delta,
                        Index delta_stride, Index outputs, float* W, float* bias, float* below);

    // ---- Random numbers ----

    // out[i] = (2 u - 1) scale, in double and then rounded, where u is the draw first + i of the stream
    // `key` (base/random.hpp): the same bits in every table.
    void (*draw_uniform)(std::uint64_t key, std::uint64_t first, Index n, double scale, float* out);

    // ---- Functions of the units ----

    // a = phi(a), entry by entry; n is a multiple of 16.
    void (*activate)(Activation activation, float* a, Index n);
    // delta *= phi'(z). kept: z if the activation's derivative needs it (network/activation.hpp), else
    // a = phi(z).
    void (*multiply_derivative)(Activation activation, const float* kept, float* delta, Index n);
    // p = exp(z - max z) / sum, over n entries of a row; its padding becomes 0. Returns log(sum exp z).
    double (*softmax)(const float* z, Index n, float* p);
};

}  // namespace omp_mlp
