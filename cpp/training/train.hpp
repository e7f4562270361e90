// The loop of every training: round after round, whatever the strategy.
#pragma once

#include <optional>

#include "network/network.hpp"
#include "training/options.hpp"
#include "training/ranks.hpp"
#include "training/report.hpp"

namespace omp_mlp {

// A warm-up is the first row of the history. `start`: the parameters to start from. Without them,
// initial weights are drawn. `state`: null, or what an earlier training with this start left. That training
// goes on. If the state has nothing but what optimisers remember, a new training begins with that. Throws
// std::invalid_argument if the state is not one of such a training.
//
// With `ranks`, other processes train with this one, by replicas, and X has the rows of this rank. All get
// the same master, and the same report of each round but for times. What this rank throws, the others do
// not hear of: whoever made the communicator has to tell them.
TrainResult train(const Network& network, const Samples& X, const Targets& targets,
                  const TrainOptions& options, const std::optional<Parameters>& start,
                  const TrainingState* state, const Observer& observer, const Ranks* ranks = nullptr);

}  // namespace omp_mlp
