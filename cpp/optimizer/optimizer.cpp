#include "optimizer/optimizer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/flush_to_zero.hpp"
#include "base/table_choice.hpp"

namespace omp_mlp {

// Of flat_step.cpp. The narrow one runs on every machine.
extern const OptimizerTable narrow_optimizers;
#if defined(__x86_64__)
extern const OptimizerTable avx2_optimizers;
extern const OptimizerTable avx512_optimizers;
#endif

namespace {

std::vector<const OptimizerTable*> runnable_tables() {
    std::vector<const OptimizerTable*> found;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) {
        found.push_back(&avx512_optimizers);
    }
    if (__builtin_cpu_supports("avx2")) {
        found.push_back(&avx2_optimizers);
    }
#endif
    found.push_back(&narrow_optimizers);
    return found;
}

TableChoice<OptimizerTable>& choice() {
    static TableChoice<OptimizerTable> of_tables{runnable_tables(), "optimizer table"};
    return of_tables;
}

}  // namespace

std::span<const OptimizerTable* const> available_optimizer_tables() {
    return choice().runnable();
}

void select_optimizer_table(std::string_view name) {
    choice().select(name);
}

std::span<const Optimizer> optimizers() {
    const OptimizerTable& table = choice().selected();
    return {table.rows, static_cast<std::size_t>(table.count)};
}

const Optimizer& optimizer(std::string_view name) {
    std::string names;
    for (const Optimizer& known : optimizers()) {
        if (name == known.name) {
            return known;
        }
        names += (names.empty() ? "'" : ", '") + std::string{known.name} + "'";
    }
    throw std::invalid_argument{"optimizer must be one of " + names + "; got '" + std::string{name} +
                                "'"};
}

double squared_norm(const float* gradient, Index n) {
    return choice().selected().squared_norm(gradient, n);
}

double clipping(const OptimizerOptions& options, double squared_norm) {
    constexpr double tiny = 1e-6;  // PyTorch's
    return clips(options) ? std::min(1.0, options.max_norm / (std::sqrt(squared_norm) + tiny)) : 1.0;
}

void OptimizerState::reset() {
    steps = 0;
    std::ranges::fill(values, 0.0F);
}

void average(std::span<OptimizerState* const> from, std::span<OptimizerState* const> to,
             const ForEach& for_each) {
    constexpr Index slice = 1024;
    Index steps = 0;
    for (const OptimizerState* state : from) {
        steps = std::max(steps, state->steps);
    }
    const Index size = std::ssize(from.front()->values);
    for_each((size + slice - 1) / slice, [&](Index number) {
        const Index begin = number * slice;
        const Index count = std::min(slice, size - begin);
        std::array<double, slice> sums{};
        for (const OptimizerState* state : from) {
            const float* values = state->values.data() + begin;
            std::transform(values, values + count, sums.begin(), sums.begin(), std::plus<double>{});
        }
        const auto parts = static_cast<double>(from.size());
        for (OptimizerState* state : to) {
            std::transform(sums.begin(), sums.begin() + count, state->values.begin() + begin,
                           [parts](double sum) { return static_cast<float>(sum / parts); });
        }
    });
    for (OptimizerState* state : to) {
        state->steps = steps;
    }
}

Stepper::Stepper(const OptimizerOptions& options, std::vector<Run> runs)
    : options_{options}, runs_{std::move(runs)} {
    Index size = 0;
    for (Run& run : runs_) {
        values_begin_.push_back(size);
        run.rows = options.gain_rate > 0.0 ? run.rows : 0;
        size += options.method->state * (run.size + run.rows) + run.rows;
        gain_gradient_.resize(static_cast<std::size_t>(std::max(run.rows, std::ssize(gain_gradient_))));
    }
    state.values.resize(static_cast<std::size_t>(size));
}

namespace {

// A gain is kept as its distance from 1, so that a state of zeros is the start. It is never 0: its row would be lost.
float gain(float distance) {
    constexpr float least = 0x1p-20F;
    const float s = 1.0F + distance;
    return std::abs(s) < least ? std::copysign(least, s) : s;
}

}  // namespace

void Stepper::take_gains_out(const Run& run, const float* gains, float* gradient, float* parameters) {
    const Index width = run.size / run.rows;
    for (Index j = 0; j < run.rows; ++j, gradient += width, parameters += width) {
        const float s = gain(gains[j]);
        const float inverse = 1.0F / s;
        double sum = 0.0;
        for (Index k = 0; k < width; ++k) {
            parameters[k] *= inverse;
            sum += static_cast<double>(parameters[k]) * static_cast<double>(gradient[k]);
            gradient[k] *= s;
        }
        gain_gradient_[static_cast<std::size_t>(j)] = static_cast<float>(sum);
    }
}

void Stepper::begin(double rate) {
    const auto number = static_cast<double>(++state.steps);
    rate_ = rate;
    correction_1_ = 1.0 - std::pow(options_.beta_1, number);
    correction_2_ = 1.0 - std::pow(options_.beta_2, number);
}

Step Stepper::step_of(const Run& run, double scale) const {
    const bool decays = run.fan_in > 0;
    const double factor =
        decays && options_.ntk ? 1.0 / std::sqrt(static_cast<double>(run.fan_in)) : 1.0;
    return {.rate = factor * rate_,
            .correction_1 = correction_1_,
            .correction_2 = correction_2_,
            .scale = factor * scale,
            .l2 = decays ? factor * options_.l2 : 0.0,
            .weight_decay = decays ? options_.weight_decay / factor : 0.0,
            .options = options_};
}

void Stepper::step_part(std::size_t run, Index first, Index count, float* gradient, float* parameters) {
    const FlushToZero flush;
    options_.method->step(parameters, gradient, state.values.data() + values_begin_[run] + first,
                          runs_[run].size, count, step_of(runs_[run], 1.0));
}

void Stepper::step(double rate, double scale, float* gradient, float* parameters) {
    const FlushToZero flush;
    begin(rate);
    for (std::size_t i = 0; i < runs_.size(); ++i) {
        const Run& run = runs_[i];
        float* values = state.values.data() + values_begin_[i];
        float* gains = values + options_.method->state * run.size;
        if (run.rows > 0) {
            take_gains_out(run, gains, gradient, parameters);
        }
        Step step = step_of(run, scale);
        options_.method->step(parameters, gradient, values, run.size, run.size, step);
        if (run.rows > 0) {
            step.rate = options_.gain_rate * rate;
            step.scale = scale;
            step.l2 = step.weight_decay = 0.0;
            options_.method->step(gains, gain_gradient_.data(), gains + run.rows, run.rows, run.rows,
                                  step);
            const Index width = run.size / run.rows;
            for (Index j = 0; j < run.rows; ++j) {
                const float s = gain(gains[j]);
                float* row = parameters + j * width;
                std::transform(row, row + width, row, [s](float w) { return s * w; });
            }
        }
        parameters += run.size;
        gradient += run.size;
    }
}

}  // namespace omp_mlp
