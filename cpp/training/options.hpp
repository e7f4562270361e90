// The options of a training. No defaults here: they live in Python, where they are documented and
// checked.
#pragma once

#include <cstdint>
#include <vector>

#include "data/reading.hpp"
#include "merging/methods.hpp"
#include "merging/outer_step.hpp"
#include "network/parameters.hpp"
#include "optimizer/optimizer.hpp"
#include "training/mean_of_masters.hpp"
#include "training/rounds.hpp"
#include "training/shard.hpp"

namespace omp_mlp {

// How the work is made parallel: a network for each thread, and merges; or one network, by sections of
// its hidden units, by parts of each batch, or without locks (Niu, Recht, Re & Wright 2011).
enum class Strategy { replica, section, synchronous, hogwild };

struct BatchOptions {
    Index batch_size;
    FirstLayer first_layer;
    bool bfloat16;          // products of dense layers round their factors (Kernels::bfloat16)
    double skip_confident;  // no step for samples with 1 - p(correct) below this; softmax only
};

// What a merge makes of the states of the replicas' optimisers.
enum class StateAtMerge { keep, average, reset };

// For replicas only.
struct MergeOptions {
    Period every;
    const MergeMethod* method;
    std::vector<OptionValue> method_options;
    const MergeMethod* last_method;  // of the last merge, without options or outer step; null: the same
    OuterStep outer;
    bool momentum_follows_rate;  // the outer momentum shrinks with the learning rate
    bool skip_nonfinite;         // replicas that are not finite are left out of the merge
    StateAtMerge state;
};

struct TrainOptions {
    Strategy strategy;
    Index threads;  // replicas, or parts that the work on one network is cut into
    int workers;    // operating-system threads that do the work
    Index epochs;
    BatchOptions batch;
    bool center_inputs;
    Index warmup_samples;  // one replica trains on these, and all others start from it
    MergeOptions merge;
    AveragingOptions averaging;
    OptimizerOptions optimizer;
    Shuffle shuffle;
    Init init;
    bool shared_start;  // all replicas draw the same weights
    std::uint64_t seed;
    std::vector<double> dropout;  // the rate of each hidden layer; empty: none
    bool keep_replicas;
};

}  // namespace omp_mlp
