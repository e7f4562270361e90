#include "network/loss.hpp"

#include <algorithm>

namespace omp_mlp {

void apply_output(const Kernels& kernels, const Network& network, Index samples, float* z) {
    const LayerShape& layer = network.shape.layers().back();
    if (network.output == Output::logistic) {
        kernels.activate(Activation::logistic, z, samples * layer.stride);
    } else if (network.output == Output::softmax) {
        for (Index s = 0; s < samples; ++s) {
            kernels.softmax(z + s * layer.stride, layer.fan_out, z + s * layer.stride);
        }
    }
}

namespace {

// delta = p - one-hot; returns -log p(correct), from z so that a p of 0 does no harm.
double cross_entropy(const Kernels& kernels, const float* z, std::int32_t correct, Index outputs,
                     float* delta) {
    const double log_sum = kernels.softmax(z, outputs, delta);
    delta[correct] -= 1.0F;
    return log_sum - static_cast<double>(z[correct]);
}

// delta = o - t; returns 1/2 sum (o - t)^2.
double squared_error(const float* o, const Targets& targets, Index id, Index outputs, float* delta) {
    double sum = 0.0;
    for (Index k = 0; k < outputs; ++k) {
        const float target = targets.values != nullptr  ? targets.values[id * outputs + k]
                             : k == targets.classes[id] ? 1.0F
                                                        : 0.0F;
        delta[k] = o[k] - target;
        sum += static_cast<double>(delta[k]) * static_cast<double>(delta[k]);
    }
    return 0.5 * sum;
}

}  // namespace

double loss_and_delta(const Kernels& kernels, const Network& network, const Targets& targets,
                      std::span<const Index> ids, float* z, float* deltas) {
    const LayerShape& layer = network.shape.layers().back();
    if (network.output != Output::softmax) {
        apply_output(kernels, network, std::ssize(ids), z);
    }
    double total = 0.0;
    for (std::size_t s = 0; s < ids.size(); ++s) {
        const Index id = ids[s];
        float* output = z + static_cast<Index>(s) * layer.stride;
        float* delta = deltas + static_cast<Index>(s) * layer.stride;
        double loss = 0.0;
        if (network.output == Output::softmax) {
            loss = cross_entropy(kernels, output, targets.classes[id], layer.fan_out, delta);
        } else {
            loss = squared_error(output, targets, id, layer.fan_out, delta);
            if (network.output == Output::logistic) {
                kernels.multiply_derivative(Activation::logistic, output, delta, layer.stride);
            }
        }
        if (targets.weights != nullptr) {
            const float weight = targets.weights[id];
            std::for_each_n(delta, layer.fan_out, [weight](float& d) { d *= weight; });
            loss *= static_cast<double>(weight);
        }
        total += loss;
    }
    return total;
}

}  // namespace omp_mlp
