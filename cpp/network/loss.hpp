// The upper end of a network: the output function, the loss of each sample, and its derivative, on plain memory.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/kernels.hpp"
#include "network/parameters.hpp"

namespace omp_mlp {

enum class Output { softmax, identity, logistic };

struct Network {
    Shape shape;
    Activation activation;  // of every hidden layer
    Output output;          // softmax goes with cross-entropy, the others with squared error
};

// What the outputs are compared with; one of the two pointers is set.
struct Targets {
    const std::int32_t* classes = nullptr;  // the correct class of each sample
    const float* values = nullptr;          // samples x outputs
    const float* weights = nullptr;         // of each sample; none: all 1
};

// Turns z of the last layer into outputs. z: samples x stride of the last layer.
void apply_output(const Kernels& kernels, const Network& network, Index samples, float* z);

// From z of the samples `ids`: applies the output function but for softmax, whose z stay, fills the deltas, and returns
// the sum (not the mean) of the samples' losses. z and deltas: samples x stride of the last layer.
double loss_and_delta(const Kernels& kernels, const Network& network, const Targets& targets,
                      std::span<const Index> ids, float* z, float* deltas);

}  // namespace omp_mlp
