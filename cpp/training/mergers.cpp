#include "training/mergers.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "training/ranks.hpp"

namespace omp_mlp {
namespace {

std::vector<Index> layer_ends(const Shape& shape) {
    std::vector<Index> ends;
    for (const LayerShape& layer : shape.layers()) {
        ends.push_back(layer.end());
    }
    return ends;
}

constexpr Sending whole{.as = SentAs::float32, .count = 0};

// What the ranks send of their updates.
Sending sending_of(const Task& task, const Ranks* ranks) {
    if (ranks == nullptr) {
        return whole;
    }
    const Index parameters = task.network.shape.packed_size();
    const double count = std::ceil(ranks->sent_share * static_cast<double>(parameters));
    return {.as = ranks->sent_as, .count = std::clamp(static_cast<Index>(count), Index{1}, parameters)};
}

}  // namespace

Mergers::Mergers(const Task& task, const Ranks* ranks, const OuterStep& outer)
    : usual_{make(task, ranks, *task.options.merge.method, task.options.merge.method_options, outer,
                  sending_of(task, ranks))} {
    if (task.options.merge.last_method != nullptr) {
        // One merge has no next one to make good what it rounds.
        last_.emplace(make(task, ranks, *task.options.merge.last_method, {}, no_outer_step, whole));
    }
}

void Mergers::merge(const MergeInput& input, bool is_last, double momentum_factor, Team& team,
                    Parameters& master) {
    std::visit(
        [&](auto& merger) {
            merger.merge(input, momentum_factor, in_parallel(team), master.flat().data());
        },
        one(is_last));
}

void Mergers::begin(const MergeInput& input, bool is_last, Team& team) {
    by_sums(is_last).begin(input, in_parallel(team));
}

void Mergers::send(const MergeInput& input, bool is_last) {
    by_sums(is_last).send(input);
}

void Mergers::finish(const MergeInput& input, bool is_last, double momentum_factor, Team& team,
                     Parameters& master) {
    by_sums(is_last).finish(input, momentum_factor, in_parallel(team), master.flat().data());
}

std::span<float> Mergers::velocity() {
    return std::visit([](auto& merger) { return merger.velocity(); }, usual_);
}

std::span<float> Mergers::left() {
    auto* merger = std::get_if<SumMerger>(&usual_);
    return merger != nullptr ? merger->left() : std::span<float>{};
}

Mergers::AnyMerger Mergers::make(const Task& task, const Ranks* ranks, const MergeMethod& method,
                                 const std::vector<OptionValue>& options, const OuterStep& outer,
                                 const Sending& sending) {
    const std::vector<Index> ends = layer_ends(task.network.shape);
    if (ranks != nullptr && !ranks->gathers) {
        return AnyMerger{std::in_place_type<SumMerger>, method, options, ends, outer,
                         *ranks->communicator,          sending};
    }
    return AnyMerger{std::in_place_type<Merger>,
                     method,
                     options,
                     ends,
                     outer,
                     ranks != nullptr ? ranks->replicas() : task.options.threads};
}

}  // namespace omp_mlp
