// The task of one training: data, network and options. All of it outlives the strategy that trains.
#pragma once

#include "data/centering.hpp"
#include "data/samples.hpp"
#include "kernels/kernels.hpp"
#include "network/dropout.hpp"
#include "network/network.hpp"
#include "training/options.hpp"
#include "training/ranks.hpp"

namespace omp_mlp {

struct Task {
    const Kernels& kernels;
    const Network& network;
    const Samples& X;
    const Targets& targets;
    const TrainOptions& options;
    const Centering* centering;    // null, or the means that are taken off the inputs
    const Ranks* ranks = nullptr;  // null: this process trains alone

    Dropout dropout() const {
        return {options.dropout, options.seed, ranks != nullptr ? ranks->first_row : 0};
    }
};

}  // namespace omp_mlp
