// The schedule "adaptive": when the learning rate has to fall because the training loss does not.
#pragma once

#include <limits>

#include "base/buffer.hpp"
#include "training/state.hpp"

namespace omp_mlp {

// Judges the mean training loss of an epoch at the end of the round in which the epoch ends. It is the
// mean over all rounds since the epoch before was judged. As scikit-learn's learning_rate="adaptive", the
// rate falls when two epochs in turn failed to bring the loss below the least one so far by `least_fall`.
class Plateau {
public:
    // `epoch`: the positions of an epoch in the stream.
    Plateau(Index epoch, double least_fall) : epoch_{epoch}, least_fall_{least_fall} {}

    // A round of so many samples with this mean loss ends at `position`. Returns whether the rate falls.
    bool end_round(Index position, Index samples, double loss) {
        constexpr Index patience = 2;
        if (samples > 0) {
            loss_sum_ += loss * static_cast<double>(samples);
            samples_ += samples;
        }
        if (samples_ == 0 || position / epoch_ == epochs_) {
            return false;
        }
        const double mean = loss_sum_ / static_cast<double>(samples_);
        failures_ = mean > least_loss_ - least_fall_ ? failures_ + 1 : 0;
        least_loss_ = mean < least_loss_ ? mean : least_loss_;
        epochs_ = position / epoch_;
        loss_sum_ = 0.0;
        samples_ = 0;
        if (failures_ < patience) {
            return false;
        }
        failures_ = 0;
        return true;
    }

    void exchange_state(StateExchange& exchange) {
        exchange("plateau.epochs", epochs_);
        exchange("plateau.loss_sum", loss_sum_);
        exchange("plateau.samples", samples_);
        exchange("plateau.least_loss", least_loss_);
        exchange("plateau.failures", failures_);
    }

private:
    Index epoch_;
    double least_fall_;
    Index epochs_ = 0;  // that are over
    double loss_sum_ = 0.0;
    Index samples_ = 0;
    double least_loss_ = std::numeric_limits<double>::infinity();
    Index failures_ = 0;
};

}  // namespace omp_mlp
