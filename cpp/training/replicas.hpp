// Data parallelism by replicas. In a round, every replica of the network trains on its own samples. Then
// a merge makes them one network.
#pragma once

#include <memory>

#include "training/strategy.hpp"

namespace omp_mlp {

std::unique_ptr<TrainingStrategy> make_replicas(const Task& task);

// The warm-up: one replica starts from `start`, trains on the first samples of its own order of all
// samples, at the rate of the start, and writes its parameters into `master`, which may be `start`. Throws
// TrainingDiverged and writes nothing if they are not finite.
RoundReport warm_up(const Task& task, Team& team, const Parameters& start, Parameters& master,
                    Heartbeat& heartbeat);

}  // namespace omp_mlp
