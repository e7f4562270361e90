// What one core can do, for limits.py: the clock, multiply-adds, and bytes from the caches.
//
// Compiled on the machine that it measures (-O3 -march=native) and never shipped. Prints one line of
// JSON. Every number is the best of some passes: a limit is what is reached when nothing disturbs.
//
// The clock comes from chains of instructions that take a cycle each and wait for each other. Cores
// shorten some chains: Golden Cove adds constants when it renames registers, and then such additions
// take no cycle. No core that we know of shortens an addition of two registers or a rotation. Both are
// measured, with nothing in common but the latency; limits.py takes the clock for known only if
// they agree and the rate is one that a core can have.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace {

#if defined(__AVX512F__)
constexpr std::size_t vector_bytes = 64;
#elif defined(__AVX__)
constexpr std::size_t vector_bytes = 32;
#else
constexpr std::size_t vector_bytes = 16;
#endif
constexpr std::size_t lanes = vector_bytes / sizeof(float);
using Vector = float __attribute__((vector_size(vector_bytes), may_alias));

// The compiler has to have the vector in a register here, and knows nothing of what becomes of it.
#if defined(__AVX512F__)
#define IN_REGISTER "v"
#elif defined(__x86_64__) || defined(__i386__)
#define IN_REGISTER "x"
#else
#define IN_REGISTER "w"
#endif

// Vectors in an unrolled step; both sizes below are multiples of it.
constexpr std::size_t unrolled = 16;
constexpr int passes = 7;
constexpr double seconds_a_pass = 0.015;

// CPU time of this process: what others take of the core is not the core's limit.
double now() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// The rate of `work`, which says how much it did: the best of the passes.
template <class Work>
double best_rate(Work work) {
    double best = 0.0;
    for (int pass = 0; pass < passes; ++pass) {
        double done = 0.0;
        const double begin = now();
        double elapsed = 0.0;
        do {
            done += work();
            elapsed = now() - begin;
        } while (elapsed < seconds_a_pass);
        best = done / elapsed > best ? done / elapsed : best;
    }
    return best;
}

constexpr int chain_length = 100'000;
static_assert(chain_length % 10 == 0);

// Ten steps without a jump between them.
#define TEN_TIMES(step) step step step step step step step step step step

// The compiler must not know the step: it is in a register, and no constant that a core could add
// when it renames registers.
double dependent_additions() {
    std::size_t sum = 0;
    std::size_t addend = 3;
    asm volatile("" : "+r"(addend));
    for (int i = 0; i < chain_length; i += 10) {
        TEN_TIMES(sum += addend; asm volatile("" : "+r"(sum));)
    }
    return chain_length;
}

double dependent_rotations() {
    std::uint64_t word = 0x9E3779B97F4A7C15;
    asm volatile("" : "+r"(word));
    for (int i = 0; i < chain_length; i += 10) {
        TEN_TIMES(word = (word << 7) | (word >> 57); asm volatile("" : "+r"(word));)
    }
    return chain_length;
}

#undef TEN_TIMES

// Twelve chains hide the latency of a multiply-add and leave registers for the factors.
double multiply_adds() {
    constexpr int chains = 12;
    constexpr int count = 10'000;
    Vector sums[chains];
    Vector factor = {};
    Vector term = {};
    asm volatile("" : "+" IN_REGISTER(factor), "+" IN_REGISTER(term));
    for (auto& sum : sums) {
        sum = term;
        asm volatile("" : "+" IN_REGISTER(sum));
    }
    for (int i = 0; i < count; ++i) {
#pragma GCC unroll 12
        for (int k = 0; k < chains; ++k) {
            sums[k] = sums[k] * factor + term;
        }
    }
    for (auto& sum : sums) {
        asm volatile("" : : IN_REGISTER(sum));
    }
    return 2.0 * static_cast<double>(lanes) * chains * count;
}

// Loads and nothing else.
double read(const float* data, std::size_t bytes, int times) {
    const auto* vectors = reinterpret_cast<const Vector*>(data);
    const std::size_t count = bytes / vector_bytes;
    for (int time = 0; time < times; ++time) {
        for (std::size_t i = 0; i < count; i += unrolled) {
#pragma GCC unroll 16
            for (std::size_t k = 0; k < unrolled; ++k) {
                asm volatile("" : : IN_REGISTER(vectors[i + k]));
            }
        }
    }
    return static_cast<double>(bytes) * times;
}

// What a step does to the weights: w += a * x. Bytes of the array; each is read and written.
double update(float* data, std::size_t bytes, int times) {
    auto* vectors = reinterpret_cast<Vector*>(data);
    const std::size_t count = bytes / vector_bytes;
    for (int time = 0; time < times; ++time) {
        Vector a = {};
        Vector x = {};
        asm volatile("" : "+" IN_REGISTER(a), "+" IN_REGISTER(x));
        for (std::size_t i = 0; i < count; i += unrolled) {
#pragma GCC unroll 16
            for (std::size_t k = 0; k < unrolled; ++k) {
                vectors[i + k] += a * x;
                // Otherwise a * x is computed once.
                asm volatile("" : "+" IN_REGISTER(a));
            }
        }
        asm volatile("" : : "r"(data) : "memory");
    }
    return static_cast<double>(bytes) * times;
}

}  // namespace

int main() {
    constexpr std::size_t first_layer = std::size_t{784} * 128 * sizeof(float);
    constexpr std::size_t in_l1 = std::size_t{16} * 1024;
    static_assert(first_layer % (unrolled * vector_bytes) == 0);
    static_assert(in_l1 % (unrolled * vector_bytes) == 0);
    auto* data = static_cast<float*>(std::aligned_alloc(4096, (first_layer + 4095) / 4096 * 4096));
    if (data == nullptr) {
        return 1;
    }
    std::memset(data, 0, first_layer);

    // The clock before and after: it may rise under load.
    const double additions_before = best_rate(dependent_additions);
    const double rotations_before = best_rate(dependent_rotations);
    const double flops = best_rate(multiply_adds);
    const double l1 = best_rate([=] { return read(data, in_l1, 100); });
    const double l2 = best_rate([=] { return read(data, first_layer, 4); });
    const double updated = best_rate([=] { return update(data, first_layer, 4); });
    const double additions = std::max(additions_before, best_rate(dependent_additions));
    const double rotations = std::max(rotations_before, best_rate(dependent_rotations));
    std::printf(
        "{\"vector_bits\": %zu, \"additions_per_second\": %.6g, \"rotations_per_second\": %.6g, "
        "\"flop_per_second\": %.6g, \"l1_read_bytes_per_second\": %.6g, "
        "\"w1_read_bytes_per_second\": %.6g, \"w1_update_bytes_per_second\": %.6g}\n",
        8 * vector_bytes, additions, rotations, flops, l1, l2, updated);
    std::free(data);
    return 0;
}
