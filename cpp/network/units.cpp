#include "network/units.hpp"

#include <algorithm>

#include "base/random.hpp"
#include "network/activation.hpp"

namespace omp_mlp {

Units::Units(Activation activation, Index samples, Index units, double dropout)
    : activation_{activation},
      clears_padding_{!properties(activation).keeps_zero && units < row_stride(units)},
      units_{units},
      stride_{row_stride(units)},
      rows_(static_cast<std::size_t>(samples * stride_)),
      needs_z_{properties(activation).needs_z},
      dropout_{dropout},
      kept_(needs_z_ || dropout > 0.0 ? rows_.size() : 0),
      factors_(dropout > 0.0 ? rows_.size() : 0) {}

void Units::activate(const Kernels& kernels, Index first, Index count) {
    float* rows = row(first);
    if (needs_z_) {
        std::copy_n(rows, count * stride_, kept_.data() + first * stride_);
    }
    kernels.activate(activation_, rows, count * stride_);
    for (Index s = 0; s < count && clears_padding_; ++s) {
        std::fill(rows + s * stride_ + units_, rows + (s + 1) * stride_, 0.0F);
    }
}

void Units::leave_out(Index sample, std::uint64_t key, Index first_unit) {
    if (factors_.empty()) {
        return;
    }
    float* a = row(sample);
    float* factor = factors_.data() + sample * stride_;
    if (!needs_z_) {
        std::copy_n(a, stride_, kept_.data() + sample * stride_);
    }
    const auto scale = static_cast<float>(1.0 / (1.0 - dropout_));
    for (Index k = 0; k < units_; ++k) {
        factor[k] = uniform(key, static_cast<std::uint64_t>(first_unit + k)) < dropout_ ? 0.0F : scale;
        a[k] *= factor[k];
    }
}

void Units::multiply_derivative(const Kernels& kernels, Index first, Index count, float* delta) const {
    const Buffer& read = kept_.empty() ? rows_ : kept_;
    kernels.multiply_derivative(activation_, read.data() + first * stride_, delta, count * stride_);
    if (!factors_.empty()) {
        const float* factors = factors_.data() + first * stride_;
        for (Index k = 0; k < count * stride_; ++k) {
            delta[k] *= factors[k];
        }
    }
}

void Units::copy_row(Index from, Index to) {
    if (from == to) {
        return;
    }
    for (Buffer* buffer : {&rows_, &kept_, &factors_}) {
        if (!buffer->empty()) {
            std::copy_n(buffer->data() + from * stride_, stride_, buffer->data() + to * stride_);
        }
    }
}

}  // namespace omp_mlp
