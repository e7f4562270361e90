#include "threads/forks.hpp"

#include <atomic>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace omp_mlp {
namespace {

std::atomic<unsigned> forks = 0;

#if defined(__unix__) || defined(__APPLE__)
// pthread_atfork allocates, and may fail with the library's first use of memory: nothing works then.
[[maybe_unused]] const int registered =
    pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
#endif

}  // namespace

unsigned fork_count() noexcept {
    return forks.load(std::memory_order_relaxed);
}

}  // namespace omp_mlp
