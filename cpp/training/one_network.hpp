// Training one network by several threads at once, without replicas: by sections of its hidden units, by
// parts of each batch, or without any order. A round is an epoch.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "network/network.hpp"
#include "optimizer/schedule.hpp"
#include "threads/heartbeat.hpp"
#include "threads/lockstep.hpp"
#include "threads/team.hpp"
#include "training/options.hpp"
#include "training/replica.hpp"
#include "training/report.hpp"
#include "training/shard.hpp"

namespace omp_mlp {

// What every strategy needs; all of it outlives the strategy.
struct Task {
    const Kernels& kernels;
    const Network& network;
    const Samples& X;
    const Targets& targets;
    const TrainOptions& options;
    Reading reading;
    const Centering* centering;  // null, or what is taken off the inputs
    Index batch_size;            // at most the number of samples

    Index threads() const { return options.threads; }

    // The order of the samples is that of a single replica.
    Shard shard() const { return {X.rows, 1, 0, options.epochs, options.shuffle, options.seed}; }
};

// One way to train one network. The parts of its work are handed out by index (Team), so that a part may
// run on any thread, or several on one.
class OneNetwork {
public:
    OneNetwork() = default;
    OneNetwork(const OneNetwork&) = delete;
    OneNetwork(OneNetwork&&) = delete;
    OneNetwork& operator=(const OneNetwork&) = delete;
    OneNetwork& operator=(OneNetwork&&) = delete;
    virtual ~OneNetwork() = default;

    // Trains for one epoch, or until the heartbeat is stopped.
    virtual Replica::Trained train_epoch(Team& team, Index epoch, Heartbeat& heartbeat) = 0;

    // Writes the parameters as they are between epochs; with centering, those of centering.hpp, and its s
    // into `shift`, of the first layer's stride.
    virtual void collect(Team& team, Parameters& parameters, std::span<float> shift) = 0;
};

// The strategies whose threads work in step.
class InLockstep : public OneNetwork {
public:
    Replica::Trained train_epoch(Team& team, Index epoch, Heartbeat& heartbeat) final;

private:
    // The share of one of `members` in an epoch; the first fills in what was trained, but for the time.
    virtual void work(Lockstep::Member& self, Index member, Index members, Index epoch,
                      Heartbeat& heartbeat, Replica::Trained& trained) = 0;
};

// Like train(): same options but those of merging, same reports. options.threads is the number of threads
// that the work is cut for, and options.workers of those that do it.
TrainResult train_one_network(const Network& network, const Samples& X, const Targets& targets,
                              const TrainOptions& options, const std::optional<Parameters>& start,
                              const Observer& observer);

}  // namespace omp_mlp
