#include "training/train.hpp"

#include <iterator>
#include <utility>

#include "base/clock.hpp"
#include "base/finite.hpp"
#include "data/centering.hpp"
#include "kernels/dispatch.hpp"
#include "threads/heartbeat.hpp"
#include "threads/team.hpp"
#include "training/replicas.hpp"
#include "training/strategy.hpp"

namespace omp_mlp {
namespace {

// One training: the master, and its history, row after row.
class Training {
public:
    Training(const Observer& observer, Parameters start)
        : observer_{observer}, heartbeat_{observer.during_round}, result_{std::move(start), {}, {}} {}

    void run(const Task& task, Team& team) {
        if (task.options.warmup_samples > 0 && warm_up(task, team)) {
            return;
        }
        row_start_ = wall_seconds();
        const auto strategy = make_strategy(task, team, result_.master);
        const Rounds rounds = strategy->rounds();
        Round round{.number = 0, .row = rows(), .begin = 0, .end = 0, .is_last = false};
        for (; round.number < rounds.count(); ++round.number, ++round.row, round.begin = round.end) {
            round.end = rounds.end(round.number);
            round.is_last = round.number + 1 == rounds.count();
            if (run_round(*strategy, team, round)) {
                break;
            }
        }
        if (!all_finite(result_.master.flat())) {
            throw TrainingDiverged{rows() - 1, strategy->merges() ? -1 : 0};
        }
        if (task.options.keep_replicas) {
            result_.replicas = strategy->take_replicas();
        }
    }

    TrainResult take() { return std::move(result_); }

private:
    // The functions below return whether to stop.

    bool warm_up(const Task& task, Team& team) {
        row_start_ = wall_seconds();
        heartbeat_.start_round();
        RoundReport report = omp_mlp::warm_up(task, team, result_.master, heartbeat_);
        heartbeat_.beat_if_due();
        report.train_seconds = wall_seconds() - row_start_;
        return tell(std::move(report));
    }

    bool run_round(TrainingStrategy& strategy, Team& team, const Round& round) {
        heartbeat_.start_round();
        RoundReport report = strategy.train_round(team, round, result_.master, heartbeat_);
        heartbeat_.beat_if_due();
        const double trained = wall_seconds();
        report.train_seconds = trained - row_start_;
        const bool is_seen = observer_.after_round || round.is_last || heartbeat_.stopped();
        if (strategy.merges() || is_seen) {
            strategy.collect(team, round, result_.master, report);
        }
        report.merge_seconds = wall_seconds() - trained;
        const bool stops = tell(std::move(report));
        row_start_ = wall_seconds();
        return stops;
    }

    bool tell(RoundReport report) {
        report.samples += result_.history.empty() ? 0 : result_.history.back().samples;
        result_.history.push_back(std::move(report));
        return (observer_.after_round &&
                observer_.after_round(result_.history.back(), result_.master)) ||
               heartbeat_.stopped();
    }

    Index rows() const { return std::ssize(result_.history); }

    const Observer& observer_;
    Heartbeat heartbeat_;
    TrainResult result_;
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
    Training training{observer, first_master(network.shape, options, start)};
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
    return training.take();
}

}  // namespace omp_mlp
