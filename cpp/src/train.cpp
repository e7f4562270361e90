#include "omp_mlp/train.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "omp_mlp/centering.hpp"
#include "omp_mlp/clock.hpp"
#include "omp_mlp/dispatch.hpp"
#include "omp_mlp/parallel.hpp"
#include "omp_mlp/replica.hpp"

namespace omp_mlp {
namespace {

bool all_finite(std::span<const float> values) {
    return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
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
          reading_{reading(options.batch, X)},
          start_{start},
          replicas_(static_cast<std::size_t>(options.replicas)),
          trained_(replicas_.size()),
          heartbeat_{observer.during_round},
          merger_{*options.method, layer_ends(network.shape), options.outer_momentum} {
        draw_start(0, master);
    }

    void center(Team& team) { centering_ = measure_centering(X_, in_parallel(team)); }

    // Every replica trains on positions [begin, end) of its stream, from the master on.
    RoundReport train_round(Team& team, Index round, Index begin, Index end, bool last) {
        const double start = wall_seconds();
        heartbeat_.start_round();
        team.for_each(
            options_.replicas,
            [&](Index i) {
                const auto r = static_cast<std::size_t>(i);
                if (round == 0) {
                    // Made by its own thread, so that its memory is near that thread's core.
                    replicas_[r].emplace(kernels(), network_, options_.sgd, shard(i), options_.batch,
                                         reading_, centering_ ? &*centering_ : nullptr);
                    draw_start(i, replicas_[r]->parameters);
                } else {
                    std::ranges::copy(master.flat(), replicas_[r]->parameters.flat().begin());
                }
                trained_[r] = replicas_[r]->train(X_, targets_, begin, end, heartbeat_);
                const bool finite = std::isfinite(trained_[r].loss_sum) &&
                                    (!last || all_finite(replicas_[r]->parameters.flat()));
                if (!finite) {
                    // A replica that was spoilt by its very last step passes it on through the merge.
                    const bool began_finite = round == 0 || all_finite(master.flat());
                    throw began_finite ? TrainingDiverged{round, i} : TrainingDiverged{round - 1, -1};
                }
            },
            [&] { heartbeat_.wait(); });

        heartbeat_.beat_if_due();
        RoundReport report{};
        double loss_sum = 0.0;
        for (const Replica::Trained& trained : trained_) {
            report.samples += trained.samples;
            loss_sum += trained.loss_sum;
            report.slowest_replica_seconds =
                std::max(report.slowest_replica_seconds, trained.cpu_seconds);
        }
        report.loss = report.samples > 0 ? loss_sum / static_cast<double>(report.samples)
                                         : std::numeric_limits<double>::quiet_NaN();
        report.train_seconds = wall_seconds() - start;
        return report;
    }

    // The replicas become the next master.
    void merge_round(Team& team, RoundReport& report) {
        const double start = wall_seconds();
        std::vector<const float*> replicas;
        std::vector<double> share;
        for (std::size_t r = 0; r < replicas_.size(); ++r) {
            // Every replica was made in the first round.  NOLINTNEXTLINE(bugprone-unchecked-optional-access)
            replicas.push_back(replicas_[r]->parameters.flat().data());
            share.push_back(static_cast<double>(trained_[r].samples) /
                            static_cast<double>(std::max<Index>(report.samples, 1)));
        }
        merger_.merge({replicas, share, master.flat().data()}, in_parallel(team), master.flat().data());
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
    static ForEach in_parallel(Team& team) {
        return [&team](Index count, const std::function<void(Index)>& fn) { team.for_each(count, fn); };
    }

    Shard shard(Index i) const {
        return {X_.rows, options_.replicas, i, options_.epochs, options_.shuffle, options_.seed};
    }

    void draw_start(Index replica, Parameters& parameters) const {
        if (start_) {
            std::ranges::copy(start_->flat(), parameters.flat().begin());
        } else {
            initialize(network_.shape, options_.init, options_.seed, options_.shared_start ? 0 : replica,
                       parameters);
        }
    }

    // bfloat16 has a kernel for lists only.
    static Reading reading(const BatchOptions& batch, const Samples& X) {
        const Reading chosen = choose_reading(batch.first_layer, X);
        return chosen == Reading::marks && batch.bfloat16_forward ? Reading::lists : chosen;
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
    std::vector<std::optional<Replica>> replicas_;
    std::vector<Replica::Trained> trained_;
    Heartbeat heartbeat_;
    Merger merger_;
};

}  // namespace

Index count_rounds(Index samples, const TrainOptions& options) {
    const Index longest = options.epochs * block(samples, options.replicas, 0).size;
    if (longest == 0 || options.merge_every == 0) {
        return longest > 0 ? 1 : 0;
    }
    return (longest + options.merge_every - 1) / options.merge_every;
}

TrainResult train(const Network& network, const Samples& X, const Targets& targets,
                  const TrainOptions& options, const std::optional<Parameters>& start,
                  const Observer& observer) {
    Replicas replicas{network, X, targets, options, start, observer};
    std::vector<RoundReport> history;
    const Index rounds = count_rounds(X.rows, options);
    const Index length = options.merge_every > 0 ? options.merge_every : options.epochs * X.rows;
    Index samples = 0;
    Team::run(options.workers, [&](Team& team) {
        if (options.center_inputs) {
            replicas.center(team);
        }
        for (Index round = 0; round < rounds && !replicas.stopped(); ++round) {
            const bool last = round + 1 == rounds;
            RoundReport report =
                replicas.train_round(team, round, round * length, (round + 1) * length, last);
            replicas.merge_round(team, report);
            samples += report.samples;
            report.samples = samples;
            history.push_back(report);
            if (observer.after_round && observer.after_round(report, replicas.master)) {
                break;
            }
        }
    });
    if (!all_finite(replicas.master.flat())) {
        throw TrainingDiverged{static_cast<Index>(history.size()) - 1, -1};
    }
    return {std::move(replicas.master),
            options.keep_replicas ? replicas.take() : std::vector<Parameters>{}, std::move(history)};
}

}  // namespace omp_mlp
