// Merge methods in Python: the rows of the table, and values of their options.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "bindings/arrays.hpp"
#include "merging/methods.hpp"

namespace omp_mlp {

void bind_merge(py::module_& m);

}  // namespace omp_mlp

namespace pybind11::detail {

// A number or a word.
template <>
class type_caster<omp_mlp::OptionValue> {
public:
    PYBIND11_TYPE_CASTER(omp_mlp::OptionValue, const_name("float | str"));

    bool load(handle source, bool /*convert*/) {
        if (isinstance<str>(source)) {
            value = {source.cast<std::string>(), 0.0};
            return true;
        }
        make_caster<double> number;
        if (!number.load(source, true)) {
            return false;
        }
        value = {"", cast_op<double>(number)};
        return true;
    }

    static handle cast(const omp_mlp::OptionValue& source, return_value_policy /*policy*/,
                       handle /*parent*/) {
        return source.word.empty() ? handle{float_{source.number}.release()}
                                   : handle{str{source.word}.release()};
    }
};

}  // namespace pybind11::detail
