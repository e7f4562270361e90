// The processes that train one network together, and the place of this one among them.
//
// Each rank has its own rows and as many replicas as every other rank. The replicas are counted over the
// ranks, in their order. So are the rows.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "base/communicator.hpp"
#include "merging/update_sums.hpp"

namespace omp_mlp {

struct Ranks {
    Communicator* communicator;
    Index replicas_a_rank;
    Index longest_shard;  // samples of the replica that has most, of all ranks
    Index first_row;      // of this rank, among those of all ranks
    double density;       // of the rows of all ranks
    // Whether a merge sees the parameters of all replicas, and so has the bits of one process. If not, it
    // sees sums over the ranks.
    bool gathers;
    bool may_stop;  // whether a rank may ask for the end of the training
    // Merges of replicas a round. With more than one, a rank merges its own replicas by itself, and in the
    // last merge of a round, the ranks merge what each has made of them.
    Index merges_a_round;
    SentAs sent_as;     // where a merge sees sums
    double sent_share;  // of the parameters, if the largest are sent
    // Whether replicas train on while the messages of a merge travel. Not where merges gather parameters.
    bool overlaps;

    Index replicas() const { return communicator->size() * replicas_a_rank; }
    Index first_replica() const { return communicator->rank() * replicas_a_rank; }

    // Fills in what the other ranks have. `all` has `size` places for each replica of all ranks, and those of
    // this rank's replicas are written. T is plain memory.
    template <typename T>
    void share(std::span<T> all, Index size = 1) const {
        const auto mine = all.subspan(static_cast<std::size_t>(size * first_replica()),
                                      static_cast<std::size_t>(size * replicas_a_rank));
        const std::vector<T> given(mine.begin(), mine.end());
        communicator->gather(std::as_bytes(std::span{given}), std::as_writable_bytes(all));
    }

    // Whether a rank answers yes.
    template <std::size_t N>
    std::array<bool, N> any(const std::array<bool, N>& mine) const {
        if (!may_stop) {
            return mine;
        }
        std::vector<std::byte> all(N * static_cast<std::size_t>(communicator->size()));
        communicator->gather(std::as_bytes(std::span{mine}), all);
        std::array<bool, N> found{};
        for (std::size_t i = 0; i < all.size(); ++i) {
            found[i % N] = found[i % N] || all[i] != std::byte{0};
        }
        return found;
    }
};

}  // namespace omp_mlp
