// What somebody trained in a round, and the report of all who did.
#pragma once

#include <span>

#include "training/report.hpp"

namespace omp_mlp {

struct Trained {
    Index samples = 0;
    double loss_sum = 0.0;  // over the samples, each taken before the step that uses it
    double cpu_seconds = 0.0;
};

// Samples, loss and CPU times of a round; the loop (train.cpp) fills in the wall-clock times. Losses that are not
// finite do not count.
RoundReport report_of(std::span<const Trained> all);

}  // namespace omp_mlp
