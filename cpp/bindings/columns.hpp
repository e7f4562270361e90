// The columns of arrays of any numbers in Python: their statistics, and scaled copies.
#pragma once

#include <pybind11/pybind11.h>

namespace omp_mlp {

void bind_columns(pybind11::module_& m);

}  // namespace omp_mlp
