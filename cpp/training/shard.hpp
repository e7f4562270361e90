// Which samples a replica sees, and in which order. This is the only place that says how samples are
// split.
//
// Replica i owns block i of N samples cut into `replicas` blocks whose sizes differ by at most one
// (numpy.array_split). Its stream is its epochs one after another; a position in the stream names a
// sample. `global` permutes all samples before they are cut, `shards` permutes within each block.
#pragma once

#include <cstdint>

#include "base/block.hpp"
#include "base/buffer.hpp"
#include "base/permutation.hpp"

namespace omp_mlp {

enum class Shuffle { none, shards, global };

class Shard {
public:
    // `first_replica`: what replica 0 here is among the replicas of all ranks.
    Shard(Index samples, Index replicas, Index replica, Index epochs, Shuffle shuffle,
          std::uint64_t seed, Index first_replica = 0)
        : samples_{samples},
          stream_{first_replica + replica},
          block_{block(samples, replicas, replica)},
          length_{epochs * block_.size},
          shuffle_{shuffle},
          seed_{seed} {}

    Index epoch_size() const { return block_.size; }
    Index length() const { return length_; }  // of the stream: epochs x epoch_size

    // The order of one epoch, position by position.
    class Epoch {
    public:
        Index operator[](Index position) const {
            const auto source = static_cast<std::uint64_t>(before_ + position);
            return after_ + static_cast<Index>(shuffled_ ? permutation_(source) : source);
        }

    private:
        friend class Shard;
        Epoch(Index before, Index after, bool shuffled, Permutation permutation)
            : before_{before}, after_{after}, shuffled_{shuffled}, permutation_{permutation} {}
        Index before_;  // added before the permutation (global) ...
        Index after_;   // ... or after it (shards)
        bool shuffled_;
        Permutation permutation_;
    };

    Epoch epoch(Index number) const {
        const bool global = shuffle_ == Shuffle::global;
        const auto n = static_cast<std::uint64_t>(global ? samples_ : block_.size);
        const auto stream = static_cast<std::uint64_t>(global ? 0 : stream_);
        const auto key = stream_key(seed_, Purpose::order, stream, static_cast<std::uint64_t>(number));
        return {global ? block_.begin : 0, global ? 0 : block_.begin, shuffle_ != Shuffle::none,
                Permutation(n, key)};
    }

private:
    Index samples_;
    Index stream_;  // of random numbers, without a shuffle over all samples
    Block block_;
    Index length_;
    Shuffle shuffle_;
    std::uint64_t seed_;
};

}  // namespace omp_mlp
