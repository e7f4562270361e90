#include "training/replicas.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/finite.hpp"
#include "merging/merger.hpp"
#include "training/replica.hpp"
#include "training/trained.hpp"

namespace omp_mlp {
namespace {

Reading reading_of(const Task& task) {
    const BatchOptions& batch = task.options.batch;
    return choose_replica_reading(batch.first_layer, task.X, batch.batch_size);
}

std::vector<Index> layer_ends(const Shape& shape) {
    std::vector<Index> ends;
    for (const LayerShape& layer : shape.layers()) {
        ends.push_back(layer.end());
    }
    return ends;
}

class Replicas final : public TrainingStrategy {
public:
    explicit Replicas(const Task& task)
        : task_{task},
          reading_{reading_of(task)},
          means_(static_cast<std::size_t>(task.network.shape[0].fan_in + 1)),
          no_shift_(static_cast<std::size_t>(task.network.shape[0].stride)),
          replicas_(static_cast<std::size_t>(task.options.threads)),
          results_(replicas_.size()),
          merger_{*merging().method, merging().method_options, layer_ends(task.network.shape),
                  merging().outer, task.options.threads} {
        if (task.centering != nullptr) {
            std::ranges::copy(task.centering->mean, means_.begin());
        }
        if (merging().last_method != nullptr) {
            last_merger_.emplace(*merging().last_method, std::vector<OptionValue>{},
                                 layer_ends(task.network.shape), OuterStep{1.0, 0.0, false},
                                 task.options.threads);
        }
    }

    Rounds rounds() const override {
        const Index longest = task_.options.epochs * block(task_.X.rows, task_.options.threads, 0).size;
        return {longest, merging().every, task_.options.batch.batch_size};
    }

    // Every replica trains on its positions of the round, from the master on.
    RoundReport train_round(Team& team, const Round& round, const Parameters& master,
                            Heartbeat& heartbeat) override {
        const Handover handover = handover_after(round);
        // If all replicas have to be finite in the end, each loss is checked before.
        const bool look = round.is_last || merging().skip_nonfinite;
        team.for_each(
            task_.options.threads,
            [&](Index i) {
                std::optional<Replica>& replica = replicas_[static_cast<std::size_t>(i)];
                Result& result = results_[static_cast<std::size_t>(i)];
                if (!replica) {
                    // Its own thread makes it, so its memory is near that thread's core.
                    replica.emplace(task_, reading_, task_.options.optimizer, shard(i));
                }
                start(round, master, handover, i, *replica);
                result.trained = replica->train(round.begin, round.end, handover, heartbeat);
                result.leftovers = replica->leftovers(handover);
                result.is_finite = std::isfinite(result.trained.loss_sum) &&
                                   (!look || all_finite(replica->parameters.flat()));
                if (!result.is_finite && !merging().skip_nonfinite) {
                    throw divergence(round, i, master);
                }
            },
            [&] { heartbeat.wait(); });
        std::vector<Trained> trained;
        trained.reserve(results_.size());
        for (const Result& result : results_) {
            trained.push_back(result.trained);
        }
        return report_of(trained);
    }

    // The replicas become the next master.
    void collect(Team& team, const Round& round, const Parameters& base, Parameters& master,
                 RoundReport& report) override {
        std::vector<const float*> replicas;
        std::vector<double> share;
        std::vector<const std::uint64_t*> touched;
        std::vector<const float*> shifts;
        Index samples = 0;
        for (std::size_t r = 0; r < replicas_.size(); ++r) {
            const Result& result = results_[r];
            if (!result.is_finite) {
                report.skipped.push_back(static_cast<Index>(r));
                continue;
            }
            // Every replica was made in the first round.
            // NOLINTNEXTLINE(bugprone-unchecked-optional-access)
            replicas.push_back(replicas_[r]->parameters.flat().data());
            share.push_back(static_cast<double>(result.trained.samples));
            samples += result.trained.samples;
            if (result.leftovers) {
                const std::span<const float> shift = result.leftovers->shift;
                touched.push_back(result.leftovers->touched);
                shifts.push_back(shift.empty() ? no_shift_.data() : shift.data());
            }
        }
        if (replicas.empty()) {
            throw divergence(round, 0, base);
        }
        for (double& part : share) {
            part = samples > 0 ? part / static_cast<double>(samples)
                               : 1.0 / static_cast<double>(share.size());
        }
        // Either all replicas left work over, or none did.
        const LayerShape& first = task_.network.shape[0];
        const Deferred deferred{touched.data(), base.flat().data(), means_.data(),
                                shifts.data(),  first.stride,       first.end()};
        Merger& merger = round.is_last && last_merger_ ? *last_merger_ : merger_;
        merger.merge({replicas, share, base.flat().data(), touched.empty() ? nullptr : &deferred},
                     momentum_factor(round), in_parallel(team), master.flat().data());
        if (!round.is_last) {
            merge_states(team);
        }
    }

    bool merges() const override { return true; }

    std::vector<Parameters> take_replicas() override {
        std::vector<Parameters> taken;
        for (auto& replica : replicas_) {
            if (replica) {
                taken.push_back(std::move(replica->parameters));
            }
        }
        return taken;
    }

private:
    // The state of a replica after a round.
    struct Result {
        Trained trained;
        std::optional<Leftovers> leftovers;
        bool is_finite = true;
    };

    const MergeOptions& merging() const { return task_.options.merge; }

    // The only place that decides whether replicas leave work to the merge. They may not where anything
    // else looks at the replicas, nor where a step visits all rows.
    Handover handover_after(const Round& round) const {
        const bool is_looked_at =
            round.is_last || merging().skip_nonfinite || task_.options.keep_replicas;
        const bool leaves =
            !is_looked_at && reading_ != Reading::dense && steps_in_place(task_.options.optimizer);
        return leaves ? Handover::with_leftovers : Handover::whole;
    }

    void start(const Round& round, const Parameters& master, Handover handover, Index i,
               Replica& replica) const {
        const TrainOptions& options = task_.options;
        if (round.number == 0 && !options.shared_start && options.warmup_samples == 0) {
            initialize(task_.network.shape, options.init, options.seed, i, replica.parameters);
        } else {
            replica.load(master.flat(), handover);
        }
    }

    // The state of a replica that was left out of the merge is not finite either: it begins anew.
    void merge_states(Team& team) {
        std::vector<OptimizerState*> all;
        std::vector<OptimizerState*> merged;
        for (std::size_t r = 0; r < replicas_.size(); ++r) {
            // NOLINTNEXTLINE(bugprone-unchecked-optional-access)
            OptimizerState* state = replicas_[r]->optimizer_state();
            if (state == nullptr) {
                return;
            }
            const bool is_merged = results_[r].is_finite;
            if (!is_merged || merging().state == StateAtMerge::reset) {
                state->reset();
            }
            all.push_back(state);
            if (is_merged) {
                merged.push_back(state);
            }
        }
        if (merging().state == StateAtMerge::average) {
            average(merged, all, in_parallel(team));
        }
    }

    // If the very last step made a replica not finite, the merge makes all others so, too.
    static TrainingDiverged divergence(const Round& round, Index replica, const Parameters& master) {
        const bool began_finite = round.row == 0 || all_finite(master.flat());
        return began_finite ? TrainingDiverged{round.row, replica} : TrainingDiverged{round.row - 1, -1};
    }

    // SlowMo's factor: the ratio of this round's learning rate to the last round's, but at most 1. A rate
    // that rises from 0 or from next to it, as schedules do, would blow M up.
    double momentum_factor(const Round& round) {
        const double rate = task_.options.optimizer.learning_rate.at(round.begin, shard(0).length());
        const double before = std::exchange(rate_, rate);
        return merging().momentum_follows_rate && rate < before ? rate / before : 1.0;
    }

    Shard shard(Index i) const {
        const TrainOptions& options = task_.options;
        return {task_.X.rows, options.threads, i, options.epochs, options.shuffle, options.seed};
    }

    Task task_;
    Reading reading_;
    Buffer means_;     // of the first layer's inputs, or zeros; the last is its bias's, 0
    Buffer no_shift_;  // zeros, where replicas have none
    std::vector<std::optional<Replica>> replicas_;
    std::vector<Result> results_;
    double rate_ = 0.0;  // the learning rate at the start of the last round; of none yet, 0
    Merger merger_;
    std::optional<Merger> last_merger_;
};

}  // namespace

std::unique_ptr<TrainingStrategy> make_replicas(const Task& task) {
    return std::make_unique<Replicas>(task);
}

RoundReport warm_up(const Task& task, Team& team, const Parameters& start, Parameters& master,
                    Heartbeat& heartbeat) {
    const TrainOptions& options = task.options;
    const Index rows = task.X.rows;
    const Index epochs = (options.warmup_samples + rows - 1) / rows;
    Trained trained;
    team.for_each(
        1,
        [&](Index /*i*/) {
            const Shard order{rows, 1, 0, epochs, options.shuffle, options.seed};
            OptimizerOptions constant = options.optimizer;
            constant.learning_rate.schedule = Schedule::constant;
            constant.learning_rate.warmup_share = 0.0;
            Replica replica{task, reading_of(task), constant, order};
            replica.load(start.flat(), Handover::whole);
            trained = replica.train(0, options.warmup_samples, Handover::whole, heartbeat);
            if (!std::isfinite(trained.loss_sum) || !all_finite(replica.parameters.flat())) {
                throw TrainingDiverged{0, 0};
            }
            std::ranges::copy(replica.parameters.flat(), master.flat().begin());
        },
        [&] { heartbeat.wait(); });
    return report_of(std::span{&trained, 1});
}

}  // namespace omp_mlp
