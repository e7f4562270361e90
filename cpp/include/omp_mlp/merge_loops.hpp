// The loops of merging that go over all replicas: what a merge costs is the reading of their parameters.
//
// Every loop sees positions [begin, begin + size) of some flat buffers and adds up in double, in the order
// of the replicas or in a fixed pattern of lanes, so that the result is the same bits on every machine
// that adds and multiplies as IEEE 754 says.
#pragma once

#include <span>

#include "omp_mlp/buffer.hpp"

namespace omp_mlp {

// What a loop may be asked for at a time: its sums then stay in a core's fastest cache.
inline constexpr Index slice_floats = 1024;

struct ReplicaSlice {
    std::span<const float* const> replicas;  // flat buffers
    Index begin;
    Index size;  // at most slice_floats
};

// total[j] += sum_i weights[i] w_i[j].
void add_weighted(const ReplicaSlice& slice, std::span<const double> weights, double* total);

struct UpdateNorms {
    double squares;        // sum_i |d_i|^2
    double square_of_sum;  // |sum_i d_i|^2
};

// total[j] = sum_i d_i[j], with the updates d_i = w_i - base.
UpdateNorms add_updates(const ReplicaSlice& slice, const float* base, double* total);

// The updates' dot products, gram[i (i + 1) / 2 + j] = d_i . d_j for j <= i.
void dot_updates(const ReplicaSlice& slice, const float* base, double* gram);

// middle[j] = the median of w_i[j] over i; of an even number, the mean of the two in the middle.
void take_median(const ReplicaSlice& slice, double* middle);

}  // namespace omp_mlp
