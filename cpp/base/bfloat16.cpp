#include "base/bfloat16.hpp"

#include <bit>
#include <cstddef>

namespace omp_mlp {
namespace {

float widened(std::uint32_t upper) {
    return std::bit_cast<float>(upper << 16U);
}

}  // namespace

void round_to_bfloat16(std::span<const float> values, std::span<float> left,
                       std::span<std::uint16_t> rounded) {
    constexpr std::uint32_t infinity = 0x7F80;  // the upper half of its bits
    for (std::size_t k = 0; k < values.size(); ++k) {
        // Choices between integers, and none between sums: compilers then take many numbers at once.
        const float value = left[k] + values[k];
        const auto bits = std::bit_cast<std::uint32_t>(value);
        const std::uint32_t upper = bits >> 16U;
        const std::uint32_t to_even = (bits + 0x7FFFU + (upper & 1U)) >> 16U;
        const bool is_nan = (bits & 0x7FFFFFFFU) > infinity << 16U;
        const std::uint32_t nearest =
            is_nan ? upper | 0x40U : to_even;  // rounding could make it infinite
        const auto rest = std::bit_cast<std::uint32_t>(value - widened(nearest));
        rounded[k] = static_cast<std::uint16_t>(nearest);
        left[k] = std::bit_cast<float>((nearest & infinity) == infinity ? 0U : rest);
    }
}

void widen(std::span<const std::uint16_t> numbers, std::span<float> floats) {
    for (std::size_t k = 0; k < numbers.size(); ++k) {
        floats[k] = widened(numbers[k]);
    }
}

}  // namespace omp_mlp
