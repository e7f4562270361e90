#include "training/travelling_merge.hpp"

#include <algorithm>
#include <numeric>
#include <optional>

#include "base/communicator.hpp"

namespace omp_mlp {

bool has_finite(std::span<const ReplicaResult> results) {
    return std::ranges::find(results, true, &ReplicaResult::is_finite) != results.end();
}

double finite_samples(std::span<const ReplicaResult> results) {
    double samples = 0.0;
    for (const ReplicaResult& result : results) {
        samples += result.is_finite ? static_cast<double>(result.trained.samples) : 0.0;
    }
    return samples;
}

std::vector<double> shares_of(std::span<const double> samples) {
    const double total = std::accumulate(samples.begin(), samples.end(), 0.0);
    std::vector<double> shares;
    shares.reserve(samples.size());
    for (const double one : samples) {
        shares.push_back(total > 0.0 ? one / total : 1.0 / static_cast<double>(samples.size()));
    }
    return shares;
}

bool TravellingMerge::goes_on() const {
    return has_finite(results) &&
           (skips_nonfinite ||
            std::ranges::find(results, false, &ReplicaResult::is_finite) == results.end());
}

void TravellingMerge::send() {
    ranks.share(std::span{results});
    if (!goes_on()) {
        return;
    }
    std::vector<double> samples;
    std::optional<std::size_t> own;
    for (Index rank = 0; rank < ranks.communicator->size(); ++rank) {
        const auto of_rank =
            std::span{results}.subspan(static_cast<std::size_t>(rank * ranks.replicas_a_rank),
                                       static_cast<std::size_t>(ranks.replicas_a_rank));
        if (!has_finite(of_rank)) {
            continue;
        }
        if (rank == ranks.communicator->rank()) {
            own = samples.size();
        }
        samples.push_back(finite_samples(of_rank));
    }
    first = own.value_or(samples.size());
    share = shares_of(samples);
    mergers->send(input(nullptr), is_last);
}

}  // namespace omp_mlp
