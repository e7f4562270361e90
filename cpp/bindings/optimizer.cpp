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
                field("accumulates", &OptimizerOptions::accumulates));

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

    // For tests: the steps of flat arrays, which must have the length that the stepper was made for.
    py::class_<Stepper>(m, "Stepper")
        .def(py::init<const OptimizerOptions&, Index>(), py::kw_only(), "options"_a, "parameters"_a)
        .def(
            "step",
            [](Stepper& stepper, double rate, const Array<float>& gradient, Array<float>& parameters) {
                stepper.step(rate, gradient.data(), parameters.mutable_data());
            },
            py::kw_only(), "rate"_a, "gradient"_a.noconvert(), "parameters"_a.noconvert());
}

}  // namespace omp_mlp
