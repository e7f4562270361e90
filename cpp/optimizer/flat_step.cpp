// The optimisers: the step of each as a plain loop over flat memory, and the rows of their table.
//
// This file is compiled once for each instruction set, with OMP_MLP_TABLE and OMP_MLP_NAME (its table) set. So
// everything is in an unnamed namespace, with nothing of the standard library that is a template or inline. The
// compiler makes vectors of the loops. Fused multiply-adds are switched off: a step is the same bits on every
// machine.
#include "optimizer/optimizer.hpp"

namespace omp_mlp {
namespace {

void sgd(float* __restrict w, const float* __restrict g, float* /*state*/, Index n, const Step& step) {
    const float rate = step.rate;
    for (Index i = 0; i < n; ++i) {
        w[i] -= rate * g[i];
    }
}

void momentum(float* __restrict w, const float* __restrict g, float* __restrict v, Index n,
              const Step& step) {
    const float rate = step.rate;
    const auto factor = static_cast<float>(step.options.momentum);
    for (Index i = 0; i < n; ++i) {
        v[i] = factor * v[i] + g[i];
        w[i] -= rate * v[i];
    }
}

constexpr Optimizer rows[] = {
    {.name = "sgd",
     .summary = "plain stochastic gradient descent",
     .formula = "w <- w - rate g",
     .reference = "Robbins & Monro 1951, A stochastic approximation method",
     .state = 0,
     .may_step_in_place = true,
     .step = sgd},
    {.name = "momentum",
     .summary = "heavy-ball momentum: steps along a decaying sum of the gradients, without dampening",
     .formula = "v <- momentum v + g,  w <- w - rate v",
     .reference = "Polyak 1964, Some methods of speeding up the convergence of iteration methods",
     .state = 1,
     .may_step_in_place = false,
     .step = momentum},
};

}  // namespace

extern const OptimizerTable OMP_MLP_TABLE{
    .name = OMP_MLP_NAME, .rows = rows, .count = sizeof rows / sizeof rows[0]};

}  // namespace omp_mlp
