// The module omp_mlp._core. Arguments are keyword-only and were checked in Python; nothing here has a default.
#include <pybind11/pybind11.h>

#include "bindings/activation.hpp"
#include "bindings/build.hpp"
#include "bindings/columns.hpp"
#include "bindings/full_batch.hpp"
#include "bindings/loss.hpp"
#include "bindings/merge.hpp"
#include "bindings/network.hpp"
#include "bindings/optimizer.hpp"
#include "bindings/ranks.hpp"
#include "bindings/samples.hpp"
#include "bindings/train.hpp"

// Free threading is not declared: no test runs without the GIL, and safetensors has no wheels for that.
PYBIND11_MODULE(_core, m) {
    m.doc() = "The compiled core of omp_mlp. Private: use the package.";
    omp_mlp::bind_build(m);
    omp_mlp::bind_loss(m);
    omp_mlp::bind_samples(m);
    omp_mlp::bind_columns(m);
    omp_mlp::bind_activation(m);
    omp_mlp::bind_network(m);
    omp_mlp::bind_optimizer(m);
    omp_mlp::bind_merge(m);
    omp_mlp::bind_ranks(m);
    omp_mlp::bind_train(m);
    omp_mlp::bind_full_batch(m);
}
