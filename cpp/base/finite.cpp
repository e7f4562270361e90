#include "base/finite.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace omp_mlp {

bool all_finite(std::span<const float> values) {
    // x * 0 is 0 unless x is infinite or NaN, and sums of such terms are quick.
    constexpr std::size_t lanes = 16;
    std::array<float, lanes> sums{};
    std::size_t k = 0;
    for (; k + lanes <= values.size(); k += lanes) {
        for (std::size_t lane = 0; lane < lanes; ++lane) {
            sums[lane] += values[k + lane] * 0.0F;
        }
    }
    return std::accumulate(sums.begin(), sums.end(), 0.0F) == 0.0F &&
           std::ranges::all_of(values.subspan(k), [](float value) { return std::isfinite(value); });
}

}  // namespace omp_mlp
