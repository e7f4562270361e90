// What is common to the strategies that train one network with several threads, without replicas: by
// sections of its hidden units, by parts of each batch, or without any order. A round is an epoch.
#pragma once

#include <span>

#include "threads/lockstep.hpp"
#include "training/optimizer_slots.hpp"
#include "training/shard.hpp"
#include "training/strategy.hpp"
#include "training/trained.hpp"

namespace omp_mlp {

struct OneNetworkTask : Task {
    OneNetworkTask(const Task& task, Reading how);

    Reading reading;   // of the first layer's inputs
    Index batch_size;  // at most the number of samples

    Index threads() const { return options.threads; }

    // With centering, where neither rows are centered nor the parameters: s of centering.hpp.
    bool has_shift() const {
        return centering != nullptr && reading != Reading::dense && steps_in_place(options.optimizer);
    }
    // Where the parameters are centered, and the rows are not (centered_layer.hpp).
    bool takes_means_off() const {
        return centering != nullptr && reading != Reading::dense && !steps_in_place(options.optimizer);
    }

    // The order of the samples is that of a single replica.
    Shard shard() const { return {X.rows, 1, 0, options.epochs, options.shuffle, options.seed}; }

    // What to train from: `start`, as it applies to centered inputs, unless they have a shift.
    Parameters on_read_inputs(const Parameters& start) const;
};

// One way to train one network. The team hands out the parts of its work by index, so a part may run on
// any thread, and several parts on one thread.
class OneNetwork : public TrainingStrategy {
public:
    explicit OneNetwork(const OneNetworkTask& task) : task_{task} {}

    Rounds rounds() const final;
    RoundReport train_round(Team& team, const Round& round, const Parameters& master,
                            Heartbeat& heartbeat) final;
    void collect(Team& team, const Round& round, const Parameters& base, Parameters& master,
                 RoundReport& report) final;
    bool merges() const final { return false; }

protected:
    const OneNetworkTask& task() const { return task_; }

    // Writes the parameters as they are between epochs. With centering, they are those of centering.hpp,
    // and its s goes into `shift`, of the first layer's stride.
    virtual void write(Team& team, Parameters& parameters, std::span<float> shift) = 0;

private:
    // Trains for one epoch, or until the heartbeat is stopped.
    virtual Trained train_epoch(Team& team, Index epoch, Heartbeat& heartbeat) = 0;

    OneNetworkTask task_;
};

// The strategies whose threads work in step.
class InLockstep : public OneNetwork {
public:
    using OneNetwork::OneNetwork;

    void exchange_state(Team& team, StateExchange& exchange) final;
    void exchange_optimizers(Team& team, StateExchange& exchange) final;

private:
    // Undoes write().
    virtual void read(const Parameters& parameters, std::span<const float> shift) = 0;

    // Copies what the steppers remember. Called where steps are not taken in place.
    virtual void copy_slots(SlotCopy way, OptimizerSlots& whole) = 0;

    Trained train_epoch(Team& team, Index epoch, Heartbeat& heartbeat) final;

    // What every member runs in an epoch. A late member skips phases that others have done, so all that
    // is written is written within parts. The first part fills in what was trained, without the time, and
    // reports it.
    virtual void work(Lockstep::Member& self, Index epoch, Reporter& reporter, Trained& trained) = 0;
};

}  // namespace omp_mlp
