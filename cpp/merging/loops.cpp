#include "merging/loops.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>
#include <vector>

#include "base/table_choice.hpp"
#include "merging/replica_groups.hpp"

namespace omp_mlp {

// The tables of loops_simd.cpp. The narrow ones run on every machine.
extern const MergeLoops narrow_merge_loops;
#if defined(__x86_64__)
extern const MergeLoops avx2_merge_loops;
extern const MergeLoops avx512_merge_loops;
#endif

namespace {

std::vector<const MergeLoops*> runnable_loops() {
    std::vector<const MergeLoops*> found;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) {
        found.push_back(&avx512_merge_loops);
    }
    if (__builtin_cpu_supports("avx2")) {
        found.push_back(&avx2_merge_loops);
    }
#endif
    found.push_back(&narrow_merge_loops);
    return found;
}

TableChoice<MergeLoops>& choice() {
    static TableChoice<MergeLoops> of_loops{runnable_loops(), "merge loops"};
    return of_loops;
}

}  // namespace

std::span<const MergeLoops* const> available_merge_loops() {
    return choice().runnable();
}

const MergeLoops& merge_loops() {
    return choice().selected();
}

void select_merge_loops(std::string_view name) {
    choice().select(name);
}

namespace {

// The parameters of replica i at `size` positions of the slice, from `begin` on.
void copy_parameters(const ReplicaRows& slice, std::size_t i, Index begin, Index size, float* copy) {
    const Index from = slice.begin + begin;
    std::copy_n(slice.replicas[i] + from, size, copy);
    if (slice.deferred == nullptr) {
        return;
    }
    const Deferred& deferred = *slice.deferred;
    for (Index j = 0; j < size;) {
        const Index row = (from + j) / deferred.stride;
        const Index stop = std::min(size, (row + 1) * deferred.stride - from);
        if (!is_touched(deferred.touched[i], row)) {
            std::copy(deferred.base + from + j, deferred.base + from + stop, copy + j);
        }
        const float* shift = deferred.shifts[i] + from - row * deferred.stride;
        for (; j < stop; ++j) {
            copy[j] += deferred.mean[row] * shift[j];
        }
    }
}

// What a sum from 0 on makes of -0 is 0.
void add_zero(const float* w, Index size, float* copy) {
    for (Index j = 0; j < size; ++j) {
        copy[j] = w[j] + 0.0F;
    }
}

}  // namespace

void dot_updates(const ReplicaRows& slice, const float* base, double* gram) {
    // The updates of some thirty replicas, a piece of each, fit in a core's fastest cache.
    constexpr Index piece = 128;
    constexpr Index lanes = 2;  // what every processor has
    using Lanes = double __attribute__((vector_size(lanes * sizeof(double))));
    using Piece = std::array<double, piece>;
    const auto n = static_cast<std::size_t>(slice.count);
    std::vector<Piece, CacheLineAllocator<Piece>> updates(n);
    std::array<float, piece> w{};
    std::fill_n(gram, n * (n + 1) / 2, 0.0);
    for (Index begin = 0; begin < slice.size; begin += piece) {
        const Index size = std::min(piece, slice.size - begin);
        const float* W = base + slice.begin + begin;
        for (std::size_t i = 0; i < n; ++i) {
            copy_parameters(slice, i, begin, size, w.data());
            for (Index j = 0; j < size; ++j) {
                updates[i][static_cast<std::size_t>(j)] =
                    static_cast<double>(w[static_cast<std::size_t>(j)]) - static_cast<double>(W[j]);
            }
            std::fill(updates[i].begin() + size, updates[i].end(), 0.0);
        }
        double* entry = gram;
        for (std::size_t i = 0; i < n; ++i) {
            const auto* one = reinterpret_cast<const Lanes*>(updates[i].data());
            for_each_group(static_cast<Index>(i + 1), [&]<Index count>(Index group) {
                const auto first = static_cast<std::size_t>(group);
                std::array<Lanes, count> products{};
                for (Index k = 0; k < piece / lanes; ++k) {
                    for (std::size_t other = 0; other < products.size(); ++other) {
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

double square_updates(const ReplicaRows& slice, const float* base) {
    std::array<float, slice_floats> w{};
    double squares = 0.0;
    for (std::size_t i = 0; std::cmp_less(i, slice.count); ++i) {
        copy_parameters(slice, i, 0, slice.size, w.data());
        for (Index j = 0; j < slice.size; ++j) {
            const double update = static_cast<double>(w[static_cast<std::size_t>(j)]) -
                                  static_cast<double>(base[slice.begin + j]);
            squares += update * update;
        }
    }
    return squares;
}

void copy_replica(const ReplicaRows& slice, float* copy) {
    const Deferred* deferred = slice.deferred;
    for (Index j = 0; j < slice.size;) {
        const Index from = slice.begin + j;
        const float* w = slice.replicas[0] + from;
        if (deferred == nullptr) {
            add_zero(w, slice.size, copy);
            return;
        }
        const Index row = from / deferred->stride;
        const Index size = std::min(slice.size - j, (row + 1) * deferred->stride - from);
        if (!is_touched(deferred->touched[0], row)) {
            w = deferred->base + from;
        }
        const auto mean = static_cast<double>(deferred->mean[row]);
        if (mean == 0.0) {
            add_zero(w, size, copy + j);
        } else {
            const float* shift = deferred->shifts[0] + from - row * deferred->stride;
            for (Index k = 0; k < size; ++k) {
                copy[j + k] =
                    static_cast<float>(static_cast<double>(w[k]) + mean * static_cast<double>(shift[k]));
            }
        }
        j += size;
    }
}

void take_median(const ReplicaRows& slice, double* middle) {
    // Batcher's merge exchange (Knuth, The Art of Computer Programming 3, Algorithm 5.2.2M) compares
    // rows that do not depend on the values. So it sorts all columns of a piece at once.
    constexpr Index piece = 16;
    constexpr Index lanes = 4;  // what every processor has; GCC splits wider ones into single numbers
    using Lanes = float __attribute__((vector_size(lanes * sizeof(float)), may_alias));
    const auto n = static_cast<std::size_t>(slice.count);
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
            copy_parameters(slice, i, begin, size, row(i));
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
