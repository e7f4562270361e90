// The hot loops, on plain memory. A Kernels table is one way to run them; every table computes the
// same thing up to the rounding of float32 sums, and is tested against the plain loops.
//
// Conventions: a matrix is a pointer and the distance between its rows in floats. `width` is the
// padded width of a layer's rows: a multiple of 16, rows start on cache lines. Row k of W (fan_in rows)
// holds the weights that leave input k.
#pragma once

#include <cstdint>

#include "omp_mlp/buffer.hpp"

namespace omp_mlp {

// The nonzero entries of one sample.
struct SparseRow {
    const std::int32_t* index;
    const float* value;
    Index count;
};

// The entries in which at least one of two samples is nonzero.
struct SparsePair {
    const std::int32_t* index;
    const float* first;
    const float* second;
    Index count;
};

// Scratch memory of sparse_update: the samples of a batch in which each input is nonzero.
struct BatchTranspose {
    static constexpr Index samples = 32;  // at a time

    std::uint32_t* present;  // for each input, a bit for each sample; zero between calls
    float* values;           // for each input, `samples` values, where the bit is set
    std::int32_t* inputs;    // those that occur; room for one more than there are inputs
};

enum class Activation { relu, tanh, logistic, identity };

struct Kernels {
    const char* name;

    // Lists the nonzeros of x (n floats, or n bytes times scale); room for n + 16 entries. Returns how many.
    Index (*gather_float32)(const float* x, Index n, std::int32_t* index, float* value);
    Index (*gather_uint8)(const std::uint8_t* x, Index n, float scale, std::int32_t* index,
                          float* value);

    // The same for the entries where x or y is nonzero.
    Index (*gather_pair_float32)(const float* x, const float* y, Index n, std::int32_t* index,
                                 float* x_value, float* y_value);
    Index (*gather_pair_uint8)(const std::uint8_t* x, const std::uint8_t* y, Index n, float scale,
                               std::int32_t* index, float* x_value, float* y_value);

    // row[k] = scale * x[k] for n bytes.
    void (*widen_uint8)(const std::uint8_t* x, Index n, float scale, float* row);

    // z[s] = bias + sum over the nonzeros k of sample s of x[s][k] W[k]; z: samples x width.
    void (*sparse_forward)(const SparseRow* x, Index samples, const float* W, const float* bias,
                           Index width, float* z);
    // The same for samples in pairs, two to each of `pairs`: rows that both touch are read once.
    void (*sparse_forward_pairs)(const SparsePair* x, Index pairs, const float* W, const float* bias,
                                 Index width, float* z);
    // sparse_forward from a copy of W in bfloat16 (the upper half of a float32): half the bytes to read.
    void (*sparse_forward_bfloat16)(const SparseRow* x, Index samples, const std::uint16_t* W,
                                    const float* bias, Index width, float* z);
    // copy = W rounded to bfloat16, to nearest, ties to even; n is a multiple of 16.
    void (*round_to_bfloat16)(const float* W, Index n, std::uint16_t* copy);
    // W[k] += scale * sum over s of x[s][k] delta[s], bias += scale * sum over s of delta[s]; at most
    // BatchTranspose::samples samples. `copy`: null, or a copy of W in bfloat16 to be kept up with it.
    void (*sparse_update)(const SparseRow* x, Index samples, const float* delta, float scale, float* W,
                          float* bias, Index width, const BatchTranspose& scratch, std::uint16_t* copy);

    // The same for samples in pairs; rows[s] is sample s as a dense row of `features`.
    void (*sparse_update_pairs)(const SparsePair* x, Index samples, const float* const* rows,
                                Index features, const float* delta, float scale, float* W, float* bias,
                                Index width, const BatchTranspose& scratch);

    // sparse_update for the first sample of a pair, then sparse_forward for the second: rows that both touch
    // are read once.
    void (*sparse_update_forward)(const SparsePair& x, const float* delta, float scale, float* W,
                                  float* bias, Index width, float* z);

    // z[s] = bias + sum over k < fan_in of a[s][k] W[k]; a: samples x a_stride, z: samples x width.
    void (*dense_forward)(const float* a, Index a_stride, Index samples, Index fan_in, const float* W,
                          const float* bias, Index width, float* z);
    // below[s][k] = delta[s] . W[k] for k < fan_in; below: samples x below_stride, its filling becomes 0.
    // scratch: 64 x width floats.
    void (*dense_backward)(const float* delta, Index samples, const float* W, Index fan_in, Index width,
                           float* below, Index below_stride, float* scratch);
    // W[k] += scale * sum over s of a[s][k] delta[s], bias as above.
    void (*dense_update)(const float* a, Index a_stride, Index samples, Index fan_in, const float* delta,
                         float scale, float* W, float* bias, Index width);

    // a = phi(a), entry by entry; n is a multiple of 16.
    void (*activate)(Activation activation, float* a, Index n);
    // delta *= phi'(z), written in terms of a = phi(z).
    void (*multiply_derivative)(Activation activation, const float* a, float* delta, Index n);
    // p = exp(z - max z) / sum, over n entries of a row; its filling becomes 0. Returns log(sum exp z).
    double (*softmax)(const float* z, Index n, float* p);
};

}  // namespace omp_mlp
