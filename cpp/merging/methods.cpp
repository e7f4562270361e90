#include "merging/methods.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace omp_mlp {
namespace {

using Weights = std::span<double>;
using Sums = std::span<const double>;
using Options = std::span<const OptionValue>;

void average(const MergeInput& input, Options /*options*/, Sums /*sums*/, Weights weights) {
    std::ranges::fill(weights, 1.0 / static_cast<double>(input.count()));
}

void sum(const MergeInput& /*input*/, Options /*options*/, Sums /*sums*/, Weights weights) {
    std::ranges::fill(weights, 1.0);
}

void weighted_average(const MergeInput& input, Options /*options*/, Sums /*sums*/, Weights weights) {
    std::ranges::copy(input.sample_share, weights.begin());
}

constexpr std::string_view alpha_words[] = {"1/sqrt(n)", "1/n"};
constexpr MergeOption delta_sum_options[] = {
    {.name = "alpha", .summary = "Factor of the sum of the updates.", .words = alpha_words}};

void delta_sum(const MergeInput& input, Options options, Sums /*sums*/, Weights weights) {
    const auto& [word, number] = options[0];
    const auto n = static_cast<double>(input.count());
    std::ranges::fill(weights, word == "1/n" ? 1.0 / n : word.empty() ? number : 1.0 / std::sqrt(n));
}

// {sum_i |d_i|^2, |sum_i d_i|^2}.
constexpr Measure diversity = {
    .count = [](Index /*replicas*/) { return Index{2}; },
    .slice =
        [](const MergeInput& input, const ReplicaRows& rows, double* updates, double* sums) {
            const UpdateNorms norms = merge_loops().add_updates(rows, input.base, updates);
            // The loop squares in float, which overflows above 1e38 and loses numbers below 1e-38.
            const bool in_range =
                norms.square_of_sum == 0.0 || (norms.squares > 1e-25 && std::isfinite(norms.squares));
            sums[0] = in_range ? norms.squares : square_updates(rows, input.base);
            sums[1] = norms.square_of_sum;
        },
    .adds_updates = true};

void gradient_diversity(const MergeInput& input, Options /*options*/, Sums norms, Weights weights) {
    const double ratio = norms[1] > 0.0 ? norms[0] / norms[1] : 1.0;
    std::ranges::fill(weights, std::clamp(ratio, 1.0 / static_cast<double>(input.count()), 1.0));
}

// The lower triangle of the matrix of all d_i . d_j, row by row.
constexpr Measure gram = {
    .count = [](Index replicas) { return replicas * (replicas + 1) / 2; },
    .slice = [](const MergeInput& input, const ReplicaRows& rows, double* /*updates*/,
                double* sums) { dot_updates(rows, input.base, sums); },
    .adds_updates = false};

// Every node of the tree is a weighted sum of the updates below it. Dot products of such sums follow
// from those of the updates. So one pass over the replicas is enough for the whole tree, and it is
// exact.
void adasum(const MergeInput& input, Options /*options*/, Sums dots, Weights weights) {
    const std::size_t n = input.replicas.size();
    std::ranges::fill(weights, 1.0);
    const auto dot = [&](std::pair<std::size_t, std::size_t> a, std::pair<std::size_t, std::size_t> b) {
        double total = 0.0;
        for (std::size_t i = a.first; i < a.second; ++i) {
            for (std::size_t j = b.first; j < b.second; ++j) {
                const auto [low, high] = std::minmax(i, j);
                total += weights[i] * weights[j] * dots[high * (high + 1) / 2 + low];
            }
        }
        return total;
    };
    for (std::size_t width = 1; width < n; width *= 2) {
        for (std::size_t begin = 0; begin + width < n; begin += 2 * width) {
            const std::pair a{begin, begin + width};
            const std::pair b{begin + width, std::min(begin + 2 * width, n)};
            const double a_a = dot(a, a);
            const double b_b = dot(b, b);
            const double a_b = dot(a, b);
            const double factor_a = a_a > 0.0 ? 1.0 - a_b / (2.0 * a_a) : 1.0;
            const double factor_b = b_b > 0.0 ? 1.0 - a_b / (2.0 * b_b) : 1.0;
            for (std::size_t i = a.first; i < b.second; ++i) {
                weights[i] *= i < a.second ? factor_a : factor_b;
            }
        }
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
     .may_skip = true,
     .options = {},
     .measure = nullptr,
     .weigh = average,
     .combine = nullptr},
    {.name = "sum",
     .summary = "The sum of the replicas' parameters.",
     .formula = "W = sum_i w_i",
     .reference = "Ott 2017, Eq. 2",
     .cadence = Cadence::once,
     .needs_base = false,
     .may_skip = false,
     .options = {},
     .measure = nullptr,
     .weigh = sum,
     .combine = nullptr},
    {.name = "weighted_average",
     .summary = "The mean of the replicas' parameters, each weighted by the samples that it saw.",
     .formula = "W = sum_i (m_i / sum_j m_j) w_i, with m_i samples seen by replica i",
     .reference = "McMahan et al. 2017 (FedAvg)",
     .cadence = Cadence::once,
     .needs_base = false,
     .may_skip = true,
     .options = {},
     .measure = nullptr,
     .weigh = weighted_average,
     .combine = nullptr},
    {.name = "median",
     .summary = "The median of each parameter over the replicas: a few that went astray do not move it.",
     .formula = "W = median_i w_i, each parameter for itself",
     .reference = "Yin et al. 2018 (Byzantine-robust distributed learning)",
     .cadence = Cadence::once,
     .needs_base = false,
     .may_skip = true,
     .options = {},
     .measure = nullptr,
     .weigh = nullptr,
     .combine = take_median},
    {.name = "delta_sum",
     .summary = "The sum of the replicas' updates, scaled by one factor for all layers.",
     .formula = "W = base + alpha sum_i (w_i - base)",
     .reference = "alpha = 1/n: Eq. 1 of Ott 2017, alpha = 1: its Eq. 2, of updates; a factor of the "
                  "summed updates: Ilharco et al. 2023 (task arithmetic)",
     .cadence = Cadence::once,
     .needs_base = true,
     .may_skip = true,
     .options = delta_sum_options,
     .measure = nullptr,
     .weigh = delta_sum,
     .combine = nullptr},
    {.name = "gradient_diversity",
     .summary = "The sum of the replicas' updates, scaled for each layer by how much they differ: "
                "the average of updates that agree, the sum of updates that are orthogonal.",
     .formula = "d_i = w_i - base; c = clip(sum_i |d_i|^2 / |sum_i d_i|^2, 1/n, 1) for each layer; "
                "W = base + c sum_i d_i",
     .reference = "ratio: Yin et al. 2018; relative of Adasum, Maleki et al. 2020",
     .cadence = Cadence::periodic,
     .needs_base = true,
     .may_skip = true,
     .options = {},
     .measure = &diversity,
     .weigh = gradient_diversity,
     .combine = nullptr},
    {.name = "adasum",
     .summary =
         "The replicas' updates, added up in pairs, pairs of pairs and so on, for each layer: from "
         "two that are added, half of what they have in common is taken off each.",
     .formula = "d_i = w_i - base; a + b := (1 - a.b / (2 |a|^2)) a + (1 - a.b / (2 |b|^2)) b, over a "
                "binary tree of the d_i for each layer; W = base + its root",
     .reference = "Maleki et al. 2020 (Adasum)",
     .cadence = Cadence::periodic,
     .needs_base = true,
     .may_skip = true,
     .options = {},
     .measure = &gram,
     .weigh = adasum,
     .combine = nullptr},
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

bool merges_by_sums(const MergeMethod& method) {
    return method.weigh != nullptr && (method.measure == nullptr || method.measure->adds_updates);
}

}  // namespace omp_mlp
