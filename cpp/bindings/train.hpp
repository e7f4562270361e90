// Training from Python: options, callbacks, and what comes back.
#pragma once

#include <functional>
#include <optional>

#include "bindings/arrays.hpp"
#include "threads/heartbeat.hpp"

namespace omp_mlp {

// What a heartbeat calls while a core runs without the GIL: it looks for Ctrl-C, and then calls `watcher`,
// if there is one, with samples and the sum of their losses. True stops the training.
std::function<bool(const Progress&)> watch(const std::optional<py::function>& watcher);

void bind_train(py::module_& m);

}  // namespace omp_mlp
