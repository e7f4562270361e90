// The memory of one thread for the products of dense layers.
#pragma once

#include "base/buffer.hpp"
#include "kernels/kernels.hpp"

namespace omp_mlp {

class ProductMemory {
public:
    // Makes it large enough for a layer, with up to `samples` samples at a time: at most as large as blocks should
    // be for the second cache of the core that this runs on.
    void make_room(Index samples, Index fan_in, Index width);

    // Until the next call of make_room.
    Scratch scratch() { return {floats_.data(), std::ssize(floats_)}; }

private:
    Buffer floats_;
};

}  // namespace omp_mlp
