// Where the rounds of a training end. This is the only place that says how often replicas are merged.
//
// A round ends with a merge of all replicas. Where several ranks train, a round may have more merges before
// that: of the replicas of each rank, by itself.
#pragma once

#include <algorithm>
#include <cmath>

#include "base/buffer.hpp"

namespace omp_mlp {

// Samples that a replica trains on between merges: `first` at the start of the training, `last` at its
// end.
struct Period {
    Index first;
    Index last;
};

// Cuts `length` positions by merges, and has so many merges a round. A period that changes is geometric in
// the position p, H(p) = first (last / first)^(p / length). Merges after exactly H(p) solve dp/dm = H(p), and
// would come after m = 1, 2, ... periods at
//     p(m) = -length / g log(1 - g m first / length)    with g = log(last / first).
// The merges are there, rounded down to whole batches.
class Rounds {
public:
    Rounds(Index length, const Period& period, Index batch_size, Index merges_a_round = 1)
        : length_{length},
          period_{period},
          batch_size_{batch_size},
          merges_a_round_{merges_a_round},
          growth_{std::log(static_cast<double>(period.last) / static_cast<double>(period.first))} {}

    Index length() const { return length_; }

    Index count() const {
        return merges() / merges_a_round_ + (merges() % merges_a_round_ != 0 ? 1 : 0);
    }

    // Where round r of count() ends. It begins where the round before ends; the first begins at 0.
    Index end(Index round) const { return merge(last_merge(round)); }

    // The merges that round r ends with; the others of these are within it.
    Index first_merge(Index round) const { return round * merges_a_round_; }
    Index last_merge(Index round) const {
        return std::min(first_merge(round) + merges_a_round_, merges()) - 1;
    }

    Index merges() const {
        if (is_constant()) {
            return length_ / period_.first + (length_ % period_.first != 0 ? 1 : 0);
        }
        return static_cast<Index>(std::ceil(-std::expm1(-growth_) / relative_growth()));
    }

    // Where merge m of merges() is.
    Index merge(Index m) const {
        if (m + 1 >= merges()) {
            return length_;
        }
        const Index periods = m + 1;
        if (is_constant()) {
            return periods * period_.first;
        }
        const double p = -static_cast<double>(length_) / growth_ *
                         std::log1p(-relative_growth() * static_cast<double>(periods));
        return static_cast<Index>(p / static_cast<double>(batch_size_)) * batch_size_;
    }

private:
    bool is_constant() const { return period_.first == period_.last; }
    double relative_growth() const {
        return growth_ * static_cast<double>(period_.first) / static_cast<double>(length_);
    }

    Index length_;
    Period period_;
    Index batch_size_;
    Index merges_a_round_;
    double growth_;
};

}  // namespace omp_mlp
