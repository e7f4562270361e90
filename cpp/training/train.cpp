#include "training/train.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/clock.hpp"
#include "data/centering.hpp"
#include "kernels/dispatch.hpp"
#include "merging/merger.hpp"
#include "threads/team.hpp"
#include "training/replica.hpp"

namespace omp_mlp {
namespace {

bool all_finite(std::span<const float> values) {
    // x * 0 is 0 unless x is infinite or NaN, and sums of such terms are quick.
    constexpr std::size_t lanes = 16;
    std::array<float, lanes> sums{};
    std::size_t k = 0;
    for (; k + lanes <= values.size(); k += lanes) {
        for (std::size_t lane = 0; lane < lanes; ++lane) {
            sums[lane] += values[k + lane] * 0.0F;
        }
    }
    return std::accumulate(sums.begin(), sums.end(), 0.0F) == 0.0F &&
           std::ranges::all_of(values.subspan(k), [](float value) { return std::isfinite(value); });
}

// All replicas of one training, and the master that they are merged into.
class Replicas {
public:
    Replicas(const Network& network, const Samples& X, const Targets& targets,
             const TrainOptions& options, const std::optional<Parameters>& start,
             const Observer& observer)
        : master{network.shape},
          network_{network},
          X_{X},
          targets_{targets},
          options_{options},
          reading_{choose_replica_reading(options.batch.first_layer, X, options.batch.batch_size)},
          start_{start},
          means_(static_cast<std::size_t>(network.shape[0].fan_in + 1)),
          no_shift_(static_cast<std::size_t>(network.shape[0].stride)),
          replicas_(static_cast<std::size_t>(options.threads)),
          trained_(replicas_.size()),
          is_finite_(replicas_.size()),
          heartbeat_{observer.during_round},
          merger_{*options.merge.method, options.merge.method_options, layer_ends(network.shape),
                  options.merge.outer, options.threads} {
        draw_start(0, master);
        if (options.merge.last_method != nullptr) {
            last_merger_.emplace(*options.merge.last_method, std::vector<OptionValue>{},
                                 layer_ends(network.shape), OuterStep{1.0, 0.0, false}, options.threads);
        }
    }

    void center(Team& team) {
        centering_ = measure_centering(X_, in_parallel(team));
        std::ranges::copy(centering_->mean, means_.begin());
    }

    // One replica trains on the first samples of its own order of all samples, at the rate of the start;
    // where it arrives, all others start.
    RoundReport warm_up(Team& team) {
        const double start = wall_seconds();
        const Index samples = options_.warmup_samples;
        Replica::Trained trained;
        heartbeat_.start_round();
        team.for_each(
            1,
            [&](Index /*i*/) {
                const Index epochs = (samples + X_.rows - 1) / X_.rows;
                const Shard order{X_.rows, 1, 0, epochs, options_.shuffle, options_.seed};
                OptimizerOptions constant = options_.optimizer;
                constant.learning_rate.schedule = Schedule::constant;
                Replica replica{kernels(),      network_, constant, order,
                                options_.batch, reading_, X_.kind,  centering_ ? &*centering_ : nullptr};
                std::ranges::copy(master.flat(), replica.parameters.flat().begin());
                trained = replica.train(X_, targets_, 0, samples, true, heartbeat_);
                std::ranges::copy(replica.parameters.flat(), master.flat().begin());
            },
            [&] { heartbeat_.wait(); });
        heartbeat_.beat_if_due();
        if (!std::isfinite(trained.loss_sum) || !all_finite(master.flat())) {
            throw TrainingDiverged{0, 0};
        }
        is_warm_ = true;
        return report(std::span{&trained, 1}, start);
    }

    // Every replica trains on positions [begin, end) of its stream, from the master on. `row`: of the history.
    RoundReport train_round(Team& team, Index row, Index begin, Index end, bool last) {
        const double start = wall_seconds();
        heartbeat_.start_round();
        // Part of the work can be left to the merge; but somebody else may want to see the replicas.
        are_whole_ = last || options_.merge.skip_nonfinite || options_.keep_replicas ||
                     !steps_in_place(options_.optimizer);
        team.for_each(
            options_.threads,
            [&](Index i) {
                const auto r = static_cast<std::size_t>(i);
                if (begin == 0) {
                    // Made by its own thread, so that its memory is near that thread's core.
                    replicas_[r].emplace(kernels(), network_, options_.optimizer, shard(i),
                                         options_.batch, reading_, X_.kind,
                                         centering_ ? &*centering_ : nullptr);
                }
                if (begin == 0 && !is_warm_) {
                    draw_start(i, replicas_[r]->parameters);
                } else {
                    replicas_[r]->load(master.flat(), are_whole_);
                }
                trained_[r] = replicas_[r]->train(X_, targets_, begin, end, are_whole_, heartbeat_);
                // If all have to be finite in the end, the loss tells of each before.
                const bool look = last || options_.merge.skip_nonfinite;
                const bool finite = std::isfinite(trained_[r].loss_sum) &&
                                    (!look || all_finite(replicas_[r]->parameters.flat()));
                is_finite_[r] = finite ? 1 : 0;
                if (is_finite_[r] == 0 && !options_.merge.skip_nonfinite) {
                    throw divergence(row, i);
                }
            },
            [&] { heartbeat_.wait(); });

        heartbeat_.beat_if_due();
        return report(trained_, start);
    }

    // The replicas become the next master. They began the round at that position of their streams.
    void merge_round(Team& team, RoundReport& report, Index row, Index begin, bool last) {
        const double start = wall_seconds();
        std::vector<const float*> replicas;
        std::vector<const std::uint64_t*> touched;
        std::vector<const float*> shifts;
        std::vector<double> share;
        Index samples = 0;
        for (std::size_t r = 0; r < replicas_.size(); ++r) {
            if (is_finite_[r] == 0) {
                report.skipped.push_back(static_cast<Index>(r));
                continue;
            }
            // Every replica was made in the first round.  NOLINTNEXTLINE(bugprone-unchecked-optional-access)
            const Replica& replica = *replicas_[r];
            replicas.push_back(replica.parameters.flat().data());
            touched.push_back(replica.touched_rows());
            shifts.push_back(replica.shift().empty() ? no_shift_.data() : replica.shift().data());
            share.push_back(static_cast<double>(trained_[r].samples));
            samples += trained_[r].samples;
        }
        if (replicas.empty()) {
            throw divergence(row, 0);
        }
        for (double& part : share) {
            part = samples > 0 ? part / static_cast<double>(samples)
                               : 1.0 / static_cast<double>(share.size());
        }
        const double rate = options_.optimizer.learning_rate.at(begin, shard(0).length());
        const double momentum_factor =
            options_.merge.momentum_follows_rate && begin > 0 ? rate / rate_ : 1.0;
        rate_ = rate;
        Merger& merger = last && last_merger_ ? *last_merger_ : merger_;
        const LayerShape& first = network_.shape[0];
        const Deferred deferred{touched.data(), master.flat().data(), means_.data(),
                                shifts.data(),  first.stride,         first.end()};
        const bool is_deferred = !are_whole_ && reading_ != Reading::dense;
        merger.merge({replicas, share, master.flat().data(), is_deferred ? &deferred : nullptr},
                     momentum_factor, in_parallel(team), master.flat().data());
        report.merge_seconds = wall_seconds() - start;
    }

    bool stopped() const { return heartbeat_.stopped(); }

    std::vector<Parameters> take() {
        std::vector<Parameters> taken;
        for (auto& replica : replicas_) {
            if (replica) {
                taken.push_back(std::move(replica->parameters));
            }
        }
        return taken;
    }

    Parameters master;

private:
    // A replica that was spoilt by its very last step passes it on through the merge, to all others.
    TrainingDiverged divergence(Index row, Index replica) const {
        const bool began_finite = row == 0 || all_finite(master.flat());
        return began_finite ? TrainingDiverged{row, replica} : TrainingDiverged{row - 1, -1};
    }

    static RoundReport report(std::span<const Replica::Trained> all, double start) {
        RoundReport report;
        double loss_sum = 0.0;
        Index finite = 0;  // samples of replicas that can be left out of the merge do not count
        for (const Replica::Trained& trained : all) {
            report.samples += trained.samples;
            if (std::isfinite(trained.loss_sum)) {
                loss_sum += trained.loss_sum;
                finite += trained.samples;
            }
            report.slowest_replica_seconds =
                std::max(report.slowest_replica_seconds, trained.cpu_seconds);
            report.mean_replica_seconds += trained.cpu_seconds / static_cast<double>(all.size());
        }
        report.loss = finite > 0 ? loss_sum / static_cast<double>(finite)
                                 : std::numeric_limits<double>::quiet_NaN();
        report.train_seconds = wall_seconds() - start;
        return report;
    }

    static ForEach in_parallel(Team& team) {
        return [&team](Index count, const std::function<void(Index)>& fn) { team.for_each(count, fn); };
    }

    Shard shard(Index i) const {
        return {X_.rows, options_.threads, i, options_.epochs, options_.shuffle, options_.seed};
    }

    void draw_start(Index replica, Parameters& parameters) const {
        if (start_) {
            std::ranges::copy(start_->flat(), parameters.flat().begin());
        } else {
            initialize(network_.shape, options_.init, options_.seed, options_.shared_start ? 0 : replica,
                       parameters);
        }
    }

    static std::vector<Index> layer_ends(const Shape& shape) {
        std::vector<Index> ends;
        for (const LayerShape& layer : shape.layers()) {
            ends.push_back(layer.end());
        }
        return ends;
    }

    const Network& network_;
    const Samples& X_;
    const Targets& targets_;
    const TrainOptions& options_;
    Reading reading_;
    const std::optional<Parameters>& start_;
    std::optional<Centering> centering_;
    Buffer means_;     // of the first layer's inputs, or zeros; the last is its bias's, 0
    Buffer no_shift_;  // zeros, where replicas have none
    std::vector<std::optional<Replica>> replicas_;
    std::vector<Replica::Trained> trained_;
    std::vector<char> is_finite_;  // not bool: entries are written by several threads
    bool is_warm_ = false;         // the master is where all replicas start
    bool are_whole_ = true;        // the replicas: nothing of their work is left to the merge
    double rate_ = 0.0;            // the learning rate at the start of the last round
    Heartbeat heartbeat_;
    Merger merger_;
    std::optional<Merger> last_merger_;
};

}  // namespace

TrainResult train(const Network& network, const Samples& X, const Targets& targets,
                  const TrainOptions& options, const std::optional<Parameters>& start,
                  const Observer& observer) {
    Replicas replicas{network, X, targets, options, start, observer};
    std::vector<RoundReport> history;
    const Index longest = options.epochs * block(X.rows, options.threads, 0).size;
    const Rounds rounds{longest, options.merge.every, options.batch.batch_size};
    Index samples = 0;
    // Returns whether to stop.
    const auto reported = [&](RoundReport report) {
        samples += report.samples;
        report.samples = samples;
        history.push_back(std::move(report));
        return (observer.after_round && observer.after_round(history.back(), replicas.master)) ||
               replicas.stopped();
    };
    Team::run(options.workers, [&](Team& team) {
        if (options.center_inputs) {
            replicas.center(team);
        }
        if (options.warmup_samples > 0 && reported(replicas.warm_up(team))) {
            return;
        }
        Index begin = 0;
        for (Index round = 0; round < rounds.count(); ++round) {
            const bool last = round + 1 == rounds.count();
            const auto row = static_cast<Index>(history.size());
            const Index end = rounds.end(round);
            RoundReport report = replicas.train_round(team, row, begin, end, last);
            replicas.merge_round(team, report, row, begin, last);
            if (reported(std::move(report))) {
                return;
            }
            begin = end;
        }
    });
    if (!all_finite(replicas.master.flat())) {
        throw TrainingDiverged{static_cast<Index>(history.size()) - 1, -1};
    }
    return {std::move(replicas.master),
            options.keep_replicas ? replicas.take() : std::vector<Parameters>{}, std::move(history)};
}

}  // namespace omp_mlp
