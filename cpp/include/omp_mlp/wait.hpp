// How a thread waits for another one: awake for some microseconds, because what it waits for is mostly about
// to come; the caller then puts it to sleep. Threads that go on spinning halve the speed of everybody
// when the cores are shared with another busy process.
#pragma once

#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace omp_mlp {

inline void relax() {
#if defined(__x86_64__)
    _mm_pause();
#else
    std::this_thread::yield();
#endif
}

// Returns whether `ready` came true.
template <typename Ready>
bool wait_awake(const Ready& ready) {
    constexpr int pauses = 500;
    constexpr int yields = 20;  // with more threads than cores, whoever we wait for may need this one
    for (int i = 0; i < pauses + yields; ++i) {
        if (ready()) {
            return true;
        }
        if (i < pauses) {
            relax();
        } else {
            std::this_thread::yield();
        }
    }
    return ready();
}

}  // namespace omp_mlp
