#include "training/touched_rows.hpp"

#include <algorithm>
#include <bit>

namespace omp_mlp {

TouchedRows::TouchedRows(const LayerShape& first_layer)
    : rows_{first_layer.fan_in},
      stride_{first_layer.stride},
      bits_(static_cast<std::size_t>(words(first_layer))) {
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
    const auto step = static_cast<std::size_t>(words);
    for (std::size_t word = 0; word < std::min(bits_.size(), step); ++word) {
        std::uint64_t marked = 0;
        for (std::size_t at = word; at < marks.size(); at += step) {
            marked |= marks[at];
        }
        for (std::uint64_t fresh = marked & ~bits_[word]; fresh != 0; fresh &= fresh - 1) {
            const Index offset = (static_cast<Index>(64 * word) + std::countr_zero(fresh)) * stride_;
            std::copy_n(master + offset, stride_, parameters + offset);
        }
        bits_[word] |= marked;
    }
}

}  // namespace omp_mlp
