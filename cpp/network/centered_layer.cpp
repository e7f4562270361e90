#include "network/centered_layer.hpp"

#include <algorithm>
#include <functional>

namespace omp_mlp {

void take_mean_off_biases(const Kernels& kernels, std::span<const float> mean, const float* W,
                          const float* bias, Index width, float* raw) {
    std::fill_n(raw, width, 0.0F);
    kernels.add_product(mean.data(), 0, 1, std::ssize(mean), W, width, raw);
    std::transform(bias, bias + width, raw, raw, std::minus<>{});
}

void subtract_sum(const float* delta, Index samples, Index width, float* minus_sum) {
    std::fill_n(minus_sum, width, 0.0F);
    for (Index s = 0; s < samples; ++s) {
        std::transform(minus_sum, minus_sum + width, delta + s * width, minus_sum, std::minus<>{});
    }
}

void take_mean_off_gradient(const Kernels& kernels, std::span<const float> mean, const float* minus_sum,
                            Index width, float* gradient) {
    kernels.add_product(mean.data(), 1, std::ssize(mean), 1, minus_sum, width, gradient);
}

}  // namespace omp_mlp
