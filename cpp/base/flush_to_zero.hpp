// Numbers that are too small to be normal, as zeros.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace omp_mlp {

// While it lives, the thread reads and writes subnormal numbers as zeros. The state of an optimiser decays
// where gradients are zero, and would end as subnormal numbers, with which x86 is some hundred times slower; so
// it is on subnormal inputs and weights. Other processors do not slow down, and are left as they are.
class FlushToZero {
public:
#if defined(__x86_64__)
    FlushToZero() : before_{_mm_getcsr()} {
        constexpr unsigned results = 0x8000;
        constexpr unsigned operands = 0x0040;
        _mm_setcsr(before_ | results | operands);
    }
    ~FlushToZero() { _mm_setcsr(before_); }
#else
    FlushToZero() = default;
    ~FlushToZero() {}
#endif
    FlushToZero(const FlushToZero&) = delete;
    FlushToZero(FlushToZero&&) = delete;
    FlushToZero& operator=(const FlushToZero&) = delete;
    FlushToZero& operator=(FlushToZero&&) = delete;

private:
#if defined(__x86_64__)
    unsigned before_;
#endif
};

// While it lives, the thread reads and writes subnormal numbers as numbers: for code of others that is called
// from within. A mode of that kind that the process has set itself is not kept up meanwhile.
class KeepSubnormal {
public:
#if defined(__x86_64__)
    KeepSubnormal() : before_{_mm_getcsr()} { _mm_setcsr(before_ & ~0x8040U); }
    ~KeepSubnormal() { _mm_setcsr(before_); }
#else
    KeepSubnormal() = default;
    ~KeepSubnormal() {}
#endif
    KeepSubnormal(const KeepSubnormal&) = delete;
    KeepSubnormal(KeepSubnormal&&) = delete;
    KeepSubnormal& operator=(const KeepSubnormal&) = delete;
    KeepSubnormal& operator=(KeepSubnormal&&) = delete;

private:
#if defined(__x86_64__)
    unsigned before_;
#endif
};

}  // namespace omp_mlp
