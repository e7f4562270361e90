#include "merging/merger.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <functional>
#include <numeric>
#include <utility>

namespace omp_mlp {
Merger::Merger(const MergeMethod& method, std::vector<OptionValue> options,
               std::span<const Index> layer_ends, const OuterStep& outer, Index replicas)
    : method_{&method}, options_{std::move(options)}, layers_{layer_ends.size()}, outer_{outer} {
    assert(options_.size() == method.options.size());
    // A merge waits for the worker with the most slices. Of some hundred slices, each of 64 workers
    // would have one or two. Fewer workers share long slices well, and long slices are read faster. One
    // worker adds up over the slices what a method measures for each pair of replicas.
    const bool measures_pairs = method.measure != nullptr && !method.measure->adds_updates;
    const Index size = replicas >= 64 && !measures_pairs ? slice_floats / 4 : slice_floats;
    slices_ = slices_of(layer_ends, size);
    const auto parameters = static_cast<std::size_t>(layer_ends.back());
    if (outer.momentum != 0.0) {
        velocity_.resize(parameters);
    }
    if (method.measure != nullptr && method.measure->adds_updates) {
        updates_.resize(parameters);
    }
}

void Merger::merge(const MergeInput& input, double momentum_factor, const ForEach& for_each,
                   float* master) {
    assert(input.base != nullptr || (!method_->needs_base && outer_.takes_merged_as_it_is()));
    if (takes_the_only_one(input)) {
        for_each(static_cast<Index>(slices_.size()), [&](Index i) {
            const Slice& slice = slices_[static_cast<std::size_t>(i)];
            copy_replica(rows_of(input, slice), master + slice.begin);
        });
        return;
    }
    if (method_->measure != nullptr) {
        measure(input, for_each);
    }
    if (method_->weigh != nullptr) {
        weigh(input);
    }
    for_each(static_cast<Index>(slices_.size()), [&](Index i) {
        merge_slice(input, slices_[static_cast<std::size_t>(i)], momentum_factor, master);
    });
}

// What compares networks makes of a single one that network. What weighs them may make more or less of it.
bool Merger::takes_the_only_one(const MergeInput& input) {
    if (input.replicas.size() != 1 || !outer_.takes_merged_as_it_is()) {
        return false;
    }
    if (method_->measure != nullptr || method_->weigh == nullptr) {
        return true;
    }
    weigh(input);
    return std::ranges::all_of(weights_, [](double weight) { return weight == 1.0; });
}

void Merger::measure(const MergeInput& input, const ForEach& for_each) {
    const Measure& measure = *method_->measure;
    const Index count = measure.count(static_cast<Index>(input.replicas.size()));
    parts_.resize(slices_.size() * static_cast<std::size_t>(count));
    for_each(static_cast<Index>(slices_.size()), [&](Index i) {
        const Slice& slice = slices_[static_cast<std::size_t>(i)];
        double* updates = updates_.empty() ? nullptr : updates_.data() + slice.begin;
        measure.slice(input, rows_of(input, slice), updates, parts_.data() + i * count);
    });
}

// Adds up the measurements, slice after slice, and lets the method weigh each layer.
void Merger::weigh(const MergeInput& input) {
    const std::size_t n = input.replicas.size();
    const std::size_t count = parts_.size() / slices_.size();
    weights_.resize(layers_ * n);
    std::vector<double> sums(count);
    for (std::size_t s = 0; s < slices_.size(); ++s) {
        const double* part = parts_.data() + s * count;
        std::transform(part, part + count, sums.begin(), sums.begin(), std::plus{});
        const std::size_t layer = slices_[s].layer;
        if (s + 1 == slices_.size() || slices_[s + 1].layer != layer) {
            method_->weigh(input, options_, sums, std::span{weights_}.subspan(layer * n, n));
            std::ranges::fill(sums, 0.0);
        }
    }
}

void Merger::merge_slice(const MergeInput& input, const Slice& slice, double momentum_factor,
                         float* master) {
    const MergeLoops& loops = merge_loops();
    const Index size = slice.end - slice.begin;
    alignas(cache_line_bytes) std::array<double, slice_floats> merged;
    if (updates_.empty()) {
        combine(input, slice, merged.data());
        if (outer_.takes_merged_as_it_is()) {
            loops.round_to_float(merged.data(), size, master + slice.begin);
            return;
        }
        loops.subtract(input.base + slice.begin, size, merged.data());
    }
    const double* updates = updates_.empty() ? merged.data() : updates_.data() + slice.begin;
    const double weight = updates_.empty() ? 1.0 : weights_[slice.layer * input.replicas.size()];
    const StepFactors factors{.of_updates = weight,
                              .learning_rate = outer_.learning_rate,
                              .momentum = momentum_factor * outer_.momentum,
                              .momentum_ahead = outer_.momentum,
                              .nesterov = outer_.nesterov};
    loops.take_step(factors, updates, input.base + slice.begin, size,
                    velocity_.empty() ? nullptr : velocity_.data() + slice.begin, master + slice.begin);
}

// Writes the merged parameters of a slice, where they are not base + weight updates_.
void Merger::combine(const MergeInput& input, const Slice& slice, double* merged) const {
    const std::size_t n = input.replicas.size();
    const Index size = slice.end - slice.begin;
    const ReplicaRows rows = rows_of(input, slice);
    if (method_->combine != nullptr) {
        method_->combine(rows, merged);
        return;
    }
    const auto weights = std::span{weights_}.subspan(slice.layer * n, n);
    if (!method_->needs_base) {
        std::fill_n(merged, size, 0.0);
    } else {
        const float* W = input.base + slice.begin;
        const double rest = 1.0 - std::accumulate(weights.begin(), weights.end(), 0.0);
        std::transform(W, W + size, merged, [rest](float w) { return rest * static_cast<double>(w); });
    }
    merge_loops().add_weighted(rows, weights.data(), merged);
}

}  // namespace omp_mlp
