// Whether this machine multiplies tiles of bfloat16, and lets this process do so: AMX on Linux.
#pragma once

namespace omp_mlp {

// Asks the system for the unit at the first call: its registers make room for 8 KB more in each signal's frame, so that
// Linux gives them only to who asks, once for all threads. False where there is no unit, or the system refuses.
bool has_tile_unit();

}  // namespace omp_mlp
