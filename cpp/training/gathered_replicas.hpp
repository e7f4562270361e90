// The parameters of the replicas of all ranks, on every rank, with the work that they leave to the merge.
#pragma once

#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <vector>

#include "base/buffer.hpp"
#include "training/ranks.hpp"
#include "training/replica.hpp"

namespace omp_mlp {

class GatheredReplicas {
public:
    // `parameters`: of a replica. `words`: of TouchedRows. `stride`: of a shift.
    GatheredReplicas(const Ranks& ranks, Index parameters, Index words, Index stride);

    // Gathers from all ranks what replica i of this rank gives with set(i).
    void set(Index i, std::span<const float> parameters, const std::optional<Leftovers>& leftovers);
    void gather(bool with_leftovers);

    // Of replica r, counted over all ranks.
    const float* parameters(Index r) const { return at(parameters_, r); }
    const std::uint64_t* touched(Index r) const { return at(touched_, r); }
    const float* shift(Index r) const { return at(shifts_, r); }  // zeros if it left none

private:
    template <typename T, typename Allocator>
    const T* at(const std::vector<T, Allocator>& all, Index r) const {
        return all.data() + std::ssize(all) / ranks_->replicas() * r;
    }
    template <typename Values>
    std::span<typename Values::value_type> own(Values& all, Index i) const {
        const Index size = std::ssize(all) / ranks_->replicas();
        return std::span{all}.subspan(static_cast<std::size_t>(size * (ranks_->first_replica() + i)),
                                      static_cast<std::size_t>(size));
    }
    template <typename Values>
    void gather(Values& all) const;

    const Ranks* ranks_;
    Buffer parameters_;
    std::vector<std::uint64_t> touched_;
    Buffer shifts_;
};

}  // namespace omp_mlp
