#include "bindings/columns.hpp"

#include <pybind11/stl.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bindings/arrays.hpp"
#include "data/columns.hpp"

namespace omp_mlp {

using namespace py::literals;

namespace {

using Doubles = Array<double>;

template <typename... Numbers>
bool point_to(const py::array& X, std::variant<const Numbers*...>& numbers) {
    const auto is_of = [&]<typename Number>(const Number* /*type*/) {
        if (!py::dtype::of<Number>().equal(X.dtype())) {
            return false;
        }
        numbers = static_cast<const Number*>(X.data());
        return true;
    };
    return (is_of(static_cast<const Numbers*>(nullptr)) || ...);
}

// Python has seen to it that the numbers are whole distances apart.
AnyMatrix matrix_of(const py::array& X) {
    AnyMatrix matrix{};
    if (X.ndim() != 2 || X.shape(0) < 1 || !point_to(X, matrix.numbers)) {
        throw py::type_error{"X must be a matrix of numbers with one row at least; got dtype " +
                             py::str(X.dtype()).cast<std::string>()};
    }
    matrix.rows = X.shape(0);
    matrix.columns = X.shape(1);
    matrix.row_step = X.strides(0) / X.itemsize();
    matrix.column_step = X.strides(1) / X.itemsize();
    return matrix;
}

std::span<const double> row_of(const Doubles& row, const AnyMatrix& X) {
    if (row.size() != X.columns) {
        throw py::value_error{"there must be " + std::to_string(X.columns) + " numbers; got " +
                              std::to_string(row.size())};
    }
    return {row.data(), static_cast<std::size_t>(row.size())};
}

Doubles to_python(const std::vector<double>& numbers) {
    return Doubles(static_cast<py::ssize_t>(numbers.size()), numbers.data());
}

py::dict measured(const py::array& X, int workers) {
    const AnyMatrix matrix = matrix_of(X);
    const ColumnStatistics found = without_gil([&] { return measure_columns(matrix, workers); });
    return py::dict("mean"_a = to_python(found.mean), "smallest"_a = to_python(found.smallest),
                    "largest"_a = to_python(found.largest),
                    "zeros"_a = Array<std::int64_t>(static_cast<py::ssize_t>(found.zeros.size()),
                                                    found.zeros.data()),
                    "byte_divisors"_a = found.divisors);
}

Doubles squares(const py::array& X, const Doubles& center, const Doubles& unit, int workers) {
    const AnyMatrix matrix = matrix_of(X);
    const auto centers = row_of(center, matrix);
    const auto units = row_of(unit, matrix);
    return to_python(without_gil([&] { return mean_squares(matrix, centers, units, workers); }));
}

Array<float> scaled(const py::array& X, const Doubles& offset, const Doubles& scale, int workers) {
    const AnyMatrix matrix = matrix_of(X);
    const auto offsets = row_of(offset, matrix);
    const auto scales = row_of(scale, matrix);
    Array<float> result({X.shape(0), X.shape(1)});
    float* out = result.mutable_data();
    without_gil([&] { scale_columns(matrix, offsets, scales, workers, out); });
    return result;
}

}  // namespace

void bind_columns(py::module_& m) {
    m.def("measure_columns", &measured, py::kw_only(), "X"_a.noconvert(), "workers"_a);
    m.def("mean_squares", &squares, py::kw_only(), "X"_a.noconvert(), "center"_a.noconvert(),
          "unit"_a.noconvert(), "workers"_a);
    m.def("scale_columns", &scaled, py::kw_only(), "X"_a.noconvert(), "offset"_a.noconvert(),
          "scale"_a.noconvert(), "workers"_a);
}

}  // namespace omp_mlp
