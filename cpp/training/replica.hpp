// One replica of the network: its parameters, its scratch memory, its shard of the samples.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "network/network.hpp"
#include "optimizer/optimizer.hpp"
#include "threads/heartbeat.hpp"
#include "training/shard.hpp"
#include "training/task.hpp"
#include "training/touched_rows.hpp"
#include "training/trained.hpp"

namespace omp_mlp {

// How a round begins and ends for a replica: with all of its parameters, or with work left over in the
// first layer, which the merge does.
enum class Handover { whole, with_leftovers };

// The work that a replica leaves over, as Deferred (merging/loops.hpp) needs it.
struct Leftovers {
    const std::uint64_t* touched;  // a bit for each row; a row without it is the master's
    std::span<const float> shift;  // still to be added, times the means; empty without centering
};

class Replica {
public:
    // `optimizer` outlives the replica. Its learning rate may change between rounds.
    Replica(const Task& task, Reading reading, const OptimizerOptions& optimizer, const Shard& shard);

    // Starts from the master. With leftovers, the replica loads a row of the first layer when a sample
    // first needs it, if it can. The master has to stay as it is while the replica trains.
    void load(std::span<const float> master, Handover handover);

    // Trains on positions [begin, end) of the shard's stream, cut off at its length.
    Trained train(Index begin, Index end, Handover handover, Heartbeat& heartbeat);

    // The work that is left over after load() and train() with this handover. It changes with the next
    // round.
    std::optional<Leftovers> leftovers(Handover handover) const;

    // Null: the optimiser keeps no state.
    OptimizerState* optimizer_state() { return stepper_ ? &stepper_->state : nullptr; }

    Parameters parameters;

private:
    // The loaded samples. Returns the sum of their losses.
    double train_stretch(std::span<const Index> ids, Index position);
    // Batch by batch, the upper layers, and the deltas of the first. add_gradient(scale) is that of network.hpp, for
    // the layers above the first.
    template <typename AddGradient>
    double train_upper(std::span<const Index> ids, Index position, const AddGradient& add_gradient);
    double step_block_by_block(std::span<const Index> ids, Index position);
    double step_whole_gradient(std::span<const Index> ids, Index position);
    // Positions [begin, end) of one epoch.
    void train_epoch(Index number, Index begin, Index end, Reporter& reporter, Trained& trained);
    void list(const Shard::Epoch& order, Index begin, Index end);
    void drop_confident(std::span<const Index> ids);

    const Kernels* kernels_;
    const Network* network_;
    const Targets* targets_;
    const OptimizerOptions* optimizer_;
    Shard shard_;
    Index batch_size_;
    Index stretch_;  // samples that are read together: a batch, or several small ones
    float skip_confident_;
    std::vector<bool> keep_;
    Workspace workspace_;
    bool has_dropout_;
    // Null: steps are taken in place.
    std::optional<Stepper> stepper_;
    std::optional<Parameters> gradient_;  // if a step needs the whole gradient
    TouchedRows touched_;
    const float* master_ = nullptr;  // holds the rows that are not touched yet; null: all are here
    std::vector<Index> ids_;         // the samples that come next
};

}  // namespace omp_mlp
