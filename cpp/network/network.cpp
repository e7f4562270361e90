#include "network/network.hpp"

#include <algorithm>

namespace omp_mlp {

Workspace::Workspace(const Network& network, const Samples& X, Index samples, Reading reading,
                     const Centering* centering, bool shifts, const Dropout& dropout)
    : inputs_{X, samples, reading, centering}, dropout_{dropout} {
    for (const LayerShape& layer : network.shape.layers()) {
        // The output's function is apply_output's; here, it keeps z.
        const bool is_hidden = units_.size() + 1 < network.shape.layers().size();
        units_.emplace_back(is_hidden ? network.activation : Activation::identity, samples,
                            layer.fan_out, dropout.rate(units_.size()));
        // Zero, so that the padding of the deltas' rows is zero and stays so.
        deltas_.emplace_back(static_cast<std::size_t>(samples * layer.stride));
        strides_.push_back(layer.stride);
        if (deltas_.size() > 1 || reading == Reading::dense) {
            product_memory.make_room(samples, layer.fan_in, layer.stride);
        }
    }
    if (centering != nullptr && reading != Reading::dense) {
        (shifts ? shift : raw_biases).resize(static_cast<std::size_t>(strides_.front()));
    }
}

void Workspace::load(const Kernels& kernels, std::span<const Index> ids, std::span<const Index> next) {
    loaded_ = static_cast<Index>(ids.size());
    begin_batch(0, loaded_);
    is_dropped_.clear();
    inputs_.load(kernels, 0, ids, next);
}

void Workspace::leave_out(Index epoch, std::span<const Index> ids) {
    epoch_ = epoch;
    ids_.assign(ids.begin(), ids.end());
}

void Workspace::activate(const Kernels& kernels, std::size_t l) {
    units_[l].activate(kernels, first_, samples_);
    if (dropout_.rate(l) > 0.0) {
        for (Index s = first_; s < first_ + samples_; ++s) {
            units_[l].leave_out(s, dropout_.key(epoch_, ids_[static_cast<std::size_t>(s)], l), 0);
        }
    }
}

void Workspace::begin_batch(Index first, Index count) {
    first_ = first;
    samples_ = count;
    kept_.clear();
}

namespace {

void move_row(float* rows, Index stride, Index from, Index to) {
    if (from != to) {
        std::copy_n(rows + from * stride, stride, rows + to * stride);
    }
}

}  // namespace

void Workspace::drop(const std::vector<bool>& keep) {
    is_dropped_.resize(static_cast<std::size_t>(loaded_));
    for (Index s = 0; s < samples_; ++s) {
        if (!keep[static_cast<std::size_t>(s)]) {
            is_dropped_[static_cast<std::size_t>(first_ + s)] = true;
            continue;
        }
        const auto kept = static_cast<Index>(kept_.size());
        for (std::size_t l = 0; l + 1 < strides_.size(); ++l) {
            units_[l].copy_row(first_ + s, first_ + kept);
        }
        move_row(deltas(strides_.size() - 1), strides_.back(), s, kept);
        kept_.push_back(s);
    }
    samples_ = static_cast<Index>(kept_.size());
}

void Workspace::undrop() {
    if (is_dropped_.empty()) {
        return;
    }
    // Backwards: a row moves to a higher place, whose own row has moved already.
    for (Index kept = samples_ - 1; kept >= 0; --kept) {
        move_row(deltas(0), strides_.front(), kept, kept_[static_cast<std::size_t>(kept)]);
    }
    for (Index s = first_; s < loaded_; ++s) {
        if (is_dropped_[static_cast<std::size_t>(s)]) {
            std::fill_n(all_deltas() + s * strides_.front(), strides_.front(), 0.0F);
        }
    }
}

void Workspace::forget_dropped() {
    if (is_dropped_.empty()) {
        return;
    }
    Index kept = 0;
    for (Index s = 0; s < loaded_; ++s) {
        if (!is_dropped_[static_cast<std::size_t>(s)]) {
            move_row(all_deltas(), strides_.front(), s, kept);
            inputs_.move(s, kept++);
        }
    }
    loaded_ = kept;
}

void begin_centered(const Network& network, Workspace& workspace, Parameters& parameters) {
    std::ranges::fill(workspace.shift, 0.0F);
    if (workspace.shift.empty()) {
        move_means(*workspace.inputs().centering(), 1.0F, parameters.layer(network.shape[0]));
    }
}

void end_centered(const Kernels& kernels, const Network& network, bool fold, Workspace& workspace,
                  Parameters& parameters) {
    const auto layer = parameters.layer(network.shape[0]);
    const Centering& centering = *workspace.inputs().centering();
    if (workspace.shift.empty()) {
        move_means(centering, -1.0F, layer);
    } else if (fold) {
        fold_shift(kernels, centering, workspace.shift.data(), layer);
    }
}

void first_forward(const Kernels& kernels, const Network& network, const Parameters& parameters,
                   Workspace& workspace) {
    first_forward(kernels, workspace.inputs(), 0, workspace.loaded(),
                  workspace.first_weights(parameters.layer(network.shape[0])),
                  workspace.all_activations(), workspace.product_memory.scratch());
}

void multiply_samples(const Kernels& kernels, const Network& network, Index batch,
                      Workspace& workspace) {
    workspace.products.resize(MarkedRows::most * MarkedRows::most);
    multiply_samples(kernels, workspace.inputs(), workspace.loaded(), batch, 0, network.shape.features(),
                     workspace.products.data());
    const bool is_centered = !workspace.shift.empty();
    for (Index s = 0; s < workspace.loaded(); ++s) {
        for (Index t = 0; t < s; ++t) {
            float& product = workspace.products[static_cast<std::size_t>(s * MarkedRows::most + t)];
            product += 1.0F;  // the bias's input
            if (is_centered) {
                product += centered_part(workspace.inputs(), s, t);
            }
        }
    }
}

void add_earlier_steps(const Kernels& kernels, const Network& network, Workspace& workspace) {
    kernels.add_product(workspace.products.data() + workspace.first() * MarkedRows::most,
                        MarkedRows::most, workspace.samples(), workspace.first(), workspace.all_deltas(),
                        network.shape[0].stride, workspace.activations(0));
}

void upper_forward(const Kernels& kernels, const Network& network, const Parameters& parameters,
                   Workspace& workspace) {
    const auto& layers = network.shape.layers();
    const Index samples = workspace.samples();
    for (std::size_t l = 1; l < layers.size(); ++l) {
        const auto layer = parameters.layer(layers[l]);
        float* below = workspace.activations(l - 1);
        workspace.activate(kernels, l - 1);
        if (l + 1 == layers.size() && !workspace.output_weights.empty()) {
            kernels.narrow_forward(below, layers[l - 1].stride, samples, workspace.output_weights.data(),
                                   layer.biases, layer.fan_out, layer.stride, workspace.outputs());
            return;
        }
        kernels.dense_forward({below, layers[l - 1].stride}, samples, layer.fan_in, layer.weights,
                              layer.biases, layer.fan_out, workspace.activations(l),
                              workspace.product_memory.scratch());
    }
}

bool has_narrow_output(const Network& network) {
    return network.shape.layers().size() > 1 && network.shape.outputs() <= most_narrow;
}

void transpose_output(const Network& network, const Parameters& parameters, Workspace& workspace) {
    const auto layer = parameters.layer(network.shape.layers().back());
    const Index row = row_stride(layer.fan_in);
    workspace.output_weights.resize(static_cast<std::size_t>(layer.fan_out * row));
    for (Index k = 0; k < layer.fan_in; ++k) {
        for (Index o = 0; o < layer.fan_out; ++o) {
            workspace.output_weights[static_cast<std::size_t>(o * row + k)] =
                layer.weights[k * layer.stride + o];
        }
    }
}

void restore_output(const Network& network, const Workspace& workspace, Parameters& parameters) {
    const auto layer = parameters.layer(network.shape.layers().back());
    const Index row = row_stride(layer.fan_in);
    for (Index k = 0; k < layer.fan_in; ++k) {
        for (Index o = 0; o < layer.fan_out; ++o) {
            layer.weights[k * layer.stride + o] =
                workspace.output_weights[static_cast<std::size_t>(o * row + k)];
        }
    }
}

void apply_output(const Kernels& kernels, const Network& network, Workspace& workspace) {
    apply_output(kernels, network, workspace.samples(), workspace.outputs());
}

double loss_and_delta(const Kernels& kernels, const Network& network, const Targets& targets,
                      std::span<const Index> ids, Workspace& workspace) {
    return loss_and_delta(kernels, network, targets, ids, workspace.outputs(),
                          workspace.deltas(network.shape.layers().size() - 1));
}

namespace {

void scale_output_deltas(const Network& network, float scale, Workspace& workspace) {
    // All deltas below are linear in those of the outputs.
    const auto& layers = network.shape.layers();
    std::for_each_n(workspace.deltas(layers.size() - 1), workspace.samples() * layers.back().stride,
                    [scale](float& delta) { delta *= scale; });
}

}  // namespace

void add_upper_gradient(const Kernels& kernels, const Network& network, const Parameters& parameters,
                        float scale, Workspace& workspace, Parameters& target) {
    const auto& layers = network.shape.layers();
    const Index samples = workspace.samples();
    scale_output_deltas(network, scale, workspace);
    for (std::size_t l = layers.size() - 1; l > 0; --l) {
        const auto layer = parameters.layer(layers[l]);
        const auto change = target.layer(layers[l]);
        const Index below_stride = layers[l - 1].stride;
        const float* below = workspace.activations(l - 1);
        const float* delta = workspace.deltas(l);
        float* delta_below = workspace.deltas(l - 1);
        if (l + 1 == layers.size() && !workspace.output_weights.empty()) {
            kernels.narrow_step(below, below_stride, samples, delta, layer.stride, layer.fan_out,
                                workspace.output_weights.data(), change.biases, delta_below);
            workspace.multiply_derivative(kernels, l - 1);
            continue;
        }
        kernels.dense_backward(delta, samples, layer.weights, layer.fan_in, layer.fan_out, delta_below,
                               below_stride, workspace.product_memory.scratch());
        workspace.multiply_derivative(kernels, l - 1);
        kernels.dense_update({below, below_stride}, samples, layer.fan_in, delta, change.weights,
                             change.biases, layer.fan_out, workspace.product_memory.scratch());
    }
}

void add_first_gradient(const Kernels& kernels, const Network& network, Workspace& workspace,
                        Parameters& target) {
    const auto layer = target.layer(network.shape[0]);
    add_first_gradient(kernels, workspace.inputs(), workspace.loaded(), workspace.all_deltas(),
                       workspace.first_weights(layer), 0, layer.fan_in, workspace.first_scratch,
                       workspace.product_memory.scratch());
}

void hand_out_upper_gradient(const Kernels& kernels, const Network& network,
                             const Parameters& parameters, float scale, Workspace& workspace,
                             const RowBlocks::Use& use) {
    const auto& layers = network.shape.layers();
    const Index samples = workspace.samples();
    scale_output_deltas(network, scale, workspace);
    for (std::size_t l = layers.size() - 1; l > 0; --l) {
        const LayerShape& layer = layers[l];
        const Index below_stride = layers[l - 1].stride;
        const float* below = workspace.activations(l - 1);
        const float* delta = workspace.deltas(l);
        if (samples > 0) {
            kernels.dense_backward(delta, samples, parameters.layer(layer).weights, layer.fan_in,
                                   layer.fan_out, workspace.deltas(l - 1), below_stride,
                                   workspace.product_memory.scratch());
            workspace.multiply_derivative(kernels, l - 1);
        }
        RowBlocks{l, workspace.gradient_rows, use}.hand_out(layer, [&](Index first, Index last,
                                                                       float* rows, float* biases) {
            if (samples > 0) {
                kernels.dense_update({below + first, below_stride}, samples, last - first, delta, rows,
                                     biases, layer.fan_out, workspace.product_memory.scratch());
            }
        });
    }
}

void hand_out_first_gradient(const Kernels& kernels, const Network& network, Workspace& workspace,
                             const RowBlocks::Use& use) {
    hand_out_first_gradient(
        kernels, workspace.inputs(), workspace.loaded(), workspace.all_deltas(), network.shape[0],
        workspace.raw_biases.empty() ? nullptr : workspace.raw_biases.data(), workspace.first_scratch,
        workspace.product_memory.scratch(), {0, workspace.gradient_rows, use});
}

}  // namespace omp_mlp
