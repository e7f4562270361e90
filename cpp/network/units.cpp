#include "network/units.hpp"

#include <algorithm>

#include "network/activation.hpp"

namespace omp_mlp {

Units::Units(Activation activation, Index samples, Index units)
    : activation_{activation},
      clears_padding_{!properties(activation).keeps_zero && units < padded(units)},
      units_{units},
      stride_{padded(units)},
      rows_(static_cast<std::size_t>(samples * stride_)),
      z_(properties(activation).needs_z ? rows_.size() : 0) {}

void Units::activate(const Kernels& kernels, Index first, Index count) {
    float* rows = row(first);
    if (!z_.empty()) {
        std::copy_n(rows, count * stride_, z_.data() + first * stride_);
    }
    kernels.activate(activation_, rows, count * stride_);
    for (Index s = 0; s < count && clears_padding_; ++s) {
        std::fill(rows + s * stride_ + units_, rows + (s + 1) * stride_, 0.0F);
    }
}

void Units::multiply_derivative(const Kernels& kernels, Index first, Index count, float* delta) const {
    const Buffer& kept = z_.empty() ? rows_ : z_;
    kernels.multiply_derivative(activation_, kept.data() + first * stride_, delta, count * stride_);
}

void Units::copy_row(Index from, Index to) {
    if (from == to) {
        return;
    }
    std::copy_n(row(from), stride_, row(to));
    if (!z_.empty()) {
        std::copy_n(z_.data() + from * stride_, stride_, z_.data() + to * stride_);
    }
}

}  // namespace omp_mlp
