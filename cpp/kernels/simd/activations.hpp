// The activations: a type for each, which activate and multiply_derivative below run over memory.
#pragma once

#include "kernels/simd/functions.hpp"
#include "kernels/simd/vectors.hpp"

namespace omp_mlp {
namespace {

// value(z) is phi(z), and NaN stays NaN. backward(kept, delta) is delta phi'(z), where kept is z if the row of
// the activation in network/activation.cpp says that the derivative needs it, and else a = phi(z).

struct Relu {
    static V value(V z) { return z < V{} ? V{} : z; }
    static V backward(V a, V delta) { return a > V{} ? delta : V{}; }
};

struct LeakyRelu {
    static V value(V z) { return z < V{} ? broadcast(leaky_slope) * z : z; }
    static V backward(V a, V delta) { return a > V{} ? delta : broadcast(leaky_slope) * delta; }
};

struct Tanh {
    static V value(V z) { return hyperbolic_tangent(z); }
    static V backward(V a, V delta) { return delta * (broadcast(1.0F) - a * a); }
};

struct Logistic {
    static V value(V z) { return logistic(z); }
    static V backward(V a, V delta) { return delta * a * (broadcast(1.0F) - a); }
};

struct Gelu {
    static V value(V z) {
        const Normal normal = normal_distribution(z);
        // Beyond 14 it is z; below -14 it is 0, also for -infinity.
        return (z > V{} ? z : normal.z) * normal.below;
    }
    static V backward(V z, V delta) {
        const Normal normal = normal_distribution(z);
        const V density = broadcast(0.398942280401F) * normal.bell;
        return delta * (normal.below + normal.z * density);
    }
};

struct Silu {
    static V value(V z) {
        // Below, logistic(z) is 0 in float32, and minus infinity times 0 would be NaN.
        const V least = broadcast(-100.0F);
        return (z < least ? least : z) * logistic(z);
    }
    static V backward(V z, V delta) {
        // Beyond, the slope is 0 or 1 in float32; within, e^-x is finite.
        const V most = broadcast(87.0F);
        const V upper = z > most ? most : z;
        const V x = upper < -most ? -most : upper;
        const V e = exponential(-x);
        const V s = broadcast(1.0F) / (broadcast(1.0F) + e);
        return delta * (s * (broadcast(1.0F) + x * (e * s)));  // e s = 1 - s, without cancellation
    }
};

struct Selu {
    static V value(V z) {
        const V below = broadcast(selu_depth) * exponential_minus_one(z < V{} ? z : V{});
        return z > V{} ? broadcast(selu_scale) * z : z == z ? below : z;
    }
    // Below 0, the slope is lambda alpha e^z = a + lambda alpha.
    static V backward(V a, V delta) {
        return delta * (a > V{} ? broadcast(selu_scale) : a + broadcast(selu_depth));
    }
};

// With e = e^z and n = e (e + 2), tanh(ln(1 + e)) is n / (n + 2): nothing cancels.
struct Mish {
    static V value(V z) {
        const V e = exponential(z > most() ? most() : z);
        const V n = e * (e + broadcast(2.0F));
        // Below, e^z is 0 in float32, and minus infinity times 0 would be NaN.
        const V least = broadcast(-100.0F);
        return (z < least ? least : z) * (n / (n + broadcast(2.0F)));
    }
    static V backward(V z, V delta) {
        const V upper = z > most() ? most() : z;
        const V x = upper < broadcast(-100.0F) ? broadcast(-100.0F) : upper;
        const V e = exponential(x);
        const V n = e * (e + broadcast(2.0F));
        const V inverse = broadcast(1.0F) / (n + broadcast(2.0F));
        const V slope = broadcast(4.0F) * e * (broadcast(1.0F) + e) * inverse * inverse;
        return delta * (n * inverse + x * slope);
    }

private:
    // Beyond, phi(z) is z in float32; up to it, the squares of n are finite.
    static V most() { return broadcast(20.0F); }
};

// Calls fn with the activation's type. The identity has nothing to do, forward or back.
template <typename Fn>
void with_activation(Activation activation, const Fn& fn) {
    switch (activation) {
        case Activation::relu:
            fn(Relu{});
            break;
        case Activation::leaky_relu:
            fn(LeakyRelu{});
            break;
        case Activation::tanh:
            fn(Tanh{});
            break;
        case Activation::logistic:
            fn(Logistic{});
            break;
        case Activation::gelu:
            fn(Gelu{});
            break;
        case Activation::silu:
            fn(Silu{});
            break;
        case Activation::selu:
            fn(Selu{});
            break;
        case Activation::mish:
            fn(Mish{});
            break;
        case Activation::identity:
            break;
    }
}

void activate(Activation activation, float* a, Index n) {
    with_activation(activation, [&]<typename Phi>(Phi /*phi*/) {
        for (Index i = 0; i < n; i += lanes) {
            store(a + i, Phi::value(load(a + i)));
        }
    });
}

void multiply_derivative(Activation activation, const float* kept, float* delta, Index n) {
    with_activation(activation, [&]<typename Phi>(Phi /*phi*/) {
        for (Index i = 0; i < n; i += lanes) {
            store(delta + i, Phi::backward(load(kept + i), load(delta + i)));
        }
    });
}

}  // namespace
}  // namespace omp_mlp
