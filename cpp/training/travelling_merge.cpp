#include "training/travelling_merge.hpp"

#include <algorithm>
#include <numeric>

#include "base/communicator.hpp"

namespace omp_mlp {

bool has_finite(std::span<const ReplicaResult> results) {
    return std::ranges::find(results, true, &ReplicaResult::is_finite) != results.end();
}

FiniteRanks finite_ranks(const Ranks& ranks, std::span<const ReplicaResult> results) {
    FiniteRanks found;
    for (Index rank = 0; rank < ranks.communicator->size(); ++rank) {
        const auto of_rank = results.subspan(static_cast<std::size_t>(rank * ranks.replicas_a_rank),
                                             static_cast<std::size_t>(ranks.replicas_a_rank));
        if (!has_finite(of_rank)) {
            continue;
        }
        double samples = 0.0;
        for (const ReplicaResult& result : of_rank) {
            samples += result.is_finite ? static_cast<double>(result.trained.samples) : 0.0;
        }
        found.ranks.push_back(rank);
        found.samples.push_back(samples);
    }
    return found;
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
    const FiniteRanks found = finite_ranks(ranks, results);
    const auto own = std::ranges::find(found.ranks, ranks.communicator->rank());
    first = static_cast<std::size_t>(own - found.ranks.begin());
    share = shares_of(found.samples);
    mergers->send(input(nullptr), is_last);
}

}  // namespace omp_mlp
