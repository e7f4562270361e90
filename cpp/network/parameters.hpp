// The weights and biases of a network: one flat buffer, and named views of it.
//
// Layer l maps fan_in numbers to fan_out numbers, z = a W + b. Its weights are stored input-major: row k
// holds the fan_out weights that leave input k. So an input that is zero costs nothing, neither forward
// nor backward. The biases follow as one more row. Rows are padded with zeros to whole cache lines. So
// kernels need no tails, and a width of 127 is as fast as one of 128. The padding stays zero under
// training, because its deltas are zero, and under every merge, because a merge maps zeros to zero.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.hpp"
#include "kernels/kernels.hpp"

namespace omp_mlp {

struct LayerShape {
    Index fan_in;
    Index fan_out;
    Index stride;  // floats from one row to the next: row_stride(fan_out)
    Index begin;   // where the layer starts in the flat buffer

    Index size() const { return (fan_in + 1) * stride; }
    Index end() const { return begin + size(); }
};

class Shape {
public:
    // layer_sizes: features, hidden units of each layer, outputs; at least two numbers, all positive.
    explicit Shape(const std::vector<Index>& layer_sizes);

    const std::vector<LayerShape>& layers() const { return layers_; }
    const LayerShape& operator[](std::size_t layer) const { return layers_[layer]; }
    Index features() const { return layers_.front().fan_in; }
    Index outputs() const { return layers_.back().fan_out; }
    Index size() const { return layers_.back().end(); }  // floats, padding included
    Index packed_size() const;                           // floats, without it

private:
    std::vector<LayerShape> layers_;
};

// Row k of a layer's weights starts at weights + k * stride.
template <typename Float>
struct LayerView {
    Float* weights;
    Float* biases;
    Index fan_in;
    Index fan_out;
    Index stride;
};

class Parameters {
public:
    explicit Parameters(const Shape& shape);  // all zero
    // The floats are anything, until somebody writes them all, padding included.
    static Parameters unset(const Shape& shape) {
        return Parameters{static_cast<std::size_t>(shape.size())};
    }

    std::span<float> flat() { return data_; }
    std::span<const float> flat() const { return data_; }
    LayerView<float> layer(const LayerShape& shape);
    LayerView<const float> layer(const LayerShape& shape) const;

private:
    // Leaves floats without a value as the memory has them.
    template <typename T>
    struct UnsetAllocator : CacheLineAllocator<T> {
        using value_type = T;

        UnsetAllocator() = default;
        template <typename U>
        explicit UnsetAllocator(const UnsetAllocator<U>& /*other*/) {}

        template <typename U>
        void construct(U* place) {
            ::new (static_cast<void*>(place)) U;
        }
    };

    explicit Parameters(std::size_t count) : data_(count) {}

    std::vector<float, UnsetAllocator<float>> data_;
};

// The packed form is what Python sees: W_1 row by row, b_1, W_2, b_2, ... without padding. It may be written over the
// parameters themselves, from their beginning on.
void pack(const Shape& shape, const Parameters& parameters, std::span<float> packed);
void unpack(const Shape& shape, std::span<const float> packed, Parameters& parameters);

enum class InitScale { fixed, glorot, he, lecun };

struct Init {
    InitScale rule;
    InitScale first;  // the rule of the first layer
    double scale;     // of the rule `fixed`: weights are uniform in [-scale, scale)
    // The biases of the first layer reach so many times as far as its weights, and other biases are zero.
    double first_biases = 0.0;
    // The weights of the last layer reach so many times as far as their rule says.
    double last_weights = 1.0;
};

// Uniform weights and biases from the stream of `replica`. Glorot & Bengio (2010): scale
// sqrt(6 / (fan_in + fan_out)); He et al. (2015): sqrt(6 / fan_in); LeCun et al. (1998): sqrt(3 / fan_in).
void initialize(const Kernels& kernels, const Shape& shape, const Init& init, std::uint64_t seed,
                Index replica, Parameters& parameters);

}  // namespace omp_mlp
