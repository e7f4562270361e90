// The length of a step at each point of the training.
#pragma once

#include "base/buffer.hpp"

namespace omp_mlp {

// By the share x of the schedule that is done, and the positions t:
//     constant          start
//     linear            start (1 - x)
//     cosine            start (1 + cos(pi x)) / 2
//     one_cycle         PyTorch's OneCycleLR, after Smith & Topin 2019: half a cosine from start / 25 to
//                       start over 0.3, then half a cosine to start / 25e4
//     inverse_scaling   start / (t + 1)^power_t, as scikit-learn
//     adaptive          start, which the training divides by 5 where its loss does not fall
//     coslog4           start (1 - cos(2 pi log2(1 + 15 x))) / 2, Holzmueller et al. 2024
enum class Schedule { constant, linear, cosine, one_cycle, inverse_scaling, adaptive, coslog4 };

struct LearningRate {
    double start;
    Schedule schedule;
    double power_t;       // of inverse_scaling
    double tol;           // of adaptive: by how much the loss of an epoch has to fall
    double warmup_share;  // of the stream: the rate rises from 0 in a line, and then the schedule begins
    Index retreats;       // how often a training that diverges may go on with half the rate

    // At `position` of a stream of `length` samples.
    double at(Index position, Index length) const {
        return is_fixed() ? start : scheduled(position, length);
    }

private:
    bool is_fixed() const {
        return warmup_share == 0.0 && (schedule == Schedule::constant || schedule == Schedule::adaptive);
    }

    double scheduled(Index position, Index length) const;
};

}  // namespace omp_mlp
