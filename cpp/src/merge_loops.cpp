#include "omp_mlp/merge_loops.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

namespace omp_mlp {
namespace {

// Replicas that are read side by side: the totals are then loaded and stored once for all of them, and
// there are no more streams than a core's prefetcher follows.
constexpr std::size_t side_by_side = 4;

// Calls fn.template operator()<count>(first) for groups of up to `side_by_side` of n replicas, in order.
template <std::size_t count = side_by_side, typename Fn>
void for_each_group(std::size_t n, const Fn& fn, std::size_t first = 0) {
    for (; first + count <= n; first += count) {
        fn.template operator()<count>(first);
    }
    if constexpr (count > 1) {
        for_each_group<count - 1>(n, fn, first);
    }
}

template <std::size_t count>
std::array<const float*, count> group(const ReplicaSlice& slice, std::size_t first) {
    std::array<const float*, count> rows;
    for (std::size_t i = 0; i < count; ++i) {
        rows[i] = slice.replicas[first + i] + slice.begin;
    }
    return rows;
}

}  // namespace

void add_weighted(const ReplicaSlice& slice, std::span<const double> weights, double* total) {
    for_each_group(slice.replicas.size(), [&]<std::size_t count>(std::size_t first) {
        const auto w = group<count>(slice, first);
        std::array<double, count> k;
        std::copy_n(weights.data() + first, count, k.data());
        for (Index j = 0; j < slice.size; ++j) {
            double sum = total[j];
            for (std::size_t i = 0; i < count; ++i) {
                sum += k[i] * static_cast<double>(w[i][j]);
            }
            total[j] = sum;
        }
    });
}

UpdateNorms add_updates(const ReplicaSlice& slice, const float* base, double* total) {
    // Pairs of numbers, which every processor has in one register, and several sums of squares, so that none
    // waits for another; plain loops would have to go through memory for the squares.
    using Pair = double __attribute__((vector_size(2 * sizeof(double))));
    constexpr std::size_t sums = 4;
    constexpr Index step = 2 * sums;
    const float* W = base + slice.begin;
    const std::size_t n = slice.replicas.size();
    std::array<Pair, sums> squares{};
    std::array<Pair, sums> squares_of_total{};
    UpdateNorms norms{};
    for_each_group(n, [&]<std::size_t count>(std::size_t first) {
        const auto w = group<count>(slice, first);
        const bool is_first = first == 0;
        const bool is_last = first + count == n;
        Index j = 0;
        for (; j + step <= slice.size; j += step) {
            for (std::size_t k = 0; k < sums; ++k) {
                const Index at = j + static_cast<Index>(2 * k);
                const Pair start{W[at], W[at + 1]};
                Pair sum{};
                if (!is_first) {
                    std::memcpy(&sum, total + at, sizeof sum);
                }
                for (std::size_t i = 0; i < count; ++i) {
                    const Pair update = Pair{w[i][at], w[i][at + 1]} - start;
                    sum += update;
                    squares[k] += update * update;
                }
                std::memcpy(total + at, &sum, sizeof sum);
                if (is_last) {
                    squares_of_total[k] += sum * sum;
                }
            }
        }
        for (; j < slice.size; ++j) {
            double sum = is_first ? 0.0 : total[j];
            for (std::size_t i = 0; i < count; ++i) {
                const double update = static_cast<double>(w[i][j]) - static_cast<double>(W[j]);
                sum += update;
                norms.squares += update * update;
            }
            total[j] = sum;
            norms.square_of_sum += is_last ? sum * sum : 0.0;
        }
    });
    for (std::size_t k = 0; k < sums; ++k) {
        norms.squares += squares[k][0] + squares[k][1];
        norms.square_of_sum += squares_of_total[k][0] + squares_of_total[k][1];
    }
    return norms;
}

void dot_updates(const ReplicaSlice& slice, const float* base, double* gram) {
    // In pieces of which the updates of some thirty replicas fit in a core's fastest cache.
    constexpr Index piece = 128;
    constexpr Index lanes = 2;  // what every processor has
    using Lanes = double __attribute__((vector_size(lanes * sizeof(double))));
    using Piece = std::array<double, piece>;
    const std::size_t n = slice.replicas.size();
    std::vector<Piece, CacheLineAllocator<Piece>> updates(n);
    std::fill_n(gram, n * (n + 1) / 2, 0.0);
    for (Index begin = 0; begin < slice.size; begin += piece) {
        const Index size = std::min(piece, slice.size - begin);
        const float* W = base + slice.begin + begin;
        for (std::size_t i = 0; i < n; ++i) {
            const float* w = slice.replicas[i] + slice.begin + begin;
            for (Index j = 0; j < size; ++j) {
                updates[i][static_cast<std::size_t>(j)] =
                    static_cast<double>(w[j]) - static_cast<double>(W[j]);
            }
            std::fill(updates[i].begin() + size, updates[i].end(), 0.0);
        }
        double* entry = gram;
        for (std::size_t i = 0; i < n; ++i) {
            const auto* one = reinterpret_cast<const Lanes*>(updates[i].data());
            for_each_group(i + 1, [&]<std::size_t count>(std::size_t first) {
                std::array<Lanes, count> products{};
                for (Index k = 0; k < piece / lanes; ++k) {
                    for (std::size_t other = 0; other < count; ++other) {
                        products[other] +=
                            one[k] * reinterpret_cast<const Lanes*>(updates[first + other].data())[k];
                    }
                }
                for (const Lanes& product : products) {
                    double dot = 0.0;
                    for (Index lane = 0; lane < lanes; ++lane) {
                        dot += product[lane];
                    }
                    *entry++ += dot;
                }
            });
        }
    }
}

void take_median(const ReplicaSlice& slice, double* middle) {
    // Batcher's merge exchange (Knuth, The Art of Computer Programming 3, Algorithm 5.2.2M) sorts all columns
    // of a piece at once: which rows are compared does not depend on the values.
    constexpr Index piece = 16;
    constexpr Index lanes = 4;  // what every processor has; wider ones GCC takes apart, number by number
    using Lanes = float __attribute__((vector_size(lanes * sizeof(float)), may_alias));
    const std::size_t n = slice.replicas.size();
    Buffer rows(n * piece);
    const auto row = [&rows](std::size_t i) { return rows.data() + i * piece; };
    const auto sort_two = [&row](std::size_t low, std::size_t high) {
        auto* a = reinterpret_cast<Lanes*>(row(low));
        auto* b = reinterpret_cast<Lanes*>(row(high));
        for (Index k = 0; k < piece / lanes; ++k) {
            const Lanes smaller = b[k] < a[k] ? b[k] : a[k];
            b[k] = b[k] < a[k] ? a[k] : b[k];
            a[k] = smaller;
        }
    };
    for (Index begin = 0; begin < slice.size; begin += piece) {
        const Index size = std::min(piece, slice.size - begin);
        for (std::size_t i = 0; i < n; ++i) {
            std::copy_n(slice.replicas[i] + slice.begin + begin, size, row(i));
        }
        const std::size_t top = std::bit_ceil(n) / 2;
        for (std::size_t p = top; p > 0; p /= 2) {
            std::size_t bit = 0;
            std::size_t distance = p;
            for (std::size_t q = top; q >= p; q /= 2) {
                for (std::size_t i = 0; i + distance < n; ++i) {
                    if ((i & p) == bit) {
                        sort_two(i, i + distance);
                    }
                }
                distance = q - p;
                bit = p;
            }
        }
        const float* lower = row((n - 1) / 2);
        const float* upper = row(n / 2);
        for (Index j = 0; j < size; ++j) {
            middle[begin + j] = (static_cast<double>(lower[j]) + static_cast<double>(upper[j])) / 2;
        }
    }
}

}  // namespace omp_mlp
