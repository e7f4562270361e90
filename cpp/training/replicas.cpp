#include "training/replicas.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include "base/finite.hpp"
#include "training/gathered_replicas.hpp"
#include "training/mergers.hpp"
#include "training/optimizer_slots.hpp"
#include "training/replica.hpp"
#include "training/trained.hpp"
#include "training/travelling_merge.hpp"

namespace omp_mlp {
namespace {

Reading reading_of(const Task& task) {
    const BatchOptions& batch = task.options.batch;
    return choose_replica_reading(
        batch.first_layer, task.X, batch.batch_size,
        task.ranks != nullptr ? std::optional{task.ranks->density} : std::nullopt);
}

// What a rank has between two merges of all ranks, if it merges its own replicas in the meantime.
struct WithinRank {
    explicit WithinRank(const Task& task)
        : master{task.network.shape}, own{task, nullptr, no_outer_step}, among{*task.ranks} {
        among.replicas_a_rank = 1;
    }

    Parameters master;  // what the last merge of its replicas made
    Mergers own;
    Ranks among;  // the ranks, each of which has one network to merge
};

bool overlaps(const Task& task) {
    return task.ranks != nullptr && task.ranks->overlaps;
}

// A rank that trains on has a network of its own, also with one merge a round.
std::optional<WithinRank> within_rank(const Task& task) {
    const bool is_wanted = task.ranks != nullptr && (task.ranks->merges_a_round > 1 || overlaps(task));
    return is_wanted ? std::optional<WithinRank>{task} : std::nullopt;
}

// Where a rank trains on while the messages of a merge travel: at its own network with this weight, and at
// the master, which lacks the updates that travel, with the rest (Douillard et al. 2025). The weight was
// chosen on rows of MNIST that no training had. With 1, ranks drift apart. With less, they do without what
// they have just learned, for a round.
constexpr double weight_of_own_network = 0.85;

// What a rank needs to train on while the messages of a merge travel.
struct Overlap {
    explicit Overlap(const Shape& shape) : start{shape} {}

    Parameters start;      // where the stretch began that this rank trained last
    Index trained_to = 0;  // the end of that stretch, if no message has been made of it yet; 0: it has
    std::shared_ptr<TravellingMerge> merge;
};

class Replicas final : public TrainingStrategy {
public:
    explicit Replicas(const Task& task)
        : task_{task},
          reading_{reading_of(task)},
          means_(static_cast<std::size_t>(task.network.shape[0].fan_in + 1)),
          no_shift_(static_cast<std::size_t>(task.network.shape[0].stride)),
          replicas_(static_cast<std::size_t>(task.options.threads)),
          leftovers_(replicas_.size()),
          stretch_samples_(replicas_.size()),
          results_(
              static_cast<std::size_t>(ranks() != nullptr ? ranks()->replicas() : task.options.threads)),
          within_{within_rank(task)},
          mergers_{std::make_shared<Mergers>(task, merging_ranks(), merging().outer)} {
        if (overlaps(task)) {
            overlap_.emplace(task.network.shape);
        }
        if (task.centering != nullptr) {
            std::ranges::copy(task.centering->mean, means_.begin());
        }
        const LayerShape& first = task.network.shape[0];
        if (ranks() != nullptr && ranks()->gathers) {
            gathered_.emplace(*merging_ranks(), task.network.shape.size(),
                              within_ ? 0 : TouchedRows::words(first), within_ ? 0 : first.stride);
        }
    }

    Rounds rounds() const override {
        return {length(), merging().every, task_.options.batch.batch_size,
                ranks() != nullptr ? ranks()->merges_a_round : 1};
    }

    // Every replica trains on its positions of the round, from the master on.
    RoundReport train_round(Team& team, const Round& round, const Parameters& master,
                            Heartbeat& heartbeat) override {
        if (overlap_ && within_) {
            // The other ranks' results are known once the messages are there.
            begin_merge(team, round, master, heartbeat, *within_, *overlap_);
            return {};
        }
        std::ranges::fill(results_, ReplicaResult{});
        begun_from_ = &master;
        if (within_) {
            train_with_merges(team, round, heartbeat, *within_);
        } else {
            train_stretch(team, round, heartbeat);
        }
        if (ranks() != nullptr) {
            ranks()->share(std::span{results_});
        }
        return report_of_results(round, master, results_);
    }

    // The replicas become the next master.
    void collect(Team& team, const Round& round, const Parameters& base, Parameters& master,
                 RoundReport& report) override {
        if (overlap_) {
            finish_merge(team, round, base, master, report, *overlap_);
            return;
        }
        report.skipped = skipped_of(round, base, results_);
        if (within_) {
            merge_own(team, round.is_last, *within_);
        }
        if (gathered_) {
            gather(*gathered_);
        }
        ToMerge merged = within_ ? networks_of_ranks(*within_) : replicas_to_merge();
        mergers_->merge(input_of(merged, base), round.is_last, momentum_factor(round), team, master);
        if (!within_) {
            // After the last round, too: a longer training may go on from here.
            merge_states(team);
        }
    }

    bool merges() const override { return true; }

    void exchange_state(Team& team, StateExchange& exchange) override {
        exchange.rate("outer.learning_rate", rate_);
        exchange("outer.momentum", mergers_->velocity());
        if (!mergers_->left().empty()) {
            exchange("merge.left", mergers_->left());
        }
        if (overlap_ && within_) {
            exchange_overlap(exchange, *within_, *overlap_);
        }
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
    // The networks whose parameters this rank merges.
    struct ToMerge {
        std::vector<const float*> networks;
        std::vector<double> samples;  // of all networks, of those on the other ranks, too
        std::vector<const std::uint64_t*> touched;
        std::vector<const float*> shifts;
        std::size_t first = 0;  // the place of networks[0] in samples
        std::vector<double> share;
        Deferred deferred{};
    };

    // ---- Training --------------------------------------------------------------------------------

    // Every replica trains from where this rank's last merge left off, or the round began.
    void train_stretch(Team& team, const Round& stretch, Heartbeat& heartbeat) {
        handover_ = handover_after(stretch);
        // If all replicas have to be finite in the end, each loss is checked before.
        const bool look = stretch.is_last || merging().skip_nonfinite;
        team.for_each(
            task_.options.threads,
            [&](Index i) {
                ReplicaResult& result = own(i);
                Replica& replica = made(i);
                start(stretch, *begun_from_, i, replica);
                const Trained trained = replica.train(stretch.begin, stretch.end, handover_, heartbeat);
                result.trained.samples += trained.samples;
                result.trained.loss_sum += trained.loss_sum;
                result.trained.cpu_seconds += trained.cpu_seconds;
                stretch_samples_[static_cast<std::size_t>(i)] = static_cast<double>(trained.samples);
                leftovers_[static_cast<std::size_t>(i)] = replica.leftovers(handover_);
                result.is_finite =
                    std::isfinite(trained.loss_sum) && (!look || all_finite(replica.parameters.flat()));
            },
            [&] { heartbeat.wait(); });
    }

    // The rank merges its replicas by itself, but for the last merge of the round. A rank that has to stop
    // leaves out the rest of the round, at whose end the others wait.
    void train_with_merges(Team& team, const Round& round, Heartbeat& heartbeat, WithinRank& within) {
        const Rounds merges = rounds();
        Round stretch = round;
        for (Index m = merges.first_merge(round.number);; ++m) {
            const bool is_last = m == merges.last_merge(round.number);
            stretch.number = m;
            stretch.end = merges.merge(m);
            stretch.is_last = round.is_last && is_last;
            if (stretch.end <= stretch.begin && !is_last) {
                continue;  // a training that goes on has done it
            }
            train_stretch(team, stretch, heartbeat);
            if (is_last || heartbeat.stopped() || !may_go_on()) {
                return;
            }
            merge_own(team, false, within);
            begun_from_ = &within.master;
            for (std::size_t i = 0; i < replicas_.size(); ++i) {
                ReplicaResult& result = own(static_cast<Index>(i));
                result.was_left_out = result.was_left_out || !result.is_finite;
            }
            stretch.begin = stretch.end;
            heartbeat.beat_if_due();
        }
    }

    bool may_go_on() const {
        const auto mine = own_results();
        const auto finite = std::ranges::count(mine, true, &ReplicaResult::is_finite);
        return finite == std::ssize(mine) || (merging().skip_nonfinite && finite > 0);
    }

    RoundReport report_of_results(const Round& round, const Parameters& master,
                                  std::span<const ReplicaResult> results) const {
        const auto diverged = std::ranges::find(results, false, &ReplicaResult::is_finite);
        if (diverged != results.end() && !merging().skip_nonfinite) {
            throw divergence(round, diverged - results.begin(), master);
        }
        std::vector<Trained> trained;
        trained.reserve(results.size());
        for (const ReplicaResult& result : results) {
            trained.push_back(result.trained);
        }
        return report_of(trained);
    }

    static std::vector<Index> skipped_of(const Round& round, const Parameters& base,
                                         std::span<const ReplicaResult> results) {
        std::vector<Index> skipped;
        for (std::size_t r = 0; r < results.size(); ++r) {
            if (!results[r].is_finite || results[r].was_left_out) {
                skipped.push_back(static_cast<Index>(r));
            }
        }
        if (!has_finite(results)) {
            throw divergence(round, 0, base);
        }
        return skipped;
    }

    // ---- Overlap ---------------------------------------------------------------------------------

    // Sends what this rank has trained in the round, which it did in the round before, but for the first
    // one. While the messages travel, it trains for the next round.
    void begin_merge(Team& team, const Round& round, const Parameters& master, Heartbeat& heartbeat,
                     WithinRank& within, Overlap& overlap) {
        if (overlap.trained_to == 0) {
            std::ranges::copy(master.flat(), overlap.start.flat().begin());
            train_ahead(team, round, heartbeat, within, overlap);
            heartbeat.start_round();
        } else if (overlap.trained_to != round.end) {
            refuse_state("overlap.end",
                         "must be the end of a round of this training, which has as many "
                         "epochs as before");
        }
        overlap.trained_to = 0;
        send_update(team, round, within, overlap);
        if (round.is_last || heartbeat.stopped() || !may_go_on()) {
            return;
        }
        start_next(team, within.master, master, overlap);
        Round next = round;
        ++next.number;
        ++next.row;
        next.begin = round.end;
        next.end = rounds().end(next.number);
        next.is_last = next.number + 1 == rounds().count();
        train_ahead(team, next, heartbeat, within, overlap);
    }

    // Makes one network of what the replicas of this rank train from overlap.start on.
    void train_ahead(Team& team, const Round& round, Heartbeat& heartbeat, WithinRank& within,
                     Overlap& overlap) {
        std::ranges::fill(results_, ReplicaResult{});
        begun_from_ = &overlap.start;
        train_with_merges(team, round, heartbeat, within);
        merge_own(team, round.is_last, within);
        overlap.trained_to = round.end;
    }

    void send_update(Team& team, const Round& round, const WithinRank& within, Overlap& overlap) {
        const std::array<double, 1> whole_share{1.0};
        const std::array<const float*, 1> network{within.master.flat().data()};
        const std::size_t count = has_finite(own_results()) ? 1 : 0;
        mergers_->begin({std::span{network}.first(count), whole_share, overlap.start.flat().data()},
                        round.is_last, team);
        overlap.merge = std::make_shared<TravellingMerge>(
            TravellingMerge{.ranks = *ranks(),
                            .mergers = mergers_,
                            .skips_nonfinite = merging().skip_nonfinite,
                            .is_last = round.is_last,
                            .results = results_,
                            .share = {}});
        ranks()->communicator->begin([merge = overlap.merge] { merge->send(); });
    }

    // Between the rank's own network, if it has a finite one, and the master.
    void start_next(Team& team, const Parameters& own_network, const Parameters& master,
                    Overlap& overlap) const {
        constexpr Index pieces = 64;
        const double own = has_finite(own_results()) ? weight_of_own_network : 0.0;
        const std::span<const float> of_all = master.flat();
        const std::span<const float> trained = own_network.flat();
        const std::span<float> start = overlap.start.flat();
        team.for_each(pieces, [&](Index i) {
            const Block part = block(std::ssize(start), pieces, i);
            for (Index j = part.begin; j < part.begin + part.size; ++j) {
                const auto k = static_cast<std::size_t>(j);
                start[k] = own == 0.0 ? of_all[k] : mixed(own, trained[k], of_all[k]);
            }
        });
    }

    static float mixed(double weight, float one, float other) {
        const auto from = static_cast<double>(other);
        return static_cast<float>(from + weight * (static_cast<double>(one) - from));
    }

    // Adds the updates of all ranks to the master.
    void finish_merge(Team& team, const Round& round, const Parameters& base, Parameters& master,
                      RoundReport& report, Overlap& overlap) {
        ranks()->communicator->finish();
        const auto merge = std::exchange(overlap.merge, nullptr);
        const RoundReport found = report_of_results(round, base, merge->results);
        report.samples += found.samples;
        report.loss = found.loss;
        report.slowest_replica_seconds = found.slowest_replica_seconds;
        report.mean_replica_seconds = found.mean_replica_seconds;
        report.skipped = skipped_of(round, base, merge->results);
        mergers_->finish(merge->input(base.flat().data()), round.is_last, momentum_factor(round), team,
                         master);
    }

    // What was trained ahead, and is not sent yet.
    void exchange_overlap(StateExchange& exchange, WithinRank& within, Overlap& overlap) {
        exchange("overlap.end", overlap.trained_to);
        if (overlap.trained_to == 0) {
            return;
        }
        exchange("overlap.start", task_.network.shape, overlap.start);
        exchange("overlap.trained", task_.network.shape, within.master);
        std::vector<double> numbers;
        for (const ReplicaResult& result : own_results()) {
            numbers.insert(numbers.end(),
                           {static_cast<double>(result.trained.samples), result.trained.loss_sum,
                            result.trained.cpu_seconds, result.is_finite ? 1.0 : 0.0,
                            result.was_left_out ? 1.0 : 0.0});
        }
        const std::size_t size = 5 * replicas_.size();
        exchange("overlap.results", numbers);
        if (numbers.size() != size) {
            refuse_state("overlap.results", "must have 5 numbers of each replica");
        }
        for (std::size_t i = 0; i < replicas_.size(); ++i) {
            const double* of_one = numbers.data() + 5 * i;
            const bool is_count =
                of_one[0] >= 0.0 && of_one[0] <= static_cast<double>(StateExchange::most_count);
            if (!is_count) {
                refuse_state("overlap.results", "must have counts of samples");
            }
            own(static_cast<Index>(i)) = {{static_cast<Index>(of_one[0]), of_one[1], of_one[2]},
                                          of_one[3] != 0.0,
                                          of_one[4] != 0.0};
        }
    }

    // ---- Merging ---------------------------------------------------------------------------------

    // Makes the replicas of this rank its master.
    void merge_own(Team& team, bool is_last, WithinRank& within) {
        ToMerge merged;
        for (std::size_t i = 0; i < replicas_.size(); ++i) {
            if (own(static_cast<Index>(i)).is_finite) {
                merged.samples.push_back(stretch_samples_[i]);
                add_own(i, merged);
            }
        }
        if (!merged.networks.empty()) {
            within.own.merge(input_of(merged, *begun_from_), is_last, 1.0, team, within.master);
        }
        merge_states(team);
    }

    // The masters of the ranks that have one.
    ToMerge networks_of_ranks(const WithinRank& within) const {
        const FiniteRanks found = finite_ranks(*ranks(), results_);
        ToMerge merged;
        merged.samples = found.samples;
        for (std::size_t i = 0; i < found.ranks.size(); ++i) {
            if (gathered_) {
                merged.networks.push_back(gathered_->parameters(found.ranks[i]));
            } else if (found.ranks[i] == ranks()->communicator->rank()) {
                merged.first = i;
                merged.networks.push_back(within.master.flat().data());
            }
        }
        return merged;
    }

    // The replicas of all ranks.
    ToMerge replicas_to_merge() const {
        ToMerge merged;
        for (std::size_t r = 0; r < results_.size(); ++r) {
            if (!results_[r].is_finite) {
                continue;
            }
            merged.samples.push_back(static_cast<double>(results_[r].trained.samples));
            if (gathered_) {
                add_gathered(*gathered_, static_cast<Index>(r), merged);
            } else if (r >= first_replica() && r < first_replica() + replicas_.size()) {
                add_own(r - first_replica(), merged);
            } else if (r < first_replica()) {
                ++merged.first;
            }
        }
        return merged;
    }

    MergeInput input_of(ToMerge& merged, const Parameters& base) const {
        merged.share = shares_of(merged.samples);
        // Either all replicas left work over, or none did.
        const LayerShape& first = task_.network.shape[0];
        merged.deferred = {merged.touched.data(), base.flat().data(), means_.data(),
                           merged.shifts.data(),  first.stride,       first.end()};
        return {merged.networks, merged.share, base.flat().data(),
                merged.touched.empty() ? nullptr : &merged.deferred, merged.first};
    }

    void add_own(std::size_t i, ToMerge& merged) const {
        // Every replica was made in the first round.
        // NOLINTNEXTLINE(bugprone-unchecked-optional-access)
        merged.networks.push_back(replicas_[i]->parameters.flat().data());
        if (const std::optional<Leftovers>& left = leftovers_[i]) {
            merged.touched.push_back(left->touched);
            merged.shifts.push_back(left->shift.empty() ? no_shift_.data() : left->shift.data());
        }
    }

    void gather(GatheredReplicas& gathered) const {
        if (within_) {
            gathered.set(0, within_->master.flat(), {});
            gathered.gather(false);
            return;
        }
        for (std::size_t i = 0; i < replicas_.size(); ++i) {
            // NOLINTNEXTLINE(bugprone-unchecked-optional-access)
            gathered.set(static_cast<Index>(i), replicas_[i]->parameters.flat(), leftovers_[i]);
        }
        gathered.gather(handover_ == Handover::with_leftovers);
    }

    void add_gathered(const GatheredReplicas& gathered, Index r, ToMerge& merged) const {
        merged.networks.push_back(gathered.parameters(r));
        if (handover_ == Handover::with_leftovers) {
            merged.touched.push_back(gathered.touched(r));
            merged.shifts.push_back(gathered.shift(r));
        }
    }

    const MergeOptions& merging() const { return task_.options.merge; }
    const Ranks* ranks() const { return task_.ranks; }

    // Those that merge together at the end of a round, and what each of them brings.
    const Ranks* merging_ranks() const { return within_ ? &within_->among : ranks(); }

    ReplicaResult& own(Index i) { return results_[first_replica() + static_cast<std::size_t>(i)]; }
    std::span<const ReplicaResult> own_results() const {
        return std::span{results_}.subspan(first_replica(), replicas_.size());
    }

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
    Handover handover_after(const Round& stretch) const {
        const bool is_looked_at =
            stretch.is_last || merging().skip_nonfinite || task_.options.keep_replicas;
        const bool leaves =
            !is_looked_at && reading_ != Reading::dense && steps_in_place(task_.options.optimizer);
        return leaves ? Handover::with_leftovers : Handover::whole;
    }

    // The thread that needs a replica first makes it, so that its memory is near that thread's core.
    Replica& made(Index i) {
        std::optional<Replica>& replica = replicas_[static_cast<std::size_t>(i)];
        return replica ? *replica : replica.emplace(task_, reading_, task_.options.optimizer, shard(i));
    }

    void start(const Round& stretch, const Parameters& master, Index i, Replica& replica) const {
        const TrainOptions& options = task_.options;
        if (stretch.number == 0 && !options.shared_start && options.warmup_samples == 0) {
            initialize(task_.kernels, task_.network.shape, options.init, options.seed,
                       static_cast<Index>(first_replica()) + i, replica.parameters);
        } else {
            replica.load(master.flat(), handover_);
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
    std::vector<double> stretch_samples_;     // of each replica, in the last stretch
    std::vector<ReplicaResult> results_;      // of the replicas of all ranks
    Handover handover_ = Handover::whole;     // of the last stretch
    const Parameters* begun_from_ = nullptr;  // where the replicas began the last stretch
    double rate_ = 0.0;  // the learning rate at the start of the last round; of none yet, 0
    std::optional<WithinRank> within_;
    std::shared_ptr<Mergers> mergers_;  // of the end of a round
    std::optional<Overlap> overlap_;
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
