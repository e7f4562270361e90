#include "training/train.hpp"

#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/finite.hpp"
#include "data/centering.hpp"
#include "kernels/dispatch.hpp"
#include "threads/heartbeat.hpp"
#include "threads/team.hpp"
#include "training/masters.hpp"
#include "training/replicas.hpp"
#include "training/strategy.hpp"

namespace omp_mlp {
namespace {

// One training: its masters, and its history, row after row.
class Training {
public:
    Training(const Observer& observer, Parameters start)
        : observer_{observer}, heartbeat_{observer.during_round}, masters_{std::move(start)} {}

    void run(const Task& task, Team& team) {
        try {
            run_rounds(task, team);
        } catch (const TrainingDiverged& diverged) {
            divergence_ = diverged.divergence;
        }
    }

    // `start`: draws the start once more.
    template <typename Start>
    TrainResult take(const Start& start) {
        if (!divergence_) {
            const Index rows = masters_.rows();
            return {masters_.take_current(), rows, std::move(replicas_), std::move(history_), {}};
        }
        const Masters::Master* good = masters_.last_good();
        return {good != nullptr ? *good->parameters : start(),
                good != nullptr ? good->rows : 0,
                {},
                std::move(history_),
                divergence_};
    }

private:
    void run_rounds(const Task& task, Team& team) {
        if (task.options.warmup_samples > 0 && warm_up(task, team)) {
            return;
        }
        row_start_ = wall_seconds();
        const auto strategy = make_strategy(task, team, masters_.current());
        const Rounds rounds = strategy->rounds();
        Round round{.number = 0, .row = rows(), .begin = 0, .end = 0, .is_last = false};
        bool stops = rounds.count() == 0;
        for (; round.number < rounds.count() && !stops;
             ++round.number, ++round.row, round.begin = round.end) {
            round.end = rounds.end(round.number);
            round.is_last = round.number + 1 == rounds.count();
            stops = run_round(task, *strategy, team, round);
        }
        if (stops) {
            check_finite(masters_.current(), rows() - 1, *strategy);
        }
        if (task.options.keep_replicas) {
            replicas_ = strategy->take_replicas();
        }
    }

    // The functions below return whether to stop.

    bool warm_up(const Task& task, Team& team) {
        row_start_ = wall_seconds();
        heartbeat_.start_round();
        RoundReport report = omp_mlp::warm_up(task, team, masters_.current(),
                                              masters_.next(task.network.shape), heartbeat_);
        heartbeat_.beat_if_due();
        report.train_seconds = wall_seconds() - row_start_;
        masters_.advance(report.loss, rows() + 1);
        return tell(std::move(report));
    }

    bool run_round(const Task& task, TrainingStrategy& strategy, Team& team, const Round& round) {
        heartbeat_.start_round();
        RoundReport report = strategy.train_round(team, round, masters_.current(), heartbeat_);
        heartbeat_.beat_if_due();
        const double trained = wall_seconds();
        report.train_seconds = trained - row_start_;
        report.samples += samples();
        if (is_collected(strategy, round, report)) {
            Parameters& next = masters_.next(task.network.shape);
            strategy.collect(team, round, masters_.current(), next, report);
            if (round.is_last) {
                check_finite(next, round.row, strategy);
            }
            masters_.advance(report.loss, rows() + 1);
        }
        report.merge_seconds = wall_seconds() - trained;
        const bool stops = tell(std::move(report));
        row_start_ = wall_seconds();
        return stops;
    }

    static void check_finite(const Parameters& master, Index row, const TrainingStrategy& strategy) {
        if (!all_finite(master.flat())) {
            throw TrainingDiverged{row, strategy.merges() ? -1 : 0};
        }
    }

    bool is_collected(const TrainingStrategy& strategy, const Round& round,
                      const RoundReport& report) const {
        // To write the master costs about as much as to train on a sample.
        constexpr Index worth_a_master = 256;
        const Index before =
            masters_.rows() > 0 ? history_[static_cast<std::size_t>(masters_.rows() - 1)].samples : 0;
        return strategy.merges() || observer_.after_round || round.is_last || heartbeat_.stopped() ||
               report.samples - before >= worth_a_master;
    }

    bool tell(RoundReport report) {
        history_.push_back(std::move(report));
        return (observer_.after_round && observer_.after_round(history_.back(), masters_.current())) ||
               heartbeat_.stopped();
    }

    Index rows() const { return std::ssize(history_); }
    Index samples() const { return history_.empty() ? 0 : history_.back().samples; }

    const Observer& observer_;
    Heartbeat heartbeat_;
    Masters masters_;
    std::vector<Parameters> replicas_;
    std::vector<RoundReport> history_;
    std::optional<Divergence> divergence_;
    double row_start_ = 0.0;  // wall clock
};

Parameters first_master(const Shape& shape, const TrainOptions& options,
                        const std::optional<Parameters>& start) {
    if (start) {
        return *start;
    }
    Parameters drawn{shape};
    initialize(shape, options.init, options.seed, 0, drawn);
    return drawn;
}

}  // namespace

TrainResult train(const Network& network, const Samples& X, const Targets& targets,
                  const TrainOptions& options, const std::optional<Parameters>& start,
                  const Observer& observer) {
    const auto begin = [&] { return first_master(network.shape, options, start); };
    Training training{observer, begin()};
    Team::run(options.workers, [&](Team& team) {
        std::optional<Centering> centering;
        if (options.center_inputs) {
            centering = measure_centering(X, in_parallel(team));
        }
        training.run({.kernels = kernels(),
                      .network = network,
                      .X = X,
                      .targets = targets,
                      .options = options,
                      .centering = centering ? &*centering : nullptr},
                     team);
    });
    return training.take(begin);
}

}  // namespace omp_mlp
