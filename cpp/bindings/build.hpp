// The build tells on itself: what it was made of, which tables of loops it has, which one it uses.
#pragma once

#include "bindings/arrays.hpp"

namespace omp_mlp {

void bind_build(py::module_& m);

}  // namespace omp_mlp
