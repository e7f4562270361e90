// Measures what a merge costs, part by part, on the code that trains. Each worker's share is measured
// alone, so this also works for more workers than cores.
#pragma once

#include <vector>

#include "merging/merger.hpp"

namespace omp_mlp {

struct MergeCost {
    // Wall-clock seconds of each pass. There is a worker for each of n replicas; its share is every n-th
    // slice, and the work that all other workers wait for.
    std::vector<double> share_seconds;
    // Seconds of each pass to load the master into one replica.
    std::vector<double> load_seconds;
    // Seconds of each pass for an empty loop of a team of `workers` threads: handing out work, and
    // waiting.
    std::vector<double> loop_seconds;
    int loops;  // the number of loops that a merge by this method takes
};

// The rows of a sparse first layer, of which merges read only those that were touched (Deferred).
struct SparseRows {
    Index stride;
    double touched;  // the share of rows that each replica has touched, and has loaded while it trained
};

// sparse: the rows of the first layer, or null if it is dense.
MergeCost measure_merge_cost(const MergeMethod& method, const std::vector<OptionValue>& options,
                             const std::vector<Index>& layer_ends, const SparseRows* sparse,
                             const OuterStep& outer, Index replicas, int workers, int passes);

}  // namespace omp_mlp
