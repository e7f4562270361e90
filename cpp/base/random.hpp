// Random numbers by counter: draw i of a stream is a pure function of (key, i). So every replica makes
// its own numbers, in any order, on any thread, and NumPy makes the same numbers.
// SplitMix64 (Steele, Lea & Flood 2014) serves both as the generator and to derive keys from keys.
#pragma once

#include <cstdint>

namespace omp_mlp {

inline constexpr std::uint64_t splitmix_step = 0x9E3779B97F4A7C15U;
inline constexpr std::uint64_t splitmix_first = 0xBF58476D1CE4E5B9U;
inline constexpr std::uint64_t splitmix_second = 0x94D049BB133111EBU;

// The i-th output of SplitMix64 seeded with `key`.
constexpr std::uint64_t derive(std::uint64_t key, std::uint64_t i) {
    std::uint64_t x = key + splitmix_step * (i + 1);
    x = (x ^ (x >> 30)) * splitmix_first;
    x = (x ^ (x >> 27)) * splitmix_second;
    return x ^ (x >> 31);
}

// The purpose of a stream. Streams of different purposes are independent.
enum class Purpose : std::uint64_t { weights = 0, order = 1, dropout = 2 };

constexpr std::uint64_t stream_key(std::uint64_t seed, Purpose purpose, std::uint64_t a,
                                   std::uint64_t b) {
    return derive(derive(derive(seed, static_cast<std::uint64_t>(purpose)), a), b);
}

// Uniform in [0, 1), a multiple of 2^-24.
constexpr double uniform(std::uint64_t key, std::uint64_t i) {
    return static_cast<double>(derive(key, i) >> 40) * 0x1p-24;
}

}  // namespace omp_mlp
