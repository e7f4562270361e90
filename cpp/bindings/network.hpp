// A network in Python, with parameters or without.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/samples.hpp"
#include "network/network.hpp"

namespace omp_mlp {

// Undoes packed(); throws if there are too many or too few.
Parameters unpacked(const Shape& shape, const Array<float>& packed_parameters);

struct PyNetwork {
    Network network;
    std::optional<Parameters> parameters;  // without them, a training draws where it starts

    PyNetwork(const std::vector<Index>& layer_sizes, Activation activation, Output output,
              const std::optional<Array<float>>& packed_parameters);

    // Writes to `out`, n_samples x n_outputs, if there is one, and returns it.
    Array<float> predict(const PySamples& X, bool raw, int workers,
                         std::optional<Array<float>> out) const;

    // The mean loss over all of X as one batch, and its gradient.
    std::pair<double, Array<float>> gradient(const PySamples& X, const PyTargets& y,
                                             FirstLayer first_layer) const;

private:
    const Parameters& given() const;
};

void bind_network(const py::module_& m);

}  // namespace omp_mlp
