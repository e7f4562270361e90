// Functions of a vector: the exponential, and what is made of it.
#pragma once

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

// e^x - 1 for x up to 0, relative error below 6e-7: the same polynomial near 0, where the difference would cancel.
V exponential_minus_one(V x) {
    V p = broadcast(1.9875691500e-4F);
    p = p * x + broadcast(1.3981999507e-3F);
    p = p * x + broadcast(8.3334519073e-3F);
    p = p * x + broadcast(4.1665795894e-2F);
    p = p * x + broadcast(1.6666665459e-1F);
    p = p * x + broadcast(5.0000001201e-1F);
    const V near_zero = p * x * x + x;
    return x > broadcast(-0.35F) ? near_zero : exponential(x) - broadcast(1.0F);
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

// The standard normal distribution at z: the probability of less than z, and the density times sqrt(2 pi). |z| is
// taken for 14 at most: beyond, one of the two tails and the density are 0 in float32.
struct Normal {
    V z;  // within -14 .. 14; NaN stays NaN
    V below;
    V bell;
};

// The tail beyond u = |z| is e^(-u^2/2) times a polynomial in t = 1 / (1 + 0.27 u) (the form of Abramowitz &
// Stegun 1964, 26.2.17). These coefficients have the smallest relative error, 2.4e-8, over u = 0 .. 14.5. That of
// the tail is below 5e-7 for u up to 3, and below 6e-6 everywhere, for u^2 is rounded before the exponential.
Normal normal_distribution(V z) {
    const V most = broadcast(14.0F);
    z = z < -most ? -most : z;
    z = z > most ? most : z;
    const V bell = exponential(broadcast(-0.5F) * z * z);
    const V t = broadcast(1.0F) / (broadcast(1.0F) + broadcast(0.27F) * (z < V{} ? -z : z));
    V p = broadcast(2.8960329e-2F);
    p = p * t + broadcast(-1.2648240e-1F);
    p = p * t + broadcast(1.6977967e-1F);
    p = p * t + broadcast(-6.9204180e-2F);
    p = p * t + broadcast(1.0782167e-1F);
    p = p * t + broadcast(7.2051040e-2F);
    p = p * t + broadcast(1.0181031e-1F);
    p = p * t + broadcast(1.0754291e-1F);
    p = p * t + broadcast(1.0772066e-1F);
    const V tail = bell * (p * t);
    return {z, z < V{} ? tail : broadcast(1.0F) - tail, bell};
}

}  // namespace
}  // namespace omp_mlp
