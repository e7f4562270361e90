// The loop of every training: round after round, whatever the strategy.
#pragma once

#include <optional>

#include "network/network.hpp"
#include "training/options.hpp"
#include "training/report.hpp"

namespace omp_mlp {

// A warm-up is the first row of the history. `start`: the parameters to start from. Without them,
// initial weights are drawn.
TrainResult train(const Network& network, const Samples& X, const Targets& targets,
                  const TrainOptions& options, const std::optional<Parameters>& start,
                  const Observer& observer);

}  // namespace omp_mlp
