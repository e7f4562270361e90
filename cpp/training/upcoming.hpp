// The samples that a worker reads next. They are looked up in the epoch's order one batch ahead, so that the
// memory can start on them, and once.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "base/block.hpp"
#include "training/shard.hpp"

namespace omp_mlp {

class Upcoming {
public:
    std::span<const Index> ids() const { return ids_; }

    // Looks up the samples at [begin, begin + size) of an epoch, as far as there are any before `end`; begin > 0.
    void list(const Shard::Epoch& order, Index begin, Index size, Index end) {
        begin_ = begin;
        ids_.resize(static_cast<std::size_t>(std::clamp<Index>(end - begin, 0, size)));
        look_up(order, begin, ids_);
    }

    // Writes the samples from `begin` on: those that were listed, if they are the same.
    void take(const Shard::Epoch& order, Index begin, std::span<Index> ids) const {
        if (begin == begin_ && ids.size() <= ids_.size()) {
            std::copy_n(ids_.begin(), ids.size(), ids.begin());
        } else {
            look_up(order, begin, ids);
        }
    }

private:
    static void look_up(const Shard::Epoch& order, Index begin, std::span<Index> ids) {
        for (Index& id : ids) {
            id = order[begin++];
        }
    }

    Index begin_ = 0;
    std::vector<Index> ids_;
};

}  // namespace omp_mlp
