// What a merge costs, part by part, measured on the code that trains: also for more workers than there are
// cores, since the share of each is measured alone.
#pragma once

#include <vector>

#include "merging/merger.hpp"

namespace omp_mlp {

struct MergeCost {
    // For each pass, wall-clock seconds of what one of n workers does, one for each replica: every n-th
    // slice, and what all others wait for; and of the loading of the master into one replica.
    std::vector<double> share_seconds;
    std::vector<double> load_seconds;
    // For each pass, of an empty loop of a team of `workers` threads: handing out work, and waiting.
    std::vector<double> loop_seconds;
    int loops;  // that a merge by this method takes
};

// Rows of a sparse first layer, where merges have more and less to do (Deferred).
struct SparseRows {
    Index stride;
    double touched;  // the share of them that each replica has touched, and has loaded while it trained
};

// sparse: of the first layer; or null if it is dense.
MergeCost measure_merge_cost(const MergeMethod& method, const std::vector<OptionValue>& options,
                             const std::vector<Index>& layer_ends, const SparseRows* sparse,
                             const OuterStep& outer, Index replicas, int workers, int passes);

}  // namespace omp_mlp
