// The columns of a dense matrix of numbers of any type: what has to be known to scale them, and the matrix in
// scaled units. Everything is in double precision, whatever the type.
#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "base/buffer.hpp"

namespace omp_mlp {

// A matrix that somebody else owns, with any distance between its rows and between its columns.
struct AnyMatrix {
    std::variant<const bool*, const std::int8_t*, const std::uint8_t*, const std::int16_t*,
                 const std::uint16_t*, const std::int32_t*, const std::uint32_t*, const std::int64_t*,
                 const std::uint64_t*, const float*, const double*>
        numbers;
    Index rows;
    Index columns;
    Index row_step;  // in numbers
    Index column_step;
};

// The numbers by which bytes may have been divided; those of 1 are whole numbers.
inline constexpr int byte_divisors[] = {1, 16, 255, 256};

struct ColumnStatistics {
    std::vector<double> mean;
    std::vector<double> smallest;
    std::vector<double> largest;
    std::vector<Index> zeros;
    std::vector<int> divisors;  // those for which every entry is a byte divided by it, in float32
};

// Of finite numbers, at least one row of them. The sums run over pieces of rows that do not depend on the
// workers, so the bits do not either.
ColumnStatistics measure_columns(const AnyMatrix& X, int workers);

// The mean of ((x - center) / unit)^2 of each column.
std::vector<double> mean_squares(const AnyMatrix& X, std::span<const double> center,
                                 std::span<const double> unit, int workers);

// Writes (x - offset) / scale, row by row.
void scale_columns(const AnyMatrix& X, std::span<const double> offset, std::span<const double> scale,
                   int workers, float* scaled);

}  // namespace omp_mlp
