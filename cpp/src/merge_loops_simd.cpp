// The loops of merging that every round goes through, on GCC/Clang vector types. Like kernels_simd.cpp, this
// file is compiled once for each instruction set, with OMP_MLP_TABLE and OMP_MLP_NAME (its table) and
// OMP_MLP_VECTOR_BYTES (its register width) set; and everything is in an unnamed namespace, with nothing of
// the standard library that is a template or inline.
//
// Eight numbers are added up side by side, in one register or in several: the same sums, in the same order,
// for every width. Fused multiply-adds are switched off.
#include <string.h>  // NOLINT(modernize-deprecated-headers): a plain function, see above

#include "omp_mlp/merge_loops.hpp"
#include "replica_groups.hpp"

namespace omp_mlp {
namespace {

constexpr Index together = 8;
constexpr Index lanes = OMP_MLP_VECTOR_BYTES / sizeof(double);
constexpr Index registers = together / lanes;
using V = double __attribute__((vector_size(OMP_MLP_VECTOR_BYTES)));
using Narrow = float __attribute__((vector_size(OMP_MLP_VECTOR_BYTES / 2)));

// Of doubles or floats: a register of numbers, or one number where no more than that is left of a slice.
template <typename Numbers>
Numbers load(const double* x) {
    Numbers v;
    memcpy(&v, x, sizeof v);
    return v;
}

template <typename Numbers>
Numbers load(const float* x) {
    if constexpr (sizeof(Numbers) == sizeof(double)) {
        return static_cast<double>(*x);
    } else {
        Narrow v;
        memcpy(&v, x, sizeof v);
        return __builtin_convertvector(v, V);
    }
}

template <typename Numbers>
void store(double* x, Numbers v) {
    memcpy(x, &v, sizeof v);
}

template <typename Numbers>
void store(float* x, Numbers v) {
    if constexpr (sizeof(Numbers) == sizeof(double)) {
        *x = static_cast<float>(v);
    } else {
        const Narrow narrow = __builtin_convertvector(v, Narrow);
        memcpy(x, &narrow, sizeof narrow);
    }
}

// Calls fn.template operator()<Numbers>(j) for all j < size, a register of them at a time, then one by one.
template <typename Fn>
void for_all(Index size, const Fn& fn) {
    Index j = 0;
    for (; j + lanes <= size; j += lanes) {
        fn.template operator()<V>(j);
    }
    for (; j < size; ++j) {
        fn.template operator()<double>(j);
    }
}

// A slice begins anew in every replica, where the hardware does not expect it: so the line of the next group of
// replicas that is in the same place is asked for here, once in every line.
template <Index count>
void prefetch_next(const ReplicaRows& rows, Index first, Index j) {
    if (j % cache_line_floats != 0) {
        return;
    }
#pragma GCC unroll 4
    for (Index i = 0; i < count; ++i) {
        if (first + count + i < rows.count) {
            __builtin_prefetch(rows.replicas[first + count + i] + rows.begin + j);
        }
    }
}

template <Index count, typename Numbers>
void add_weighted_of(const ReplicaRows& rows, Index first, Index at, const double* weights,
                     double* total) {
    auto sum = load<Numbers>(total + at);
#pragma GCC unroll 4
    for (Index i = 0; i < count; ++i) {
        sum += weights[first + i] * load<Numbers>(rows.replicas[first + i] + rows.begin + at);
    }
    store(total + at, sum);
}

void add_weighted(const ReplicaRows& rows, const double* weights, double* total) {
    for_each_group(rows.count, [&]<Index count>(Index first) {
        Index j = 0;
        for (; j + together <= rows.size; j += together) {
            prefetch_next<count>(rows, first, j);
#pragma GCC unroll 4
            for (Index at = j; at < j + together; at += lanes) {
                add_weighted_of<count, V>(rows, first, at, weights, total);
            }
        }
        for (; j < rows.size; ++j) {
            add_weighted_of<count, double>(rows, first, j, weights, total);
        }
    });
}

// Returns the sum of the squares of the updates [first, first + count), at some positions.
template <Index count, typename Numbers>
Numbers add_updates_of(const ReplicaRows& rows, Index first, Index at, const float* base, double* total,
                       Numbers& sum) {
    const auto start = load<Numbers>(base + rows.begin + at);
    sum = first > 0 ? load<Numbers>(total + at) : Numbers{};
    Numbers square{};
#pragma GCC unroll 4
    for (Index i = 0; i < count; ++i) {
        const Numbers update = load<Numbers>(rows.replicas[first + i] + rows.begin + at) - start;
        sum += update;
        square += update * update;
    }
    store(total + at, sum);
    return square;
}

double add_up(const V* sums) {
    double each[together];
    memcpy(each, sums, sizeof each);
    double total = 0.0;
    for (const double one : each) {
        total += one;
    }
    return total;
}

UpdateNorms add_updates(const ReplicaRows& rows, const float* base, double* total) {
    V squares[registers] = {};
    V squares_of_total[registers] = {};
    UpdateNorms rest{0.0, 0.0};
    for_each_group(rows.count, [&]<Index count>(Index first) {
        const bool is_last = first + count == rows.count;
        Index j = 0;
        for (; j + together <= rows.size; j += together) {
            prefetch_next<count>(rows, first, j);
#pragma GCC unroll 4
            for (Index k = 0; k < registers; ++k) {
                V sum;
                squares[k] += add_updates_of<count>(rows, first, j + k * lanes, base, total, sum);
                if (is_last) {
                    squares_of_total[k] += sum * sum;
                }
            }
        }
        for (; j < rows.size; ++j) {
            double sum = 0.0;
            rest.squares += add_updates_of<count>(rows, first, j, base, total, sum);
            if (is_last) {
                rest.square_of_sum += sum * sum;
            }
        }
    });
    return {add_up(squares) + rest.squares, add_up(squares_of_total) + rest.square_of_sum};
}

void subtract(const float* base, Index size, double* merged) {
    for_all(size, [&]<typename Numbers>(Index j) {
        store(merged + j, load<Numbers>(merged + j) - load<Numbers>(base + j));
    });
}

void round_to_float(const double* merged, Index size, float* master) {
    for_all(size, [&]<typename Numbers>(Index j) { store(master + j, load<Numbers>(merged + j)); });
}

void take_step(const StepFactors& factors, const double* updates, const float* base, Index size,
               float* velocity, float* master) {
    const auto [of_updates, learning_rate, momentum, momentum_ahead, nesterov] = factors;
    if (velocity == nullptr) {
        const double factor = learning_rate * of_updates;
        for_all(size, [&]<typename Numbers>(Index j) {
            store(master + j, load<Numbers>(base + j) + factor * load<Numbers>(updates + j));
        });
        return;
    }
    for_all(size, [&]<typename Numbers>(Index j) {
        const Numbers update = of_updates * load<Numbers>(updates + j);
        const Numbers M = momentum * load<Numbers>(velocity + j) + update;
        store(velocity + j, M);
        const Numbers step = nesterov ? update + momentum_ahead * M : M;
        store(master + j, load<Numbers>(base + j) + learning_rate * step);
    });
}

}  // namespace

extern const MergeLoops OMP_MLP_TABLE{
    .name = OMP_MLP_NAME,
    .add_weighted = add_weighted,
    .add_updates = add_updates,
    .subtract = subtract,
    .round_to_float = round_to_float,
    .take_step = take_step,
};

}  // namespace omp_mlp
