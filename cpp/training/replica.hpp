// What one thread owns while it trains: its parameters, its scratch memory, its shard of the samples.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "network/network.hpp"
#include "optimizer/optimizer.hpp"
#include "threads/heartbeat.hpp"
#include "training/options.hpp"
#include "training/shard.hpp"
#include "training/touched_rows.hpp"

namespace omp_mlp {

class Replica {
public:
    // kind: of the samples that it will train on.
    Replica(const Kernels& kernels, const Network& network, const OptimizerOptions& optimizer,
            Shard shard, const BatchOptions& options, Reading reading, Samples::Kind kind,
            const Centering* centering);

    struct Trained {
        Index samples = 0;
        double loss_sum = 0.0;  // over the samples, each taken before the step that uses it
        double cpu_seconds = 0.0;
    };

    // Starts from the master. Unless asked for all of it, the replica waits with rows of the first layer until a
    // sample needs them, where it can: the master has to stay as it is while the replica trains.
    void load(std::span<const float> master, bool all);

    // Trains on positions [begin, end) of the shard's stream, cut off at its length. Unless asked to `fold`, it
    // leaves shift() to be added to the first layer.
    Trained train(const Samples& X, const Targets& targets, Index begin, Index end, bool fold,
                  Heartbeat& heartbeat);

    // What Deferred (merge_loops.hpp) has of a replica; the shift is empty where the first layer has none.
    std::span<const float> shift() const { return workspace_.shift; }
    const std::uint64_t* touched_rows() const { return touched_.bits(); }

    Parameters parameters;

private:
    // The loaded samples. Returns the sum of their losses.
    double train_stretch(const Targets& targets, std::span<const Index> ids, Index position);
    // Batch by batch, the upper layers, and the deltas of the first.
    double train_upper(const Targets& targets, std::span<const Index> ids, Index position,
                       Parameters& target);
    // Positions [begin, end) of one epoch.
    void train_epoch(const Samples& X, const Targets& targets, Index number, Index begin, Index end,
                     Reporter& reporter, Trained& trained);
    void list(const Shard::Epoch& order, Index begin, Index end);
    void drop_confident(const Targets& targets, std::span<const Index> ids);

    const Kernels* kernels_;
    const Network* network_;
    OptimizerOptions optimizer_;
    Shard shard_;
    Index batch_size_;
    Index stretch_;  // samples that are read together: a batch, or several small ones
    float skip_confident_;
    bool bfloat16_forward_;
    std::vector<bool> keep_;
    Workspace workspace_;
    // Null: steps are taken in place.
    struct Accumulated {
        Parameters gradient;
        Stepper stepper;
    };
    std::optional<Accumulated> accumulated_;
    TouchedRows touched_;
    const float* master_ = nullptr;  // has the rows that are not touched yet; null: all are here
    std::vector<Index> ids_;         // the samples that come next
};

}  // namespace omp_mlp
