// The tables that are compiled in; dispatch.cpp knows which of them this machine can run.
#pragma once

#include "kernels/kernels.hpp"

namespace omp_mlp {

extern const Kernels plain_kernels;
#if defined(__x86_64__)
extern const Kernels sse2_kernels;
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
extern const Kernels avx512_bf16_kernels;
// Those of dense layers alone: what Kernels::bfloat16 has where a unit multiplies tiles, and the same with an
// emulated unit, for tests.
extern const Kernels avx512_amx_kernels;
extern const Kernels emulated_unit_kernels;
#elif defined(__aarch64__)
extern const Kernels neon_kernels;
#endif

}  // namespace omp_mlp
