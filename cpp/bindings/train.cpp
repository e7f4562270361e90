#include "bindings/train.hpp"

#include <pybind11/stl.h>

#include <cstdint>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "bindings/names.hpp"
#include "bindings/network.hpp"
#include "bindings/observer.hpp"
#include "bindings/options.hpp"
#include "bindings/ranks.hpp"
#include "bindings/samples.hpp"
#include "bindings/state.hpp"
#include "training/train.hpp"

namespace omp_mlp {

using namespace py::literals;

namespace {

// ---- What comes back --------------------------------------------------------------------------------

py::dict named_columns(const std::vector<RoundReport>& history) {
    const auto rounds = std::ssize(history);
    Array<std::int64_t> samples(rounds);
    for (Index round = 0; round < rounds; ++round) {
        samples.mutable_at(round) = history[static_cast<std::size_t>(round)].samples;
    }
    py::dict columns("samples"_a = samples);
    for (const HistoryColumn& column : history_columns) {
        Array<double> values(rounds);
        for (Index round = 0; round < rounds; ++round) {
            values.mutable_at(round) = history[static_cast<std::size_t>(round)].*column.field;
        }
        columns[column.name] = values;
    }
    return columns;
}

struct PyTrainResult {
    Array<float> parameters;
    Index rounds;  // those that made the parameters
    std::vector<Array<float>> replicas;
    py::dict history;                                   // a column by name, an entry a round
    std::vector<std::pair<Index, Index>> skipped;       // (round, replica)
    std::vector<std::pair<Index, double>> retreats;     // (round, learning rate)
    std::optional<std::pair<Index, Index>> divergence;  // (round, replica)
};

PyTrainResult to_python(const Network& network, TrainResult result) {
    PyTrainResult converted{packed(network.shape, std::move(result.master)),
                            result.rounds,
                            {},
                            named_columns(result.history),
                            {},
                            {},
                            {}};
    for (Parameters& replica : result.replicas) {
        converted.replicas.push_back(packed(network.shape, std::move(replica)));
    }
    for (std::size_t round = 0; round < result.history.size(); ++round) {
        for (const Index replica : result.history[round].skipped) {
            converted.skipped.emplace_back(static_cast<Index>(round), replica);
        }
    }
    for (const Retreat& retreat : result.retreats) {
        converted.retreats.emplace_back(retreat.row, retreat.learning_rate);
    }
    if (result.divergence) {
        converted.divergence.emplace(result.divergence->round, result.divergence->replica);
    }
    return converted;
}

// Throws what ended a training. If that is an exception of Python, it has what was trained as partial_result.
[[noreturn]] void raise_with(PyTrainResult partial, const std::exception_ptr& interruption) {
    try {
        std::rethrow_exception(interruption);
    } catch (const py::error_already_set& error) {
        // Some exceptions take no attributes.
        if (PyObject_SetAttrString(error.value().ptr(), "partial_result",
                                   py::cast(std::move(partial)).ptr()) != 0) {
            PyErr_Clear();
        }
        throw;
    }
}

// ---- Calls ------------------------------------------------------------------------------------------

PyTrainResult train_network(const PyNetwork& start, const PySamples& X, const PyTargets& y,
                            const TrainOptions& options, const std::optional<py::dict>& state,
                            const std::optional<py::function>& after_first_round,
                            const std::optional<py::function>& after_round,
                            const std::optional<py::function>& during_round,
                            const std::optional<py::function>& keep_state, const PyRanks* ranks) {
    const Network& network = start.network;
    const Samples samples =
        options.strategy == Strategy::replica ? X.for_replicas(options.batch.first_layer) : X.samples;
    const Targets targets = y.view(samples.rows, network.shape.outputs());
    const Observer observer =
        make_observer(network, after_first_round, after_round, during_round, keep_state);
    const std::optional<TrainingState> left = state ? std::optional{state_of(*state)} : std::nullopt;
    TrainResult result = without_gil([&] {
        return train(network, samples, targets, options, start.parameters, left ? &*left : nullptr,
                     observer, ranks != nullptr ? &ranks->ranks : nullptr);
    });
    const std::exception_ptr interruption = result.interruption;
    PyTrainResult converted = to_python(network, std::move(result));
    if (interruption) {
        raise_with(std::move(converted), interruption);
    }
    return converted;
}

Index count_rounds(Index length, const Period& every, Index batch_size) {
    return Rounds{length, every, batch_size}.count();
}

Array<std::int64_t> epoch_order(Index samples, Index replicas, Index replica, Index epoch,
                                Shuffle shuffle, std::uint64_t seed) {
    const Shard shard{samples, replicas, replica, epoch + 1, shuffle, seed};
    const Shard::Epoch order = shard.epoch(epoch);
    Array<std::int64_t> ids(shard.epoch_size());
    for (Index position = 0; position < shard.epoch_size(); ++position) {
        ids.mutable_at(position) = order[position];
    }
    return ids;
}

}  // namespace

void bind_train(py::module_& m) {
    bind_options(m);
    py::class_<PyTrainResult>(m, "TrainResult")
        .def_readonly("parameters", &PyTrainResult::parameters)
        .def_readonly("rounds", &PyTrainResult::rounds)
        .def_readonly("replicas", &PyTrainResult::replicas)
        .def_readonly("history", &PyTrainResult::history)
        .def_readonly("skipped", &PyTrainResult::skipped)
        .def_readonly("retreats", &PyTrainResult::retreats)
        .def_readonly("divergence", &PyTrainResult::divergence);
    m.def("train", &train_network, py::kw_only(), "network"_a, "samples"_a, "targets"_a, "options"_a,
          "state"_a, "after_first_round"_a, "after_round"_a, "during_round"_a, "keep_state"_a,
          "ranks"_a);
    m.def("history_columns", [] {
        py::dict meanings("samples"_a = "samples trained on by the end of the round");
        for (const HistoryColumn& column : history_columns) {
            meanings[column.name] = column.meaning;
        }
        return meanings;
    });
    m.def("count_rounds", &count_rounds, py::kw_only(), "length"_a, "every"_a, "batch_size"_a);
    m.def("epoch_order", &epoch_order, py::kw_only(), "samples"_a, "replicas"_a, "replica"_a, "epoch"_a,
          "shuffle"_a, "seed"_a);
}

}  // namespace omp_mlp
