#include "network/parameters.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "base/random.hpp"

namespace omp_mlp {
namespace {

constexpr double most_floats = 0x1p45;

}  // namespace

Shape::Shape(const std::vector<Index>& layer_sizes) {
    if (layer_sizes.size() < 2 ||
        std::ranges::any_of(layer_sizes, [](Index size) { return size < 1; })) {
        throw std::invalid_argument{"a network must have at least two layer sizes, all positive"};
    }
    Index begin = 0;
    for (std::size_t l = 0; l + 1 < layer_sizes.size(); ++l) {
        const Index fan_out = layer_sizes[l + 1];
        // In double, which does not wrap around; what is left is far from the end of Index.
        const double floats = static_cast<double>(begin) + (static_cast<double>(layer_sizes[l]) + 1.0) *
                                                               (static_cast<double>(fan_out) + 31.0);
        if (floats > most_floats) {
            throw std::length_error{"a network must have at most " + std::to_string(most_floats * 4e-9) +
                                    " GB of parameters; got " + std::to_string(floats * 4e-9) +
                                    " GB or more"};
        }
        layers_.push_back({layer_sizes[l], fan_out, row_stride(fan_out), begin});
        begin = layers_.back().end();
    }
}

Index Shape::packed_size() const {
    Index size = 0;
    for (const LayerShape& layer : layers_) {
        size += (layer.fan_in + 1) * layer.fan_out;
    }
    return size;
}

Parameters::Parameters(const Shape& shape) : data_(static_cast<std::size_t>(shape.size()), 0.0F) {}

LayerView<float> Parameters::layer(const LayerShape& shape) {
    float* weights = data_.data() + shape.begin;
    return {weights, weights + shape.fan_in * shape.stride, shape.fan_in, shape.fan_out, shape.stride};
}

LayerView<const float> Parameters::layer(const LayerShape& shape) const {
    const float* weights = data_.data() + shape.begin;
    return {weights, weights + shape.fan_in * shape.stride, shape.fan_in, shape.fan_out, shape.stride};
}

// In both forms the biases are the row after the last row of weights.
void pack(const Shape& shape, const Parameters& parameters, std::span<float> packed) {
    float* out = packed.data();
    for (const LayerShape& layer : shape.layers()) {
        const float* row = parameters.layer(layer).weights;
        for (Index k = 0; k <= layer.fan_in; ++k, row += layer.stride, out += layer.fan_out) {
            if (row != out) {
                std::copy_n(row, layer.fan_out, out);
            }
        }
    }
}

void unpack(const Shape& shape, std::span<const float> packed, Parameters& parameters) {
    const float* in = packed.data();
    for (const LayerShape& layer : shape.layers()) {
        float* row = parameters.layer(layer).weights;
        for (Index k = 0; k <= layer.fan_in; ++k, row += layer.stride, in += layer.fan_out) {
            float* end = std::copy_n(in, layer.fan_out, row);
            std::fill(end, row + layer.stride, 0.0F);
        }
    }
}

namespace {

double weight_scale(const LayerShape& layer, InitScale rule, double fixed) {
    const auto fan_in = static_cast<double>(layer.fan_in);
    const auto fan_out = static_cast<double>(layer.fan_out);
    switch (rule) {
        case InitScale::glorot:
            return std::sqrt(6.0 / (fan_in + fan_out));
        case InitScale::he:
            return std::sqrt(6.0 / fan_in);
        case InitScale::lecun:
            return std::sqrt(3.0 / fan_in);
        case InitScale::fixed:
            break;
    }
    return fixed;
}

}  // namespace

void initialize(const Kernels& kernels, const Shape& shape, const Init& init, std::uint64_t seed,
                Index replica, Parameters& parameters) {
    for (std::size_t l = 0; l < shape.layers().size(); ++l) {
        const LayerShape& layer = shape[l];
        const bool is_last = l + 1 == shape.layers().size();
        const double scale = weight_scale(layer, l == 0 ? init.first : init.rule, init.scale);
        const double reach = is_last ? init.last_weights * scale : scale;
        const std::uint64_t key =
            stream_key(seed, Purpose::weights, static_cast<std::uint64_t>(replica), l);
        const auto view = parameters.layer(layer);
        std::uint64_t drawn = 0;
        const auto draw_row = [&](float* row, double limit) {
            kernels.draw_uniform(key, drawn, layer.fan_out, limit, row);
            std::fill(row + layer.fan_out, row + layer.stride, 0.0F);
            drawn += static_cast<std::uint64_t>(layer.fan_out);
        };
        for (Index k = 0; k < layer.fan_in; ++k) {
            draw_row(view.weights + k * layer.stride, reach);
        }
        if (l == 0 && init.first_biases > 0.0) {
            draw_row(view.biases, init.first_biases * scale);
        } else {
            std::fill_n(view.biases, layer.stride, 0.0F);
        }
    }
}

}  // namespace omp_mlp
