// The table of losses in Python, and their settings.
#pragma once

#include "bindings/arrays.hpp"

namespace omp_mlp {

void bind_loss(py::module_& m);

}  // namespace omp_mlp
