// The upper end of a network: the output function, the loss of each sample, and its derivative, on plain memory.
//
// To add a loss: write its function and its row in loss.cpp, its oracle in tests/oracle/network.py, and its value
// on a network's outputs in python/omp_mlp/losses.py.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/kernels.hpp"
#include "network/parameters.hpp"

namespace omp_mlp {

enum class Output { softmax, identity, logistic, exponential };

struct Network {
    Shape shape;
    Activation activation;  // of every hidden layer
    Output output;
};

struct Loss;

struct LossOptions {
    const Loss* loss;
    double huber_delta;
    double quantile;
    double label_smoothing;
};

// What the outputs are compared with, and how; one of the first two pointers is set.
struct Targets {
    const std::int32_t* classes = nullptr;  // the correct class of each sample
    const float* values = nullptr;          // samples x outputs
    const float* weights = nullptr;         // of each sample; none: all 1
    LossOptions loss{};
};

// The target of one sample: values, or 1 for the correct class and 0 for the others.
struct SampleTarget {
    const float* values;  // null: a class
    std::int32_t correct;

    float operator[](Index k) const {
        return values != nullptr ? values[k] : k == correct ? 1.0F : 0.0F;
    }
};

struct Loss {
    const char* name;
    const char* formula;
    const char* reference;
    std::span<const Output> outputs;  // that the loss goes with, the default first
    // Whether `of_sample` reads the outputs o and gives d loss / d o. Else it reads z and gives d loss / d z.
    bool reads_outputs;
    // The loss of a sample, from a row of n outputs or z; fills the derivative. No other place may be written.
    double (*of_sample)(const Kernels& kernels, const LossOptions& options, const float* row,
                        const SampleTarget& target, Index n, float* delta);
};

std::span<const Loss> losses();
// Throws std::invalid_argument, listing the names, if there is no loss of that name.
const Loss& loss_of(std::string_view name);

// Turns z of the last layer into outputs. z: samples x stride of the last layer.
void apply_output(const Kernels& kernels, const Network& network, Index samples, float* z);

// From z of the samples `ids`: fills the deltas, and returns the sum (not the mean) of the samples' losses. z becomes
// the outputs if the loss reads these. z and deltas: samples x stride of the last layer.
double loss_and_delta(const Kernels& kernels, const Network& network, const Targets& targets,
                      std::span<const Index> ids, float* z, float* deltas);

}  // namespace omp_mlp
