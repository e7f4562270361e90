// What training reads of X, without owning or copying it: dense rows of float32 or of bytes, or
// compressed sparse rows (CSR).
#pragma once

#include <cstdint>

#include "omp_mlp/buffer.hpp"

namespace omp_mlp {

struct Samples {
    enum class Kind { dense_float32, dense_uint8, csr };

    Kind kind;
    Index rows;
    Index columns;
    const float* values = nullptr;          // dense_float32: rows x columns; csr: the stored values
    const std::uint8_t* bytes = nullptr;    // dense_uint8: rows x columns
    const std::int64_t* starts = nullptr;   // csr: rows + 1
    const std::int32_t* indices = nullptr;  // csr: the column of each stored value
    float scale = 1.0F;                     // bytes are read as scale * byte, ...
    const float* byte_value = nullptr;      // ... or as byte_value[byte], which may be rounded otherwise
};

}  // namespace omp_mlp
