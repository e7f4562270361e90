// What one replica or thread trained in a round, and the report of all of them.
#pragma once

#include <span>

#include "training/report.hpp"

namespace omp_mlp {

struct Trained {
    Index samples = 0;
    double loss_sum = 0.0;  // over the samples; the loss of a sample is the one before its step
    double cpu_seconds = 0.0;
};

// Samples, loss and CPU times of a round. The loop (train.cpp) adds the wall-clock times. Losses that
// are not finite do not count.
RoundReport report_of(std::span<const Trained> all);

}  // namespace omp_mlp
