// Softmax of a row.
#pragma once

#include <math.h>  // NOLINT(modernize-deprecated-headers): plain functions; table.cpp says why

#include "kernels/simd/functions.hpp"
#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

double softmax(const float* z, Index n, float* p) {
    constexpr std::make_integer_sequence<int, lanes> all{};
    VInt lane{};
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) {
        lane[i] = i;
    }
    const auto is_inside = [&](Index k) { return lane < static_cast<std::int32_t>(n - k); };
    const auto larger = [](V a, V b) {
        const V larger_one = b > a ? b : a;
        return b == b ? larger_one : b;  // NaN stays NaN
    };
    V most = broadcast(-__builtin_inff());
    for (Index k = 0; k < n; k += lanes) {
        most = larger(most, is_inside(k) ? load(z + k) : broadcast(z[0]));
    }
    most = over_lanes(most, larger, all);
    V sum{};
    for (Index k = 0; k < n; k += lanes) {
        const V e = is_inside(k) ? exponential(load(z + k) - most) : V{};
        store(p + k, e);
        sum += e;
    }
    sum = over_lanes(sum, [](V a, V b) { return a + b; }, all);
    const V inverse = broadcast(1.0F) / sum;
    const Index width = padded(n);
    for (Index k = 0; k < width; k += lanes) {
        store(p + k, k < n ? load(p + k) * inverse : V{});
    }
    return static_cast<double>(most[0]) + log(static_cast<double>(sum[0]));
}

}  // namespace
}  // namespace omp_mlp
