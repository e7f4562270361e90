#include "bindings/optimizer.hpp"

#include <pybind11/stl.h>

#include <vector>

#include "bindings/names.hpp"
#include "bindings/structs.hpp"
#include "optimizer/optimizer.hpp"

namespace omp_mlp {

using namespace py::literals;

void bind_optimizer(py::module_& m) {
    py::class_<Optimizer>(m, "Optimizer")
        .def_readonly("name", &Optimizer::name)
        .def_readonly("summary", &Optimizer::summary)
        .def_readonly("formula", &Optimizer::formula)
        .def_readonly("reference", &Optimizer::reference)
        .def_readonly("state", &Optimizer::state)
        .def_readonly("may_step_in_place", &Optimizer::may_step_in_place);
    bind_struct(m, "LearningRate", field("start", &LearningRate::start),
                field("schedule", &LearningRate::schedule), field("power_t", &LearningRate::power_t),
                field("tol", &LearningRate::tol), field("warmup_share", &LearningRate::warmup_share),
                field("retreats", &LearningRate::retreats));
    bind_struct(m, "OptimizerOptions", field("method", &OptimizerOptions::method),
                field("learning_rate", &OptimizerOptions::learning_rate),
                field("momentum", &OptimizerOptions::momentum),
                field("beta_1", &OptimizerOptions::beta_1), field("beta_2", &OptimizerOptions::beta_2),
                field("rho", &OptimizerOptions::rho), field("epsilon", &OptimizerOptions::epsilon),
                field("weight_decay", &OptimizerOptions::weight_decay),
                field("l2", &OptimizerOptions::l2), field("max_norm", &OptimizerOptions::max_norm),
                field("accumulates", &OptimizerOptions::accumulates),
                field("ntk", &OptimizerOptions::ntk), field("gain_rate", &OptimizerOptions::gain_rate));

    m.def(
        "learning_rate_at",
        [](const LearningRate& rate, Index position, Index length) { return rate.at(position, length); },
        py::kw_only(), "rate"_a, "position"_a, "length"_a);

    // The rows of a table that is always there.
    constexpr auto reference = py::return_value_policy::reference;
    m.def(
        "optimizers",
        [] {
            std::vector<const Optimizer*> rows;
            for (const Optimizer& row : optimizers()) {
                rows.push_back(&row);
            }
            return rows;
        },
        reference);
    m.def("optimizer", &optimizer, reference, "name"_a);

    // For tests: the steps of flat arrays of the weights and then the biases.
    py::class_<Stepper>(m, "Stepper")
        .def(py::init([](const OptimizerOptions& options, Index weights, Index biases, Index rows) {
                 return Stepper{options, {{weights, rows, rows}, {biases, 0, 0}}};
             }),
             py::kw_only(), "options"_a, "weights"_a, "biases"_a, "rows"_a)
        .def(
            "step",
            [](Stepper& stepper, double rate, double scale, Array<float>& gradient,
               Array<float>& parameters) {
                stepper.step(rate, scale, gradient.mutable_data(), parameters.mutable_data());
            },
            py::kw_only(), "rate"_a, "scale"_a, "gradient"_a.noconvert(), "parameters"_a.noconvert());
    m.def(
        "squared_norm",
        [](const Array<float>& gradient) { return squared_norm(gradient.data(), gradient.size()); },
        "gradient"_a.noconvert());
}

}  // namespace omp_mlp
