// The loops of merging that read all replicas. The reading of their parameters is what a merge costs.
//
// Every loop sees positions [begin, begin + size) of some flat buffers. It adds up in double, in the
// order of the replicas or in a fixed pattern of lanes. So the result has the same bits on every machine
// that adds and multiplies as IEEE 754 says. Updates are differences in float. The most frequent loop
// adds up four of them in float before it goes on in double.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/buffer.hpp"

namespace omp_mlp {

// The most positions of one call. The sums then stay in a core's fastest cache.
inline constexpr Index slice_floats = 1024;

// Work in the first layer that the replicas leave to the merge. The first layer is at the start of the
// flat buffers. The merge reads all of its rows anyway; work on the way costs a round less than one more
// visit.
struct Deferred {
    // Bit k % 64 of touched[i][k / 64] is set if a sample of replica i needed row k. If it is not set,
    // the row is the base's, and what the replica holds there is old.
    const std::uint64_t* const* touched;
    const float* base;
    // The merge adds mean[k] shifts[i] to row k of replica i: what centered inputs leave
    // (centering.hpp).
    const float* mean;
    const float* const* shifts;
    Index stride;
    // The end of the layer. Its biases are a row like the others: always touched, with mean 0.
    Index end;
};

// Positions of the replicas' flat buffers.
struct ReplicaRows {
    const float* const* replicas;
    Index count;
    Index begin;
    Index size;  // at most slice_floats
    // Null where nothing is deferred. Otherwise begin and size are whole cache lines.
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

// A table of the loops that every round runs. All tables give the same bits.
struct MergeLoops {
    const char* name;

    // total[j] += sum_i weights[i] w_i[j].
    void (*add_weighted)(const ReplicaRows& rows, const double* weights, double* total);
    // total[j] = sum_i d_i[j], with the updates d_i = w_i - base.
    UpdateNorms (*add_updates)(const ReplicaRows& rows, const float* base, double* total);
    // |x|^2.
    double (*square)(const float* x, Index size);
    // merged -= base.
    void (*subtract)(const float* base, Index size, double* merged);
    // master = merged, rounded.
    void (*round_to_float)(const double* merged, Index size, float* master);
    // Takes the step of StepFactors with M = velocity, or without M if velocity is null. `master` may be
    // the base.
    void (*take_step)(const StepFactors& factors, const double* updates, const float* base, Index size,
                      float* velocity, float* master);
    // The same with the updates sums + rest base.
    void (*take_step_of_sums)(const StepFactors& factors, const float* sums, double rest,
                              const float* base, Index size, float* velocity, float* master);
};

// The tables that this machine can run, the widest first.
std::span<const MergeLoops* const> available_merge_loops();

// The table in use: the widest, unless another was selected.
const MergeLoops& merge_loops();
// Selects a table by name, for tests and benchmarks, and not while a merge runs. "best" undoes it.
// Throws std::invalid_argument, listing the names, if there is no table of that name.
void select_merge_loops(std::string_view name);

// sum_i |d_i|^2, slowly, for updates whose squares overflow in float.
double square_updates(const ReplicaRows& slice, const float* base);

// The updates' dot products, gram[i (i + 1) / 2 + j] = d_i . d_j for j <= i.
void dot_updates(const ReplicaRows& slice, const float* base, double* gram);

// copy[j] = w_0[j], of a single replica, to the same bits as its sum with weight 1.
void copy_replica(const ReplicaRows& slice, float* copy);

// middle[j] = the median of w_i[j] over i; for an even number of replicas, the mean of the two in the
// middle.
void take_median(const ReplicaRows& slice, double* middle);

}  // namespace omp_mlp
