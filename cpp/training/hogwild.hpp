// Hogwild (Niu, Recht, Re & Wright 2011): every thread trains the one network on its own samples, and
// waits for no other thread. Weights are read and written one by one with relaxed atomic access. So a
// read may see a part of another thread's step, and a write may undo another thread's. The result
// depends on the clock.
//
// Relaxed access is a plain load or store to the processor. But compilers do not vectorise it, and the
// cache lines of the weights travel between the cores. So it is slow for networks that are not sparse.
#pragma once

#include <memory>

#include "training/strategy.hpp"

namespace omp_mlp {

std::unique_ptr<TrainingStrategy> make_hogwild(const Task& task, Team& team, const Parameters& start);

}  // namespace omp_mlp
