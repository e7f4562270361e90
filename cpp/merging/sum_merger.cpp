#include "merging/sum_merger.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <functional>
#include <numeric>
#include <utility>

namespace omp_mlp {

SumMerger::SumMerger(const MergeMethod& method, std::vector<OptionValue> options,
                     std::span<const Index> layer_ends, const OuterStep& outer,
                     Communicator& communicator, const Sending& sending)
    : method_{&method},
      options_{std::move(options)},
      slices_{slices_of(layer_ends, slice_floats)},
      layers_{layer_ends.size()},
      outer_{outer},
      communicator_{&communicator},
      sums_{sending, communicator, layer_ends.back()},
      sent_(static_cast<std::size_t>(layer_ends.back())),
      parts_(slices_.size()) {
    assert(merges_by_sums(method));
    if (outer.momentum != 0.0) {
        velocity_.resize(sent_.size());
    }
}

void SumMerger::merge(const MergeInput& input, double momentum_factor, const ForEach& for_each,
                      float* master) {
    assert(input.base != nullptr);
    if (method_->measure != nullptr) {
        measure_updates(input, for_each);
        send_measured();
        weigh_measured(input, for_each);
    } else {
        weigh(input);
        add_weighted_updates(input, for_each);
        send_weighted();
    }
    take_steps(input, momentum_factor, for_each, master);
}

void SumMerger::begin(const MergeInput& input, const ForEach& for_each) {
    assert(input.base != nullptr && input.replicas.size() <= 1);
    if (method_->measure != nullptr) {
        measure_updates(input, for_each);
    } else {
        add_update(input, for_each);
    }
}

void SumMerger::send(const MergeInput& input) {
    if (method_->measure != nullptr) {
        send_measured();
        return;
    }
    weigh(input);
    for (const Slice& slice : slices_) {
        const auto weights = weights_of(slice.layer, input);
        // Without a network of its own, the rank has no update either.
        const double own = input.first < weights.size() ? weights[input.first] : 0.0;
        std::transform(updates_.begin() + slice.begin, updates_.begin() + slice.end,
                       sent_.begin() + slice.begin,
                       [own](double update) { return static_cast<float>(own * update); });
    }
    send_weighted();
}

void SumMerger::finish(const MergeInput& input, double momentum_factor, const ForEach& for_each,
                       float* master) {
    assert(input.base != nullptr);
    if (method_->measure != nullptr) {
        weigh_measured(input, for_each);
    }
    take_steps(input, momentum_factor, for_each, master);
}

// Of a method that measures nothing.
void SumMerger::weigh(const MergeInput& input) {
    weights_.resize(layers_ * input.count());
    for (std::size_t layer = 0; layer < layers_; ++layer) {
        method_->weigh(input, options_, {}, weights_of(layer, input));
    }
}

// The weights do not depend on the updates: what is added up are weighted updates, sum_i k_i d_i.
void SumMerger::add_weighted_updates(const MergeInput& input, const ForEach& for_each) {
    for_each(static_cast<Index>(slices_.size()), [&](Index i) {
        const Slice& slice = slices_[static_cast<std::size_t>(i)];
        const Index size = slice.end - slice.begin;
        const auto own = weights_of(slice.layer, input).subspan(input.first, input.replicas.size());
        const double total = std::accumulate(own.begin(), own.end(), 0.0);
        alignas(cache_line_bytes) std::array<double, slice_floats> updates;
        const float* base = input.base + slice.begin;
        std::transform(base, base + size, updates.begin(),
                       [total](float w) { return -total * static_cast<double>(w); });
        merge_loops().add_weighted(rows_of(input, slice), own.data(), updates.data());
        merge_loops().round_to_float(updates.data(), size, sent_.data() + slice.begin);
    });
}

// The update of this rank's network, whose weight is not known yet.
void SumMerger::add_update(const MergeInput& input, const ForEach& for_each) {
    updates_.resize(sent_.size());
    for_each(static_cast<Index>(slices_.size()), [&](Index i) {
        const Slice& slice = slices_[static_cast<std::size_t>(i)];
        double* updates = updates_.data() + slice.begin;
        const float* base = input.base + slice.begin;
        for (Index k = 0; k < slice.end - slice.begin; ++k) {
            const float moved = input.replicas.empty() ? base[k] : input.replicas[0][slice.begin + k];
            updates[k] = static_cast<double>(moved) - static_cast<double>(base[k]);
        }
    });
}

void SumMerger::send_weighted() {
    sums_.choose(sent_);
    sums_.add_up(sent_);
}

// The weights follow from what is measured of all updates: what is added up are the updates themselves.
void SumMerger::measure_updates(const MergeInput& input, const ForEach& for_each) {
    const Measure& measure = *method_->measure;
    assert(measure.count(static_cast<Index>(input.count())) == 2);
    for_each(static_cast<Index>(slices_.size()), [&](Index i) {
        const Slice& slice = slices_[static_cast<std::size_t>(i)];
        alignas(cache_line_bytes) std::array<double, slice_floats> updates;
        std::array<double, 2> sums{};
        if (input.replicas.empty()) {
            updates.fill(0.0);
        } else {
            measure.slice(input, rows_of(input, slice), updates.data(), sums.data());
        }
        parts_[static_cast<std::size_t>(i)] = sums[0];
        merge_loops().round_to_float(updates.data(), slice.end - slice.begin,
                                     sent_.data() + slice.begin);
    });
    squares_ = sum_of_layers();
}

// Of a rank that does not send all of its updates, as large a share of their squares is measured.
void SumMerger::send_measured() {
    if (sums_.chooses()) {
        sums_.choose(sent_);
        std::ranges::transform(squares_, shares_sent(), squares_.begin(), std::multiplies{});
    }
    communicator_->add_up(std::span<double>{squares_});
    sums_.add_up(sent_);
}

void SumMerger::weigh_measured(const MergeInput& input, const ForEach& for_each) {
    weights_.resize(layers_ * input.count());
    measure_sum(for_each);
    const std::vector<double> squares_of_sum = sum_of_layers();
    for (std::size_t layer = 0; layer < layers_; ++layer) {
        const std::array sums{squares_[layer], squares_of_sum[layer]};
        method_->weigh(input, options_, sums, weights_of(layer, input));
    }
}

void SumMerger::take_steps(const MergeInput& input, double momentum_factor, const ForEach& for_each,
                           float* master) {
    for_each(static_cast<Index>(slices_.size()), [&](Index i) {
        take_step(input, slices_[static_cast<std::size_t>(i)], momentum_factor, master);
    });
}

// |sum_i d_i|^2 of each slice, of all replicas.
void SumMerger::measure_sum(const ForEach& for_each) {
    for_each(static_cast<Index>(slices_.size()), [&](Index i) {
        const Slice& slice = slices_[static_cast<std::size_t>(i)];
        parts_[static_cast<std::size_t>(i)] =
            merge_loops().square(sent_.data() + slice.begin, slice.end - slice.begin);
    });
}

// Of the squares of what this rank had to send, those that it sends: of each layer.
std::vector<double> SumMerger::shares_sent() const {
    std::vector<double> sent(layers_);
    std::vector<double> left(layers_);
    for (const Slice& slice : slices_) {
        const auto end = static_cast<std::size_t>(slice.end);
        for (auto j = static_cast<std::size_t>(slice.begin); j < end; ++j) {
            const auto one = static_cast<double>(sent_[j]);
            const auto other = static_cast<double>(sums_.left()[j]);
            sent[slice.layer] += one * one;
            left[slice.layer] += other * other;
        }
    }
    std::ranges::transform(sent, left, sent.begin(), [](double those, double others) {
        return those > 0.0 ? those / (those + others) : 0.0;
    });
    return sent;
}

// With the sums of all ranks, master = base + (sum_i k_i d_i), or, without a base of the method's own,
// sum_i k_i w_i = base + (sum_i k_i d_i + (sum_i k_i - 1) base). The outer step takes what is in brackets.
void SumMerger::take_step(const MergeInput& input, const Slice& slice, double momentum_factor,
                          float* master) {
    const auto weights = weights_of(slice.layer, input);
    const double rest =
        method_->needs_base ? 0.0 : std::accumulate(weights.begin(), weights.end(), 0.0) - 1.0;
    const StepFactors factors{.of_updates = method_->measure != nullptr ? weights[0] : 1.0,
                              .learning_rate = outer_.learning_rate,
                              .momentum = momentum_factor * outer_.momentum,
                              .momentum_ahead = outer_.momentum,
                              .nesterov = outer_.nesterov};
    merge_loops().take_step_of_sums(
        factors, sent_.data() + slice.begin, rest, input.base + slice.begin, slice.end - slice.begin,
        velocity_.empty() ? nullptr : velocity_.data() + slice.begin, master + slice.begin);
}

// Adds up the parts of each layer, slice after slice.
std::vector<double> SumMerger::sum_of_layers() const {
    std::vector<double> sums(layers_);
    for (std::size_t s = 0; s < slices_.size(); ++s) {
        sums[slices_[s].layer] += parts_[s];
    }
    return sums;
}

std::span<double> SumMerger::weights_of(std::size_t layer, const MergeInput& input) {
    return std::span{weights_}.subspan(layer * input.count(), input.count());
}

}  // namespace omp_mlp
