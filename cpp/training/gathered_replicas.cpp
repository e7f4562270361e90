#include "training/gathered_replicas.hpp"

#include <algorithm>

namespace omp_mlp {

GatheredReplicas::GatheredReplicas(const Ranks& ranks, Index parameters, Index words, Index stride)
    : ranks_{&ranks},
      parameters_(static_cast<std::size_t>(ranks.replicas() * parameters)),
      touched_(static_cast<std::size_t>(ranks.replicas() * words)),
      shifts_(static_cast<std::size_t>(ranks.replicas() * stride)) {}

void GatheredReplicas::set(Index i, std::span<const float> parameters,
                           const std::optional<Leftovers>& leftovers) {
    std::ranges::copy(parameters, own(parameters_, i).begin());
    if (leftovers) {
        const std::span<std::uint64_t> touched = own(touched_, i);
        std::copy_n(leftovers->touched, touched.size(), touched.begin());
        std::ranges::copy(leftovers->shift, own(shifts_, i).begin());
    }
}

void GatheredReplicas::gather(bool with_leftovers) {
    gather(parameters_);
    if (with_leftovers) {
        gather(touched_);
        gather(shifts_);
    }
}

template <typename Values>
void GatheredReplicas::gather(Values& all) const {
    ranks_->share(std::span{all}, std::ssize(all) / ranks_->replicas());
}

}  // namespace omp_mlp
