// A merge of the ranks whose messages travel while the ranks train on.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "training/mergers.hpp"
#include "training/ranks.hpp"
#include "training/trained.hpp"

namespace omp_mlp {

// What all ranks know of a replica after a round.
struct ReplicaResult {
    Trained trained;
    bool is_finite = true;
    bool was_left_out = false;  // of a merge within the round
};

bool has_finite(std::span<const ReplicaResult> results);

// The ranks that have a finite network, in their order, and the samples of their finite replicas.
struct FiniteRanks {
    std::vector<Index> ranks;
    std::vector<double> samples;
};
// results: of the replicas of all ranks.
FiniteRanks finite_ranks(const Ranks& ranks, std::span<const ReplicaResult> results);

// By samples, or evenly where there are none.
std::vector<double> shares_of(std::span<const double> samples);

// It lives as long as its messages: the training may be over by then, if it ended by an error.
struct TravellingMerge {
    Ranks ranks;
    std::shared_ptr<Mergers> mergers;
    bool skips_nonfinite;
    bool is_last;
    std::vector<ReplicaResult> results;  // of this rank, and in the end of the replicas of all ranks
    std::vector<double> share;           // of the ranks that have a finite network
    std::size_t first = 0;               // the place of this rank among them, or their number

    // What the method has to know of all ranks.
    MergeInput input(const float* base) const { return {{}, share, base, nullptr, first}; }

    // Whether there is anything to merge.
    bool goes_on() const;

    // What the other thread does.
    void send();
};

}  // namespace omp_mlp
