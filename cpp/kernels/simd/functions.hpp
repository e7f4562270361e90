// Functions of the units: activations, their derivatives, softmax.
#pragma once

#include <math.h>  // NOLINT(modernize-deprecated-headers): plain functions; table.cpp says why

#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

// e^x, relative error below 2e-7 for results that are normal numbers; 0 below x = -87.3, infinite above
// 88.7; NaN stays NaN. x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial for e^r (Cephes' expf), and 2^n by
// way of the exponent's bits.
V exponential(V x) {
    const V too_small = broadcast(-87.3F);
    const V too_large = broadcast(88.7F);
    const V clipped_below = x < too_small ? too_small : x;
    const V clipped = clipped_below > too_large ? too_large : clipped_below;
    const V magic = broadcast(12582912.0F);  // 1.5 x 2^23: adding it rounds to the nearest integer
    const V shifted = clipped * broadcast(1.44269504088896341F) + magic;
    const V n = shifted - magic;
    V r = clipped - n * broadcast(0.693359375F);
    r = r - n * broadcast(-2.12194440e-4F);
    V p = broadcast(1.9875691500e-4F);
    p = p * r + broadcast(1.3981999507e-3F);
    p = p * r + broadcast(8.3334519073e-3F);
    p = p * r + broadcast(4.1665795894e-2F);
    p = p * r + broadcast(1.6666665459e-1F);
    p = p * r + broadcast(5.0000001201e-1F);
    p = p * r * r + r + broadcast(1.0F);
    const VInt exponent = (as_bits(shifted) - as_bits(magic) + 127) << 23;
    V result = p * from_bits(exponent);
    result = x < too_small ? V{} : result;
    result = x > too_large ? broadcast(__builtin_inff()) : result;
    return x == x ? result : x;
}

V logistic(V x) {
    return broadcast(1.0F) / (broadcast(1.0F) + exponential(-x));
}

// Relative error below 3e-7: a polynomial near 0 (Cephes' tanhf), else by way of e^(2x).
V hyperbolic_tangent(V x) {
    const V square = x * x;
    V p = broadcast(-5.70498872745e-3F);
    p = p * square + broadcast(2.06390887954e-2F);
    p = p * square + broadcast(-5.37397155531e-2F);
    p = p * square + broadcast(1.33314422036e-1F);
    p = p * square + broadcast(-3.33332819422e-1F);
    const V near_zero = p * square * x + x;
    const V far = broadcast(1.0F) - broadcast(2.0F) / (exponential(x + x) + broadcast(1.0F));
    return square < broadcast(0.390625F) ? near_zero : far;
}

template <typename Fn>
void map(float* a, Index n, const Fn& fn) {
    for (Index i = 0; i < n; i += lanes) {
        store(a + i, fn(load(a + i)));
    }
}

void activate(Activation activation, float* a, Index n) {
    switch (activation) {
        case Activation::relu:
            map(a, n, [](V x) { return x < V{} ? V{} : x; });  // NaN stays NaN
            break;
        case Activation::tanh:
            map(a, n, hyperbolic_tangent);
            break;
        case Activation::logistic:
            map(a, n, logistic);
            break;
        case Activation::identity:
            break;
    }
}

void multiply_derivative(Activation activation, const float* a, float* delta, Index n) {
    for (Index i = 0; i < n; i += lanes) {
        const V x = load(a + i);
        const V d = load(delta + i);
        switch (activation) {
            case Activation::relu:
                store(delta + i, x > V{} ? d : V{});
                break;
            case Activation::tanh:
                store(delta + i, d * (broadcast(1.0F) - x * x));
                break;
            case Activation::logistic:
                store(delta + i, d * x * (broadcast(1.0F) - x));
                break;
            case Activation::identity:
                break;
        }
    }
}

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
