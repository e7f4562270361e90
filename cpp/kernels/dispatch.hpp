// Chooses the table of kernels: the best that this machine can run, unless one is forced by name.
#pragma once

#include <span>
#include <string_view>

#include "kernels/kernels.hpp"

namespace omp_mlp {

// The tables that this machine can run, best first; "plain" is always the last.
std::span<const Kernels* const> available_kernels();

// The table in use.
const Kernels& kernels();

// That table's Kernels::bfloat16, with the products of tiles where there is a unit for them. Null where it is slower than
// float32: half as fast on Intel's cores, whose instruction for pairs of bfloat16 is a slow one.
const Kernels* bfloat16_kernels();

// Forces a table by name, for tests and benchmarks, and not while a training runs. "best" undoes it.
// Throws std::invalid_argument, listing the names, if there is none.
void select_kernels(std::string_view name);

}  // namespace omp_mlp
