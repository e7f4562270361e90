// The obvious loops. They are the fallback for any machine, and every fast variant is tested against
// them.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/random.hpp"
#include "kernels/tables.hpp"

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

template <typename Value>
Index mark(const Value* x, Index n, std::uint64_t* marks) {
    std::fill_n(marks, (n + 63) / 64, std::uint64_t{0});
    Index count = 0;
    for (Index k = 0; k < n; ++k) {
        const bool is_set = x[k] != Value{0};
        marks[k / 64] |= std::uint64_t{is_set} << (k % 64);
        count += is_set;
    }
    return count;
}

Index mark_float32(const float* x, Index n, std::uint64_t* marks) {
    return mark(x, n, marks);
}

Index mark_uint8(const std::uint8_t* x, Index n, std::uint64_t* marks) {
    return mark(x, n, marks);
}

bool to_bytes(const float* x, Index n, float divisor, std::uint8_t* bytes) {
    for (Index k = 0; k < n; ++k) {
        const float nearest = std::round(x[k] * divisor);
        const bool is_byte = nearest >= 0.0F && nearest <= 255.0F && nearest / divisor == x[k];
        if (!is_byte) {
            return false;
        }
        bytes[k] = static_cast<std::uint8_t>(nearest);
    }
    return true;
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

void lists_forward(const ListedRow* x, Index samples, const float* W, const float* bias, Index width,
                   float* z) {
    for (Index s = 0; s < samples; ++s) {
        float* z_s = z + s * width;
        std::copy_n(bias, width, z_s);
        for (Index i = 0; i < x[s].count; ++i) {
            add_scaled(x[s].value[i], W + x[s].index[i] * width, z_s, width);
        }
    }
}

bool is_marked(const MarkedRows& x, Index s, Index k) {
    return ((x.marks[s * x.words + k / 64] >> (k % 64)) & 1) != 0;
}

float value(const MarkedRows& x, Index s, Index k) {
    return x.floats != nullptr ? x.floats[s][k] : x.byte_value[x.bytes[s][k]];
}

void marked_forward(const MarkedRows& x, Index /*words_a_visit*/, const float* W, const float* bias,
                    Index width, float* z) {
    for (Index s = 0; s < x.samples; ++s) {
        float* z_s = z + s * width;
        std::copy_n(bias, width, z_s);
        for (Index k = 0; k < x.columns; ++k) {
            if (is_marked(x, s, k)) {
                add_scaled(value(x, s, k), W + k * width, z_s, width);
            }
        }
    }
}

void update_bias(const float* step, Index samples, float* bias, Index width) {
    for (Index s = 0; s < samples && bias != nullptr; ++s) {
        add_scaled(1.0F, step + s * width, bias, width);
    }
}

void lists_update(const ListedRow* x, Index samples, const float* step, float* W, float* bias,
                  Index width, const BatchTranspose& /*scratch*/) {
    for (Index s = 0; s < samples; ++s) {
        for (Index i = 0; i < x[s].count; ++i) {
            add_scaled(x[s].value[i], step + s * width, W + x[s].index[i] * width, width);
        }
    }
    update_bias(step, samples, bias, width);
}

void transpose_marks(const MarkedRows& x, Index first, Index last, std::uint32_t* present) {
    std::fill_n(present, 64 * x.words, std::uint32_t{0});
    for (Index s = 0; s < x.samples; ++s) {
        for (Index k = first; k < last; ++k) {
            present[k] |= static_cast<std::uint32_t>(is_marked(x, s, k)) << s;
        }
    }
}

void marked_update(const MarkedRows& x, const std::uint32_t* present, Index first, Index count,
                   const float* step, float* W, float* bias, Index width) {
    for (Index s = 0; s < x.samples; ++s) {
        for (Index k = 0; k < count; ++k) {
            if ((present[first + k] >> s & 1U) != 0) {
                add_scaled(value(x, s, first + k), step + s * width, W + k * width, width);
            }
        }
    }
    update_bias(step, x.samples, bias, width);
}

template <typename Value>
void gram(const Value* const* x, Index samples, Index batch, Index n, double scale, float* product) {
    for (Index s = 0; s < samples; ++s) {
        for (Index t = 0; t < s / batch * batch; ++t) {
            double sum = 0.0;
            for (Index k = 0; k < n; ++k) {
                sum += static_cast<double>(x[s][k]) * static_cast<double>(x[t][k]);
            }
            product[s * MarkedRows::most + t] = static_cast<float>(scale * sum);
        }
    }
}

void gram_float32(const float* const* x, Index samples, Index batch, Index n, float* product) {
    gram(x, samples, batch, n, 1.0, product);
}

void gram_uint8(const std::uint8_t* const* x, Index samples, Index batch, Index n, float scale,
                float* product) {
    const auto wide = static_cast<double>(scale);
    gram(x, samples, batch, n, wide * wide, product);
}

const float* row_of(const DenseRows& a, Index s) {
    return a.each != nullptr ? a.each[s] + a.column : a.first + s * a.stride;
}

void dense_forward(const DenseRows& a, Index samples, Index fan_in, const float* W, const float* bias,
                   Index fan_out, float* z, const Scratch& /*scratch*/) {
    const Index width = row_stride(fan_out);
    for (Index s = 0; s < samples; ++s) {
        const float* a_s = row_of(a, s);
        float* z_s = z + s * width;
        std::copy_n(bias, width, z_s);
        for (Index k = 0; k < fan_in; ++k) {
            add_scaled(a_s[k], W + k * width, z_s, width);
        }
    }
}

void add_product(const float* a, Index a_row, Index rows, Index depth, const float* b, Index width,
                 float* c) {
    for (Index m = 0; m < rows; ++m) {
        for (Index d = 0; d < depth; ++d) {
            add_scaled(a[m * a_row + d], b + d * width, c + m * width, width);
        }
    }
}

void dense_backward(const float* delta, Index samples, const float* W, Index fan_in, Index fan_out,
                    float* below, Index below_stride, const Scratch& /*scratch*/) {
    const Index width = row_stride(fan_out);
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

void dense_update(const DenseRows& a, Index samples, Index fan_in, const float* step, float* W,
                  float* bias, Index fan_out, const Scratch& /*scratch*/) {
    const Index width = row_stride(fan_out);
    for (Index s = 0; s < samples; ++s) {
        const float* a_s = row_of(a, s);
        for (Index k = 0; k < fan_in; ++k) {
            add_scaled(a_s[k], step + s * width, W + k * width, width);
        }
    }
    update_bias(step, samples, bias, width);
}

void narrow_forward(const float* a, Index a_stride, Index samples, const float* W, const float* bias,
                    Index outputs, Index z_stride, float* z) {
    for (Index s = 0; s < samples; ++s) {
        const float* a_s = a + s * a_stride;
        for (Index k = 0; k < outputs; ++k) {
            z[s * z_stride + k] = std::inner_product(a_s, a_s + a_stride, W + k * a_stride, bias[k]);
        }
    }
}

void narrow_step(const float* a, Index a_stride, Index samples, const float* delta, Index delta_stride,
                 Index outputs, float* W, float* bias, float* below) {
    std::fill_n(below, samples * a_stride, 0.0F);
    for (Index s = 0; s < samples; ++s) {
        for (Index k = 0; k < outputs; ++k) {
            add_scaled(delta[s * delta_stride + k], W + k * a_stride, below + s * a_stride, a_stride);
        }
    }
    for (Index s = 0; s < samples; ++s) {
        for (Index k = 0; k < outputs; ++k) {
            add_scaled(delta[s * delta_stride + k], a + s * a_stride, W + k * a_stride, a_stride);
        }
        add_scaled(1.0F, delta + s * delta_stride, bias, outputs);
    }
}

void draw_uniform(std::uint64_t key, std::uint64_t first, Index n, double scale, float* out) {
    for (Index i = 0; i < n; ++i) {
        const double u = uniform(key, first + static_cast<std::uint64_t>(i));
        out[i] = static_cast<float>((2.0 * u - 1.0) * scale);
    }
}

float logistic(float z) {
    return 1.0F / (1.0F + std::exp(-z));
}

// Keeps infinity from being multiplied by 0; NaN stays NaN.
float at_most(float limit, float z) {
    return z < -limit ? -limit : z > limit ? limit : z;
}

// The probability of less than z in the standard normal distribution.
float normal_below(float z) {
    return 0.5F * std::erfc(-z * std::numbers::sqrt2_v<float> / 2.0F);
}

float gelu(float z) {
    return z > 0.0F ? z * normal_below(z) : at_most(14.0F, z) * normal_below(z);
}

float gelu_derivative(float z) {
    const float x = at_most(14.0F, z);
    const float density =
        std::numbers::inv_sqrtpi_v<float> / std::numbers::sqrt2_v<float> * std::exp(-0.5F * x * x);
    return normal_below(x) + x * density;
}

float silu(float z) {
    return z > 0.0F ? z * logistic(z) : at_most(100.0F, z) * logistic(z);
}

float silu_derivative(float z) {
    const float x = at_most(87.0F, z);
    return logistic(x) * (1.0F + x * logistic(-x));
}

float selu(float z) {
    return z > 0.0F ? selu_scale * z : selu_depth * std::expm1(z);
}

float mish(float z) {
    const float e = std::exp(z > 20.0F ? 20.0F : z);  // beyond, phi(z) is z
    const float n = e * (e + 2.0F);
    return (z > 0.0F ? z : at_most(100.0F, z)) * (n / (n + 2.0F));
}

float mish_derivative(float z) {
    const float x = z < 0.0F ? at_most(100.0F, z) : at_most(20.0F, z);
    const float e = std::exp(x);
    const float n = e * (e + 2.0F);
    const float slope = 4.0F * e * (1.0F + e) / (n + 2.0F) / (n + 2.0F);
    return n / (n + 2.0F) + x * slope;
}

void activate(Activation activation, float* a, Index n) {
    const auto each = [&](const auto& phi) { std::transform(a, a + n, a, phi); };
    switch (activation) {
        case Activation::relu:
            each([](float z) {
                return z < 0.0F ? 0.0F : z;
            });  // in this form NaN stays NaN and is found out
            break;
        case Activation::leaky_relu:
            each([](float z) { return z < 0.0F ? leaky_slope * z : z; });
            break;
        case Activation::tanh:
            each([](float z) { return std::tanh(z); });
            break;
        case Activation::logistic:
            each(logistic);
            break;
        case Activation::gelu:
            each(gelu);
            break;
        case Activation::silu:
            each(silu);
            break;
        case Activation::selu:
            each(selu);
            break;
        case Activation::mish:
            each(mish);
            break;
        case Activation::identity:
            break;
    }
}

void multiply_derivative(Activation activation, const float* kept, float* delta, Index n) {
    const auto each = [&](const auto& backward) {
        std::transform(kept, kept + n, delta, delta, backward);
    };
    switch (activation) {
        case Activation::relu:
            each([](float a, float d) { return a > 0.0F ? d : 0.0F; });
            break;
        case Activation::leaky_relu:
            each([](float a, float d) { return a > 0.0F ? d : leaky_slope * d; });
            break;
        case Activation::tanh:
            each([](float a, float d) { return d * (1.0F - a * a); });
            break;
        case Activation::logistic:
            each([](float a, float d) { return d * (a * (1.0F - a)); });
            break;
        case Activation::gelu:
            each([](float z, float d) { return d * gelu_derivative(z); });
            break;
        case Activation::silu:
            each([](float z, float d) { return d * silu_derivative(z); });
            break;
        case Activation::selu:
            each([](float a, float d) { return d * (a > 0.0F ? selu_scale : a + selu_depth); });
            break;
        case Activation::mish:
            each([](float z, float d) { return d * mish_derivative(z); });
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
    .bfloat16 = nullptr,
    .bytes_together = 16,
    .gather_float32 = gather_float32,
    .gather_uint8 = gather_uint8,
    .mark_float32 = mark_float32,
    .mark_uint8 = mark_uint8,
    .to_bytes = to_bytes,
    .widen_uint8 = widen_uint8,
    .lists_forward = lists_forward,
    .lists_update = lists_update,
    .marked_forward = marked_forward,
    .transpose_marks = transpose_marks,
    .marked_update = marked_update,
    .gram_float32 = gram_float32,
    .gram_uint8 = gram_uint8,
    .dense_forward = dense_forward,
    .dense_backward = dense_backward,
    .dense_update = dense_update,
    .add_product = add_product,
    .narrow_forward = narrow_forward,
    .narrow_step = narrow_step,
    .draw_uniform = draw_uniform,
    .activate = activate,
    .multiply_derivative = multiply_derivative,
    .softmax = softmax,
};

}  // namespace omp_mlp
