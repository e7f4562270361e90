// Training in rounds: every replica trains on its own samples, then a merge makes them one again.
#pragma once

#include <optional>

#include "network/network.hpp"
#include "training/options.hpp"
#include "training/report.hpp"

namespace omp_mlp {

// By replicas. A warm-up is the first round of the history; no merge follows it. `start`: where every replica
// starts from; without it, initial weights are drawn.
TrainResult train(const Network& network, const Samples& X, const Targets& targets,
                  const TrainOptions& options, const std::optional<Parameters>& start,
                  const Observer& observer);

}  // namespace omp_mlp
