// Synchronous data parallelism: every thread takes a part of each batch forward and back, and then all
// take one step together.
//
// No gradient is ever stored or added up, if steps are taken in place. Once the deltas of the whole
// batch are known, a row of weights needs nothing else but these deltas and the activations below the
// row. So each thread owns some rows of every layer and takes their step over the whole batch, in the
// order of its samples. A weight's sum has the same order for any number of threads, a batch has two
// barriers, and each weight travels between cores once. The rows of the first layer are cut where the
// cuts divide the nonzeros of X evenly.
#pragma once

#include <memory>

#include "training/strategy.hpp"

namespace omp_mlp {

std::unique_ptr<TrainingStrategy> make_synchronous(const Task& task, Team& team,
                                                   const Parameters& start);

}  // namespace omp_mlp
