#include "omp_mlp/network.hpp"

#include <algorithm>

namespace omp_mlp {

Workspace::Workspace(const Network& network, Index samples) {
    rows.reserve(static_cast<std::size_t>(samples));
    if (samples > 1) {
        const auto features = static_cast<std::size_t>(network.shape.features());
        present_.resize(features);
        inputs_.resize(features + 1);
        transposed_.resize(features * static_cast<std::size_t>(BatchTranspose::samples));
    }
    Index widest = 0;
    for (const LayerShape& layer : network.shape.layers()) {
        // Zero, so that the filling of the deltas' rows is zero and stays so.
        activations.emplace_back(static_cast<std::size_t>(samples * layer.stride));
        deltas.emplace_back(static_cast<std::size_t>(samples * layer.stride));
        widest = std::max(widest, layer.stride);
    }
    panel.resize(static_cast<std::size_t>(64 * widest));
}

void Workspace::load(const Kernels& kernels, const Samples& X, std::span<const Index> ids) {
    rows.clear();
    if (X.kind == Samples::Kind::csr) {
        for (const Index id : ids) {
            const std::int64_t start = X.starts[id];
            rows.push_back({X.indices + start, X.values + start, X.starts[id + 1] - start});
        }
        return;
    }
    const auto room = ids.size() * static_cast<std::size_t>(X.columns) + 16;
    if (indices_.size() < room) {
        indices_.resize(room);
        values_.resize(room);
    }
    std::int32_t* index = indices_.data();
    float* value = values_.data();
    for (const Index id : ids) {
        const Index offset = id * X.columns;
        const Index count =
            X.kind == Samples::Kind::dense_float32
                ? kernels.gather_float32(X.values + offset, X.columns, index, value)
                : kernels.gather_uint8(X.bytes + offset, X.columns, X.scale, index, value);
        rows.push_back({index, value, count});
        index += count;
        value += count;
    }
}

void forward(const Kernels& kernels, const Network& network, const Parameters& parameters,
             Workspace& workspace) {
    const auto& layers = network.shape.layers();
    const Index samples = workspace.samples();
    for (std::size_t l = 0; l < layers.size(); ++l) {
        const auto layer = parameters.layer(layers[l]);
        float* z = workspace.activations[l].data();
        if (l == 0) {
            kernels.sparse_forward(workspace.rows.data(), samples, layer.weights, layer.biases,
                                   layer.stride, z);
        } else {
            kernels.dense_forward(workspace.activations[l - 1].data(), layers[l - 1].stride, samples,
                                  layer.fan_in, layer.weights, layer.biases, layer.stride, z);
        }
        if (l + 1 < layers.size()) {
            kernels.activate(network.activation, z, samples * layer.stride);
        }
    }
}

void apply_output(const Kernels& kernels, const Network& network, Workspace& workspace) {
    const LayerShape& layer = network.shape.layers().back();
    float* z = workspace.activations.back().data();
    if (network.output == Output::logistic) {
        kernels.activate(Activation::logistic, z, workspace.samples() * layer.stride);
    } else if (network.output == Output::softmax) {
        for (Index s = 0; s < workspace.samples(); ++s) {
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
        const float target = targets.values != nullptr ? targets.values[id * outputs + k]
                             : k == targets.classes[id] ? 1.0F
                                                        : 0.0F;
        delta[k] = o[k] - target;
        sum += static_cast<double>(delta[k]) * static_cast<double>(delta[k]);
    }
    return 0.5 * sum;
}

}  // namespace

double loss_and_delta(const Kernels& kernels, const Network& network, const Targets& targets,
                      std::span<const Index> ids, Workspace& workspace) {
    const LayerShape& layer = network.shape.layers().back();
    if (network.output != Output::softmax) {
        apply_output(kernels, network, workspace);
    }
    double total = 0.0;
    for (std::size_t s = 0; s < ids.size(); ++s) {
        const Index id = ids[s];
        float* output = workspace.activations.back().data() + static_cast<Index>(s) * layer.stride;
        float* delta = workspace.deltas.back().data() + static_cast<Index>(s) * layer.stride;
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

void add_gradient(const Kernels& kernels, const Network& network, const Parameters& parameters,
                  float scale, Workspace& workspace, Parameters& target) {
    const auto& layers = network.shape.layers();
    const Index samples = workspace.samples();
    for (std::size_t l = layers.size() - 1; l > 0; --l) {
        const auto layer = parameters.layer(layers[l]);
        const auto change = target.layer(layers[l]);
        const Index below_stride = layers[l - 1].stride;
        const float* below = workspace.activations[l - 1].data();
        const float* delta = workspace.deltas[l].data();
        float* delta_below = workspace.deltas[l - 1].data();
        kernels.dense_backward(delta, samples, layer.weights, layer.fan_in, layer.stride, delta_below,
                               below_stride, workspace.panel.data());
        kernels.multiply_derivative(network.activation, below, delta_below, samples * below_stride);
        kernels.dense_update(below, below_stride, samples, layer.fan_in, delta, scale, change.weights,
                             change.biases, layer.stride);
    }
    const auto first = target.layer(layers.front());
    for (Index s = 0; s < samples; s += BatchTranspose::samples) {
        kernels.sparse_update(workspace.rows.data() + s, std::min(BatchTranspose::samples, samples - s),
                              workspace.deltas.front().data() + s * first.stride, scale, first.weights,
                              first.biases, first.stride, workspace.transpose());
    }
}

}  // namespace omp_mlp
