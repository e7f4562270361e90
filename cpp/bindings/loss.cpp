#include "bindings/loss.hpp"

#include <pybind11/stl.h>

#include <vector>

#include "bindings/names.hpp"
#include "bindings/structs.hpp"
#include "network/loss.hpp"

namespace omp_mlp {

using namespace py::literals;

void bind_loss(py::module_& m) {
    py::class_<Loss>(m, "Loss")
        .def_readonly("name", &Loss::name)
        .def_readonly("formula", &Loss::formula)
        .def_readonly("reference", &Loss::reference)
        .def_property_readonly("outputs", [](const Loss& loss) {
            return std::vector<Output>{loss.outputs.begin(), loss.outputs.end()};
        });
    bind_struct(m, "LossOptions", field("loss", &LossOptions::loss),
                field("huber_delta", &LossOptions::huber_delta),
                field("quantile", &LossOptions::quantile),
                field("label_smoothing", &LossOptions::label_smoothing));
    m.def(
        "losses",
        [] {
            std::vector<const Loss*> rows;
            for (const Loss& row : losses()) {
                rows.push_back(&row);
            }
            return rows;
        },
        py::return_value_policy::reference);
}

}  // namespace omp_mlp
