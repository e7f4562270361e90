// The optimisers: the step of each as a plain loop over flat memory, and the rows of their table.
//
// This file is compiled once for each instruction set, with OMP_MLP_TABLE and OMP_MLP_NAME (its table) set. So
// everything is in an unnamed namespace, with nothing of the standard library that is a template or inline. The
// compiler makes vectors of the loops. Fused multiply-adds are switched off: a step is the same bits on every
// machine. What does not change within a step is computed in double, before the loop.
#include "optimizer/optimizer.hpp"

namespace omp_mlp {
namespace {

// What comes before the step of each parameter: clipping, coupled and decoupled decay. Most steps are plain: they
// have none of these.
template <bool is_plain>
struct Before {
    float scale;
    float l2;
    float kept;

    explicit Before(const Step& step)
        : scale{static_cast<float>(step.scale)},
          l2{static_cast<float>(step.l2)},
          kept{static_cast<float>(1.0 - step.rate * step.weight_decay)} {}

    // Reads an entry of the gradient, and leaves a zero there.
    float take(float& g, float w) const {
        const float taken = g;
        g = 0.0F;
        return is_plain ? taken : scale * taken + l2 * w;
    }
    float decay(float w) const { return is_plain ? w : kept * w; }
};

template <bool is_plain>
void sgd(float* __restrict w, float* __restrict g, float* /*state*/, Index /*apart*/, Index n,
         const Step& step) {
    const Before<is_plain> before{step};
    const auto rate = static_cast<float>(step.rate);
    for (Index i = 0; i < n; ++i) {
        w[i] = before.decay(w[i]) - rate * before.take(g[i], w[i]);
    }
}

template <bool is_plain>
void momentum(float* __restrict w, float* __restrict g, float* __restrict v, Index /*apart*/, Index n,
              const Step& step) {
    const Before<is_plain> before{step};
    const auto rate = static_cast<float>(step.rate);
    const auto factor = static_cast<float>(step.options.momentum);
    for (Index i = 0; i < n; ++i) {
        v[i] = factor * v[i] + before.take(g[i], w[i]);
        w[i] = before.decay(w[i]) - rate * v[i];
    }
}

template <bool is_plain>
void nesterov(float* __restrict w, float* __restrict g, float* __restrict v, Index /*apart*/, Index n,
              const Step& step) {
    const Before<is_plain> before{step};
    const auto rate = static_cast<float>(step.rate);
    const auto factor = static_cast<float>(step.options.momentum);
    for (Index i = 0; i < n; ++i) {
        const float gradient = before.take(g[i], w[i]);
        v[i] = factor * v[i] + gradient;
        w[i] = before.decay(w[i]) - rate * (gradient + factor * v[i]);
    }
}

template <bool is_plain>
void adam(float* __restrict w, float* __restrict g, float* __restrict state, Index apart, Index n,
          const Step& step) {
    float* __restrict m = state;
    float* __restrict v = state + apart;
    const Before<is_plain> before{step};
    const auto beta_1 = static_cast<float>(step.options.beta_1);
    const auto beta_2 = static_cast<float>(step.options.beta_2);
    const auto rest_1 = static_cast<float>(1.0 - step.options.beta_1);
    const auto rest_2 = static_cast<float>(1.0 - step.options.beta_2);
    const auto epsilon = static_cast<float>(step.options.epsilon);
    const auto rate = static_cast<float>(step.rate / step.correction_1);
    const auto scale = static_cast<float>(1.0 / __builtin_sqrt(step.correction_2));
    for (Index i = 0; i < n; ++i) {
        const float gradient = before.take(g[i], w[i]);
        m[i] = beta_1 * m[i] + rest_1 * gradient;
        v[i] = beta_2 * v[i] + rest_2 * (gradient * gradient);
        w[i] = before.decay(w[i]) - rate * m[i] / (__builtin_sqrtf(v[i]) * scale + epsilon);
    }
}

template <bool is_plain>
void rmsprop(float* __restrict w, float* __restrict g, float* __restrict v, Index /*apart*/, Index n,
             const Step& step) {
    const Before<is_plain> before{step};
    const auto rho = static_cast<float>(step.options.rho);
    const auto rest = static_cast<float>(1.0 - step.options.rho);
    const auto epsilon = static_cast<float>(step.options.epsilon);
    const auto rate = static_cast<float>(step.rate);
    for (Index i = 0; i < n; ++i) {
        const float gradient = before.take(g[i], w[i]);
        v[i] = rho * v[i] + rest * (gradient * gradient);
        w[i] = before.decay(w[i]) - rate * gradient / (__builtin_sqrtf(v[i]) + epsilon);
    }
}

using Loop = void (*)(float*, float*, float*, Index, Index, const Step&);

template <Loop plain, Loop with_decay>
void either(float* w, float* g, float* state, Index apart, Index n, const Step& step) {
    const bool is_plain = step.scale == 1.0 && step.l2 == 0.0 && step.weight_decay == 0.0;
    (is_plain ? plain : with_decay)(w, g, state, apart, n, step);
}

// In as many sums as the widest vector has numbers, so that all tables add up in the same order.
double sum_of_squares(const float* g, Index n) {
    constexpr Index lanes = 16;
    double sums[lanes] = {};
    Index i = 0;
    for (; i + lanes <= n; i += lanes) {
        for (Index lane = 0; lane < lanes; ++lane) {
            const auto entry = static_cast<double>(g[i + lane]);
            sums[lane] += entry * entry;
        }
    }
    double total = 0.0;
    for (; i < n; ++i) {
        total += static_cast<double>(g[i]) * static_cast<double>(g[i]);
    }
    for (const double sum : sums) {
        total += sum;
    }
    return total;
}

constexpr const char* adams_formula =
    "m <- beta_1 m + (1 - beta_1) g,  v <- beta_2 v + (1 - beta_2) g^2,  "
    "w <- w - rate m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon)";

constexpr Optimizer rows[] = {
    {.name = "sgd",
     .summary = "plain stochastic gradient descent",
     .formula = "w <- w - rate g",
     .reference = "Robbins & Monro 1951, A stochastic approximation method",
     .state = 0,
     .may_step_in_place = true,
     .step = either<sgd<true>, sgd<false>>},
    {.name = "momentum",
     .summary = "heavy-ball momentum: steps along a decaying sum of the gradients, without dampening",
     .formula = "v <- momentum v + g,  w <- w - rate v",
     .reference = "Polyak 1964, Some methods of speeding up the convergence of iteration methods",
     .state = 1,
     .may_step_in_place = false,
     .step = either<momentum<true>, momentum<false>>},
    {.name = "nesterov",
     .summary = "Nesterov's momentum: as momentum, but one step of the velocity ahead",
     .formula = "v <- momentum v + g,  w <- w - rate (g + momentum v)",
     .reference =
         "Sutskever et al. 2013, On the importance of initialization and momentum in deep learning",
     .state = 1,
     .may_step_in_place = false,
     .step = either<nesterov<true>, nesterov<false>>},
    {.name = "adam",
     .summary =
         "steps along the mean gradient over the root of its mean square, of each weight by itself",
     .formula = adams_formula,
     .reference = "Kingma & Ba 2015, Adam: A method for stochastic optimization",
     .state = 2,
     .may_step_in_place = false,
     .step = either<adam<true>, adam<false>>},
    {.name = "adamw",
     .summary = "adam with decoupled weight decay",
     .formula = adams_formula,
     .reference = "Loshchilov & Hutter 2019, Decoupled weight decay regularization",
     .state = 2,
     .may_step_in_place = false,
     .step = either<adam<true>, adam<false>>},
    {.name = "rmsprop",
     .summary = "steps along the gradient over the root of its mean square, of each weight by itself",
     .formula = "v <- rho v + (1 - rho) g^2,  w <- w - rate g / (sqrt(v) + epsilon)",
     .reference = "Tieleman & Hinton 2012, Lecture 6.5: RMSProp",
     .state = 1,
     .may_step_in_place = false,
     .step = either<rmsprop<true>, rmsprop<false>>},
};

}  // namespace

extern const OptimizerTable OMP_MLP_TABLE{.name = OMP_MLP_NAME,
                                          .rows = rows,
                                          .count = sizeof rows / sizeof rows[0],
                                          .squared_norm = sum_of_squares};

}  // namespace omp_mlp
