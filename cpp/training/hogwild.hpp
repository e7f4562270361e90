// Hogwild (Niu, Recht, Re & Wright 2011): every thread trains the one network on its own samples, without
// waiting for anybody. Weights are read and written one by one with relaxed atomic access, so a read may
// see some of another's step, and a write may undo another's. The result depends on the clock.
//
// Relaxed access is a plain load or store to the processor, but compilers do not vectorise it, and the
// cache lines of the weights travel between the cores: it is slow for networks that are not sparse.
#pragma once

#include <memory>

#include "training/strategy.hpp"

namespace omp_mlp {

std::unique_ptr<TrainingStrategy> make_hogwild(const Task& task, Team& team, const Parameters& start);

}  // namespace omp_mlp
