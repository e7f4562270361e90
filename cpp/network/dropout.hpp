// Dropout (Srivastava et al. 2014), inverted: while a network trains, each hidden unit is left out of a sample's pass
// with the rate of its layer, and the units that stay are multiplied by 1 / (1 - rate).
//
// Whether a unit is left out is a pure function of the seed, the epoch, the sample, the layer and the unit. So it does
// not depend on who trains the sample, nor in which batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/buffer.hpp"
#include "base/random.hpp"

namespace omp_mlp {

struct Dropout {
    std::span<const double> rates;  // of each hidden layer; empty: no dropout
    std::uint64_t seed = 0;
    Index first_sample = 0;  // what sample 0 here is among the samples of all ranks

    bool drops() const { return !rates.empty(); }
    double rate(std::size_t layer) const { return layer < rates.size() ? rates[layer] : 0.0; }

    // Of the stream whose draw u is that of unit u.
    std::uint64_t key(Index epoch, Index sample, std::size_t layer) const {
        return derive(stream_key(seed, Purpose::dropout, static_cast<std::uint64_t>(epoch),
                                 static_cast<std::uint64_t>(first_sample + sample)),
                      layer);
    }
};

}  // namespace omp_mlp
