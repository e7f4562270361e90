#include "data/examine.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "base/finite.hpp"
#include "threads/team.hpp"

namespace omp_mlp {

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
            const std::span part{X.values + begin, X.values + std::min(begin + part_size, end)};
            if (!all_finite(part)) {
                const auto first =
                    std::ranges::find_if(part, [](float value) { return !std::isfinite(value); });
                found[static_cast<std::size_t>(piece)] = begin + (first - part.begin());
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
