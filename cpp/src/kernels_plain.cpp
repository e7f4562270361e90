// The obvious loops: the fallback for any machine, and what every fast variant is tested against.
#include <algorithm>
#include <bit>
#include <cmath>

#include "kernel_tables.hpp"

namespace omp_mlp {
namespace {

Index gather_float32(const float* x, Index n, std::int32_t* index, float* value) {
    Index count = 0;
    for (Index k = 0; k < n; ++k) {
        if (x[k] != 0.0F) {
            index[count] = static_cast<std::int32_t>(k);
            value[count++] = x[k];
        }
    }
    return count;
}

Index gather_uint8(const std::uint8_t* x, Index n, float scale, std::int32_t* index, float* value) {
    Index count = 0;
    for (Index k = 0; k < n; ++k) {
        if (x[k] != 0) {
            index[count] = static_cast<std::int32_t>(k);
            value[count++] = scale * static_cast<float>(x[k]);
        }
    }
    return count;
}

Index gather_pair_float32(const float* x, const float* y, Index n, std::int32_t* index, float* x_value,
                          float* y_value) {
    Index count = 0;
    for (Index k = 0; k < n; ++k) {
        if (x[k] != 0.0F || y[k] != 0.0F) {
            index[count] = static_cast<std::int32_t>(k);
            x_value[count] = x[k];
            y_value[count++] = y[k];
        }
    }
    return count;
}

Index gather_pair_uint8(const std::uint8_t* x, const std::uint8_t* y, Index n, float scale,
                        std::int32_t* index, float* x_value, float* y_value) {
    Index count = 0;
    for (Index k = 0; k < n; ++k) {
        if (x[k] != 0 || y[k] != 0) {
            index[count] = static_cast<std::int32_t>(k);
            x_value[count] = scale * static_cast<float>(x[k]);
            y_value[count++] = scale * static_cast<float>(y[k]);
        }
    }
    return count;
}

void widen_uint8(const std::uint8_t* x, Index n, float scale, float* row) {
    std::transform(x, x + n, row,
                   [scale](std::uint8_t byte) { return scale * static_cast<float>(byte); });
}

// y += factor * x, over n entries.
void add_scaled(float factor, const float* x, float* y, Index n) {
    for (Index j = 0; j < n; ++j) {
        y[j] += factor * x[j];
    }
}

void sparse_forward(const SparseRow* x, Index samples, const float* W, const float* bias, Index width,
                    float* z) {
    for (Index s = 0; s < samples; ++s) {
        float* z_s = z + s * width;
        std::copy_n(bias, width, z_s);
        for (Index i = 0; i < x[s].count; ++i) {
            add_scaled(x[s].value[i], W + x[s].index[i] * width, z_s, width);
        }
    }
}

void sparse_forward_pairs(const SparsePair* x, Index pairs, const float* W, const float* bias,
                          Index width, float* z) {
    for (Index p = 0; p < pairs; ++p, z += 2 * width) {
        const SparseRow first{x[p].index, x[p].first, x[p].count};
        const SparseRow second{x[p].index, x[p].second, x[p].count};
        sparse_forward(&first, 1, W, bias, width, z);
        sparse_forward(&second, 1, W, bias, width, z + width);
    }
}

std::uint16_t rounded_to_bfloat16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if (std::isnan(value)) {
        return static_cast<std::uint16_t>((bits >> 16) | 0x40U);  // rounding could make it infinite
    }
    return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

void round_to_bfloat16(const float* W, Index n, std::uint16_t* copy) {
    for (Index i = 0; i < n; ++i) {
        copy[i] = rounded_to_bfloat16(W[i]);
    }
}

void sparse_forward_bfloat16(const SparseRow* x, Index samples, const std::uint16_t* W,
                             const float* bias, Index width, float* z) {
    for (Index s = 0; s < samples; ++s) {
        float* z_s = z + s * width;
        std::copy_n(bias, width, z_s);
        for (Index i = 0; i < x[s].count; ++i) {
            const std::uint16_t* row = W + x[s].index[i] * width;
            for (Index j = 0; j < width; ++j) {
                z_s[j] += x[s].value[i] * std::bit_cast<float>(static_cast<std::uint32_t>(row[j]) << 16);
            }
        }
    }
}

void update_bias(const float* delta, Index samples, float scale, float* bias, Index width) {
    for (Index s = 0; s < samples; ++s) {
        add_scaled(scale, delta + s * width, bias, width);
    }
}

void sparse_update(const SparseRow* x, Index samples, const float* delta, float scale, float* W,
                   float* bias, Index width, const BatchTranspose& /*scratch*/, std::uint16_t* copy) {
    for (Index s = 0; s < samples; ++s) {
        for (Index i = 0; i < x[s].count; ++i) {
            add_scaled(scale * x[s].value[i], delta + s * width, W + x[s].index[i] * width, width);
        }
    }
    for (Index s = 0; copy != nullptr && s < samples; ++s) {
        for (Index i = 0; i < x[s].count; ++i) {
            const Index row = x[s].index[i] * width;
            round_to_bfloat16(W + row, width, copy + row);
        }
    }
    update_bias(delta, samples, scale, bias, width);
}

void sparse_update_pairs(const SparsePair* x, Index samples, const float* const* /*rows*/,
                         Index /*features*/, const float* delta, float scale, float* W, float* bias,
                         Index width, const BatchTranspose& scratch) {
    for (Index s = 0; s < samples; ++s) {
        const SparsePair& pair = x[s / 2];
        const SparseRow row{pair.index, s % 2 == 0 ? pair.first : pair.second, pair.count};
        sparse_update(&row, 1, delta + s * width, scale, W, bias, width, scratch, nullptr);
    }
}

void sparse_update_forward(const SparsePair& x, const float* delta, float scale, float* W, float* bias,
                           Index width, float* z) {
    update_bias(delta, 1, scale, bias, width);
    std::copy_n(bias, width, z);
    for (Index i = 0; i < x.count; ++i) {
        float* w = W + x.index[i] * width;
        add_scaled(scale * x.first[i], delta, w, width);
        add_scaled(x.second[i], w, z, width);
    }
}

void dense_forward(const float* a, Index a_stride, Index samples, Index fan_in, const float* W,
                   const float* bias, Index width, float* z) {
    for (Index s = 0; s < samples; ++s) {
        float* z_s = z + s * width;
        std::copy_n(bias, width, z_s);
        for (Index k = 0; k < fan_in; ++k) {
            add_scaled(a[s * a_stride + k], W + k * width, z_s, width);
        }
    }
}

void dense_backward(const float* delta, Index samples, const float* W, Index fan_in, Index width,
                    float* below, Index below_stride, float* /*scratch*/) {
    for (Index s = 0; s < samples; ++s) {
        std::fill_n(below + s * below_stride, below_stride, 0.0F);
        for (Index k = 0; k < fan_in; ++k) {
            float sum = 0.0F;
            for (Index j = 0; j < width; ++j) {
                sum += delta[s * width + j] * W[k * width + j];
            }
            below[s * below_stride + k] = sum;
        }
    }
}

void dense_update(const float* a, Index a_stride, Index samples, Index fan_in, const float* delta,
                  float scale, float* W, float* bias, Index width) {
    for (Index s = 0; s < samples; ++s) {
        for (Index k = 0; k < fan_in; ++k) {
            add_scaled(scale * a[s * a_stride + k], delta + s * width, W + k * width, width);
        }
    }
    update_bias(delta, samples, scale, bias, width);
}

void activate(Activation activation, float* a, Index n) {
    switch (activation) {
        case Activation::relu:
            for (Index i = 0; i < n; ++i) {
                a[i] = a[i] < 0.0F ? 0.0F : a[i];  // in this form NaN stays NaN and is found out
            }
            break;
        case Activation::tanh:
            for (Index i = 0; i < n; ++i) {
                a[i] = std::tanh(a[i]);
            }
            break;
        case Activation::logistic:
            for (Index i = 0; i < n; ++i) {
                a[i] = 1.0F / (1.0F + std::exp(-a[i]));
            }
            break;
        case Activation::identity:
            break;
    }
}

void multiply_derivative(Activation activation, const float* a, float* delta, Index n) {
    switch (activation) {
        case Activation::relu:
            for (Index i = 0; i < n; ++i) {
                delta[i] = a[i] > 0.0F ? delta[i] : 0.0F;
            }
            break;
        case Activation::tanh:
            for (Index i = 0; i < n; ++i) {
                delta[i] *= 1.0F - a[i] * a[i];
            }
            break;
        case Activation::logistic:
            for (Index i = 0; i < n; ++i) {
                delta[i] *= a[i] * (1.0F - a[i]);
            }
            break;
        case Activation::identity:
            break;
    }
}

double softmax(const float* z, Index n, float* p) {
    const float largest = *std::max_element(z, z + n);
    double sum = 0.0;
    for (Index k = 0; k < n; ++k) {
        p[k] = std::exp(z[k] - largest);
        sum += static_cast<double>(p[k]);
    }
    const auto inverse = static_cast<float>(1.0 / sum);
    for (Index k = 0; k < n; ++k) {
        p[k] *= inverse;
    }
    std::fill(p + n, p + padded(n), 0.0F);
    return static_cast<double>(largest) + std::log(sum);
}

}  // namespace

const Kernels plain_kernels{
    .name = "plain",
    .gather_float32 = gather_float32,
    .gather_uint8 = gather_uint8,
    .gather_pair_float32 = gather_pair_float32,
    .gather_pair_uint8 = gather_pair_uint8,
    .widen_uint8 = widen_uint8,
    .sparse_forward = sparse_forward,
    .sparse_forward_pairs = sparse_forward_pairs,
    .sparse_forward_bfloat16 = sparse_forward_bfloat16,
    .round_to_bfloat16 = round_to_bfloat16,
    .sparse_update = sparse_update,
    .sparse_update_pairs = sparse_update_pairs,
    .sparse_update_forward = sparse_update_forward,
    .dense_forward = dense_forward,
    .dense_backward = dense_backward,
    .dense_update = dense_update,
    .activate = activate,
    .multiply_derivative = multiply_derivative,
    .softmax = softmax,
};

}  // namespace omp_mlp
