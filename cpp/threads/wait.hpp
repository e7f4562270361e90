// How a thread waits for another one. It stays awake for some microseconds, because the wait is mostly
// short. The caller then puts it to sleep. Threads that go on spinning halve the speed of all processes
// that share the cores.
#pragma once

#include <atomic>
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

// The functions below return whether `ready` came true.

template <typename Ready>
bool wait_spinning(const Ready& ready, int pauses) {
    for (int i = 0; i < pauses; ++i) {
        if (ready()) {
            return true;
        }
        relax();
    }
    return ready();
}

// `yields`: with more threads than cores, the other thread may need this core. A yield that no thread needs
// takes some tenths of a microsecond.
template <typename Ready>
bool wait_awake(const Ready& ready, int yields = 20) {
    constexpr int pauses = 500;
    if (wait_spinning(ready, pauses)) {
        return true;
    }
    for (int i = 0; i < yields; ++i) {
        std::this_thread::yield();
        if (ready()) {
            return true;
        }
    }
    return false;
}

// Gives a word the value that others sleep for, and wakes them. notify_all() first looks whether anybody sleeps. The
// store has to be seen before that look, or a thread that falls asleep in between is never woken. A release store
// may be seen later: x86 keeps it back while it reads on.
template <typename T>
void store_and_wake(std::atomic<T>& word, T value) {
    word.store(value, std::memory_order_seq_cst);
    word.notify_all();
}

}  // namespace omp_mlp
