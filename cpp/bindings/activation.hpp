// Activations in Python: the rows of their table, and the functions themselves.
#pragma once

#include "bindings/arrays.hpp"

namespace omp_mlp {

void bind_activation(py::module_& m);

}  // namespace omp_mlp
