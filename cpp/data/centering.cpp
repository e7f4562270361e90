#include "data/centering.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <span>

namespace omp_mlp {
namespace {

// Adds the rows [begin, end) of a dense matrix to `sums`. `Partial` holds the sum of `together` rows,
// exactly or nearly so. `Partial` is quicker than double.
template <typename Partial, typename Value>
void add_rows(const Value* x, Index begin, Index end, Index columns, Index together, double* sums) {
    std::vector<Partial> partial(static_cast<std::size_t>(columns));
    while (begin < end) {
        const Index stop = std::min(begin + together, end);
        std::ranges::fill(partial, Partial{});
        for (; begin < stop; ++begin) {
            std::transform(partial.begin(), partial.end(), x + begin * columns, partial.begin(),
                           [](Partial sum, Value value) { return sum + static_cast<Partial>(value); });
        }
        std::transform(partial.begin(), partial.end(), sums, sums,
                       [](Partial sum, double total) { return total + static_cast<double>(sum); });
    }
}

void add_rows(const Samples& X, Index begin, Index end, double* sums) {
    switch (X.kind) {
        case Samples::Kind::dense_float32:
            add_rows<float>(X.values, begin, end, X.columns, 64, sums);
            break;
        case Samples::Kind::dense_uint8:
            add_rows<std::uint32_t>(X.bytes, begin, end, X.columns, Index{1} << 24, sums);
            break;
        case Samples::Kind::csr:
            for (std::int64_t i = X.starts[begin]; i < X.starts[end]; ++i) {
                sums[X.indices[i]] += static_cast<double>(X.values[i]);
            }
            break;
    }
}

template <typename Value>
float dot(const Value* x, const std::vector<float>& mean) {
    // Independent partial sums, in a fixed pattern: the compiler may keep them in registers.
    constexpr std::size_t lanes = 16;
    std::array<float, lanes> sums{};
    std::size_t k = 0;
    for (; k + lanes <= mean.size(); k += lanes) {
        for (std::size_t lane = 0; lane < lanes; ++lane) {
            sums[lane] += static_cast<float>(x[k + lane]) * mean[k + lane];
        }
    }
    for (; k < mean.size(); ++k) {
        sums[0] += static_cast<float>(x[k]) * mean[k];
    }
    return std::accumulate(sums.begin(), sums.end(), 0.0F);
}

float project(const Samples& X, Index row, const std::vector<float>& mean) {
    switch (X.kind) {
        case Samples::Kind::dense_float32:
            return dot(X.values + row * X.columns, mean);
        case Samples::Kind::dense_uint8:
            return X.scale * dot(X.bytes + row * X.columns, mean);
        case Samples::Kind::csr:
            break;
    }
    double sum = 0.0;
    for (std::int64_t i = X.starts[row]; i < X.starts[row + 1]; ++i) {
        sum += static_cast<double>(X.values[i]) *
               static_cast<double>(mean[static_cast<std::size_t>(X.indices[i])]);
    }
    return static_cast<float>(sum);
}

}  // namespace

Centering measure_centering(const Samples& X, const ForEach& for_each, Communicator* communicator) {
    constexpr Index pieces = 16;  // the same for any number of workers
    const auto columns = static_cast<std::size_t>(X.columns);
    const auto begin = [&X](Index piece) { return piece * X.rows / pieces; };
    std::vector<std::vector<double>> sums(pieces);
    for_each(pieces, [&](Index piece) {
        std::vector<double>& own = sums[static_cast<std::size_t>(piece)];
        own.resize(columns);
        add_rows(X, begin(piece), begin(piece + 1), own.data());
    });

    // The sums of the columns, and behind them the number of rows.
    std::vector<double> total(columns + 1);
    for (std::size_t k = 0; k < columns; ++k) {
        for (const std::vector<double>& piece : sums) {
            total[k] += piece[k];
        }
    }
    total.back() = static_cast<double>(X.rows);
    if (communicator != nullptr) {
        communicator->add_up(std::span{total});
    }

    Centering centering;
    const double unit = X.kind == Samples::Kind::dense_uint8 ? static_cast<double>(X.scale) : 1.0;
    double squared_norm = 0.0;
    for (std::size_t k = 0; k < columns; ++k) {
        const double mean = total.back() > 0.0 ? unit * total[k] / total.back() : 0.0;
        centering.mean.push_back(static_cast<float>(mean));
        squared_norm += static_cast<double>(centering.mean[k]) * static_cast<double>(centering.mean[k]);
    }
    centering.squared_norm = static_cast<float>(squared_norm);

    centering.projection.resize(static_cast<std::size_t>(X.rows));
    for_each(pieces, [&](Index piece) {
        for (Index row = begin(piece); row < begin(piece + 1); ++row) {
            centering.projection[static_cast<std::size_t>(row)] = project(X, row, centering.mean);
        }
    });
    return centering;
}

}  // namespace omp_mlp
