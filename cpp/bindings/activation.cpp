#include "bindings/activation.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "bindings/names.hpp"
#include "kernels/dispatch.hpp"
#include "network/activation.hpp"
#include "network/units.hpp"

namespace omp_mlp {
namespace {

using namespace py::literals;

Array<double> activation_values(Activation activation, const Array<double>& z) {
    Array<double> a(std::vector<py::ssize_t>{z.shape(), z.shape() + z.ndim()});
    std::transform(z.data(), z.data() + z.size(), a.mutable_data(), properties(activation).value);
    return a;
}

// What the kernels in use make of rows of z: phi(z), and phi'(z) times delta.
std::pair<Array<float>, Array<float>> activate_units(Activation activation, const Array<float>& z,
                                                     const Array<float>& delta) {
    const Index samples = z.shape(0);
    const Index width = z.shape(1);
    Units units{activation, samples, width};
    Buffer below(static_cast<std::size_t>(samples * units.stride()));
    for (Index s = 0; s < samples; ++s) {
        std::copy_n(z.data() + s * width, width, units.row(s));
        std::copy_n(delta.data() + s * width, width, below.data() + s * units.stride());
    }
    units.activate(kernels(), 0, samples);
    units.multiply_derivative(kernels(), 0, samples, below.data());
    // With their padding, which has to be zero.
    Array<float> a({samples, units.stride()});
    Array<float> result({samples, units.stride()});
    std::copy_n(units.row(0), samples * units.stride(), a.mutable_data());
    std::ranges::copy(below, result.mutable_data());
    return {a, result};
}

}  // namespace

void bind_activation(py::module_& m) {
    py::class_<ActivationRow>(m, "Activation")
        .def_readonly("name", &ActivationRow::name)
        .def_readonly("formula", &ActivationRow::formula)
        .def_readonly("reference", &ActivationRow::reference)
        .def_readonly("needs_z", &ActivationRow::needs_z)
        .def_readonly("is_odd", &ActivationRow::is_odd)
        .def_readonly("keeps_zero", &ActivationRow::keeps_zero)
        .def_readonly("init", &ActivationRow::init);
    m.def(
        "activations",
        [] {
            std::vector<const ActivationRow*> rows;
            for (const ActivationRow& row : activations()) {
                rows.push_back(&row);
            }
            return rows;
        },
        py::return_value_policy::reference);
    m.def("activation_values", &activation_values, py::kw_only(), "activation"_a, "z"_a.noconvert());
    m.def("activate_units", &activate_units, py::kw_only(), "activation"_a, "z"_a.noconvert(),
          "delta"_a.noconvert());
}

}  // namespace omp_mlp
