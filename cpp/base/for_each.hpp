// A loop that the caller provides. Code that knows nothing of threads takes one, and may run in
// parallel.
#pragma once

#include <functional>

#include "base/buffer.hpp"

namespace omp_mlp {

// Runs fn(0), ..., fn(count - 1), in any order, perhaps in parallel.
using ForEach = std::function<void(Index count, const std::function<void(Index)>& fn)>;

}  // namespace omp_mlp
