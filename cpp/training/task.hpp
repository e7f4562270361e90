// What one training is of: data, network and options. All of it outlives whoever trains.
#pragma once

#include "data/centering.hpp"
#include "data/samples.hpp"
#include "kernels/kernels.hpp"
#include "network/network.hpp"
#include "training/options.hpp"

namespace omp_mlp {

struct Task {
    const Kernels& kernels;
    const Network& network;
    const Samples& X;
    const Targets& targets;
    const TrainOptions& options;
    const Centering* centering;  // null, or what is taken off the inputs
};

}  // namespace omp_mlp
