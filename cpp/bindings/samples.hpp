// X and y in Python: the core's samples and targets with the arrays that they point into.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "bindings/arrays.hpp"
#include "data/pixels.hpp"
#include "data/samples.hpp"
#include "network/network.hpp"

namespace omp_mlp {

struct PySamples {
    Samples samples;
    py::object owner;
    std::shared_ptr<const ByteTable> byte_values = nullptr;
    std::shared_ptr<const Pixels> pixels = nullptr;

    static PySamples dense_float32(const Array<float>& X);
    static PySamples dense_uint8(const Array<std::uint8_t>& X, float scale);
    static PySamples csr(const Array<std::int64_t>& starts, const Array<std::int32_t>& indices,
                         const Array<float>& values, Index rows, Index columns);

    // The share of nonzeros, if the first layer reads X sparse, or None if it reads X dense.
    std::optional<double> list_density(FirstLayer first_layer) const;

    // Keeps X as bytes for training as well, if that is possible; X is finite then. With a divisor, also
    // where it is not worth it.
    bool keep_pixels(int workers, std::optional<float> divisor);

    // The divisors by which X may be kept as bytes, in the order of preference, if it is worth it for all
    // rows, of which X is a part. X without rows may be kept by all.
    std::vector<float> pixel_divisors(Index entries, double density, int workers) const;

    // The samples that replicas train on if they read the inputs of the first layer in this way.
    Samples for_replicas(FirstLayer first_layer) const;

    // The first place where X is not finite, as (row, column), or None.
    py::object first_nonfinite(int workers) const;
};

// y, either as classes or as values, the weights of the samples, and the loss.
struct PyTargets {
    std::optional<Array<std::int32_t>> classes;
    std::optional<Array<float>> values;
    std::optional<Array<float>> weights;
    LossOptions loss;

    // For so many samples and outputs; throws if an array is of another size.
    Targets view(Index samples, Index outputs) const;
};

void bind_samples(const py::module_& m);

}  // namespace omp_mlp
