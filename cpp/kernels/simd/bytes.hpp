// Floats that are bytes in another unit, and back.
#pragma once

#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

bool to_bytes(const float* x, Index n, float divisor, std::uint8_t* bytes) {
    const float inverse = 1.0F / divisor;
    VInt wrong{};
    const auto convert = [&](const float* from, std::uint8_t* to) {
        V values;
        memcpy(&values, from, sizeof values);
        // A float that is no number from 0 to 255 becomes an integer outside that range, or comes back
        // as another float. This holds for NaN, too.
        const VInt whole = __builtin_convertvector(values * divisor + 0.5F, VInt);
        const V back = divided(__builtin_convertvector(whole, V), divisor, inverse);
        wrong |= (whole & ~255) | (back != values);
        store_bytes(whole, to);
    };
    Index k = 0;
    for (; k + lanes <= n; k += lanes) {
        convert(x + k, bytes + k);
    }
    if (k < n) {
        float rest[lanes] = {};
        std::uint8_t rest_bytes[lanes];
        memcpy(rest, x + k, static_cast<std::size_t>(n - k) * sizeof(float));
        convert(rest, rest_bytes);
        memcpy(bytes + k, rest_bytes, static_cast<std::size_t>(n - k));
    }
    std::int32_t any = 0;
    for (Index lane = 0; lane < lanes; ++lane) {
        any |= wrong[lane];
    }
    return any == 0;
}

void widen_uint8(const std::uint8_t* x, Index n, float scale, float* row) {
    for (Index k = 0; k < n; ++k) {
        row[k] = scale * static_cast<float>(x[k]);
    }
}

}  // namespace
}  // namespace omp_mlp
