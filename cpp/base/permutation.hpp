// A random order of 0..n-1 that is computed entry by entry and never stored. It takes no memory, there
// is no serial shuffle before the replicas can start, and any replica reads any part of it.
//
// Multiply-add and xor-shift are invertible on words of b bits, so keyed rounds of both permute
// 0..2^b-1. An entry outside 0..n-1 is permuted again until it is inside (cycle walking, Black & Rogaway
// 2002). With b the bits of n-1, that takes less than two steps on average. There are twelve rounds:
// with six, some orders of 8 entries never occur, and some keys leave a trace of the position in the
// order of 256. A test of the oracle checks the fairness.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "base/random.hpp"

namespace omp_mlp {

class Permutation {
public:
    Permutation(std::uint64_t n, std::uint64_t key) : n_{n} {
        const int width = n > 2 ? static_cast<int>(std::bit_width(n - 1)) : 1;
        mask_ = (std::uint64_t{1} << width) - 1;
        shift_ = width > 2 ? width / 2 : 1;
        for (std::size_t r = 0; r < rounds; ++r) {
            multiplier_[r] = derive(key, 2 * r) | 1U;
            addend_[r] = derive(key, 2 * r + 1);
        }
    }

    // i < n.
    std::uint64_t operator()(std::uint64_t i) const {
        do {
            for (std::size_t r = 0; r < rounds; ++r) {
                i = (i * multiplier_[r] + addend_[r]) & mask_;
                i ^= i >> shift_;
            }
        } while (i >= n_);
        return i;
    }

private:
    static constexpr std::size_t rounds = 12;
    std::uint64_t n_;
    std::uint64_t mask_;
    int shift_;
    std::array<std::uint64_t, rounds> multiplier_;
    std::array<std::uint64_t, rounds> addend_;
};

}  // namespace omp_mlp
