// What a training remembers, as a dict of arrays in Python.
#pragma once

#include "bindings/arrays.hpp"
#include "training/state.hpp"

namespace omp_mlp {

py::dict named_arrays(const TrainingState& state);

// Undoes named_arrays(). Throws if an array is of another type or layout.
TrainingState state_of(const py::dict& arrays);

}  // namespace omp_mlp
