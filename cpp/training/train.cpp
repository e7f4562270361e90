#include "training/train.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/finite.hpp"
#include "data/centering.hpp"
#include "kernels/dispatch.hpp"
#include "threads/heartbeat.hpp"
#include "threads/team.hpp"
#include "training/masters.hpp"
#include "training/mean_of_masters.hpp"
#include "training/plateau.hpp"
#include "training/replicas.hpp"
#include "training/strategy.hpp"

namespace omp_mlp {
namespace {

// Or else it has what optimisers remember, and nothing besides.
bool is_whole(const TrainingState& state) {
    return state.contains("position");
}

void exchange_history(StateExchange& exchange, std::vector<RoundReport>& history) {
    std::vector<Index> samples;
    std::vector<Index> skipped_rows;
    std::vector<Index> skipped_replicas;
    for (std::size_t row = 0; row < history.size(); ++row) {
        samples.push_back(history[row].samples);
        for (const Index replica : history[row].skipped) {
            skipped_rows.push_back(static_cast<Index>(row));
            skipped_replicas.push_back(replica);
        }
    }
    exchange("history.samples", samples);
    exchange("skipped.rounds", skipped_rows);
    exchange("skipped.replicas", skipped_replicas);
    if (skipped_rows.size() != skipped_replicas.size()) {
        refuse_state("skipped.replicas", "must be as many as skipped.rounds");
    }
    history.resize(samples.size());
    for (std::size_t row = 0; row < history.size(); ++row) {
        history[row].samples = samples[row];
        history[row].skipped.clear();
    }
    for (std::size_t i = 0; i < skipped_rows.size(); ++i) {
        if (skipped_rows[i] < 0 || skipped_rows[i] >= std::ssize(history)) {
            refuse_state("skipped.rounds", "must be rounds of its history");
        }
        history[static_cast<std::size_t>(skipped_rows[i])].skipped.push_back(skipped_replicas[i]);
    }
    for (const HistoryColumn& column : history_columns) {
        std::vector<double> values;
        values.reserve(history.size());
        for (const RoundReport& report : history) {
            values.push_back(report.*column.field);
        }
        const std::string name = std::string{"history."} + column.name;
        exchange(name.c_str(), values);
        if (values.size() != history.size()) {
            refuse_state(name, "must have an entry for each round");
        }
        for (std::size_t row = 0; row < history.size(); ++row) {
            history[row].*column.field = values[row];
        }
    }
}

void exchange_retreats(StateExchange& exchange, std::vector<Retreat>& retreats) {
    std::vector<Index> rows;
    std::vector<double> rates;
    for (const Retreat& retreat : retreats) {
        rows.push_back(retreat.row);
        rates.push_back(retreat.learning_rate);
    }
    exchange("retreats.rounds", rows);
    exchange("retreats.learning_rates", rates);
    if (rows.size() != rates.size()) {
        refuse_state("retreats.rounds", "must be as many as retreats.learning_rates");
    }
    retreats.clear();
    for (std::size_t i = 0; i < rows.size(); ++i) {
        retreats.push_back({rows[i], rates[i]});
    }
}

// One training: its masters, and its history, row after row. `Start` draws the start.
template <typename Start>
class Training {
public:
    // `options` are those of every task that is run. The training lowers the learning rate in them.
    // `state`: null, or what to go on from.
    Training(const Observer& observer, TrainOptions& options, const TrainingState* state, Start start,
             const Ranks* ranks)
        : observer_{observer},
          options_{options},
          state_{state},
          ranks_{ranks},
          heartbeat_{observer.during_round},
          start_{std::move(start)},
          masters_{start_()},
          mean_{options.averaging} {}

    void run(const Task& task, Team& team) {
        row_start_ = wall_seconds();
        if (state_ != nullptr && is_whole(*state_)) {
            has_result_ = false;
            StateExchange reader{*state_};
            exchange_state(reader, task.network.shape);
            has_result_ = true;
        }
        while (!divergence_) {
            try {
                run_rounds(task, team);
                return;
            } catch (const TrainingDiverged& diverged) {
                retreat_or_end(diverged.divergence);
            }
        }
    }

    // False where a state was refused, of which a part was taken over by then.
    bool has_result() const { return has_result_; }

    TrainResult take() {
        if (!divergence_) {
            const Index rows = masters_.rows();
            return {take_outcome(),
                    rows,
                    std::move(replicas_),
                    std::move(history_),
                    std::move(retreats_),
                    {},
                    {}};
        }
        const Masters::Master* good = masters_.last_good();
        return {good != nullptr ? *good->parameters : start_(),
                good != nullptr ? good->rows : 0,
                {},
                std::move(history_),
                std::move(retreats_),
                divergence_,
                {}};
    }

private:
    void retreat_or_end(const Divergence& divergence) {
        LearningRate& rate = options_.optimizer.learning_rate;
        if (stops_ || std::ssize(retreats_) == rate.retreats) {
            divergence_ = divergence;
            return;
        }
        masters_.go_back(start_);
        mean_.begin_anew();
        rate.start /= 2.0;
        retreats_.push_back({rows(), rate.start});
    }

    // From the round on that is to be done next. The strategy begins anew, with the state of its
    // optimisers.
    void run_rounds(const Task& task, Team& team) {
        if (options_.warmup_samples > 0 && rows() == 0) {
            warm_up(task, team);
        }
        const auto strategy = make_strategy(task, team, masters_.current());
        const Rounds rounds = strategy->rounds();
        // An epoch of the largest shard; without epochs, there is no round.
        const Index epoch = rounds.length() / std::max<Index>(options_.epochs, 1);
        Plateau plateau{epoch, options_.optimizer.learning_rate.tol};
        if (state_ != nullptr) {
            go_on(*strategy, plateau, team, rounds);
        }
        while (round_.number < rounds.count() && !stops_) {
            round_.row = rows();
            round_.end = rounds.end(round_.number);
            round_.is_last = round_.number + 1 == rounds.count();
            const Index samples_before = samples();
            run_round(task, *strategy, team, rounds.length());
            if (options_.optimizer.learning_rate.schedule == Schedule::adaptive &&
                plateau.end_round(round_.end, samples() - samples_before, history_.back().loss)) {
                options_.optimizer.learning_rate.start /= 5.0;
            }
            const bool is_first = is_judged(round_);
            ++round_.number;
            round_.begin = round_.end;
            tell(team);
            if (is_first) {
                observer_.after_first_round(masters_.current());
            }
            // After the last merge, there are no replicas to be kept.
            if (observer_.keep_state && !is_cut_short_ && !(round_.is_last && options_.keep_replicas)) {
                observer_.keep_state(round_.is_last || stops_,
                                     [&] { return state_of(task, *strategy, plateau, team); });
                row_start_ = wall_seconds();
            }
        }
        if (stops_ || rounds.count() == 0) {
            check_finite(masters_.current(), rows() - 1, *strategy);
        }
        if (options_.keep_replicas) {
            replicas_ = strategy->take_replicas();
        }
    }

    void warm_up(const Task& task, Team& team) {
        heartbeat_.start_round();
        RoundReport report = omp_mlp::warm_up(task, team, masters_.current(),
                                              masters_.next(task.network.shape), heartbeat_);
        heartbeat_.beat_if_due();
        report.train_seconds = wall_seconds() - row_start_;
        report.learning_rate = options_.optimizer.learning_rate.start;
        masters_.advance(report.loss, rows() + 1);
        history_.push_back(std::move(report));
        tell(team);
    }

    // `length`: of the stream that all rounds are parts of.
    void run_round(const Task& task, TrainingStrategy& strategy, Team& team, Index length) {
        const Round& round = round_;
        heartbeat_.start_round();
        RoundReport report = strategy.train_round(team, round, masters_.current(), heartbeat_);
        heartbeat_.beat_if_due();
        const double trained = wall_seconds();
        report.train_seconds = trained - row_start_;
        report.samples += samples();
        report.learning_rate = options_.optimizer.learning_rate.at(round.begin, length);
        if (is_collected(strategy, round, report)) {
            Parameters& next = masters_.next(task.network.shape);
            strategy.collect(team, round, masters_.current(), next, report);
            if (round.is_last) {
                check_finite(next, round.row, strategy);
            }
            masters_.advance(report.loss, rows() + 1);
            if (mean_.is_wanted()) {
                mean_.add(masters_.current(), in_parallel(team));
            }
        }
        report.merge_seconds = wall_seconds() - trained;
        history_.push_back(std::move(report));
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
               is_judged(round) || mean_.is_wanted() || report.samples - before >= worth_a_master;
    }

    bool is_judged(const Round& round) const { return round.number == 0 && observer_.after_first_round; }

    // Of the round that is over.
    void tell(Team& team) {
        const bool is_cut = heartbeat_.stopped();
        const bool wish =
            (observer_.after_round && observer_.after_round(history_.back(), outcome(team))) || is_cut;
        const std::array mine{wish, is_cut};
        const auto [stops, is_cut_short] = ranks_ != nullptr ? ranks_->any(mine) : mine;
        stops_ = stops;
        is_cut_short_ = is_cut_short;
        row_start_ = wall_seconds();
    }

    // What the loop knows between two rounds.
    void exchange_state(StateExchange& exchange, const Shape& shape) {
        exchange("round", round_.number);
        exchange("position", round_.begin);
        exchange.rate("learning_rate", options_.optimizer.learning_rate.start);
        masters_.exchange_state(exchange, shape);
        mean_.exchange_state(exchange, shape.size());
        exchange_history(exchange, history_);
        exchange_retreats(exchange, retreats_);
        if (masters_.most_rows() > rows()) {
            refuse_state("master.rows", "must be rounds of its history");
        }
    }

    TrainingState state_of(const Task& task, TrainingStrategy& strategy, Plateau& plateau, Team& team) {
        TrainingState state;
        StateExchange writer{state};
        exchange_state(writer, task.network.shape);
        plateau.exchange_state(writer);
        strategy.exchange_state(team, writer);
        return state;
    }

    // The strategy is new, and goes on as the one that left the state.
    void go_on(TrainingStrategy& strategy, Plateau& plateau, Team& team, const Rounds& rounds) {
        const TrainingState& state = *std::exchange(state_, nullptr);
        StateExchange reader{state};
        if (!is_whole(state)) {
            strategy.exchange_optimizers(team, reader);
            return;
        }
        plateau.exchange_state(reader);
        strategy.exchange_state(team, reader);
        Index& number = round_.number;
        if (number < 0 || number > rounds.count() || round_.begin < 0 ||
            round_.begin > rounds.length()) {
            refuse_state("position", "must be one of this training");
        }
        // In a longer training, the last round of the shorter one may be a part of a round.
        while (number > 0 && rounds.end(number - 1) > round_.begin) {
            --number;
        }
    }

    // What the training would return now.
    const Parameters& outcome(Team& team) {
        if (mean_.is_empty()) {
            return masters_.current();
        }
        if (!outcome_) {
            outcome_ = masters_.current();
        }
        mean_.write(*outcome_, in_parallel(team));
        return *outcome_;
    }

    Parameters take_outcome() {
        Parameters taken = masters_.take_current();
        if (!mean_.is_empty()) {
            mean_.write(taken, [](Index count, const std::function<void(Index)>& fn) {
                for (Index i = 0; i < count; ++i) {
                    fn(i);
                }
            });
        }
        return taken;
    }

    Index rows() const { return std::ssize(history_); }
    Index samples() const { return history_.empty() ? 0 : history_.back().samples; }

    const Observer& observer_;
    TrainOptions& options_;
    const TrainingState* state_;  // null, too, once it is taken over
    const Ranks* ranks_;          // null: this process trains alone
    Heartbeat heartbeat_;
    Start start_;
    Masters masters_;
    MeanOfMasters mean_;
    std::optional<Parameters> outcome_;  // the mean, where somebody looks at it
    Round round_{.number = 0, .row = 0, .begin = 0, .end = 0, .is_last = false};  // that comes next
    std::vector<Parameters> replicas_;
    std::vector<RoundReport> history_;
    std::vector<Retreat> retreats_;
    std::optional<Divergence> divergence_;
    bool stops_ = false;
    bool is_cut_short_ = false;  // the last round, on this rank or another
    bool has_result_ = true;
    double row_start_ = 0.0;  // wall clock
};

Parameters first_master(const Shape& shape, const TrainOptions& options,
                        const std::optional<Parameters>& start) {
    if (start) {
        return *start;
    }
    Parameters drawn = Parameters::unset(shape);
    initialize(kernels(), shape, options.init, options.seed, 0, drawn);
    return drawn;
}

}  // namespace

TrainResult train(const Network& network, const Samples& X, const Targets& targets,
                  const TrainOptions& options, const std::optional<Parameters>& start,
                  const TrainingState* state, const Observer& observer, const Ranks* ranks) {
    TrainOptions own = options;
    const Kernels* rounding = options.batch.bfloat16 ? bfloat16_kernels() : nullptr;
    const Kernels& of_training = rounding != nullptr ? *rounding : kernels();
    Training training{observer, own, state, [&] { return first_master(network.shape, options, start); },
                      ranks};
    const auto lead = [&](Team& team) {
        std::optional<Centering> centering;
        if (options.center_inputs) {
            centering = measure_centering(X, in_parallel(team),
                                          ranks != nullptr ? ranks->communicator : nullptr);
        }
        training.run({.kernels = of_training,
                      .network = network,
                      .X = X,
                      .targets = targets,
                      .options = own,
                      .centering = centering ? &*centering : nullptr,
                      .ranks = ranks},
                     team);
    };
    std::exception_ptr interruption;
    try {
        Team::run(options.workers, lead);
    } catch (...) {
        if (!training.has_result()) {
            throw;
        }
        interruption = std::current_exception();
    }
    TrainResult result = training.take();
    result.interruption = interruption;
    return result;
}

}  // namespace omp_mlp
