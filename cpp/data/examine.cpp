#include "data/examine.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "threads/team.hpp"

namespace omp_mlp {
namespace {

bool all_finite(const float* values, Index begin, Index end) {
    // x * 0 is 0 unless x is infinite or NaN, and a sum of such terms is quick.
    constexpr Index lanes = 16;
    std::array<float, lanes> sums{};
    Index k = begin;
    for (; k + lanes <= end; k += lanes) {
        for (Index lane = 0; lane < lanes; ++lane) {
            sums[static_cast<std::size_t>(lane)] += values[k + lane] * 0.0F;
        }
    }
    return std::accumulate(sums.begin(), sums.end(), 0.0F) == 0.0F &&
           std::all_of(values + k, values + end, [](float value) { return std::isfinite(value); });
}

}  // namespace

Index find_nonfinite(const Samples& X, int workers) {
    if (X.kind == Samples::Kind::dense_uint8) {
        return -1;
    }
    constexpr Index piece_size = Index{1} << 18;
    const Index count = X.kind == Samples::Kind::csr ? X.starts[X.rows] : X.rows * X.columns;
    const Index pieces = (count + piece_size - 1) / piece_size;
    std::vector<Index> found(static_cast<std::size_t>(pieces), -1);
    const auto look = [&](Index piece) {
        constexpr Index part_size = 4096;
        const Index end = std::min((piece + 1) * piece_size, count);
        for (Index begin = piece * piece_size; begin < end; begin += part_size) {
            const Index part_end = std::min(begin + part_size, end);
            if (!all_finite(X.values, begin, part_end)) {
                found[static_cast<std::size_t>(piece)] =
                    std::find_if(X.values + begin, X.values + part_end,
                                 [](float value) { return !std::isfinite(value); }) -
                    X.values;
                return;
            }
        }
    };
    Team::run(static_cast<int>(std::min<Index>(workers, pieces)),
              [&](Team& team) { team.for_each(pieces, look); });
    const auto first = std::ranges::find_if(found, [](Index place) { return place >= 0; });
    return first != found.end() ? *first : -1;
}

}  // namespace omp_mlp
