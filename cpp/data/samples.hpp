// X as training reads it, without owning or copying it: dense rows of float32 or of bytes, or compressed
// sparse rows (CSR).
#pragma once

#include <array>
#include <cstdint>

#include "base/buffer.hpp"

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
    float scale = 1.0F;                 // bytes are read as scale * byte, up to rounding; exactly as ...
    const float* byte_value = nullptr;  // ... byte_value[byte], all 256 on a cache line
};

// The float that each byte stands for.
struct alignas(cache_line_bytes) ByteTable {
    std::array<float, 256> of;
};

}  // namespace omp_mlp
