// The master of a training, and the one to go back to if the training diverges.
#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/finite.hpp"
#include "network/parameters.hpp"
#include "training/state.hpp"

namespace omp_mlp {

// A training rarely ends from one step to the next: its loss rises for some rounds before it leaves
// float32. The masters of these rounds are finite, and worth nothing. So a master is good if it is finite
// and the round that made it was sound: its loss is not above the first round's, or at most ten times the
// least. The loss of a round is that of its samples before their steps. So a sound round proves that the
// master it began with was good, and that one is kept. Buffers change places; nothing is copied. The start
// can be drawn again. So it is not kept, and a training of one round has one buffer.
class Masters {
public:
    struct Master {
        std::unique_ptr<Parameters> parameters;
        Index rows = 0;  // the rows of the history that made it
        bool is_of_sound_round = true;
    };

    explicit Masters(Parameters start)
        : current_{.parameters = std::make_unique<Parameters>(std::move(start))} {}

    const Parameters& current() const { return *current_.parameters; }
    Index rows() const { return current_.rows; }
    // The later of the rows of all masters that are kept.
    Index most_rows() const { return std::max(current_.rows, kept_.rows); }

    // Where to write the next master. Its contents are an old one's, or zero. In the first round, it is
    // the start itself.
    Parameters& next(const Shape& shape) {
        if (!first_loss_) {
            return *current_.parameters;
        }
        if (!next_.parameters) {
            next_.parameters = std::make_unique<Parameters>(shape);
        }
        return *next_.parameters;
    }

    // Goes back to the master that the last sound round began with, or to the start.
    template <typename Start>
    void go_back(const Start& start) {
        const bool is_kept = kept_.parameters && all_finite(kept_.parameters->flat());
        *current_.parameters = is_kept ? *kept_.parameters : start();
        current_.rows = is_kept ? kept_.rows : 0;
        current_.is_of_sound_round = true;
        is_begun_anew_ = true;
    }

    // The next master is written, and becomes the current one.
    void advance(double loss, Index rows) {
        const bool is_first = !first_loss_;
        const bool is_sound = judge(loss);
        if (!is_first) {
            if (is_sound) {
                std::swap(kept_, current_);
            }
            std::swap(current_, next_);
        }
        current_.rows = rows;
        current_.is_of_sound_round = is_sound;
    }

    // All but `next`, whose contents do not count.
    void exchange_state(StateExchange& exchange, const Shape& shape) {
        exchange_one(exchange, shape, "master", current_);
        bool is_kept = kept_.parameters != nullptr;
        exchange("masters.has_last_good", is_kept);
        if (is_kept) {
            if (!kept_.parameters) {
                kept_.parameters = std::make_unique<Parameters>(shape);
            }
            exchange_one(exchange, shape, "last_good_master", kept_);
        }
        std::vector<double> first_loss;
        if (first_loss_) {
            first_loss.push_back(*first_loss_);
        }
        exchange("masters.first_loss", first_loss);
        first_loss_ = first_loss.empty() ? std::nullopt : std::optional{first_loss.front()};
        exchange("masters.is_begun_anew", is_begun_anew_);
        exchange("masters.least_loss", least_loss_);
    }

    Parameters take_current() {
        const auto taken = std::move(current_.parameters);
        return std::move(*taken);
    }

    // The last good master; null: the start.
    const Master* last_good() const {
        if (current_.is_of_sound_round && all_finite(current().flat())) {
            return &current_;
        }
        return kept_.parameters && all_finite(kept_.parameters->flat()) ? &kept_ : nullptr;
    }

private:
    static void exchange_one(StateExchange& exchange, const Shape& shape, const std::string& name,
                             Master& master) {
        exchange(name.c_str(), shape, *master.parameters);
        exchange((name + ".rows").c_str(), master.rows);
        exchange((name + ".is_of_sound_round").c_str(), master.is_of_sound_round);
    }

    bool judge(double loss) {
        constexpr double much_more = 10.0;
        // A first round that blew up must not be the measure of those that come after a retreat.
        if (!first_loss_ || (is_begun_anew_ && loss < *first_loss_)) {
            first_loss_ = loss;
        }
        is_begun_anew_ = false;
        least_loss_ = std::min(least_loss_, loss);
        return loss <= std::max(*first_loss_, much_more * least_loss_);
    }

    Master current_;
    Master kept_;
    Master next_;
    std::optional<double> first_loss_;
    bool is_begun_anew_ = false;
    double least_loss_ = std::numeric_limits<double>::infinity();
};

}  // namespace omp_mlp
