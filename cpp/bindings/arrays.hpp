// NumPy arrays and the core's flat buffers; and the one place where the GIL is released.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "bindings/interpreter.hpp"
#include "network/parameters.hpp"

namespace omp_mlp {

namespace py = pybind11;

// Arguments of this type are bound with noconvert(): an array of another type or layout is refused, not copied.
template <typename T>
using Array = pybind11::array_t<T, pybind11::array::c_style>;

inline std::span<const float> view(const Array<float>& array) {
    return {array.data(), static_cast<std::size_t>(array.size())};
}

// The parameters as Python sees them: W_1 row by row, b_1, W_2, b_2, ... without padding.
inline Array<float> packed(const Shape& shape, const Parameters& parameters) {
    Array<float> array(shape.packed_size());
    pack(shape, parameters, {array.mutable_data(), static_cast<std::size_t>(array.size())});
    return array;
}

// The same without a copy: the array owns the memory that the parameters had.
inline Array<float> packed(const Shape& shape, Parameters&& parameters) {
    auto owned = std::make_unique<Parameters>(std::move(parameters));
    float* data = owned->flat().data();
    pack(shape, *owned, owned->flat());
    const py::capsule owner{owned.get(), [](void* memory) {
                                const std::unique_ptr<Parameters> last{static_cast<Parameters*>(memory)};
                            }};
    [[maybe_unused]] const Parameters* const capsules = owned.release();
    return Array<float>(shape.packed_size(), data, owner);
}

// Runs `work` while other Python threads may run. It touches no Python object, and calls back into Python only
// through functions that acquire the GIL themselves (interpreter.hpp).
template <typename Work>
auto without_gil(const Work& work) {
    const CoreCall call;
    const pybind11::gil_scoped_release release;
    const StayIfClosed stay;  // ends first: before the GIL is taken back
    return work();
}

}  // namespace omp_mlp
