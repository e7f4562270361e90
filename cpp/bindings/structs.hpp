// Structs of options in Python: built from all of their fields by name, and read-only.
#pragma once

#include <pybind11/pybind11.h>

#include <utility>

namespace omp_mlp {

template <typename Struct, typename T>
struct Field {
    const char* name;
    T Struct::* member;
};

template <typename Struct, typename T>
Field<Struct, T> field(const char* name, T Struct::* member) {
    return {name, member};
}

struct AnyField {
    template <typename T>
    operator T() const;  // NOLINT(misc-explicit-constructor): it is to convert
};

template <typename Struct, typename... Values>
concept BuiltFrom = requires { Struct{std::declval<Values>()...}; };

// The constructor has no defaults: a field that is not given is an error in Python, and one that is not listed
// here does not compile. Fields are listed in their order.
template <typename Struct, typename... T>
void bind_struct(pybind11::module_& m, const char* name, const Field<Struct, T>&... fields) {
    static_assert(BuiltFrom<Struct, T...> && !BuiltFrom<Struct, T..., AnyField>,
                  "list every field, in order");
    pybind11::class_<Struct> type{m, name};
    type.def(pybind11::init([](T... values) { return Struct{std::move(values)...}; }),
             pybind11::kw_only(), pybind11::arg(fields.name)...);
    (type.def_readonly(fields.name, fields.member), ...);
}

}  // namespace omp_mlp
