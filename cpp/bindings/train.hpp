// Training from Python, and what comes back.
#pragma once

#include "bindings/arrays.hpp"

namespace omp_mlp {

void bind_train(py::module_& m);

}  // namespace omp_mlp
