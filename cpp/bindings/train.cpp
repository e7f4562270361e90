#include "bindings/train.hpp"

#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "bindings/merge.hpp"
#include "bindings/names.hpp"
#include "bindings/network.hpp"
#include "bindings/optimizer.hpp"
#include "bindings/ranks.hpp"
#include "bindings/samples.hpp"
#include "bindings/structs.hpp"
#include "training/train.hpp"

namespace omp_mlp {

using namespace py::literals;

namespace {

void bind_options(py::module_& m) {
    bind_struct(m, "Period", field("first", &Period::first), field("last", &Period::last));
    bind_struct(m, "Init", field("rule", &Init::rule), field("first", &Init::first),
                field("scale", &Init::scale));
    bind_struct(m, "BatchOptions", field("batch_size", &BatchOptions::batch_size),
                field("first_layer", &BatchOptions::first_layer),
                field("bfloat16_forward", &BatchOptions::bfloat16_forward),
                field("skip_confident", &BatchOptions::skip_confident));
    bind_struct(
        m, "MergeOptions", field("every", &MergeOptions::every), field("method", &MergeOptions::method),
        field("method_options", &MergeOptions::method_options),
        field("last_method", &MergeOptions::last_method), field("outer", &MergeOptions::outer),
        field("momentum_follows_rate", &MergeOptions::momentum_follows_rate),
        field("skip_nonfinite", &MergeOptions::skip_nonfinite), field("state", &MergeOptions::state));
    bind_struct(m, "AveragingOptions", field("kind", &AveragingOptions::kind),
                field("span", &AveragingOptions::span));
    bind_struct(m, "TrainOptions", field("strategy", &TrainOptions::strategy),
                field("threads", &TrainOptions::threads), field("workers", &TrainOptions::workers),
                field("epochs", &TrainOptions::epochs), field("batch", &TrainOptions::batch),
                field("center_inputs", &TrainOptions::center_inputs),
                field("warmup_samples", &TrainOptions::warmup_samples),
                field("merge", &TrainOptions::merge), field("averaging", &TrainOptions::averaging),
                field("optimizer", &TrainOptions::optimizer), field("shuffle", &TrainOptions::shuffle),
                field("init", &TrainOptions::init), field("shared_start", &TrainOptions::shared_start),
                field("seed", &TrainOptions::seed), field("dropout", &TrainOptions::dropout),
                field("keep_replicas", &TrainOptions::keep_replicas));
}

// ---- States ----------------------------------------------------------------------------------------

py::dict named_arrays(const TrainingState& state) {
    py::dict arrays;
    for (const auto& [name, array] : state) {
        std::visit(
            [&]<typename T>(const std::vector<T>& values) {
                arrays[name.c_str()] = Array<T>(std::ssize(values), values.data());
            },
            array);
    }
    return arrays;
}

template <typename T>
bool take_array(const py::handle& array, StateArray& taken) {
    if (!Array<T>::check_(array)) {
        return false;
    }
    const auto values = py::reinterpret_borrow<Array<T>>(array);
    taken = std::vector<T>(values.data(), values.data() + values.size());
    return true;
}

// Undoes named_arrays().
TrainingState state_of(const py::dict& arrays) {
    TrainingState state;
    for (const auto& [name, array] : arrays) {
        StateArray& taken = state[name.cast<std::string>()];
        if (!take_array<float>(array, taken) && !take_array<double>(array, taken) &&
            !take_array<Index>(array, taken)) {
            throw py::value_error{"the state's " + name.cast<std::string>() +
                                  " must be an array of float32, float64 or int64 in C order"};
        }
    }
    return state;
}

// ---- Callbacks --------------------------------------------------------------------------------------

py::dict named_columns(const RoundReport& report) {
    py::dict columns("samples"_a = report.samples);
    for (const HistoryColumn& column : history_columns) {
        columns[column.name] = report.*column.field;
    }
    return columns;
}

// Calls back into Python from a core that runs without the GIL. True stops the training.
Observer make_observer(const Network& network, const std::optional<py::function>& after_first_round,
                       const std::optional<py::function>& after_round,
                       const std::optional<py::function>& during_round,
                       const std::optional<py::function>& keep_state) {
    Observer observer;
    if (after_first_round) {
        observer.after_first_round = [&](const Parameters& master) {
            ask_python([&] {
                (*after_first_round)(packed(network.shape, master));
                return false;
            });
        };
    }
    if (after_round) {
        observer.after_round = [&](const RoundReport& report, const Parameters& master) {
            return ask_python([&] {
                return (*after_round)(named_columns(report), packed(network.shape, master)).cast<bool>();
            });
        };
    }
    observer.during_round = watch(during_round);
    if (keep_state) {
        observer.keep_state = [&](bool is_last, const std::function<TrainingState()>& take) {
            ask_python([&] {
                (*keep_state)(is_last, py::cpp_function([&] { return named_arrays(take()); }));
                return false;
            });
        };
    }
    return observer;
}

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

PyTrainResult to_python(const Network& network, const TrainResult& result) {
    PyTrainResult converted{packed(network.shape, result.master),
                            result.rounds,
                            {},
                            named_columns(result.history),
                            {},
                            {},
                            {}};
    for (const Parameters& replica : result.replicas) {
        converted.replicas.push_back(packed(network.shape, replica));
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
    const TrainResult result = without_gil([&] {
        return train(network, samples, targets, options, start.parameters, left ? &*left : nullptr,
                     observer, ranks != nullptr ? &ranks->ranks : nullptr);
    });
    PyTrainResult converted = to_python(network, result);
    if (result.interruption) {
        raise_with(std::move(converted), result.interruption);
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

std::function<bool(const Progress&)> watch(const std::optional<py::function>& watcher) {
    return [&watcher](const Progress& progress) {
        return ask_python([&] {
            if (PyErr_CheckSignals() != 0) {
                throw py::error_already_set{};
            }
            return watcher && (*watcher)(progress.samples, progress.loss_sum).cast<bool>();
        });
    };
}

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
