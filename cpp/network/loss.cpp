#include "network/loss.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>

namespace omp_mlp {
namespace {

// The loss of one output o (or z) with target t; fills the derivative.
using OutputLoss = double (*)(const LossOptions& options, float o, float t, float& delta);

double squared_error(const LossOptions& /*options*/, float o, float t, float& delta) {
    delta = o - t;
    return 0.5 * static_cast<double>(delta) * static_cast<double>(delta);
}

double huber(const LossOptions& options, float o, float t, float& delta) {
    const auto error = static_cast<double>(o - t);
    const double bound = options.huber_delta;
    if (std::abs(error) > bound) {
        delta = static_cast<float>(std::copysign(bound, error));
        return bound * (std::abs(error) - 0.5 * bound);
    }
    delta = o - t;
    return 0.5 * error * error;
}

double absolute(const LossOptions& /*options*/, float o, float t, float& delta) {
    const float error = o - t;
    delta = static_cast<float>(error > 0.0F) - static_cast<float>(error < 0.0F);
    return std::abs(static_cast<double>(error));
}

double quantile(const LossOptions& options, float o, float t, float& delta) {
    const auto error = static_cast<double>(o - t);
    const double slope = error > 0.0 ? 1.0 - options.quantile : error < 0.0 ? -options.quantile : 0.0;
    delta = static_cast<float>(slope);
    return slope * error;
}

double poisson(const LossOptions& /*options*/, float z, float t, float& delta) {
    const double rate = std::exp(static_cast<double>(z));
    delta = static_cast<float>(rate - static_cast<double>(t));
    return rate - static_cast<double>(t) * static_cast<double>(z);
}

double binary_cross_entropy(const LossOptions& /*options*/, float z, float t, float& delta) {
    const auto x = static_cast<double>(z);
    const double tail = std::exp(-std::abs(x));  // in (0, 1]: nothing overflows
    const double p = (x < 0.0 ? tail : 1.0) / (1.0 + tail);
    delta = static_cast<float>(p - static_cast<double>(t));
    return std::max(x, 0.0) - static_cast<double>(t) * x + std::log1p(tail);
}

template <OutputLoss of_output>
double sum_over_outputs(const Kernels& /*kernels*/, const LossOptions& options, const float* row,
                        const SampleTarget& target, Index n, float* delta) {
    double sum = 0.0;
    for (Index k = 0; k < n; ++k) {
        sum += of_output(options, row[k], target[k], delta[k]);
    }
    return sum;
}

// From z, so that a p of 0 does no harm. With smoothing s, the target is (1 - s) one-hot + s / n.
double cross_entropy(const Kernels& kernels, const LossOptions& options, const float* z,
                     const SampleTarget& target, Index n, float* delta) {
    const double log_sum = kernels.softmax(z, n, delta);
    if (options.label_smoothing == 0.0) {
        delta[target.correct] -= 1.0F;
        return log_sum - static_cast<double>(z[target.correct]);
    }
    const double other = options.label_smoothing / static_cast<double>(n);
    const double correct = 1.0 - options.label_smoothing;
    double mean_of_z = correct * static_cast<double>(z[target.correct]);
    for (Index k = 0; k < n; ++k) {
        delta[k] -= static_cast<float>(other);
        mean_of_z += other * static_cast<double>(z[k]);
    }
    delta[target.correct] -= static_cast<float>(correct);
    return log_sum - mean_of_z;
}

constexpr std::array softmax_only{Output::softmax};
constexpr std::array identity_or_logistic{Output::identity, Output::logistic};
constexpr std::array identity_only{Output::identity};
constexpr std::array exponential_only{Output::exponential};
constexpr std::array logistic_only{Output::logistic};

constexpr std::array table{
    Loss{.name = "cross_entropy",
         .formula = "-sum_k q_k log p_k, q = (1 - label_smoothing) one-hot + label_smoothing / K",
         .reference = "Bridle 1990; smoothing: Szegedy et al. 2016",
         .outputs = softmax_only,
         .reads_outputs = false,
         .of_sample = cross_entropy},
    Loss{.name = "squared_error",
         .formula = "1/2 sum_k (o_k - t_k)^2",
         .reference = "Rumelhart, Hinton & Williams 1986",
         .outputs = identity_or_logistic,
         .reads_outputs = true,
         .of_sample = sum_over_outputs<squared_error>},
    Loss{.name = "huber",
         .formula = "sum_k of e^2 / 2 for |e| <= huber_delta, else huber_delta (|e| - huber_delta / 2), "
                    "e = o_k - t_k",
         .reference = "Huber 1964",
         .outputs = identity_only,
         .reads_outputs = true,
         .of_sample = sum_over_outputs<huber>},
    Loss{.name = "absolute",
         .formula = "sum_k |o_k - t_k|",
         .reference = "Boscovich 1757",
         .outputs = identity_only,
         .reads_outputs = true,
         .of_sample = sum_over_outputs<absolute>},
    Loss{.name = "quantile",
         .formula = "sum_k of quantile (t_k - o_k) for o_k < t_k, else (1 - quantile) (o_k - t_k)",
         .reference = "Koenker & Bassett 1978",
         .outputs = identity_only,
         .reads_outputs = true,
         .of_sample = sum_over_outputs<quantile>},
    Loss{.name = "poisson",
         .formula = "sum_k exp(z_k) - t_k z_k",
         .reference = "Nelder & Wedderburn 1972",
         .outputs = exponential_only,
         .reads_outputs = false,
         .of_sample = sum_over_outputs<poisson>},
    Loss{.name = "binary_cross_entropy",
         .formula = "-sum_k t_k log p_k + (1 - t_k) log(1 - p_k)",
         .reference = "Baum & Wilczek 1987",
         .outputs = logistic_only,
         .reads_outputs = false,
         .of_sample = sum_over_outputs<binary_cross_entropy>},
};

}  // namespace

std::span<const Loss> losses() {
    return table;
}

const Loss& loss_of(std::string_view name) {
    std::string names;
    for (const Loss& known : table) {
        if (name == known.name) {
            return known;
        }
        names += names.empty() ? "'" : ", '";
        names += std::string{known.name} + "'";
    }
    throw std::invalid_argument{"loss must be one of " + names + "; got '" + std::string{name} + "'"};
}

void apply_output(const Kernels& kernels, const Network& network, Index samples, float* z) {
    const LayerShape& layer = network.shape.layers().back();
    if (network.output == Output::logistic) {
        kernels.activate(Activation::logistic, z, samples * layer.stride);
    } else if (network.output == Output::softmax) {
        for (Index s = 0; s < samples; ++s) {
            kernels.softmax(z + s * layer.stride, layer.fan_out, z + s * layer.stride);
        }
    } else if (network.output == Output::exponential) {
        std::for_each_n(z, samples * layer.stride, [](float& entry) {
            entry = static_cast<float>(std::exp(static_cast<double>(entry)));
        });
    }
}

double loss_and_delta(const Kernels& kernels, const Network& network, const Targets& targets,
                      std::span<const Index> ids, float* z, float* deltas) {
    const LayerShape& layer = network.shape.layers().back();
    const Loss& loss = *targets.loss.loss;
    if (loss.reads_outputs) {
        apply_output(kernels, network, std::ssize(ids), z);
    }
    double total = 0.0;
    for (std::size_t s = 0; s < ids.size(); ++s) {
        const Index id = ids[s];
        const float* row = z + static_cast<Index>(s) * layer.stride;
        float* delta = deltas + static_cast<Index>(s) * layer.stride;
        const SampleTarget target{
            targets.values != nullptr ? targets.values + id * layer.fan_out : nullptr,
            targets.classes != nullptr ? targets.classes[id] : -1};
        double of_sample = loss.of_sample(kernels, targets.loss, row, target, layer.fan_out, delta);
        if (loss.reads_outputs && network.output == Output::logistic) {
            kernels.multiply_derivative(Activation::logistic, row, delta, layer.stride);
        }
        if (targets.weights != nullptr) {
            const float weight = targets.weights[id];
            std::for_each_n(delta, layer.fan_out, [weight](float& d) { d *= weight; });
            of_sample *= static_cast<double>(weight);
        }
        total += of_sample;
    }
    return total;
}

}  // namespace omp_mlp
