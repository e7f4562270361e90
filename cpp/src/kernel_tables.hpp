// The tables that are compiled in; dispatch.cpp knows which of them this machine can run.
#pragma once

#include "omp_mlp/kernels.hpp"

namespace omp_mlp {

extern const Kernels plain_kernels;

}  // namespace omp_mlp
