// The loops of merging that every round goes through, on GCC/Clang vector types. Like kernels/simd, this
// file is compiled once for each instruction set, with OMP_MLP_TABLE and OMP_MLP_NAME (its table) and
// OMP_MLP_VECTOR_BYTES (its register width) set; and everything is in an unnamed namespace, with nothing
// of the standard library that is a template or inline.
//
// A cache line of numbers is added up side by side, in one register or in several: the same sums, in the
// same order, for every width. Fused multiply-adds are switched off.
#include <string.h>  // NOLINT(modernize-deprecated-headers): a plain function, see above
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "merging/loops.hpp"
#include "merging/replica_groups.hpp"

namespace omp_mlp {
namespace {

constexpr Index together = cache_line_floats;
constexpr Index float_lanes = OMP_MLP_VECTOR_BYTES / sizeof(float);
constexpr Index lanes = OMP_MLP_VECTOR_BYTES / sizeof(double);
using F = float __attribute__((vector_size(OMP_MLP_VECTOR_BYTES)));
using V = double __attribute__((vector_size(OMP_MLP_VECTOR_BYTES)));
using Narrow = float __attribute__((vector_size(OMP_MLP_VECTOR_BYTES / 2)));

// Floats to doubles, and doubles rounded to floats: one instruction each. GCC 12 makes several
// instructions of __builtin_convertvector where registers are wide.
V as_doubles(Narrow floats) {
#if defined(__AVX512F__)
    return V(_mm512_cvtps_pd(__m256(floats)));
#elif defined(__AVX2__)
    return V(_mm256_cvtps_pd(__m128(floats)));
#else
    return __builtin_convertvector(floats, V);
#endif
}

Narrow as_floats(V doubles) {
#if defined(__AVX512F__)
    return Narrow(_mm512_cvtpd_ps(__m512d(doubles)));
#elif defined(__AVX2__)
    return Narrow(_mm256_cvtpd_ps(__m256d(doubles)));
#else
    return __builtin_convertvector(doubles, Narrow);
#endif
}

// A register of doubles or floats; or one number, where less than a register is left of a slice.
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
        return as_doubles(v);
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
        const Narrow narrow = as_floats(v);
        memcpy(x, &narrow, sizeof narrow);
    }
}

// Calls fn.template operator()<Numbers>(j) for all j < size, a register of them at a time, then one by
// one.
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

// A part of a slice that lies in one row of the first layer; or a whole slice, if nothing is deferred.
struct Part {
    Index begin;  // positions of the slice
    Index end;
    Index row;
    Index column;  // where the part begins
};

template <bool is_deferred, typename Fn>
void for_each_part(const ReplicaRows& rows, const Fn& fn) {
    if constexpr (!is_deferred) {
        fn(Part{0, rows.size, 0, 0});
        return;
    } else {
        const Index stride = rows.deferred->stride;
        Index row = rows.begin / stride;
        Index column = rows.begin % stride;
        for (Index begin = 0; begin < rows.size; ++row, column = 0) {
            const Index rest = stride - column;
            const Index end = rest < rows.size - begin ? begin + rest : rows.size;
            fn(Part{begin, end, row, column});
            begin = end;
        }
    }
}

// Where the slice lies in replicas [first, first + count), and in as many after them.
template <Index count>
struct Group {
    const float* here[count];
    const float* next[count];  // equal to `here` where there are no more replicas
    const float* shifts[count];
};

template <bool is_deferred, Index count>
Group<count> group_of(const ReplicaRows& rows, Index first, const Part& part) {
    const auto parameters = [&](Index i) {
        if constexpr (!is_deferred) {
            return rows.replicas[i] + rows.begin;
        } else {
            const float* const either[2] = {rows.deferred->base, rows.replicas[i]};
            return either[is_touched(rows.deferred->touched[i], part.row)] + rows.begin;
        }
    };
    Group<count> group;
#pragma GCC unroll 4
    for (Index i = 0; i < count; ++i) {
        const Index next = first + count + i;
        group.here[i] = parameters(first + i);
        group.next[i] = next < rows.count ? parameters(next) : group.here[i];
        group.shifts[i] =
            is_deferred ? rows.deferred->shifts[first + i] + part.column - part.begin : nullptr;
    }
    return group;
}

// A slice begins at another place in every replica, where the hardware does not expect a read. So this
// prefetches the line at the same place in the next group of replicas.
template <Index count>
void prefetch_next(const Group<count>& group, Index j) {
#pragma GCC unroll 4
    for (Index i = 0; i < count; ++i) {
        __builtin_prefetch(group.next[i] + j);
    }
}

// total[at] += sum_i weights[i] (w_i[at] + mean shift_i[at]).
template <bool is_deferred, typename Numbers, Index count>
void add_weighted_of(const Group<count>& group, double mean, Index at, const double* weights,
                     double* total) {
    auto sum = load<Numbers>(total + at);
#pragma GCC unroll 4
    for (Index i = 0; i < count; ++i) {
        const auto w = load<Numbers>(group.here[i] + at);
        if constexpr (is_deferred) {
            sum += weights[i] * (w + mean * load<Numbers>(group.shifts[i] + at));
        } else {
            sum += weights[i] * w;
        }
    }
    store(total + at, sum);
}

template <bool is_deferred>
void add_weighted_rows(const ReplicaRows& rows, const double* weights, double* total) {
    for_each_group(rows.count, [&]<Index count>(Index first) {
        for_each_part<is_deferred>(rows, [&](const Part& part) {
            const auto group = group_of<is_deferred, count>(rows, first, part);
            const double mean = is_deferred ? static_cast<double>(rows.deferred->mean[part.row]) : 0.0;
            Index j = part.begin;
            for (; j + together <= part.end; j += together) {
                prefetch_next(group, j);
                for (Index at = j; at < j + together; at += lanes) {
                    add_weighted_of<is_deferred, V>(group, mean, at, weights + first, total);
                }
            }
            for (; j < part.end; ++j) {
                add_weighted_of<is_deferred, double>(group, mean, j, weights + first, total);
            }
        });
    });
}

void add_weighted(const ReplicaRows& rows, const double* weights, double* total) {
    rows.deferred != nullptr ? add_weighted_rows<true>(rows, weights, total)
                             : add_weighted_rows<false>(rows, weights, total);
}

// The sum of some updates, and the sum of their squares.
template <typename Numbers>
struct Updates {
    Numbers sum;
    Numbers squares;
};

template <typename Floats>
Floats load_floats(const float* x) {
    Floats v;
    memcpy(&v, x, sizeof v);
    return v;
}

// The sums of a group of replicas, at some positions.
template <bool is_deferred, typename Floats, Index count>
Updates<Floats> updates_of(const Group<count>& group, float mean, Index at, const float* base) {
    const auto start = load_floats<Floats>(base + at);
    Updates<Floats> updates{};
#pragma GCC unroll 4
    for (Index i = 0; i < count; ++i) {
        Floats update = load_floats<Floats>(group.here[i] + at) - start;
        if constexpr (is_deferred) {
            update += mean * load_floats<Floats>(group.shifts[i] + at);
        }
        updates.sum += update;
        updates.squares += update * update;
    }
    return updates;
}

// Both halves of a register of floats.
struct Halves {
    V half[2];
};

Halves widen(F floats) {
    Narrow narrow[2];
    memcpy(narrow, &floats, sizeof floats);
    return {{as_doubles(narrow[0]), as_doubles(narrow[1])}};
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

template <bool is_deferred>
UpdateNorms add_updates_rows(const ReplicaRows& rows, const float* base, double* total) {
    base += rows.begin;
    V squares[together / lanes] = {};
    V squares_of_total[together / lanes] = {};
    UpdateNorms rest{0.0, 0.0};
    for_each_group(rows.count, [&]<Index count>(Index first) {
        const bool is_last = first + count == rows.count;
        for_each_part<is_deferred>(rows, [&](const Part& part) {
            const auto group = group_of<is_deferred, count>(rows, first, part);
            const float mean = is_deferred ? rows.deferred->mean[part.row] : 0.0F;
            Index j = part.begin;
            for (; j + together <= part.end; j += together) {
                prefetch_next(group, j);
#pragma GCC unroll 4
                for (Index k = 0; k < together / float_lanes; ++k) {
                    const Index at = j + k * float_lanes;
                    const auto updates = updates_of<is_deferred, F>(group, mean, at, base);
                    const Halves sums = widen(updates.sum);
                    const Halves square_sums = widen(updates.squares);
#pragma GCC unroll 2
                    for (Index h = 0; h < 2; ++h) {
                        V sum = sums.half[h];
                        if (first > 0) {
                            sum += load<V>(total + at + h * lanes);
                        }
                        store(total + at + h * lanes, sum);
                        squares[2 * k + h] += square_sums.half[h];
                        if (is_last) {
                            squares_of_total[2 * k + h] += sum * sum;
                        }
                    }
                }
            }
            for (; j < part.end; ++j) {
                const auto updates = updates_of<is_deferred, float>(group, mean, j, base);
                const double sum = (first > 0 ? total[j] : 0.0) + static_cast<double>(updates.sum);
                total[j] = sum;
                rest.squares += static_cast<double>(updates.squares);
                if (is_last) {
                    rest.square_of_sum += sum * sum;
                }
            }
        });
    });
    return {add_up(squares) + rest.squares, add_up(squares_of_total) + rest.square_of_sum};
}

UpdateNorms add_updates(const ReplicaRows& rows, const float* base, double* total) {
    return rows.deferred != nullptr ? add_updates_rows<true>(rows, base, total)
                                    : add_updates_rows<false>(rows, base, total);
}

double square(const float* x, Index size) {
    V squares[together / lanes] = {};
    double rest = 0.0;
    Index j = 0;
    for (; j + together <= size; j += together) {
#pragma GCC unroll 8
        for (Index k = 0; k < together / lanes; ++k) {
            const auto one = load<V>(x + j + k * lanes);
            squares[k] += one * one;
        }
    }
    for (; j < size; ++j) {
        const auto one = load<double>(x + j);
        rest += one * one;
    }
    return add_up(squares) + rest;
}

void subtract(const float* base, Index size, double* merged) {
    for_all(size, [&]<typename Numbers>(Index j) {
        store(merged + j, load<Numbers>(merged + j) - load<Numbers>(base + j));
    });
}

void round_to_float(const double* merged, Index size, float* master) {
    for_all(size, [&]<typename Numbers>(Index j) { store(master + j, load<Numbers>(merged + j)); });
}

// updates.template operator()<Numbers>(j): those at j.
template <typename Updates>
void take_step_by(const StepFactors& factors, const Updates& updates, const float* base, Index size,
                  float* velocity, float* master) {
    // No structured binding: Clang before version 16 cannot capture one.
    const double of_updates = factors.of_updates;
    const double learning_rate = factors.learning_rate;
    if (velocity == nullptr) {
        const double factor = learning_rate * of_updates;
        for_all(size, [&]<typename Numbers>(Index j) {
            store(master + j,
                  load<Numbers>(base + j) + factor * updates.template operator()<Numbers>(j));
        });
        return;
    }
    const double momentum = factors.momentum;
    const double momentum_ahead = factors.momentum_ahead;
    const bool nesterov = factors.nesterov;
    for_all(size, [&]<typename Numbers>(Index j) {
        const Numbers update = of_updates * updates.template operator()<Numbers>(j);
        const Numbers M = momentum * load<Numbers>(velocity + j) + update;
        store(velocity + j, M);
        const Numbers step = nesterov ? update + momentum_ahead * M : M;
        store(master + j, load<Numbers>(base + j) + learning_rate * step);
    });
}

void take_step(const StepFactors& factors, const double* updates, const float* base, Index size,
               float* velocity, float* master) {
    take_step_by(
        factors, [&]<typename Numbers>(Index j) { return load<Numbers>(updates + j); }, base, size,
        velocity, master);
}

void take_step_of_sums(const StepFactors& factors, const float* sums, double rest, const float* base,
                       Index size, float* velocity, float* master) {
    take_step_by(
        factors,
        [&]<typename Numbers>(Index j) {
            return load<Numbers>(sums + j) + rest * load<Numbers>(base + j);
        },
        base, size, velocity, master);
}

}  // namespace

extern const MergeLoops OMP_MLP_TABLE{
    .name = OMP_MLP_NAME,
    .add_weighted = add_weighted,
    .add_updates = add_updates,
    .square = square,
    .subtract = subtract,
    .round_to_float = round_to_float,
    .take_step = take_step,
    .take_step_of_sums = take_step_of_sums,
};

}  // namespace omp_mlp
