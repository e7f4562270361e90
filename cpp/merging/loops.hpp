// The loops of merging that go over all replicas: what a merge costs is the reading of their parameters.
//
// Every loop sees positions [begin, begin + size) of some flat buffers and adds up in double, in the order
// of the replicas or in a fixed pattern of lanes, so that the result is the same bits on every machine
// that adds and multiplies as IEEE 754 says. Updates are differences in float, and the most frequent loop adds
// up four of them in float before it goes on in double.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/buffer.hpp"

namespace omp_mlp {

// What a loop may be asked for at a time: its sums then stay in a core's fastest cache.
inline constexpr Index slice_floats = 1024;

// What replicas leave to a merge in the first layer, which is the first of the flat buffers: it reads all rows
// anyway, and what it does on its way costs a round less than a visit of its own.
struct Deferred {
    // A row that no sample of replica i needed is the base's, and what the replica has there is old: bit
    // k % 64 of touched[i][k / 64] is not set for row k.
    const std::uint64_t* const* touched;
    const float* base;
    // To row k of replica i, mean[k] shifts[i] is still to be added, from centered inputs (centering.hpp).
    const float* mean;
    const float* const* shifts;
    Index stride;
    // Of the layer, its biases included: they are a row like others, always touched, of mean 0.
    Index end;
};

// Positions of the replicas' flat buffers.
struct ReplicaRows {
    const float* const* replicas;
    Index count;
    Index begin;
    Index size;  // at most slice_floats
    // Null where there is nothing left to do; else begin and size are whole cache lines.
    const Deferred* deferred;
};

struct UpdateNorms {
    double squares;        // sum_i |d_i|^2
    double square_of_sum;  // |sum_i d_i|^2
};

// u = of_updates updates; M = momentum M + u; then
//     master = base + learning_rate M, or, if `nesterov`, base + learning_rate (u + momentum_ahead M).
struct StepFactors {
    double of_updates;
    double learning_rate;
    double momentum;
    double momentum_ahead;
    bool nesterov;
};

// One way to run those that every round goes through; all do the same, to the last bit.
struct MergeLoops {
    const char* name;

    // total[j] += sum_i weights[i] w_i[j].
    void (*add_weighted)(const ReplicaRows& rows, const double* weights, double* total);
    // total[j] = sum_i d_i[j], with the updates d_i = w_i - base.
    UpdateNorms (*add_updates)(const ReplicaRows& rows, const float* base, double* total);
    // merged -= base.
    void (*subtract)(const float* base, Index size, double* merged);
    // master = merged, rounded.
    void (*round_to_float)(const double* merged, Index size, float* master);
    // The above with M = velocity, or without if it is null. `master` may be the base.
    void (*take_step)(const StepFactors& factors, const double* updates, const float* base, Index size,
                      float* velocity, float* master);
};

// Those that this machine can run, the widest first.
std::span<const MergeLoops* const> available_merge_loops();

// In use: the widest, unless another was selected. That is for tests and benchmarks; not while a merge runs.
const MergeLoops& merge_loops();
// "best" or a name; throws std::invalid_argument, listing the names, if there is none of that name.
void select_merge_loops(std::string_view name);

// sum_i |d_i|^2, slowly, for updates whose squares are no numbers of float any more.
double square_updates(const ReplicaRows& slice, const float* base);

// The updates' dot products, gram[i (i + 1) / 2 + j] = d_i . d_j for j <= i.
void dot_updates(const ReplicaRows& slice, const float* base, double* gram);

// middle[j] = the median of w_i[j] over i; of an even number, the mean of the two in the middle.
void take_median(const ReplicaRows& slice, double* middle);

}  // namespace omp_mlp
