#include "network/network.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>

#include "network/centered_layer.hpp"

namespace omp_mlp {

Workspace::Workspace(const Network& network, Index samples, Reading reading, const Centering* centering,
                     bool shifts)
    : input_stride{padded(network.shape.features())},
      features_{network.shape.features()},
      centering_{centering},
      reading_{reading},
      words_{MarkedRows::words_for(network.shape.features())} {
    const auto count = static_cast<std::size_t>(samples);
    const auto features = static_cast<std::size_t>(features_);
    switch (reading) {
        case Reading::lists:
            if (samples > 1) {
                present_.resize(features);
                inputs_.resize(features + 1);
                transposed_.resize(features * static_cast<std::size_t>(BatchTranspose::samples));
            }
            break;
        case Reading::marks:
            marks_.resize(count * static_cast<std::size_t>(words_));
            present_.resize(static_cast<std::size_t>(64 * words_));
            break;
        case Reading::dense:
            inputs.resize(count * static_cast<std::size_t>(input_stride));
            break;
    }
    Index widest = 0;
    for (const LayerShape& layer : network.shape.layers()) {
        // The output's function is apply_output's; here, it keeps z.
        const bool is_hidden = units_.size() + 1 < network.shape.layers().size();
        units_.emplace_back(is_hidden ? network.activation : Activation::identity, samples,
                            layer.fan_out);
        // Zero, so that the padding of the deltas' rows is zero and stays so.
        deltas_.emplace_back(static_cast<std::size_t>(samples * layer.stride));
        strides_.push_back(layer.stride);
        widest = std::max(widest, layer.stride);
    }
    panel.resize(static_cast<std::size_t>(64 * widest));
    if (centering != nullptr && reading != Reading::dense) {
        (shifts ? shift : raw_biases).resize(static_cast<std::size_t>(strides_.front()));
    }
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

void spread(const Samples& X, Index id, float* row) {
    std::fill_n(row, X.columns, 0.0F);
    const std::int64_t end = X.starts[id + 1];
    for (std::int64_t i = X.starts[id]; i < end; ++i) {
        row[X.indices[i]] = X.values[i];
    }
}

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

}  // namespace

void Workspace::load(const Kernels& kernels, const Samples& X, std::span<const Index> ids,
                     std::span<const Index> next) {
    loaded_ = static_cast<Index>(ids.size());
    begin_batch(0, loaded_);
    is_dropped_.clear();
    if (!shift.empty()) {
        projections.clear();
        for (const Index id : ids) {
            projections.push_back(centering_->projection[static_cast<std::size_t>(id)]);
        }
    }
    switch (reading_) {
        case Reading::lists:
            load_lists(kernels, X, ids, next);
            break;
        case Reading::marks:
            load_marks(kernels, X, ids, next);
            break;
        case Reading::dense:
            load_dense(kernels, X, ids, next);
            break;
    }
}

void Workspace::load_lists(const Kernels& kernels, const Samples& X, std::span<const Index> ids,
                           std::span<const Index> next) {
    const bool is_csr = X.kind == Samples::Kind::csr;
    if (!is_csr) {
        constexpr std::size_t overrun = 16;  // a gather may write a little past its last nonzero
        const std::size_t entries = ids.size() * static_cast<std::size_t>(X.columns) + overrun;
        indices_.resize(std::max(indices_.size(), entries));
        values_.resize(std::max(values_.size(), entries));
    }
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

void Workspace::load_marks(const Kernels& kernels, const Samples& X, std::span<const Index> ids,
                           std::span<const Index> next) {
    if (X.kind == Samples::Kind::csr) {
        spread_rows(kernels, X, ids, next);
        return;
    }
    const bool is_float = X.kind == Samples::Kind::dense_float32;
    if (!is_float) {
        take_byte_values(kernels, X);
    }
    float_rows_.clear();
    byte_rows_.clear();
    upcoming_.assign(ids.size(), nullptr);
    for (std::size_t s = 0; s < std::min(ids.size(), next.size()); ++s) {
        const Index offset = next[s] * X.columns;
        upcoming_[s] = is_float ? static_cast<const void*>(X.values + offset) : X.bytes + offset;
    }
    // The forward pass before this has brought the rows as near as the second cache; from there to the first.
    constexpr std::size_t ahead = 3;
    Index marked = 0;
    for (std::size_t s = 0; s < ids.size(); ++s) {
        if (s + ahead < ids.size()) {
            prefetch_sample(X, ids[s + ahead]);
        }
        const Index offset = ids[s] * X.columns;
        std::uint64_t* marks = marks_.data() + static_cast<Index>(s) * words_;
        if (is_float) {
            float_rows_.push_back(X.values + offset);
            marked += kernels.mark_float32(X.values + offset, X.columns, marks);
        } else {
            byte_rows_.push_back(X.bytes + offset);
            marked += kernels.mark_uint8(X.bytes + offset, X.columns, marks);
        }
    }
    choose_visits(marked);
}

void Workspace::take_byte_values(const Kernels& kernels, const Samples& X) {
    byte_scale_ = X.scale;
    if (byte_value_ == X.byte_value) {
        return;
    }
    byte_value_ = X.byte_value;
    // Rounded as W is: one row, which makes the lower halves of its pairs.
    alignas(cache_line_bytes) std::array<std::uint32_t, 256> pairs;
    kernels.pair_rows(byte_value_, 1, std::ssize(pairs), pairs.data());
    std::ranges::transform(pairs, bfloat16_byte_values_.of.begin(),
                           [](std::uint32_t pair) { return std::bit_cast<float>(pair << 16); });
}

void Workspace::choose_visits(Index marked) {
    // Enough rows of W in a visit that starting it does not cost more than the visit.
    constexpr Index enough = 8;
    const Index all_words = std::max<Index>(1, (features_ + 63) / 64);
    words_a_visit_ =
        std::clamp<Index>(enough * loaded_ * all_words / std::max<Index>(1, marked), 1, all_words);
}

// Rows of CSR become dense rows of the workspace.
void Workspace::spread_rows(const Kernels& kernels, const Samples& X, std::span<const Index> ids,
                            std::span<const Index> next) {
    inputs.resize(marks_.size() / static_cast<std::size_t>(words_) *
                  static_cast<std::size_t>(input_stride));
    float_rows_.clear();
    upcoming_.assign(ids.size(), nullptr);
    Index marked = 0;
    for (std::size_t s = 0; s < ids.size(); ++s) {
        if (s < next.size()) {
            prefetch_sample(X, next[s]);
        }
        float* row = inputs.data() + static_cast<Index>(s) * input_stride;
        spread(X, ids[s], row);
        float_rows_.push_back(row);
        marked += kernels.mark_float32(row, X.columns, marks_.data() + static_cast<Index>(s) * words_);
    }
    choose_visits(marked);
}

MarkedRows Workspace::marked(Index first, Index count) const {
    return {.marks = marks_.data() + first * words_,
            .words = words_,
            .columns = features_,
            .samples = count,
            .floats = float_rows_.empty() ? nullptr : float_rows_.data() + first,
            .bytes = byte_rows_.empty() ? nullptr : byte_rows_.data() + first,
            .byte_value = byte_value_,
            .upcoming = upcoming_.data() + first};
}

MarkedRows Workspace::marked_bfloat16(Index first, Index count) const {
    MarkedRows rounded = marked(first, count);
    rounded.byte_value = bfloat16_byte_values_.of.data();
    return rounded;
}

const float* const* Workspace::float_rows() const {
    return float_rows_.empty() ? nullptr : float_rows_.data();
}

const std::uint8_t* const* Workspace::byte_rows() const {
    return byte_rows_.empty() ? nullptr : byte_rows_.data();
}

void Workspace::load_dense(const Kernels& kernels, const Samples& X, std::span<const Index> ids,
                           std::span<const Index> next) {
    float_rows_.clear();
    for (std::size_t s = 0; s < ids.size(); ++s) {
        if (s < next.size()) {
            prefetch_sample(X, next[s]);
        }
        float* row = inputs.data() + static_cast<Index>(s) * input_stride;
        float_rows_.push_back(row);
        const Index offset = ids[s] * X.columns;
        switch (X.kind) {
            case Samples::Kind::dense_float32:
                std::copy_n(X.values + offset, X.columns, row);
                break;
            case Samples::Kind::dense_uint8:
                kernels.widen_uint8(X.bytes + offset, X.columns, X.scale, row);
                break;
            case Samples::Kind::csr:
                spread(X, ids[s], row);
                break;
        }
        if (centering_ != nullptr) {
            std::transform(row, row + X.columns, centering_->mean.begin(), row, std::minus<>{});
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
            move_sample(s, kept++);
        }
    }
    loaded_ = kept;
}

// The inputs and first deltas of a loaded sample, to another's place.
void Workspace::move_sample(Index from, Index to) {
    const auto f = static_cast<std::size_t>(from);
    const auto t = static_cast<std::size_t>(to);
    move_row(all_deltas(), strides_.front(), from, to);
    if (!shift.empty()) {
        projections[t] = projections[f];
    }
    switch (reading_) {
        case Reading::lists:
            rows[t] = rows[f];
            break;
        case Reading::marks:
            std::copy_n(marks_.data() + from * words_, words_, marks_.data() + to * words_);
            if (float_rows_.empty()) {
                byte_rows_[t] = byte_rows_[f];
            } else {
                float_rows_[t] = float_rows_[f];
            }
            break;
        case Reading::dense:
            move_row(inputs.data(), input_stride, from, to);
            break;
    }
}

namespace {

// Calls fn(first, count) for the loaded samples, as many at a time as have their bits in one word.
template <typename Fn>
void for_each_marked(const Workspace& workspace, const Fn& fn) {
    for (Index first = 0; first < workspace.loaded(); first += MarkedRows::most) {
        fn(first, std::min(MarkedRows::most, workspace.loaded() - first));
    }
}

}  // namespace

void copy_to_bfloat16(const Kernels& kernels, const Network& network, const Parameters& parameters,
                      Workspace& workspace) {
    const auto layer = parameters.layer(network.shape[0]);
    workspace.first_weights.resize(static_cast<std::size_t>((layer.fan_in + 1) / 2 * layer.stride));
    kernels.pair_rows(layer.weights, layer.fan_in, layer.stride, workspace.first_weights.data());
}

void move_means(const Centering& centering, float sign, const LayerView<float>& layer) {
    for (Index k = 0; k < layer.fan_in; ++k) {
        const float factor = sign * centering.mean[static_cast<std::size_t>(k)];
        const float* row = layer.weights + k * layer.stride;
        std::transform(layer.biases, layer.biases + layer.stride, row, layer.biases,
                       [factor](float bias, float weight) { return bias + factor * weight; });
    }
}

void fold_shift(const Kernels& kernels, const Centering& centering, const float* shift,
                const LayerView<float>& layer) {
    kernels.add_product(centering.mean.data(), 1, layer.fan_in, 1, shift, layer.stride, layer.weights);
}

void begin_centered(const Network& network, Workspace& workspace, Parameters& parameters) {
    std::ranges::fill(workspace.shift, 0.0F);
    if (workspace.shift.empty()) {
        move_means(*workspace.centering(), 1.0F, parameters.layer(network.shape[0]));
    }
}

void end_centered(const Kernels& kernels, const Network& network, bool fold, Workspace& workspace,
                  Parameters& parameters) {
    const auto layer = parameters.layer(network.shape[0]);
    if (workspace.shift.empty()) {
        move_means(*workspace.centering(), -1.0F, layer);
    } else if (fold) {
        fold_shift(kernels, *workspace.centering(), workspace.shift.data(), layer);
    }
}

void first_forward(const Kernels& kernels, const Network& network, const Parameters& parameters,
                   Workspace& workspace) {
    auto layer = parameters.layer(network.shape[0]);
    float* z = workspace.all_activations();
    if (!workspace.raw_biases.empty()) {
        take_mean_off_biases(kernels, workspace.centering()->mean, layer.weights, layer.biases,
                             layer.stride, workspace.raw_biases.data());
        layer.biases = workspace.raw_biases.data();
    }
    switch (workspace.reading()) {
        case Reading::lists:
            kernels.lists_forward(workspace.rows.data(), workspace.loaded(), layer.weights, layer.biases,
                                  layer.stride, z);
            break;
        case Reading::marks:
            for_each_marked(workspace, [&](Index first, Index count) {
                if (!workspace.first_weights.empty()) {
                    // Half the bytes: twice the rows of W fit the cache.
                    kernels.marked_forward_bfloat16(workspace.marked_bfloat16(first, count),
                                                    2 * workspace.words_a_visit(),
                                                    workspace.first_weights.data(), layer.biases,
                                                    layer.stride, z + first * layer.stride);
                    return;
                }
                kernels.marked_forward(workspace.marked(first, count), workspace.words_a_visit(),
                                       layer.weights, layer.biases, layer.stride,
                                       z + first * layer.stride);
            });
            break;
        case Reading::dense:
            kernels.dense_forward(workspace.inputs.data(), workspace.input_stride, workspace.loaded(),
                                  layer.fan_in, layer.weights, layer.biases, layer.stride, z);
            break;
    }
    if (!workspace.shift.empty()) {
        kernels.add_product(workspace.projections.data(), 1, workspace.loaded(), 1,
                            workspace.shift.data(), layer.stride, z);
    }
}

void multiply_samples(const Kernels& kernels, const Network& network, Index batch,
                      Workspace& workspace) {
    const Index features = network.shape.features();
    workspace.products.resize(MarkedRows::most * MarkedRows::most);
    if (workspace.byte_rows() != nullptr) {
        kernels.gram_uint8(workspace.byte_rows(), workspace.loaded(), batch, features,
                           workspace.byte_scale(), workspace.products.data());
    } else {
        kernels.gram_float32(workspace.float_rows(), workspace.loaded(), batch, features,
                             workspace.products.data());
    }
    const Centering* centering = workspace.shift.empty() ? nullptr : workspace.centering();
    for (Index s = 0; s < workspace.loaded(); ++s) {
        for (Index t = 0; t < s; ++t) {
            float& product = workspace.products[static_cast<std::size_t>(s * MarkedRows::most + t)];
            product += 1.0F;  // the bias's input
            if (centering != nullptr) {
                product += centering->squared_norm - workspace.projections[static_cast<std::size_t>(s)] -
                           workspace.projections[static_cast<std::size_t>(t)];
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
        kernels.dense_forward(below, layers[l - 1].stride, samples, layer.fan_in, layer.weights,
                              layer.biases, layer.stride, workspace.activations(l));
    }
}

bool has_narrow_output(const Network& network) {
    return network.shape.layers().size() > 1 && network.shape.outputs() <= most_narrow;
}

void transpose_output(const Network& network, const Parameters& parameters, Workspace& workspace) {
    const auto layer = parameters.layer(network.shape.layers().back());
    const Index row = padded(layer.fan_in);
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
    const Index row = padded(layer.fan_in);
    for (Index k = 0; k < layer.fan_in; ++k) {
        for (Index o = 0; o < layer.fan_out; ++o) {
            layer.weights[k * layer.stride + o] =
                workspace.output_weights[static_cast<std::size_t>(o * row + k)];
        }
    }
}

void apply_output(const Kernels& kernels, const Network& network, Workspace& workspace) {
    const LayerShape& layer = network.shape.layers().back();
    float* z = workspace.outputs();
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
    const std::size_t last = network.shape.layers().size() - 1;
    if (network.output != Output::softmax) {
        apply_output(kernels, network, workspace);
    }
    double total = 0.0;
    for (std::size_t s = 0; s < ids.size(); ++s) {
        const Index id = ids[s];
        float* output = workspace.outputs() + static_cast<Index>(s) * layer.stride;
        float* delta = workspace.deltas(last) + static_cast<Index>(s) * layer.stride;
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
    // All deltas below are linear in those of the outputs.
    std::for_each_n(workspace.deltas(layers.size() - 1), samples * layers.back().stride,
                    [scale](float& delta) { delta *= scale; });
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
        kernels.dense_backward(delta, samples, layer.weights, layer.fan_in, layer.stride, delta_below,
                               below_stride, workspace.panel.data());
        workspace.multiply_derivative(kernels, l - 1);
        kernels.dense_update(below, below_stride, samples, layer.fan_in, delta, change.weights,
                             change.biases, layer.stride);
    }
}

void add_first_gradient(const Kernels& kernels, const Network& network, Workspace& workspace,
                        Parameters& target) {
    const auto layer = target.layer(network.shape[0]);
    const Index samples = workspace.loaded();
    const float* delta = workspace.all_deltas();
    switch (workspace.reading()) {
        case Reading::lists:
            for (Index s = 0; s < samples; s += BatchTranspose::samples) {
                kernels.lists_update(workspace.rows.data() + s,
                                     std::min(BatchTranspose::samples, samples - s),
                                     delta + s * layer.stride, layer.weights, layer.biases, layer.stride,
                                     workspace.transpose());
            }
            break;
        case Reading::marks:
            for_each_marked(workspace, [&](Index first, Index count) {
                kernels.marked_update(
                    workspace.marked(first, count), delta + first * layer.stride, layer.weights,
                    layer.biases, layer.stride, workspace.marks_scratch(),
                    workspace.first_weights.empty() ? nullptr : workspace.first_weights.data());
            });
            break;
        case Reading::dense:
            kernels.dense_update(workspace.inputs.data(), workspace.input_stride, samples, layer.fan_in,
                                 delta, layer.weights, layer.biases, layer.stride);
            break;
    }
    if (!workspace.raw_biases.empty()) {
        take_mean_off_gradient(kernels, workspace.centering()->mean, delta, samples, layer.stride,
                               layer.weights, workspace.raw_biases.data());
    }
    if (!workspace.shift.empty()) {
        // The kernels have added each step to the biases once; what is left is mu . mu - mu . x of it.
        const float squared_norm = workspace.centering()->squared_norm;
        for (float& projection : workspace.projections) {
            projection = squared_norm - projection;
        }
        kernels.add_product(workspace.projections.data(), 0, 1, samples, delta, layer.stride,
                            layer.biases);
        std::ranges::fill(workspace.projections, -1.0F);
        kernels.add_product(workspace.projections.data(), 0, 1, samples, delta, layer.stride,
                            workspace.shift.data());
    }
}

}  // namespace omp_mlp
