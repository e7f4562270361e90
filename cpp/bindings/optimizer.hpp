// Optimisers in Python: the rows of the table, and the options of a training's steps.
#pragma once

#include "bindings/arrays.hpp"

namespace omp_mlp {

void bind_optimizer(py::module_& m);

}  // namespace omp_mlp
