// The length of a step at each point of the training.
#pragma once

#include "base/buffer.hpp"

namespace omp_mlp {

enum class Schedule { constant, linear };

struct LearningRate {
    double start;
    Schedule schedule;
    Index retreats;  // how often a training that diverges may go on with half the rate

    // At `position` of a stream of `length` samples; linear falls from `start` to 0.
    double at(Index position, Index length) const {
        if (schedule == Schedule::constant) {
            return start;
        }
        return start * (1.0 - static_cast<double>(position) / static_cast<double>(length));
    }
};

}  // namespace omp_mlp
