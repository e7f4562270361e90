#include "training/optimizer_slots.hpp"

#include <algorithm>
#include <cstddef>
#include <string>

namespace omp_mlp {
namespace {

void copy(SlotCopy way, float* own, float* whole, Index count) {
    if (way == SlotCopy::to_slots) {
        std::copy_n(own, count, whole);
    } else {
        std::copy_n(whole, count, own);
    }
}

}  // namespace

OptimizerSlots::OptimizerSlots(const Shape& shape, const OptimizerOptions& options)
    : slots(static_cast<std::size_t>(options.method->state), Parameters{shape}) {
    if (options.gain_rate > 0.0) {
        gains.resize(static_cast<std::size_t>((options.method->state + 1) * shape.features()));
    }
}

float* copy_run(SlotCopy way, const SlotRange& range, OptimizerSlots& whole, float* values) {
    for (Parameters& slot : whole.slots) {
        copy(way, values, slot.flat().data() + range.begin, range.size);
        values += range.size;
    }
    const auto parts = static_cast<Index>(whole.slots.size()) + 1;
    const Index all_rows = std::ssize(whole.gains) / parts;
    for (Index part = 0; part < parts && range.rows > 0; ++part) {
        copy(way, values, whole.gains.data() + part * all_rows + range.first_row, range.rows);
        values += range.rows;
    }
    return values;
}

void copy_steps(SlotCopy way, OptimizerSlots& whole, OptimizerState& state) {
    if (way == SlotCopy::to_slots) {
        whole.steps = state.steps;
    } else {
        state.steps = whole.steps;
    }
}

void copy_all_runs(SlotCopy way, const Shape& shape, OptimizerSlots& whole, OptimizerState& state) {
    float* values = state.values.data();
    for (const LayerShape& layer : shape.layers()) {
        const Index weights = layer.fan_in * layer.stride;
        const bool has_gains = layer.begin == 0 && !whole.gains.empty();
        values = copy_run(way, {layer.begin, weights, 0, has_gains ? layer.fan_in : 0}, whole, values);
        values = copy_run(way, {layer.begin + weights, layer.stride}, whole, values);
    }
    copy_steps(way, whole, state);
}

void exchange(StateExchange& exchange, const Shape& shape, std::span<OptimizerSlots> networks) {
    std::vector<Index> steps;
    std::vector<Parameters*> slots;
    std::vector<float> gains;
    for (OptimizerSlots& network : networks) {
        steps.push_back(network.steps);
        for (Parameters& slot : network.slots) {
            slots.push_back(&slot);
        }
        gains.insert(gains.end(), network.gains.begin(), network.gains.end());
    }
    exchange("optimizer.steps", steps);
    if (steps.size() != networks.size() ||
        std::ranges::any_of(steps, [](Index n) { return n < 0 || n > StateExchange::most_count; })) {
        refuse_state("optimizer.steps", "must have a number of steps for each of " +
                                            std::to_string(networks.size()) + " network(s)");
    }
    exchange("optimizer.slots", shape, slots);
    exchange("optimizer.gains", std::span{gains});
    auto gain = gains.begin();
    for (std::size_t i = 0; i < networks.size(); ++i) {
        networks[i].steps = steps[i];
        std::copy_n(gain, networks[i].gains.size(), networks[i].gains.begin());
        gain += std::ssize(networks[i].gains);
    }
}

}  // namespace omp_mlp
