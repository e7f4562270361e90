#include "bindings/full_batch.hpp"

#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "bindings/names.hpp"
#include "bindings/network.hpp"
#include "bindings/observer.hpp"
#include "bindings/samples.hpp"
#include "kernels/dispatch.hpp"
#include "training/full_batch.hpp"

namespace omp_mlp {

using namespace py::literals;

namespace {

// Keeps what it reads alive.
class PyFullBatch {
public:
    PyFullBatch(const PyNetwork& network, PySamples X, PyTargets y, FirstLayer first_layer,
                bool center_inputs, int workers)
        : network_{network.network},
          given_{network.parameters},
          X_{std::move(X)},
          y_{std::move(y)},
          samples_{X_.for_replicas(first_layer)},
          targets_{y_.view(samples_.rows, network_.shape.outputs())} {
        without_gil([&] {
            batch_ = std::make_unique<FullBatch>(network_, samples_, targets_, first_layer,
                                                 center_inputs, workers);
        });
    }

    // The parameters of the network; without them, those that a training of one network draws.
    Array<float> start(const Init& init, std::uint64_t seed) const {
        if (given_) {
            return packed(network_.shape, *given_);
        }
        Parameters drawn{network_.shape};
        initialize(kernels(), network_.shape, init, seed, 0, drawn);
        return packed(network_.shape, drawn);
    }

    Array<float> to_centered(const Array<float>& parameters) const {
        Parameters changed = unpacked(parameters);
        batch_->to_centered(changed);
        return packed(network_.shape, changed);
    }

    Array<float> to_raw(const Array<float>& parameters) const {
        Parameters changed = unpacked(parameters);
        batch_->to_raw(changed);
        return packed(network_.shape, changed);
    }

    // None if `during_round`, which is called about every 50 ms, returned true.
    std::optional<std::pair<double, Array<double>>> evaluate(
        const Array<float>& parameters, const std::optional<py::function>& during_round) {
        const Parameters at = unpacked(parameters);
        Array<double> gradient(parameters.size());
        const std::span<double> out{gradient.mutable_data(), static_cast<std::size_t>(gradient.size())};
        Heartbeat heartbeat{watch(during_round)};
        const double loss = without_gil([&] { return batch_->evaluate(at, out, heartbeat); });
        if (heartbeat.stopped()) {
            return std::nullopt;
        }
        return std::pair{loss, gradient};
    }

private:
    Parameters unpacked(const Array<float>& parameters) const {
        return omp_mlp::unpacked(network_.shape, parameters);
    }

    Network network_;
    std::optional<Parameters> given_;
    PySamples X_;
    PyTargets y_;
    Samples samples_;
    Targets targets_;
    std::unique_ptr<FullBatch> batch_;
};

}  // namespace

void bind_full_batch(const py::module_& m) {
    py::class_<PyFullBatch>(m, "FullBatch")
        .def(py::init<const PyNetwork&, PySamples, PyTargets, FirstLayer, bool, int>(), py::kw_only(),
             "network"_a, "samples"_a, "targets"_a, "first_layer"_a, "center_inputs"_a, "workers"_a)
        .def("start", &PyFullBatch::start, py::kw_only(), "init"_a, "seed"_a)
        .def("to_centered", &PyFullBatch::to_centered, py::kw_only(), "parameters"_a.noconvert())
        .def("to_raw", &PyFullBatch::to_raw, py::kw_only(), "parameters"_a.noconvert())
        .def("evaluate", &PyFullBatch::evaluate, py::kw_only(), "parameters"_a.noconvert(),
             "during_round"_a);
}

}  // namespace omp_mlp
