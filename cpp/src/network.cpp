#include "omp_mlp/network.hpp"

#include <algorithm>
#include <limits>

namespace omp_mlp {

Workspace::Workspace(const Network& network, Index samples, FirstLayer first_layer)
    : input_stride{padded(network.shape.features())}, first_layer_{first_layer} {
    if (!is_sparse()) {
        inputs.resize(static_cast<std::size_t>(samples * input_stride));
    } else if (samples > 1) {
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
        strides_.push_back(layer.stride);
        widest = std::max(widest, layer.stride);
    }
    panel.resize(static_cast<std::size_t>(64 * widest));
}

namespace {

void prefetch(const void* memory, std::size_t bytes) {
#if defined(__GNUC__)
    for (std::size_t offset = 0; offset < bytes; offset += cache_line_bytes) {
        __builtin_prefetch(static_cast<const char*>(memory) + offset);
    }
#endif
}

}  // namespace

void prefetch_sample(const Samples& X, Index id) {
    if (X.kind == Samples::Kind::csr) {
        const std::int64_t start = X.starts[id];
        const auto bytes = static_cast<std::size_t>(X.starts[id + 1] - start) * sizeof(float);
        prefetch(X.indices + start, bytes);
        prefetch(X.values + start, bytes);
    } else if (X.kind == Samples::Kind::dense_uint8) {
        prefetch(X.bytes + id * X.columns, static_cast<std::size_t>(X.columns));
    } else {
        prefetch(X.values + id * X.columns, static_cast<std::size_t>(X.columns) * sizeof(float));
    }
}

void Workspace::load(const Kernels& kernels, const Samples& X, std::span<const Index> ids,
                     std::span<const Index> next) {
    samples_ = static_cast<Index>(ids.size());
    if (is_sparse()) {
        load_lists(kernels, X, ids, next);
    } else {
        load_matrix(X, ids, next);
    }
}

void Workspace::load_lists(const Kernels& kernels, const Samples& X, std::span<const Index> ids,
                           std::span<const Index> next) {
    const bool is_csr = X.kind == Samples::Kind::csr;
    // A gather may write a little past its last nonzero.
    const auto room = is_csr ? 0 : ids.size() * static_cast<std::size_t>(X.columns) + 16;
    if (indices_.size() < room) {
        indices_.resize(room);
        values_.resize(room);
    }
    std::int32_t* index = indices_.data();
    float* value = values_.data();
    rows.clear();
    for (std::size_t s = 0; s < ids.size(); ++s) {
        if (s < next.size()) {
            prefetch_sample(X, next[s]);
        }
        if (is_csr) {
            const std::int64_t start = X.starts[ids[s]];
            rows.push_back({X.indices + start, X.values + start, X.starts[ids[s] + 1] - start});
            continue;
        }
        const Index offset = ids[s] * X.columns;
        const Index count =
            X.kind == Samples::Kind::dense_float32
                ? kernels.gather_float32(X.values + offset, X.columns, index, value)
                : kernels.gather_uint8(X.bytes + offset, X.columns, X.scale, index, value);
        rows.push_back({index, value, count});
        index += count;
        value += count;
    }
}

void Workspace::load_matrix(const Samples& X, std::span<const Index> ids, std::span<const Index> next) {
    for (std::size_t s = 0; s < ids.size(); ++s) {
        if (s < next.size()) {
            prefetch_sample(X, next[s]);
        }
        float* row = inputs.data() + static_cast<Index>(s) * input_stride;
        const Index offset = ids[s] * X.columns;
        switch (X.kind) {
            case Samples::Kind::dense_float32:
                std::copy_n(X.values + offset, X.columns, row);
                break;
            case Samples::Kind::dense_uint8:
                std::transform(X.bytes + offset, X.bytes + offset + X.columns, row,
                               [&X](std::uint8_t byte) { return X.scale * static_cast<float>(byte); });
                break;
            case Samples::Kind::csr:
                std::fill_n(row, X.columns, 0.0F);
                for (std::int64_t i = X.starts[ids[s]]; i < X.starts[ids[s] + 1]; ++i) {
                    row[X.indices[i]] += X.values[i];
                }
                break;
        }
    }
}

void Workspace::drop(const std::vector<bool>& keep) {
    const auto move_row = [](Buffer& buffer, Index stride, Index from, Index to) {
        std::copy_n(buffer.begin() + from * stride, stride, buffer.begin() + to * stride);
    };
    Index kept = 0;
    for (Index s = 0; s < samples_; ++s) {
        if (!keep[static_cast<std::size_t>(s)]) {
            continue;
        }
        if (s != kept) {
            if (is_sparse()) {
                rows[static_cast<std::size_t>(kept)] = rows[static_cast<std::size_t>(s)];
            } else {
                move_row(inputs, input_stride, s, kept);
            }
            for (std::size_t l = 0; l + 1 < strides_.size(); ++l) {
                move_row(activations[l], strides_[l], s, kept);
            }
            move_row(deltas.back(), strides_.back(), s, kept);
        }
        ++kept;
    }
    samples_ = kept;
}

void Workspace::load_pair(const Kernels& kernels, const Samples& X, Index id, Index next) {
    const auto room = static_cast<std::size_t>(X.columns) + 16;
    if (pair_index_.size() < room) {
        pair_index_.resize(room);
        pair_first_.resize(room);
        pair_second_.resize(room);
    }
    const Index first = id * X.columns;
    const Index second = next * X.columns;
    Index count = 0;
    switch (X.kind) {
        case Samples::Kind::dense_float32:
            count = kernels.gather_pair_float32(X.values + first, X.values + second, X.columns,
                                                pair_index_.data(), pair_first_.data(),
                                                pair_second_.data());
            break;
        case Samples::Kind::dense_uint8:
            count = kernels.gather_pair_uint8(X.bytes + first, X.bytes + second, X.columns, X.scale,
                                              pair_index_.data(), pair_first_.data(),
                                              pair_second_.data());
            break;
        case Samples::Kind::csr:
            count = merge_lists(X, id, next);
            break;
    }
    pair = {pair_index_.data(), pair_first_.data(), pair_second_.data(), count};
    rows.assign(1, {pair.index, pair.second, pair.count});
}

// The indices of each row ascend.
Index Workspace::merge_lists(const Samples& X, Index id, Index next) {
    std::int64_t a = X.starts[id];
    std::int64_t b = X.starts[next];
    const std::int64_t a_end = X.starts[id + 1];
    const std::int64_t b_end = X.starts[next + 1];
    std::size_t count = 0;
    for (; a < a_end || b < b_end; ++count) {
        const std::int32_t a_index = a < a_end ? X.indices[a] : std::numeric_limits<std::int32_t>::max();
        const std::int32_t b_index = b < b_end ? X.indices[b] : std::numeric_limits<std::int32_t>::max();
        const std::int32_t index = std::min(a_index, b_index);
        pair_index_[count] = index;
        pair_first_[count] = a_index == index ? X.values[a++] : 0.0F;
        pair_second_[count] = b_index == index ? X.values[b++] : 0.0F;
    }
    return static_cast<Index>(count);
}

void first_forward(const Kernels& kernels, const Network& network, const Parameters& parameters,
                   Workspace& workspace) {
    const auto layer = parameters.layer(network.shape[0]);
    float* z = workspace.activations.front().data();
    if (!workspace.first_weights.empty()) {
        kernels.sparse_forward_bfloat16(workspace.rows.data(), workspace.samples(),
                                        workspace.first_weights.data(), layer.biases, layer.stride, z);
    } else if (workspace.is_sparse()) {
        kernels.sparse_forward(workspace.rows.data(), workspace.samples(), layer.weights, layer.biases,
                               layer.stride, z);
    } else {
        kernels.dense_forward(workspace.inputs.data(), workspace.input_stride, workspace.samples(),
                              layer.fan_in, layer.weights, layer.biases, layer.stride, z);
    }
}

void upper_forward(const Kernels& kernels, const Network& network, const Parameters& parameters,
                   Workspace& workspace) {
    const auto& layers = network.shape.layers();
    const Index samples = workspace.samples();
    for (std::size_t l = 1; l < layers.size(); ++l) {
        const auto layer = parameters.layer(layers[l]);
        float* below = workspace.activations[l - 1].data();
        kernels.activate(network.activation, below, samples * layers[l - 1].stride);
        kernels.dense_forward(below, layers[l - 1].stride, samples, layer.fan_in, layer.weights,
                              layer.biases, layer.stride, workspace.activations[l].data());
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

void add_upper_gradient(const Kernels& kernels, const Network& network, const Parameters& parameters,
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
}

void add_first_gradient(const Kernels& kernels, const Network& network, float scale,
                        Workspace& workspace, Parameters& target) {
    const auto layer = target.layer(network.shape[0]);
    const Index samples = workspace.samples();
    const float* delta = workspace.deltas.front().data();
    if (!workspace.is_sparse()) {
        kernels.dense_update(workspace.inputs.data(), workspace.input_stride, samples, layer.fan_in,
                             delta, scale, layer.weights, layer.biases, layer.stride);
        return;
    }
    for (Index s = 0; s < samples; s += BatchTranspose::samples) {
        kernels.sparse_update(workspace.rows.data() + s, std::min(BatchTranspose::samples, samples - s),
                              delta + s * layer.stride, scale, layer.weights, layer.biases, layer.stride,
                              workspace.transpose(), workspace.first_weights.data());
    }
}

void add_first_gradient_then_forward(const Kernels& kernels, const Network& network, float scale,
                                     Workspace& workspace, Parameters& parameters) {
    const auto layer = parameters.layer(network.shape[0]);
    kernels.sparse_update_forward(workspace.pair, workspace.deltas.front().data(), scale, layer.weights,
                                  layer.biases, layer.stride, workspace.activations.front().data());
}

}  // namespace omp_mlp
