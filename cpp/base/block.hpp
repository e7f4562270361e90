// Cuts a number of things into blocks whose sizes differ by at most one, as numpy.array_split does.
#pragma once

#include <algorithm>

#include "base/buffer.hpp"

namespace omp_mlp {

struct Block {
    Index begin;
    Index size;
};

constexpr Block block(Index total, Index blocks, Index i) {
    const Index quotient = total / blocks;
    const Index remainder = total % blocks;
    return {i * quotient + std::min(i, remainder), quotient + (i < remainder ? 1 : 0)};
}

}  // namespace omp_mlp
