#include "bindings/samples.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "bindings/names.hpp"
#include "data/examine.hpp"
#include "kernels/dispatch.hpp"

namespace omp_mlp {

using namespace py::literals;

PySamples PySamples::dense_float32(const Array<float>& X) {
    return {{.kind = Samples::Kind::dense_float32,
             .rows = X.shape(0),
             .columns = X.shape(1),
             .values = X.data()},
            X};
}

PySamples PySamples::dense_uint8(const Array<std::uint8_t>& X, float scale) {
    const auto values = std::make_shared<ByteTable>();
    for (std::size_t byte = 0; byte < values->of.size(); ++byte) {
        values->of[byte] = scale * static_cast<float>(byte);
    }
    return {{.kind = Samples::Kind::dense_uint8,
             .rows = X.shape(0),
             .columns = X.shape(1),
             .bytes = X.data(),
             .scale = scale,
             .byte_value = values->of.data()},
            X,
            values};
}

PySamples PySamples::csr(const Array<std::int64_t>& starts, const Array<std::int32_t>& indices,
                         const Array<float>& values, Index rows, Index columns) {
    // Python has checked that the starts ascend and that the indices are columns.
    if (starts.size() != rows + 1 || indices.size() != values.size() || starts.at(0) != 0 ||
        starts.at(rows) > values.size()) {
        throw py::value_error{"CSR of " + std::to_string(rows) + " rows must have " +
                              std::to_string(rows + 1) + " starts, from 0 to at most " +
                              std::to_string(values.size()) + " values, and as many indices; got " +
                              std::to_string(starts.size()) + " starts and " +
                              std::to_string(indices.size()) + " indices"};
    }
    return {{.kind = Samples::Kind::csr,
             .rows = rows,
             .columns = columns,
             .values = values.data(),
             .starts = starts.data(),
             .indices = indices.data()},
            py::make_tuple(starts, indices, values)};
}

std::optional<double> PySamples::list_density(FirstLayer first_layer) const {
    return without_gil([&] {
        const bool is_dense = choose_reading(first_layer, samples) == Reading::dense;
        return is_dense ? std::nullopt : std::optional{density(samples)};
    });
}

bool PySamples::keep_pixels(int workers, std::optional<float> divisor) {
    const auto find = [&] {
        return divisor ? Pixels::of(kernels(), samples, *divisor, workers)
                       : Pixels::of(kernels(), samples, workers);
    };
    if (auto found = without_gil(find)) {
        pixels = std::make_shared<const Pixels>(std::move(*found));
    }
    return pixels != nullptr;
}

std::vector<float> PySamples::pixel_divisors(Index entries, double density, int workers) const {
    return without_gil([&] {
        std::vector<float> found;
        if (Pixels::is_worth_it(samples, entries, density)) {
            std::ranges::copy_if(Pixels::divisors, std::back_inserter(found), [&](float divisor) {
                return Pixels::fits(kernels(), samples, divisor, workers);
            });
        }
        return found;
    });
}

Samples PySamples::for_replicas(FirstLayer first_layer) const {
    return pixels && first_layer != FirstLayer::dense ? pixels->samples() : samples;
}

py::object PySamples::first_nonfinite(int workers) const {
    const Index place = without_gil([&] { return find_nonfinite(samples, workers); });
    if (place < 0) {
        return py::none();
    }
    if (samples.kind != Samples::Kind::csr) {
        return py::make_tuple(place / samples.columns, place % samples.columns);
    }
    const std::int64_t* after =
        std::upper_bound(samples.starts, samples.starts + samples.rows + 1, place);
    return py::make_tuple(after - samples.starts - 1, samples.indices[place]);
}

namespace {

template <typename T>
const T* pointer(const std::optional<Array<T>>& array, const char* name, Index size) {
    if (!array) {
        return nullptr;
    }
    if (array->size() != size) {
        throw py::value_error{std::string{name} + " must have " + std::to_string(size) +
                              " entries; got " + std::to_string(array->size())};
    }
    return array->data();
}

}  // namespace

Targets PyTargets::view(Index samples, Index outputs) const {
    if (classes.has_value() == values.has_value()) {
        throw py::value_error{"targets must be either classes or values"};
    }
    if (classes && std::any_of(classes->data(), classes->data() + classes->size(),
                               [&](std::int32_t one) { return one < 0 || one >= outputs; })) {
        throw py::value_error{"classes must be from 0 to " + std::to_string(outputs - 1)};
    }
    return {.classes = pointer(classes, "classes", samples),
            .values = pointer(values, "values", samples * outputs),
            .weights = pointer(weights, "weights", samples),
            .loss = loss};
}

void bind_samples(const py::module_& m) {
    py::class_<PySamples>(m, "Samples")
        .def_static("dense_float32", &PySamples::dense_float32, py::kw_only(), "X"_a.noconvert())
        .def_static("dense_uint8", &PySamples::dense_uint8, py::kw_only(), "X"_a.noconvert(), "scale"_a)
        .def_static("csr", &PySamples::csr, py::kw_only(), "starts"_a.noconvert(),
                    "indices"_a.noconvert(), "values"_a.noconvert(), "rows"_a, "columns"_a)
        .def("list_density", &PySamples::list_density, py::kw_only(), "first_layer"_a)
        .def("keep_pixels", &PySamples::keep_pixels, py::kw_only(), "workers"_a,
             "divisor"_a = py::none())
        .def("pixel_divisors", &PySamples::pixel_divisors, py::kw_only(), "entries"_a, "density"_a,
             "workers"_a)
        .def("first_nonfinite", &PySamples::first_nonfinite, py::kw_only(), "workers"_a);
    py::class_<PyTargets>(m, "Targets")
        .def(py::init<std::optional<Array<std::int32_t>>, std::optional<Array<float>>,
                      std::optional<Array<float>>, LossOptions>(),
             py::kw_only(), "classes"_a.noconvert(), "values"_a.noconvert(), "weights"_a.noconvert(),
             "loss"_a);
}

}  // namespace omp_mlp
