#include "bindings/observer.hpp"

#include "bindings/state.hpp"

namespace omp_mlp {

using namespace py::literals;

namespace {

py::dict named_columns(const RoundReport& report) {
    py::dict columns("samples"_a = report.samples);
    for (const HistoryColumn& column : history_columns) {
        columns[column.name] = report.*column.field;
    }
    return columns;
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

}  // namespace omp_mlp
