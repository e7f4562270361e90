// Uniform random numbers: base/random.hpp, some draws at a time.
#pragma once

#include "base/random.hpp"
#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

constexpr Index draws_together = lanes / 2;

using VWords = std::uint64_t __attribute__((vector_size(OMP_MLP_VECTOR_BYTES), may_alias));
using VDoubles = double __attribute__((vector_size(OMP_MLP_VECTOR_BYTES), may_alias));
using VHalf = float __attribute__((vector_size(OMP_MLP_VECTOR_BYTES / 2), may_alias));

// The draws whose states are x.
[[gnu::always_inline]] inline VHalf draw(VWords x, double scale) {
    x = (x ^ (x >> 30)) * splitmix_first;
    x = (x ^ (x >> 27)) * splitmix_second;
    x ^= x >> 31;
    // A whole number below 2^52 becomes a double as the last bits of one whose unit is 1.
    constexpr std::uint64_t exponent = 0x4330000000000000U;
    const VWords bits = (x >> 40) | exponent;
    const VDoubles whole = reinterpret_cast<VDoubles>(bits) - 0x1p52;
    return __builtin_convertvector((2.0 * (whole * 0x1p-24) - 1.0) * scale, VHalf);
}

void draw_uniform(std::uint64_t key, std::uint64_t first, Index n, double scale, float* out) {
    VWords x{};
    for (Index lane = 0; lane < draws_together; ++lane) {
        x[lane] = key + splitmix_step * (first + static_cast<std::uint64_t>(lane) + 1);
    }
    Index i = 0;
    for (; i + draws_together <= n; i += draws_together) {
        const VHalf drawn = draw(x, scale);
        memcpy(out + i, &drawn, sizeof drawn);
        x += splitmix_step * static_cast<std::uint64_t>(draws_together);
    }
    if (i < n) {
        const VHalf drawn = draw(x, scale);
        memcpy(out + i, &drawn, static_cast<std::size_t>(n - i) * sizeof(float));
    }
}

}  // namespace
}  // namespace omp_mlp
