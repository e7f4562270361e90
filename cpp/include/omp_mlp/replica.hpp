// What one thread owns while it trains: its parameters, its scratch memory, its shard of the samples.
#pragma once

#include <vector>

#include "omp_mlp/heartbeat.hpp"
#include "omp_mlp/network.hpp"
#include "omp_mlp/optimizer.hpp"
#include "omp_mlp/shard.hpp"

namespace omp_mlp {

class Replica {
public:
    Replica(const Kernels& kernels, const Network& network, const Sgd& sgd, Shard shard,
            Index batch_size, FirstLayer first_layer);

    struct Trained {
        Index samples = 0;
        double loss_sum = 0.0;  // over the samples, each taken before the step that uses it
        double cpu_seconds = 0.0;
    };

    // Trains on positions [begin, end) of the shard's stream, cut off at its length.
    Trained train(const Samples& X, const Targets& targets, Index begin, Index end,
                  Heartbeat& heartbeat);

    Parameters parameters;

private:
    // Positions [begin, end) of one epoch.
    void train_epoch(const Samples& X, const Targets& targets, Index number, Index begin, Index end,
                     Heartbeat& heartbeat, Trained& trained);
    void list(const Shard::Epoch& order, Index begin, Index end);

    const Kernels* kernels_;
    const Network* network_;
    Sgd sgd_;
    Shard shard_;
    Index batch_size_;
    Workspace workspace_;
    std::vector<Index> ids_;  // the samples that come next
};

}  // namespace omp_mlp
