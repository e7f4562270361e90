// What a training calls in Python while it runs without the GIL.
#pragma once

#include <functional>
#include <optional>

#include "bindings/arrays.hpp"
#include "network/network.hpp"
#include "threads/heartbeat.hpp"
#include "training/report.hpp"

namespace omp_mlp {

// What a heartbeat calls while a core runs without the GIL: it looks for Ctrl-C, and then calls `watcher`,
// if there is one, with samples and the sum of their losses. True stops the training.
std::function<bool(const Progress&)> watch(const std::optional<py::function>& watcher);

// Keeps references to the arguments. True stops the training.
Observer make_observer(const Network& network, const std::optional<py::function>& after_first_round,
                       const std::optional<py::function>& after_round,
                       const std::optional<py::function>& during_round,
                       const std::optional<py::function>& keep_state);

}  // namespace omp_mlp
