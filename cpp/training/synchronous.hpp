// Synchronous data parallelism: every thread takes a part of each batch forward and back, and then all
// take one step together.
//
// No gradient is ever stored or summed up. Once the deltas of the whole batch are known, a row of weights
// needs nothing else but them and the activations below it; so each thread owns some rows of every layer
// and takes their step over the whole batch, in the order of its samples. A weight's sum has the same order
// for any number of threads, a batch has two barriers, and the traffic is that of the weights, once. The
// first layer's rows are cut where the nonzeros of X are halved, not where the rows are.
#pragma once

#include <memory>

#include "training/strategy.hpp"

namespace omp_mlp {

std::unique_ptr<TrainingStrategy> make_synchronous(const Task& task, Team& team,
                                                   const Parameters& start);

}  // namespace omp_mlp
