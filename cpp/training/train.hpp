// Training in rounds: every replica trains on its own samples, then a merge makes them one again.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <vector>

#include "merging/merger.hpp"
#include "network/network.hpp"
#include "optimizer/schedule.hpp"
#include "threads/heartbeat.hpp"
#include "training/replica.hpp"
#include "training/rounds.hpp"
#include "training/shard.hpp"

namespace omp_mlp {

// No defaults here: they live in Python, where they are documented and checked.
struct TrainOptions {
    Index replicas;
    int workers;
    Index epochs;
    BatchOptions batch;
    bool center_inputs;
    Index warmup_samples;  // trained on by one replica, from which all others start
    Period merge_every;
    const MergeMethod* method;
    std::vector<OptionValue> method_options;
    const MergeMethod* last_method;  // of the last merge, without options and outer step; null: the same
    OuterStep outer;
    bool momentum_follows_rate;  // the outer momentum shrinks with the learning rate
    bool skip_nonfinite;         // replicas that are not finite are left out of the merge
    Sgd sgd;
    Shuffle shuffle;
    Init init;
    bool shared_start;
    std::uint64_t seed;
    bool keep_replicas;
};

struct RoundReport {
    Index samples = 0;                     // of all replicas, since the start
    double loss = 0.0;                     // mean over the round's samples
    double train_seconds = 0.0;            // wall clock
    double merge_seconds = 0.0;            // wall clock
    double slowest_replica_seconds = 0.0;  // CPU time
    double mean_replica_seconds = 0.0;     // of all replicas; NaN without any
    std::vector<Index> skipped;            // the replicas that were left out of the merge
};

// Both return true to stop the training. Without after_round nobody asks for the master in between.
struct Observer {
    std::function<bool(const RoundReport&, const Parameters& master)> after_round;
    std::function<bool(const Progress&)> during_round;
};

struct TrainResult {
    Parameters master;
    std::vector<Parameters> replicas;  // what went into the last merge, if keep_replicas
    std::vector<RoundReport> history;
};

// A loss or parameter became infinite or not a number. replica -1: the merge did it.
class TrainingDiverged : public std::runtime_error {
public:
    TrainingDiverged(Index in_round, Index in_replica)
        : std::runtime_error{"training diverged"}, round{in_round}, replica{in_replica} {}
    Index round;
    Index replica;
};

// A warm-up is the first round of the history; no merge follows it. `start`: where every replica starts from; without it, initial weights are drawn.
TrainResult train(const Network& network, const Samples& X, const Targets& targets,
                  const TrainOptions& options, const std::optional<Parameters>& start,
                  const Observer& observer);

}  // namespace omp_mlp
