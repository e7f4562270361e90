// The caches of a core, as the system describes them.
#pragma once

#include "base/buffer.hpp"

namespace omp_mlp {

// Bytes of a core's second cache. Read once; 256 KB, as the smallest cores of today have, if the system does not say.
Index second_cache_bytes();

}  // namespace omp_mlp
