// The one pass over X before the work: is it finite?
#pragma once

#include "data/samples.hpp"

namespace omp_mlp {

// The place in X.values of the first value that is not finite, or -1.
Index find_nonfinite(const Samples& X, int workers);

}  // namespace omp_mlp
