#include "bindings/state.hpp"

#include <string>
#include <variant>
#include <vector>

namespace omp_mlp {
namespace {

template <typename T>
bool take_array(const py::handle& array, StateArray& taken) {
    if (!Array<T>::check_(array)) {
        return false;
    }
    const auto values = py::reinterpret_borrow<Array<T>>(array);
    taken = std::vector<T>(values.data(), values.data() + values.size());
    return true;
}

}  // namespace

py::dict named_arrays(const TrainingState& state) {
    py::dict arrays;
    for (const auto& [name, array] : state) {
        std::visit(
            [&]<typename T>(const std::vector<T>& values) {
                arrays[name.c_str()] = Array<T>(std::ssize(values), values.data());
            },
            array);
    }
    return arrays;
}

TrainingState state_of(const py::dict& arrays) {
    TrainingState state;
    for (const auto& [name, array] : arrays) {
        StateArray& taken = state[name.cast<std::string>()];
        if (!take_array<float>(array, taken) && !take_array<double>(array, taken) &&
            !take_array<Index>(array, taken)) {
            throw py::value_error{"the state's " + name.cast<std::string>() +
                                  " must be an array of float32, float64 or int64 in C order"};
        }
    }
    return state;
}

}  // namespace omp_mlp
