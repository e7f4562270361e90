// The loss of all samples and its gradient in Python.
#pragma once

#include "bindings/arrays.hpp"

namespace omp_mlp {

void bind_full_batch(const py::module_& m);

}  // namespace omp_mlp
