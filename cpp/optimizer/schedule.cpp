#include "optimizer/schedule.hpp"

#include <cmath>
#include <numbers>

namespace omp_mlp {
namespace {

// Half a cosine: `from` at x = 0, `to` at x = 1.
double half_cosine(double from, double to, double x) {
    return to + (from - to) * (1.0 + std::cos(std::numbers::pi * x)) / 2.0;
}

double one_cycle(double highest, double x) {
    constexpr double rising = 0.3;
    const double first = highest / 25.0;
    const double last = first / 1e4;
    return x < rising ? half_cosine(first, highest, x / rising)
                      : half_cosine(highest, last, (x - rising) / (1.0 - rising));
}

}  // namespace

double LearningRate::scheduled(Index position, Index length) const {
    const double warmup = warmup_share * static_cast<double>(length);
    if (static_cast<double>(position) < warmup) {
        return start * (static_cast<double>(position) / warmup);
    }
    const double t = static_cast<double>(position) - warmup;
    const double x = t / (static_cast<double>(length) - warmup);
    switch (schedule) {
        case Schedule::constant:
        case Schedule::adaptive:
            break;
        case Schedule::linear:
            return start * (1.0 - x);
        case Schedule::cosine:
            return half_cosine(start, 0.0, x);
        case Schedule::one_cycle:
            return one_cycle(start, x);
        case Schedule::inverse_scaling:
            return start / std::pow(t + 1.0, power_t);
        case Schedule::coslog4:
            return start * (1.0 - std::cos(2.0 * std::numbers::pi * std::log2(1.0 + 15.0 * x))) / 2.0;
    }
    return start;
}

}  // namespace omp_mlp
