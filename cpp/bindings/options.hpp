// The options of a training in Python.
#pragma once

#include "bindings/arrays.hpp"

namespace omp_mlp {

void bind_options(py::module_& m);

}  // namespace omp_mlp
