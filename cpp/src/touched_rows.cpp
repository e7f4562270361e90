#include "omp_mlp/touched_rows.hpp"

#include <algorithm>
#include <bit>

namespace omp_mlp {
namespace {

constexpr std::size_t ahead = 4;

void prefetch_floats(const float* row, Index count) {
#if defined(__GNUC__)
    for (Index k = 0; k < count; k += cache_line_floats) {
        __builtin_prefetch(row + k);
    }
#endif
}

}  // namespace

TouchedRows::TouchedRows(const LayerShape& first_layer)
    : rows_{first_layer.fan_in},
      stride_{first_layer.stride},
      bits_(static_cast<std::size_t>(first_layer.fan_in / 64 + 1)) {
    touch_all();
}

void TouchedRows::touch_all() {
    std::ranges::fill(bits_, ~std::uint64_t{0});
}

void TouchedRows::touch_none() {
    std::ranges::fill(bits_, 0);
    bits_.back() |= std::uint64_t{1} << (rows_ % 64);
}

void TouchedRows::touch(std::span<const std::uint64_t> marks, Index words, const float* master,
                        float* parameters) {
    fresh_.clear();
    const auto step = static_cast<std::size_t>(words);
    for (std::size_t word = 0; word < std::min(bits_.size(), step); ++word) {
        std::uint64_t marked = 0;
        for (std::size_t at = word; at < marks.size(); at += step) {
            marked |= marks[at];
        }
        for (std::uint64_t fresh = marked & ~bits_[word]; fresh != 0; fresh &= fresh - 1) {
            fresh_.push_back((static_cast<Index>(64 * word) + std::countr_zero(fresh)) * stride_);
        }
        bits_[word] |= marked;
    }
    for (std::size_t i = 0; i < fresh_.size(); ++i) {
        // The master comes from other cores, and the hardware does not foresee which row is next.
        if (i + ahead < fresh_.size()) {
            prefetch_floats(master + fresh_[i + ahead], stride_);
        }
        std::copy_n(master + fresh_[i], stride_, parameters + fresh_[i]);
    }
}

}  // namespace omp_mlp
