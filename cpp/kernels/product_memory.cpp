#include "kernels/product_memory.hpp"

#include <algorithm>

#include "base/caches.hpp"

namespace omp_mlp {

void ProductMemory::make_room(Index samples, Index fan_in, Index width) {
    if (samples == 1) {
        return;  // W is read where it is
    }
    // What a layer can use, whatever the instruction set: blocks of rows and of W, and what comes out backward; but no
    // more than twice what its weights take.
    constexpr Index depth = 288;
    const Index rows = padded(samples);
    const Index useful =
        std::min(depth * (rows + width + cache_line_floats) + padded(fan_in) * rows, 2 * fan_in * width);
    const Index cached = second_cache_bytes() / static_cast<Index>(sizeof(float));
    const Index wished = std::max(Scratch::least, std::min(useful, cached));
    if (wished > std::ssize(floats_)) {
        floats_.resize(static_cast<std::size_t>(wished));
    }
}

}  // namespace omp_mlp
