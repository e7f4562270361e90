#include "omp_mlp/merge.hpp"

#include <algorithm>
#include <cassert>
#include <numeric>
#include <stdexcept>
#include <string>

namespace omp_mlp {
namespace {

// Small enough that a slice's sums stay in a core's fastest cache.
constexpr Index slice_floats = 1024;

// Sums over the replicas, an entry for each parameter of a slice. The loops go through one replica after
// the other, so that every load is contiguous, and add up in the order of the replicas.
using Totals = std::array<double, slice_floats>;

template <typename Factor>
void weighted_sum(const MergeInput& input, const Slice& slice, Factor factor, float* merged) {
    Totals totals{};
    const Index size = slice.end - slice.begin;
    for (std::size_t i = 0; i < input.replicas.size(); ++i) {
        const double factor_i = factor(i);
        const float* replica = input.replicas[i] + slice.begin;
        double* total = totals.data();
        for (Index j = 0; j < size; ++j) {
            total[j] += factor_i * static_cast<double>(replica[j]);
        }
    }
    std::transform(totals.data(), totals.data() + size, merged,
                   [](double total) { return static_cast<float>(total); });
}

void average(const MergeInput& input, const Slice& slice, const LayerSums& /*sums*/, float* merged) {
    const double share = 1.0 / static_cast<double>(input.replicas.size());
    weighted_sum(input, slice, [share](std::size_t /*i*/) { return share; }, merged);
}

void sum(const MergeInput& input, const Slice& slice, const LayerSums& /*sums*/, float* merged) {
    weighted_sum(input, slice, [](std::size_t /*i*/) { return 1.0; }, merged);
}

void weighted_average(const MergeInput& input, const Slice& slice, const LayerSums& /*sums*/,
                      float* merged) {
    weighted_sum(input, slice, [&input](std::size_t i) { return input.sample_share[i]; }, merged);
}

// Adds up the updates d_i = w_i - base in totals, and returns sum_i |d_i|^2.
double sum_updates(const MergeInput& input, const Slice& slice, Totals& totals) {
    // Independent partial sums, in a fixed pattern: the compiler may keep them in one register.
    constexpr Index lanes = 8;
    std::array<double, lanes> squares{};
    totals.fill(0.0);
    double* total = totals.data();
    const float* base = input.base + slice.begin;
    const Index size = slice.end - slice.begin;
    for (const float* start : input.replicas) {
        const float* replica = start + slice.begin;
        const auto add = [&](Index j, Index lane) {
            const double update = static_cast<double>(replica[j]) - static_cast<double>(base[j]);
            total[j] += update;
            squares[static_cast<std::size_t>(lane)] += update * update;
        };
        Index j = 0;
        for (; j + lanes <= size; j += lanes) {
            for (Index lane = 0; lane < lanes; ++lane) {
                add(j + lane, lane);
            }
        }
        for (; j < size; ++j) {
            add(j, 0);
        }
    }
    return std::accumulate(squares.begin(), squares.end(), 0.0);
}

// {sum_i |d_i|^2, |sum_i d_i|^2}.
LayerSums update_norms(const MergeInput& input, const Slice& slice) {
    Totals totals;
    const double squares = sum_updates(input, slice, totals);
    const double* begin = totals.data();
    const double* end = begin + (slice.end - slice.begin);
    return {squares, std::inner_product(begin, end, begin, 0.0)};
}

void gradient_diversity(const MergeInput& input, const Slice& slice, const LayerSums& norms,
                        float* merged) {
    const double diversity = norms[1] > 0.0 ? norms[0] / norms[1] : 1.0;
    const double c = std::clamp(diversity, 1.0 / static_cast<double>(input.replicas.size()), 1.0);
    Totals totals;
    sum_updates(input, slice, totals);
    const float* base = input.base + slice.begin;
    for (Index j = 0; j < slice.end - slice.begin; ++j) {
        merged[j] =
            static_cast<float>(static_cast<double>(base[j]) + c * totals[static_cast<std::size_t>(j)]);
    }
}

// ---- The table of methods ---------------------------------------------------------------------------
constexpr MergeMethod methods[] = {
    {.name = "average",
     .summary = "The mean of the replicas' parameters.",
     .formula = "W = (1/n) sum_i w_i",
     .reference = "Ott 2017, Eq. 1; McDonald, Hall & Mann 2010",
     .cadence = Cadence::once,
     .needs_base = false,
     .measure = nullptr,
     .combine = average},
    {.name = "sum",
     .summary = "The sum of the replicas' parameters.",
     .formula = "W = sum_i w_i",
     .reference = "Ott 2017, Eq. 2",
     .cadence = Cadence::once,
     .needs_base = false,
     .measure = nullptr,
     .combine = sum},
    {.name = "weighted_average",
     .summary = "The mean of the replicas' parameters, each weighted by the samples that it saw.",
     .formula = "W = sum_i (m_i / sum_j m_j) w_i, with m_i samples seen by replica i",
     .reference = "McMahan et al. 2017 (FedAvg)",
     .cadence = Cadence::once,
     .needs_base = false,
     .measure = nullptr,
     .combine = weighted_average},
    {.name = "gradient_diversity",
     .summary = "The sum of the replicas' updates, scaled for each layer by how much they differ: "
                "the average of updates that agree, the sum of updates that are orthogonal.",
     .formula = "d_i = w_i - base; c = clip(sum_i |d_i|^2 / |sum_i d_i|^2, 1/n, 1) for each layer; "
                "W = base + c sum_i d_i",
     .reference = "ratio: Yin et al. 2018; relative of Adasum, Maleki et al. 2020",
     .cadence = Cadence::periodic,
     .needs_base = true,
     .measure = update_norms,
     .combine = gradient_diversity},
};
// -----------------------------------------------------------------------------------------------------

}  // namespace

std::span<const MergeMethod> merge_methods() {
    return methods;
}

const MergeMethod& merge_method(std::string_view name) {
    std::string names;
    for (const MergeMethod& method : methods) {
        if (method.name == name) {
            return method;
        }
        names += (names.empty() ? "'" : ", '") + std::string{method.name} + "'";
    }
    throw std::invalid_argument{"merge must be one of " + names + "; got '" + std::string{name} + "'"};
}

Merger::Merger(const MergeMethod& method, std::span<const Index> layer_ends, double outer_momentum)
    : method_{&method}, layers_{layer_ends.size()}, outer_momentum_{static_cast<float>(outer_momentum)} {
    Index begin = 0;
    for (std::size_t layer = 0; layer < layer_ends.size(); ++layer) {
        for (; begin < layer_ends[layer]; begin = slices_.back().end) {
            slices_.push_back({begin, std::min(begin + slice_floats, layer_ends[layer]), layer});
        }
    }
    if (outer_momentum != 0.0) {
        velocity_.resize(static_cast<std::size_t>(begin));
    }
}

void Merger::merge(const MergeInput& input, const ForEach& for_each, float* master) {
    assert(input.base != nullptr || (!method_->needs_base && velocity_.empty()));
    const auto count = static_cast<Index>(slices_.size());
    std::vector<LayerSums> sums(layers_);
    if (method_->measure != nullptr) {
        std::vector<LayerSums> parts(slices_.size());
        for_each(count, [&](Index i) {
            const auto s = static_cast<std::size_t>(i);
            parts[s] = method_->measure(input, slices_[s]);
        });
        for (std::size_t s = 0; s < slices_.size(); ++s) {
            for (std::size_t k = 0; k < parts[s].size(); ++k) {
                sums[slices_[s].layer][k] += parts[s][k];
            }
        }
    }
    for_each(count, [&](Index i) {
        const Slice& slice = slices_[static_cast<std::size_t>(i)];
        if (velocity_.empty()) {
            method_->combine(input, slice, sums[slice.layer], master + slice.begin);
            return;
        }
        // The merged slice goes through scratch memory: `master` may be where the base is.
        std::array<float, slice_floats> merged;
        method_->combine(input, slice, sums[slice.layer], merged.data());
        for (Index j = slice.begin; j < slice.end; ++j) {
            float& velocity = velocity_[static_cast<std::size_t>(j)];
            velocity = outer_momentum_ * velocity +
                       (merged[static_cast<std::size_t>(j - slice.begin)] - input.base[j]);
            master[j] = input.base[j] + velocity;
        }
    });
}

}  // namespace omp_mlp
