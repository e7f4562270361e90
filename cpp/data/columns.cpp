#include "data/columns.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <iterator>

#include "base/block.hpp"
#include "base/flush_to_zero.hpp"
#include "threads/team.hpp"

namespace omp_mlp {
namespace {

using Divisors = std::array<bool, std::size(byte_divisors)>;  // whether each fits so far

// Numbers of a piece of rows, added up for each column.
struct Piece {
    std::vector<double> sum;  // of the distances from the first row
    std::vector<double> smallest;
    std::vector<double> largest;
    std::vector<Index> zeros;
    Divisors fits;
};

void read_row(const AnyMatrix& X, Index row, double* out) {
    std::visit(
        [&](const auto* numbers) {
            const auto* x = numbers + row * X.row_step;
            if (X.column_step == 1) {
                std::transform(x, x + X.columns, out,
                               [](auto number) { return static_cast<double>(number); });
                return;
            }
            for (Index k = 0; k < X.columns; ++k) {
                out[k] = static_cast<double>(x[k * X.column_step]);
            }
        },
        X.numbers);
}

// Of the rows of any matrix, for any number of workers.
Index count_pieces(const AnyMatrix& X) {
    return std::min<Index>(X.rows, 32);
}

// Calls visit(part, row, x) for all rows, in count_pieces(X) parts; x is in double.
template <typename Visit>
void for_each_row(const AnyMatrix& X, int workers, const Visit& visit) {
    const Index pieces = count_pieces(X);
    const auto piece = [&](Index part) {
        const KeepSubnormal keep;  // a column of such numbers has a scale, too
        std::vector<double> x(static_cast<std::size_t>(X.columns));
        const Block rows = block(X.rows, pieces, part);
        for (Index row = rows.begin; row < rows.begin + rows.size; ++row) {
            read_row(X, row, x.data());
            visit(part, row, x.data());
        }
    };
    Team::run(static_cast<int>(std::min<Index>(workers, pieces)),
              [&](Team& team) { team.for_each(pieces, piece); });
}

bool are_bytes(const double* x, Index count, double divisor) {
    bool all = true;
    for (Index k = 0; k < count; ++k) {
        const double level = x[k] * divisor;
        const bool is_in_range = level > -0.5 && level < 255.5;
        const auto whole = static_cast<double>(static_cast<int>(is_in_range ? level + 0.5 : 0.0));
        all &= is_in_range && static_cast<float>(whole / divisor) == static_cast<float>(x[k]);
    }
    return all;
}

void add_row(const double* x, const double* first, Index columns, Piece& piece) {
    double* sum = piece.sum.data();
    double* smallest = piece.smallest.data();
    double* largest = piece.largest.data();
    Index* zeros = piece.zeros.data();
    for (Index k = 0; k < columns; ++k) {
        sum[k] += x[k] - first[k];
        smallest[k] = x[k] < smallest[k] ? x[k] : smallest[k];
        largest[k] = x[k] > largest[k] ? x[k] : largest[k];
        zeros[k] += x[k] == 0.0 ? 1 : 0;
    }
    for (std::size_t d = 0; d < piece.fits.size(); ++d) {
        piece.fits[d] = piece.fits[d] && are_bytes(x, columns, byte_divisors[d]);
    }
}

}  // namespace

ColumnStatistics measure_columns(const AnyMatrix& X, int workers) {
    const auto columns = static_cast<std::size_t>(X.columns);
    // Sums of distances from the first row lose no digits to a large mean.
    std::vector<double> first(columns);
    {
        const KeepSubnormal keep;
        read_row(X, 0, first.data());
    }
    Divisors all_fit;
    all_fit.fill(true);
    std::vector<Piece> pieces(static_cast<std::size_t>(count_pieces(X)));
    for_each_row(X, workers, [&](Index part, Index /*row*/, const double* x) {
        Piece& piece = pieces[static_cast<std::size_t>(part)];
        if (piece.sum.empty()) {
            piece = {std::vector<double>(columns), first, first, std::vector<Index>(columns), all_fit};
        }
        add_row(x, first.data(), X.columns, piece);
    });
    ColumnStatistics found{std::vector<double>(columns), first, first, std::vector<Index>(columns), {}};
    for (const Piece& piece : pieces) {
        std::ranges::transform(found.mean, piece.sum, found.mean.begin(), std::plus{});
        std::ranges::transform(found.smallest, piece.smallest, found.smallest.begin(), std::ranges::min);
        std::ranges::transform(found.largest, piece.largest, found.largest.begin(), std::ranges::max);
        std::ranges::transform(found.zeros, piece.zeros, found.zeros.begin(), std::plus{});
        std::ranges::transform(all_fit, piece.fits, all_fit.begin(), std::logical_and{});
    }
    std::ranges::transform(found.mean, first, found.mean.begin(), [&](double sum, double start) {
        return start + sum / static_cast<double>(X.rows);
    });
    for (std::size_t d = 0; d < all_fit.size(); ++d) {
        if (all_fit[d]) {
            found.divisors.push_back(byte_divisors[d]);
        }
    }
    return found;
}

std::vector<double> mean_squares(const AnyMatrix& X, std::span<const double> center,
                                 std::span<const double> unit, int workers) {
    const auto columns = static_cast<std::size_t>(X.columns);
    std::vector<std::vector<double>> sums(static_cast<std::size_t>(count_pieces(X)));
    for_each_row(X, workers, [&](Index part, Index /*row*/, const double* x) {
        std::vector<double>& sum = sums[static_cast<std::size_t>(part)];
        sum.resize(columns);
        for (std::size_t k = 0; k < columns; ++k) {
            const double distance = (x[k] - center[k]) / unit[k];
            sum[k] += distance * distance;
        }
    });
    std::vector<double> total(columns);
    for (const std::vector<double>& sum : sums) {
        std::ranges::transform(total, sum, total.begin(), std::plus{});
    }
    for (double& sum : total) {
        sum /= static_cast<double>(X.rows);
    }
    return total;
}

void scale_columns(const AnyMatrix& X, std::span<const double> offset, std::span<const double> scale,
                   int workers, float* scaled) {
    for_each_row(X, workers, [&](Index /*part*/, Index row, const double* x) {
        float* out = scaled + row * X.columns;
        for (std::size_t k = 0; k < scale.size(); ++k) {
            out[k] = static_cast<float>((x[k] - offset[k]) / scale[k]);
        }
    });
}

}  // namespace omp_mlp
