// The gradient of a layer in blocks of rows, each of which is used as soon as it is complete.
//
// A whole gradient takes as much memory as the parameters: it is written to a cache further out, and read from there
// again. A block is still in the nearest caches when it is used, and its memory serves for the next block.
#pragma once

#include <algorithm>
#include <functional>

#include "base/buffer.hpp"
#include "network/parameters.hpp"

namespace omp_mlp {

class RowBlocks {
public:
    // Uses the gradient of the rows [first, first + count) of layer l: count x stride floats, which become zero. The
    // biases are the row after the weights (parameters.hpp), a block of their own.
    using Use = std::function<void(std::size_t l, Index first, Index count, float* gradient)>;

    // `memory` serves all blocks, and is zero between them.
    RowBlocks(std::size_t l, Buffer& memory, const Use& use) : l_{l}, memory_{memory}, use_{use} {}

    // Calls add(first, last, rows, biases) for one block of the layer's weights after another. It adds the gradient
    // of the rows [first, last) of W to `rows`, which are those, and that of the biases unless `biases` is null.
    template <typename Add>
    void hand_out(const LayerShape& layer, const Add& add) const {
        const Index rows = rows_of(layer);
        memory_.resize(std::max(memory_.size(), static_cast<std::size_t>((rows + 1) * layer.stride)));
        float* biases = memory_.data();
        float* block = biases + layer.stride;
        for (Index first = 0; first < layer.fan_in; first += rows) {
            const Index count = std::min(rows, layer.fan_in - first);
            add(first, first + count, block, first == 0 ? biases : nullptr);
            use_(l_, first, count, block);
        }
        use_(l_, layer.fan_in, 1, biases);
    }

private:
    // About as much as the first cache holds beside what is used with it; or so many rows that the products of a wide
    // layer, which copy all deltas for each block, hardly take longer.
    static Index rows_of(const LayerShape& layer) {
        constexpr Index floats = Index{1} << 13;
        constexpr Index unit = 64;
        constexpr Index wide = 256;
        constexpr Index rows_of_wide = 128;
        const Index rows =
            layer.stride > wide ? rows_of_wide : (floats / layer.stride + unit - 1) / unit * unit;
        return std::min(rows, layer.fan_in);
    }

    std::size_t l_;
    Buffer& memory_;
    const Use& use_;
};

}  // namespace omp_mlp
