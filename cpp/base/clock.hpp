// Seconds on the wall clock, and seconds of CPU time of one thread.
#pragma once

#include <chrono>
#include <ctime>

namespace omp_mlp {

inline double wall_seconds() {
    using namespace std::chrono;
    return duration<double>(steady_clock::now().time_since_epoch()).count();
}

// CPU time of the calling thread. It tells a replica's time even where more threads than cores take
// turns. Systems without such a clock give wall time.
inline double thread_cpu_seconds() {
#ifdef CLOCK_THREAD_CPUTIME_ID
    timespec now{};
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0) {
        return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
    }
#endif
    return wall_seconds();
}

}  // namespace omp_mlp
