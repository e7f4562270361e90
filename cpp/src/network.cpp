#include "omp_mlp/network.hpp"

#include <algorithm>

namespace omp_mlp {

Workspace::Workspace(const Network& network, Index samples, Reading reading)
    : input_stride{padded(network.shape.features())}, reading_{reading} {
    if (reading == Reading::matrix || (reading == Reading::pairs && samples > 1)) {
        inputs.resize(static_cast<std::size_t>(samples * input_stride));
    }
    if (reading != Reading::matrix && samples > 1) {
        const auto features = static_cast<std::size_t>(network.shape.features());
        present_.resize(features);
        inputs_.resize(features + 1);
        zeros_.resize(features);
        if (reading == Reading::lists) {
            transposed_.resize(features * static_cast<std::size_t>(BatchTranspose::samples));
        }
    }
    Index widest = 0;
    for (const LayerShape& layer : network.shape.layers()) {
        // Zero, so that the filling of the deltas' rows is zero and stays so. One sample more, for the
        // second of the last pair of an odd batch.
        activations.emplace_back(static_cast<std::size_t>((samples + 1) * layer.stride));
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

namespace {

Index gather(const Kernels& kernels, const Samples& X, Index id, std::int32_t* index, float* value) {
    const Index offset = id * X.columns;
    return X.kind == Samples::Kind::dense_float32
               ? kernels.gather_float32(X.values + offset, X.columns, index, value)
               : kernels.gather_uint8(X.bytes + offset, X.columns, X.scale, index, value);
}

Index gather_pair(const Kernels& kernels, const Samples& X, Index first, Index second,
                  std::int32_t* index, float* first_value, float* second_value) {
    const Index a = first * X.columns;
    const Index b = second * X.columns;
    return X.kind == Samples::Kind::dense_float32
               ? kernels.gather_pair_float32(X.values + a, X.values + b, X.columns, index, first_value,
                                             second_value)
               : kernels.gather_pair_uint8(X.bytes + a, X.bytes + b, X.columns, X.scale, index,
                                           first_value, second_value);
}

}  // namespace

void Workspace::load(const Kernels& kernels, const Samples& X, std::span<const Index> ids,
                     std::span<const Index> next) {
    samples_ = static_cast<Index>(ids.size());
    if (reading_ == Reading::matrix) {
        load_matrix(kernels, X, ids, next);
    } else if (reading_ == Reading::pairs && samples_ > 1) {
        load_pairs(kernels, X, ids, next);
    } else {
        load_lists(kernels, X, ids, next);
    }
}

// Room for lists of so many entries in all; a gather may write a little past its last nonzero.
void Workspace::make_room(std::size_t entries) {
    constexpr std::size_t overrun = 16;
    if (indices_.size() < entries + overrun) {
        indices_.resize(entries + overrun);
        values_.resize(entries + overrun);
        second_values_.resize(entries + overrun);
    }
}

void Workspace::load_lists(const Kernels& kernels, const Samples& X, std::span<const Index> ids,
                           std::span<const Index> next) {
    const bool is_csr = X.kind == Samples::Kind::csr;
    make_room(is_csr ? 0 : ids.size() * static_cast<std::size_t>(X.columns));
    Index used = 0;
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
        std::int32_t* index = indices_.data() + used;
        float* value = values_.data() + used;
        rows.push_back({index, value, gather(kernels, X, ids[s], index, value)});
        used += rows.back().count;
    }
}

void Workspace::load_pairs(const Kernels& kernels, const Samples& X, std::span<const Index> ids,
                           std::span<const Index> next) {
    make_room((ids.size() + 1) / 2 * static_cast<std::size_t>(X.columns));
    Index used = 0;
    pairs.clear();
    dense_rows.clear();
    for (std::size_t s = 0; s < ids.size(); ++s) {
        if (s < next.size()) {
            prefetch_sample(X, next[s]);
        }
        const Index offset = ids[s] * X.columns;
        if (X.kind == Samples::Kind::dense_float32) {
            dense_rows.push_back(X.values + offset);
        } else {
            float* row = inputs.data() + static_cast<Index>(s) * input_stride;
            kernels.widen_uint8(X.bytes + offset, X.columns, X.scale, row);
            dense_rows.push_back(row);
        }
    }
    for (std::size_t s = 0; s < ids.size(); s += 2) {
        std::int32_t* index = indices_.data() + used;
        float* first = values_.data() + used;
        float* second = second_values_.data() + used;
        const Index count = kernels.gather_pair_float32(
            dense_rows[s], s + 1 < ids.size() ? dense_rows[s + 1] : zeros_.data(), X.columns, index,
            first, second);
        pairs.push_back({index, first, second, count});
        used += count;
    }
}

void Workspace::load_matrix(const Kernels& kernels, const Samples& X, std::span<const Index> ids,
                            std::span<const Index> next) {
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
                kernels.widen_uint8(X.bytes + offset, X.columns, X.scale, row);
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

void Workspace::load_pair(const Kernels& kernels, const Samples& X, Index id, Index next) {
    make_room(static_cast<std::size_t>(X.columns));
    const Index count =
        gather_pair(kernels, X, id, next, indices_.data(), values_.data(), second_values_.data());
    pair = {indices_.data(), values_.data(), second_values_.data(), count};
    rows.assign(1, {pair.index, pair.second, pair.count});
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
            if (reading_ == Reading::lists) {
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

void first_forward(const Kernels& kernels, const Network& network, const Parameters& parameters,
                   Workspace& workspace) {
    const auto layer = parameters.layer(network.shape[0]);
    float* z = workspace.activations.front().data();
    if (!workspace.first_weights.empty()) {
        kernels.sparse_forward_bfloat16(workspace.rows.data(), workspace.samples(),
                                        workspace.first_weights.data(), layer.biases, layer.stride, z);
    } else if (workspace.reading() == Reading::pairs && workspace.samples() > 1) {
        kernels.sparse_forward_pairs(workspace.pairs.data(), static_cast<Index>(workspace.pairs.size()),
                                     layer.weights, layer.biases, layer.stride, z);
    } else if (workspace.reading() != Reading::matrix) {
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
    if (workspace.reading() == Reading::matrix) {
        kernels.dense_update(workspace.inputs.data(), workspace.input_stride, samples, layer.fan_in,
                             delta, scale, layer.weights, layer.biases, layer.stride);
        return;
    }
    for (Index s = 0; s < samples; s += BatchTranspose::samples) {
        const Index count = std::min(BatchTranspose::samples, samples - s);
        if (workspace.reading() == Reading::pairs && samples > 1) {
            kernels.sparse_update_pairs(workspace.pairs.data() + s / 2, count,
                                        workspace.dense_rows.data() + s, layer.fan_in,
                                        delta + s * layer.stride, scale, layer.weights, layer.biases,
                                        layer.stride, workspace.transpose());
            continue;
        }
        kernels.sparse_update(workspace.rows.data() + s, count, delta + s * layer.stride, scale,
                              layer.weights, layer.biases, layer.stride, workspace.transpose(),
                              workspace.first_weights.data());
    }
}

void add_first_gradient_then_forward(const Kernels& kernels, const Network& network, float scale,
                                     Workspace& workspace, Parameters& parameters) {
    const auto layer = parameters.layer(network.shape[0]);
    kernels.sparse_update_forward(workspace.pair, workspace.deltas.front().data(), scale, layer.weights,
                                  layer.biases, layer.stride, workspace.activations.front().data());
}

}  // namespace omp_mlp
