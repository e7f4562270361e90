// Where the rounds of a training end. This is the only place that says how often replicas are merged.
#pragma once

#include <cmath>

#include "base/buffer.hpp"

namespace omp_mlp {

// Samples that a replica trains on between merges: `first` at the start of the training, `last` at its
// end.
struct Period {
    Index first;
    Index last;
};

// Cuts `length` positions into rounds. A period that changes is geometric in the position p, H(p) =
// first (last / first)^(p / length). Rounds of exactly H(p) solve dp/dr = H(p), and would end after r =
// 1, 2, ... rounds at
//     p(r) = -length / g log(1 - g r first / length)    with g = log(last / first).
// The rounds end there, rounded down to whole batches.
class Rounds {
public:
    Rounds(Index length, const Period& period, Index batch_size)
        : length_{length},
          period_{period},
          batch_size_{batch_size},
          growth_{std::log(static_cast<double>(period.last) / static_cast<double>(period.first))} {}

    Index length() const { return length_; }

    Index count() const {
        if (is_constant()) {
            return length_ / period_.first + (length_ % period_.first != 0 ? 1 : 0);
        }
        return static_cast<Index>(std::ceil(-std::expm1(-growth_) / relative_growth()));
    }

    // Where round r of count() ends. It begins where the round before ends; the first begins at 0.
    Index end(Index round) const {
        if (round + 1 >= count()) {
            return length_;
        }
        const Index rounds = round + 1;
        if (is_constant()) {
            return rounds * period_.first;
        }
        const double p = -static_cast<double>(length_) / growth_ *
                         std::log1p(-relative_growth() * static_cast<double>(rounds));
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
    double growth_;
};

}  // namespace omp_mlp
