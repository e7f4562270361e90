// Numbers of 16 bits: the upper halves of float32 numbers, rounded.
#pragma once

#include <cstdint>
#include <span>

namespace omp_mlp {

// Rounds values, with what was left of earlier ones, to the nearest bfloat16 number, ties to even. `left` is
// then what the rounding took off. NaN stays NaN. Nothing is left of what is not finite: it would stay in
// all sums to come. All spans have the same size.
void round_to_bfloat16(std::span<const float> values, std::span<float> left,
                       std::span<std::uint16_t> rounded);

// The same numbers as float32.
void widen(std::span<const std::uint16_t> numbers, std::span<float> floats);

}  // namespace omp_mlp
