// What a training reports: after each round and within it, at its end, and if it fails.
#pragma once

#include <array>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <vector>

#include "base/buffer.hpp"
#include "network/parameters.hpp"
#include "threads/heartbeat.hpp"
#include "training/state.hpp"

namespace omp_mlp {

struct RoundReport {
    Index samples = 0;                     // of all replicas, since the start
    double loss = 0.0;                     // mean over the round's samples
    double learning_rate = 0.0;            // at the start of the round
    double train_seconds = 0.0;            // wall clock
    double merge_seconds = 0.0;            // wall clock
    double slowest_replica_seconds = 0.0;  // CPU time
    double mean_replica_seconds = 0.0;     // CPU time, of all replicas; NaN without any
    std::vector<Index> skipped;            // the replicas that were left out of the merge
};

// A column of the history: a field of the report, one entry a round.
struct HistoryColumn {
    const char* name;
    const char* meaning;
    double RoundReport::* field;
};

// All columns except `samples`, which are integers. A new column is a field of the report, a row here,
// and an attribute of History in Python.
inline constexpr std::array history_columns{
    HistoryColumn{"loss", "mean training loss over the round's samples", &RoundReport::loss},
    HistoryColumn{"learning_rate", "learning rate at the start of the round",
                  &RoundReport::learning_rate},
    HistoryColumn{"train_seconds", "wall-clock time of the parallel training",
                  &RoundReport::train_seconds},
    HistoryColumn{"merge_seconds", "wall-clock time of the merge", &RoundReport::merge_seconds},
    HistoryColumn{"slowest_replica_seconds", "CPU time of the slowest replica or thread",
                  &RoundReport::slowest_replica_seconds},
    HistoryColumn{"mean_replica_seconds", "CPU time of the replicas, their mean; NaN without replicas",
                  &RoundReport::mean_replica_seconds},
};

// after_round and during_round return true to stop the training. Without after_round, the master is not
// needed between rounds, but for that of the first one.
struct Observer {
    std::function<void(const Parameters& master)> after_first_round;
    std::function<bool(const RoundReport&, const Parameters& master)> after_round;
    std::function<bool(const Progress&)> during_round;
    // Called after after_round, where a training can go on from; on all ranks, or on none. is_last: no round
    // comes after this one. take() writes the state, and may be called until this returns.
    std::function<void(bool is_last, const std::function<TrainingState()>& take)> keep_state;
};

// A loss or a parameter became infinite or not a number. replica -1: the merged network did.
struct Divergence {
    Index round;
    Index replica;
};

class TrainingDiverged : public std::runtime_error {
public:
    TrainingDiverged(Index round, Index replica)
        : std::runtime_error{"training diverged"}, divergence{round, replica} {}
    Divergence divergence;
};

// A training that diverged in a round goes on from the last master that was good for sure.
struct Retreat {
    Index row;             // of the history: the round that is done once more
    double learning_rate;  // at the start of the schedule, from there on
};

struct TrainResult {
    Parameters master;                 // of a training that diverged: the last good one
    Index rounds = 0;                  // the rows of the history that made the master
    std::vector<Parameters> replicas;  // the networks that the last merge merged, if keep_replicas
    std::vector<RoundReport> history;
    std::vector<Retreat> retreats;
    std::optional<Divergence> divergence;
    std::exception_ptr interruption;  // what an observer threw; the master is the last one then
};

}  // namespace omp_mlp
