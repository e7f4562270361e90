// What the round loop (train.cpp) needs from a strategy.
//
// The loop asks a strategy to train for a round and then to write the master, over and over. Nothing but
// the master passes from a strategy to the loop. What a strategy keeps from round to round is its own.
#pragma once

#include <memory>
#include <vector>

#include "network/parameters.hpp"
#include "threads/heartbeat.hpp"
#include "threads/team.hpp"
#include "training/report.hpp"
#include "training/rounds.hpp"
#include "training/state.hpp"
#include "training/task.hpp"

namespace omp_mlp {

// One of the rounds of a training.
struct Round {
    Index number;  // from 0
    Index row;     // its row in the history; a warm-up has a row of its own before the rounds
    Index begin;   // positions in the stream of samples (Shard) ...
    Index end;
    bool is_last;
};

class TrainingStrategy {
public:
    TrainingStrategy() = default;
    TrainingStrategy(const TrainingStrategy&) = delete;
    TrainingStrategy(TrainingStrategy&&) = delete;
    TrainingStrategy& operator=(const TrainingStrategy&) = delete;
    TrainingStrategy& operator=(TrainingStrategy&&) = delete;
    virtual ~TrainingStrategy() = default;

    virtual Rounds rounds() const = 0;

    // Trains for one round, or until the heartbeat is stopped. `master` is what collect() wrote last, or
    // the start. It stays as it is until the round is collected. Throws TrainingDiverged if a loss is not finite.
    virtual RoundReport train_round(Team& team, const Round& round, const Parameters& master,
                                    Heartbeat& heartbeat) = 0;

    // Writes the parameters after the round, for raw inputs, into `master`. `base` is the master that
    // train_round() got, and `master` may be the same. Completes the round's report.
    virtual void collect(Team& team, const Round& round, const Parameters& base, Parameters& master,
                         RoundReport& report) = 0;

    // Whether collect() merges networks. If so, the next round starts from the master, and every round
    // has to be collected.
    virtual bool merges() const = 0;

    // Exchanges all that the strategy keeps from round to round, besides the master; or what its optimisers
    // remember alone. Not within a round. A strategy that cannot repeat itself throws std::invalid_argument.
    virtual void exchange_state(Team& team, StateExchange& exchange);
    virtual void exchange_optimizers(Team& team, StateExchange& exchange);

    // Takes the networks that the last collect() merged out of the strategy.
    virtual std::vector<Parameters> take_replicas() { return {}; }
};

// The strategy that the options name. Training starts from `start`.
std::unique_ptr<TrainingStrategy> make_strategy(const Task& task, Team& team, const Parameters& start);

}  // namespace omp_mlp
