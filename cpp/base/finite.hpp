// Whether numbers are finite. This is the only place that checks it.
#pragma once

#include <span>

namespace omp_mlp {

// Whether no value is infinite or not a number.
bool all_finite(std::span<const float> values);

}  // namespace omp_mlp
