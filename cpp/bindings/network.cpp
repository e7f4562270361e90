#include "bindings/network.hpp"

#include <pybind11/stl.h>

#include <cassert>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

#include "bindings/names.hpp"
#include "kernels/dispatch.hpp"
#include "network/predict.hpp"

namespace omp_mlp {

using namespace py::literals;

PyNetwork::PyNetwork(const std::vector<Index>& layer_sizes, Activation activation, Output output,
                     const std::optional<Array<float>>& packed_parameters)
    : network{Shape{layer_sizes}, activation, output} {
    if (!packed_parameters) {
        return;
    }
    parameters = unpacked(network.shape, *packed_parameters);
}

Parameters unpacked(const Shape& shape, const Array<float>& packed_parameters) {
    const Index size = shape.packed_size();
    if (packed_parameters.size() != size) {
        throw py::value_error{"parameters must have " + std::to_string(size) + " entries; got " +
                              std::to_string(packed_parameters.size())};
    }
    Parameters parameters = Parameters::unset(shape);
    unpack(shape, view(packed_parameters), parameters);
    return parameters;
}

const Parameters& PyNetwork::given() const {
    if (!parameters) {
        throw py::value_error{"the network has no parameters"};
    }
    return *parameters;
}

Array<float> PyNetwork::predict(const PySamples& X, bool raw, int workers,
                                std::optional<Array<float>> out) const {
    if (!out) {
        out.emplace(std::vector<Index>{X.samples.rows, network.shape.outputs()});
    }
    assert(out->ndim() == 2 && out->shape(0) == X.samples.rows &&
           out->shape(1) == network.shape.outputs());
    float* data = out->mutable_data();
    without_gil([&] {
        Heartbeat heartbeat = watch_for_signals();
        omp_mlp::predict(network, given(), X.samples, raw, workers, heartbeat, data);
        if (heartbeat.stopped()) {
            throw std::runtime_error{"the prediction was stopped: the interpreter is shutting down"};
        }
    });
    return *std::move(out);
}

std::pair<double, Array<float>> PyNetwork::gradient(const PySamples& X, const PyTargets& y,
                                                    FirstLayer first_layer) const {
    const Index rows = X.samples.rows;
    const Targets targets = y.view(rows, network.shape.outputs());
    Parameters gradient{network.shape};
    const double loss = without_gil([&] {
        Workspace workspace{network, X.samples, rows, choose_reading(first_layer, X.samples)};
        std::vector<Index> ids(static_cast<std::size_t>(rows));
        std::iota(ids.begin(), ids.end(), Index{0});
        workspace.load(kernels(), ids);
        first_forward(kernels(), network, given(), workspace);
        upper_forward(kernels(), network, given(), workspace);
        const double sum = loss_and_delta(kernels(), network, targets, ids, workspace);
        const float scale = 1.0F / static_cast<float>(rows);
        add_upper_gradient(kernels(), network, given(), scale, workspace, gradient);
        add_first_gradient(kernels(), network, workspace, gradient);
        return sum / static_cast<double>(rows);
    });
    return {loss, packed(network.shape, gradient)};
}

void bind_network(const py::module_& m) {
    py::class_<PyNetwork>(m, "Network")
        .def(py::init<const std::vector<Index>&, Activation, Output,
                      const std::optional<Array<float>>&>(),
             py::kw_only(), "layer_sizes"_a, "activation"_a, "output"_a, "parameters"_a.noconvert())
        .def("predict", &PyNetwork::predict, py::kw_only(), "samples"_a, "raw"_a, "workers"_a,
             "out"_a.noconvert() = py::none())
        .def("gradient", &PyNetwork::gradient, py::kw_only(), "samples"_a, "targets"_a, "first_layer"_a);
}

}  // namespace omp_mlp
