// The length of a step at each point of the training.
#pragma once

#include "base/buffer.hpp"

namespace omp_mlp {

enum class Schedule { constant, linear };

struct Sgd {
    double learning_rate;
    Schedule schedule;

    // At `position` of a stream of `length` samples; linear falls from learning_rate to 0.
    double rate_at(Index position, Index length) const {
        if (schedule == Schedule::constant) {
            return learning_rate;
        }
        return learning_rate * (1.0 - static_cast<double>(position) / static_cast<double>(length));
    }
};

}  // namespace omp_mlp
