// Data parallelism by replicas: in a round every replica of the network trains on its own samples, then a merge
// makes them one again.
#pragma once

#include <memory>

#include "training/strategy.hpp"

namespace omp_mlp {

std::unique_ptr<TrainingStrategy> make_replicas(const Task& task);

// One replica trains on the first samples of its own order of all samples, at the rate of the start, from `master`
// on, and writes where it arrives. Throws TrainingDiverged where that is not finite.
RoundReport warm_up(const Task& task, Team& team, Parameters& master, Heartbeat& heartbeat);

}  // namespace omp_mlp
