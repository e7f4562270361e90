#include "training/replicas.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <variant>

#include "base/finite.hpp"
#include "merging/merger.hpp"
#include "merging/sum_merger.hpp"
#include "training/gathered_replicas.hpp"
#include "training/optimizer_slots.hpp"
#include "training/replica.hpp"
#include "training/trained.hpp"

namespace omp_mlp {
namespace {

Reading reading_of(const Task& task) {
    const BatchOptions& batch = task.options.batch;
    return choose_replica_reading(
        batch.first_layer, task.X, batch.batch_size,
        task.ranks != nullptr ? std::optional{task.ranks->density} : std::nullopt);
}

std::vector<Index> layer_ends(const Shape& shape) {
    std::vector<Index> ends;
    for (const LayerShape& layer : shape.layers()) {
        ends.push_back(layer.end());
    }
    return ends;
}

// Merges all replicas where this process has them all, or sums over the ranks.
using AnyMerger = std::variant<Merger, SumMerger>;

AnyMerger make_merger(const Task& task, const MergeMethod& method,
                      const std::vector<OptionValue>& options, const OuterStep& outer) {
    const std::vector<Index> ends = layer_ends(task.network.shape);
    if (task.ranks == nullptr) {
        return AnyMerger{std::in_place_type<Merger>, method, options, ends, outer, task.options.threads};
    }
    if (task.ranks->gathers) {
        return AnyMerger{std::in_place_type<Merger>, method, options, ends, outer,
                         task.ranks->replicas()};
    }
    return AnyMerger{std::in_place_type<SumMerger>, method, options, ends, outer,
                     *task.ranks->communicator};
}

class Replicas final : public TrainingStrategy {
public:
    explicit Replicas(const Task& task)
        : task_{task},
          reading_{reading_of(task)},
          means_(static_cast<std::size_t>(task.network.shape[0].fan_in + 1)),
          no_shift_(static_cast<std::size_t>(task.network.shape[0].stride)),
          replicas_(static_cast<std::size_t>(task.options.threads)),
          leftovers_(replicas_.size()),
          results_(
              static_cast<std::size_t>(ranks() != nullptr ? ranks()->replicas() : task.options.threads)),
          merger_{make_merger(task, *merging().method, merging().method_options, merging().outer)} {
        if (task.centering != nullptr) {
            std::ranges::copy(task.centering->mean, means_.begin());
        }
        if (merging().last_method != nullptr) {
            last_merger_.emplace(
                make_merger(task, *merging().last_method, {}, OuterStep{1.0, 0.0, false}));
        }
        if (ranks() != nullptr && ranks()->gathers) {
            const LayerShape& first = task.network.shape[0];
            gathered_.emplace(*ranks(), task.network.shape.size(), TouchedRows::words(first),
                              first.stride);
        }
    }

    Rounds rounds() const override {
        return {length(), merging().every, task_.options.batch.batch_size};
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
                Result& result = results_[first_replica() + static_cast<std::size_t>(i)];
                Replica& replica = made(i);
                start(round, master, handover, i, replica);
                result.trained = replica.train(round.begin, round.end, handover, heartbeat);
                leftovers_[static_cast<std::size_t>(i)] = replica.leftovers(handover);
                result.is_finite = std::isfinite(result.trained.loss_sum) &&
                                   (!look || all_finite(replica.parameters.flat()));
            },
            [&] { heartbeat.wait(); });
        if (ranks() != nullptr) {
            ranks()->share(std::span{results_});
        }
        const auto diverged = std::ranges::find(results_, false, &Result::is_finite);
        if (diverged != results_.end() && !merging().skip_nonfinite) {
            throw divergence(round, diverged - results_.begin(), master);
        }
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
        if (gathered_) {
            gather(*gathered_, handover_after(round) == Handover::with_leftovers);
        }
        ToMerge merged;
        Index samples = 0;
        for (std::size_t r = 0; r < results_.size(); ++r) {
            if (!results_[r].is_finite) {
                report.skipped.push_back(static_cast<Index>(r));
                continue;
            }
            merged.share.push_back(static_cast<double>(results_[r].trained.samples));
            samples += results_[r].trained.samples;
            if (gathered_) {
                add_gathered(*gathered_, static_cast<Index>(r), round, merged);
            } else if (r >= first_replica() && r < first_replica() + replicas_.size()) {
                add_own(r - first_replica(), merged);
            } else if (r < first_replica()) {
                ++merged.first;
            }
        }
        if (merged.share.empty()) {
            throw divergence(round, 0, base);
        }
        for (double& part : merged.share) {
            part = samples > 0 ? part / static_cast<double>(samples)
                               : 1.0 / static_cast<double>(merged.share.size());
        }
        // Either all replicas left work over, or none did.
        const LayerShape& first = task_.network.shape[0];
        const Deferred deferred{merged.touched.data(), base.flat().data(), means_.data(),
                                merged.shifts.data(),  first.stride,       first.end()};
        const MergeInput input{merged.replicas, merged.share, base.flat().data(),
                               merged.touched.empty() ? nullptr : &deferred, merged.first};
        const double factor = momentum_factor(round);
        std::visit(
            [&](auto& merger) { merger.merge(input, factor, in_parallel(team), master.flat().data()); },
            round.is_last && last_merger_ ? *last_merger_ : merger_);
        // After the last round, too: a longer training may go on from here.
        merge_states(team);
    }

    bool merges() const override { return true; }

    void exchange_state(Team& team, StateExchange& exchange) override {
        exchange("outer.learning_rate", rate_);
        exchange("outer.momentum", std::visit([](auto& merger) { return merger.velocity(); }, merger_));
        exchange_optimizers(team, exchange);
    }

    void exchange_optimizers(Team& team, StateExchange& exchange) override {
        if (steps_in_place(task_.options.optimizer)) {
            return;
        }
        const Shape& shape = task_.network.shape;
        std::vector<OptimizerSlots> networks(replicas_.size(), {shape, task_.options.optimizer});
        const auto copy = [&](SlotCopy way) {
            team.for_each(task_.options.threads, [&](Index i) {
                copy_all_runs(way, shape, networks[static_cast<std::size_t>(i)],
                              *made(i).optimizer_state());
            });
        };
        if (!exchange.reads()) {
            copy(SlotCopy::to_slots);
        }
        omp_mlp::exchange(exchange, shape, networks);
        if (exchange.reads()) {
            copy(SlotCopy::from_slots);
        }
    }

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
    // What all ranks know of a replica after a round.
    struct Result {
        Trained trained;
        bool is_finite = true;
    };

    // The replicas whose parameters this rank merges.
    struct ToMerge {
        std::vector<const float*> replicas;
        std::vector<double> share;  // of all replicas, of the other ranks, too
        std::vector<const std::uint64_t*> touched;
        std::vector<const float*> shifts;
        std::size_t first = 0;  // the place of replicas[0] in share
    };

    void add_own(std::size_t i, ToMerge& merged) const {
        // Every replica was made in the first round.
        // NOLINTNEXTLINE(bugprone-unchecked-optional-access)
        merged.replicas.push_back(replicas_[i]->parameters.flat().data());
        if (const std::optional<Leftovers>& left = leftovers_[i]) {
            merged.touched.push_back(left->touched);
            merged.shifts.push_back(left->shift.empty() ? no_shift_.data() : left->shift.data());
        }
    }

    void gather(GatheredReplicas& gathered, bool with_leftovers) const {
        for (std::size_t i = 0; i < replicas_.size(); ++i) {
            // NOLINTNEXTLINE(bugprone-unchecked-optional-access)
            gathered.set(static_cast<Index>(i), replicas_[i]->parameters.flat(), leftovers_[i]);
        }
        gathered.gather(with_leftovers);
    }

    void add_gathered(const GatheredReplicas& gathered, Index r, const Round& round,
                      ToMerge& merged) const {
        merged.replicas.push_back(gathered.parameters(r));
        if (handover_after(round) == Handover::with_leftovers) {
            merged.touched.push_back(gathered.touched(r));
            merged.shifts.push_back(gathered.shift(r));
        }
    }

    const MergeOptions& merging() const { return task_.options.merge; }
    const Ranks* ranks() const { return task_.ranks; }

    // The place of this rank's replicas among those of all ranks.
    std::size_t first_replica() const {
        return ranks() != nullptr ? static_cast<std::size_t>(ranks()->first_replica()) : 0;
    }

    // Of the longest stream.
    Index length() const {
        const Index longest = ranks() != nullptr ? ranks()->longest_shard
                                                 : block(task_.X.rows, task_.options.threads, 0).size;
        return task_.options.epochs * longest;
    }

    // The only place that decides whether replicas leave work to the merge. They may not where anything
    // else looks at the replicas, nor where a step visits all rows.
    Handover handover_after(const Round& round) const {
        const bool is_looked_at =
            round.is_last || merging().skip_nonfinite || task_.options.keep_replicas;
        const bool leaves =
            !is_looked_at && reading_ != Reading::dense && steps_in_place(task_.options.optimizer);
        return leaves ? Handover::with_leftovers : Handover::whole;
    }

    // The thread that needs a replica first makes it, so that its memory is near that thread's core.
    Replica& made(Index i) {
        std::optional<Replica>& replica = replicas_[static_cast<std::size_t>(i)];
        return replica ? *replica : replica.emplace(task_, reading_, task_.options.optimizer, shard(i));
    }

    void start(const Round& round, const Parameters& master, Handover handover, Index i,
               Replica& replica) const {
        const TrainOptions& options = task_.options;
        if (round.number == 0 && !options.shared_start && options.warmup_samples == 0) {
            initialize(task_.network.shape, options.init, options.seed,
                       static_cast<Index>(first_replica()) + i, replica.parameters);
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
            const bool is_merged = results_[first_replica() + r].is_finite;
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
        const double rate = task_.options.optimizer.learning_rate.at(round.begin, length());
        const double before = std::exchange(rate_, rate);
        return merging().momentum_follows_rate && rate < before ? rate / before : 1.0;
    }

    Shard shard(Index i) const {
        const TrainOptions& options = task_.options;
        return {task_.X.rows,
                options.threads,
                i,
                options.epochs,
                options.shuffle,
                options.seed,
                static_cast<Index>(first_replica())};
    }

    Task task_;
    Reading reading_;
    Buffer means_;     // of the first layer's inputs, or zeros; the last is its bias's, 0
    Buffer no_shift_;  // zeros, where replicas have none
    std::vector<std::optional<Replica>> replicas_;
    std::vector<std::optional<Leftovers>> leftovers_;
    std::vector<Result> results_;  // of the replicas of all ranks
    double rate_ = 0.0;            // the learning rate at the start of the last round; of none yet, 0
    AnyMerger merger_;
    std::optional<AnyMerger> last_merger_;
    std::optional<GatheredReplicas> gathered_;  // if merges see the parameters of all ranks
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
