#include "threads/team.hpp"

#include <omp.h>

#include "threads/wait.hpp"

namespace omp_mlp {
namespace {

std::atomic<int> running_teams = 0;

// Waking a thread takes as long as training on some fifty samples. Rounds are often no longer than that,
// and replicas do not end at the same time.
constexpr int yields_between_loops = 400;

// An exception must not leave a parallel region: the process would be aborted.
template <typename Fn>
void run_guarded(const Fn& fn, std::exception_ptr& failure) noexcept {
    try {
        fn();
    } catch (...) {
        failure = std::current_exception();
    }
}

void rethrow_first(const std::vector<std::exception_ptr>& failures) {
    for (const std::exception_ptr& failure : failures) {
        if (failure) {
            std::rethrow_exception(failure);
        }
    }
}

}  // namespace

void Team::run(int workers, const std::function<void(Team&)>& lead) {
    if (workers == 1) {
        Team team{1};
        lead(team);
        return;
    }
    ++running_teams;
    std::exception_ptr failure;
    Team team{workers};
#pragma omp parallel num_threads(workers) default(none) shared(lead, team, failure)
    {
#pragma omp single
        team.size_ = omp_get_num_threads();
        if (omp_get_thread_num() == 0) {
            run_guarded([&] { lead(team); }, failure);
            team.dismiss();
        } else {
            team.serve(omp_get_thread_num());
        }
    }
    --running_teams;
    if (failure) {
        std::rethrow_exception(failure);
    }
}

void Team::for_each(Index count, const std::function<void(Index)>& fn,
                    const std::function<void()>& wait) {
    count_ = count;
    fn_ = &fn;
    failures_.assign(static_cast<std::size_t>(count), nullptr);
    if (size_ == 1 || count == 1) {
        for (Index i = 0; i < count; ++i) {
            visit(i);
        }
        rethrow_first(failures_);
        return;
    }
    if (std::ssize(begun_) < count) {
        begun_ = std::vector<std::atomic<bool>>(static_cast<std::size_t>(count));
    }
    for (Index i = 0; i < count; ++i) {
        begun_[static_cast<std::size_t>(i)].store(false, std::memory_order_relaxed);
    }
    left_.store(count, std::memory_order_relaxed);
    inside_.store(0, std::memory_order_release);  // the loop is open
    loop_.fetch_add(1, std::memory_order_release);
    loop_.notify_all();
    work(0);
    std::exception_ptr failure;
    const auto everything_is_done = [this] { return left_.load(std::memory_order_acquire) == 0; };
    while (!wait_awake(everything_is_done)) {
        if (wait && !failure) {
            run_guarded(wait, failure);
        }
    }
    // From here on no thread enters. Threads that are inside find nothing to do, and leave.
    inside_.fetch_or(closed, std::memory_order_relaxed);
    const auto everyone_is_out = [this] { return inside_.load(std::memory_order_acquire) == closed; };
    while (!wait_awake(everyone_is_out)) {
    }
    rethrow_first(failures_);
    if (failure) {
        std::rethrow_exception(failure);
    }
}

void Team::together(const std::function<void(Index)>& fn) {
    // There are as many indices as threads, and no index is done before all have met. So each thread
    // gets one.
    for_each(size_, fn);
}

void Team::visit(Index i) noexcept {
    run_guarded([&] { (*fn_)(i); }, failures_[static_cast<std::size_t>(i)]);
}

// Begins an index unless another thread has begun it.
void Team::try_index(Index i) noexcept {
    std::atomic<bool>& begun = begun_[static_cast<std::size_t>(i)];
    // What fn(i) reads was written before the loop was opened. So this only has to be atomic.
    if (!begun.load(std::memory_order_relaxed) && !begun.exchange(true, std::memory_order_relaxed)) {
        visit(i);
        left_.fetch_sub(1, std::memory_order_release);
    }
}

void Team::work(int worker) noexcept {
    // First the thread's own indices, whose memory is near it since the last loop.
    for (Index i = worker; i < count_; i += size_) {
        try_index(i);
    }
    // Then the indices that other threads, which may be asleep, have not begun.
    for (Index i = 0; i < count_; ++i) {
        try_index(i);
    }
}

// Whether this thread is inside the loop now. The loop then stays as it is until the thread leaves.
bool Team::enter() noexcept {
    int inside = inside_.load(std::memory_order_relaxed);
    while ((inside & closed) == 0) {
        if (inside_.compare_exchange_weak(inside, inside + 1, std::memory_order_acquire,
                                          std::memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

void Team::serve(int worker) noexcept {
    unsigned seen = 0;
    while (true) {
        if (!wait_awake([&] { return loop_.load(std::memory_order_acquire) != seen; },
                        yields_between_loops)) {
            loop_.wait(seen, std::memory_order_acquire);
        }
        seen = loop_.load(std::memory_order_acquire);
        if (!enter()) {
            continue;  // too late: the loop is over
        }
        if (fn_ == nullptr) {
            return;
        }
        work(worker);
        inside_.fetch_sub(1, std::memory_order_release);
    }
}

void Team::dismiss() {
    fn_ = nullptr;
    inside_.store(0, std::memory_order_release);  // the loop stays open
    loop_.fetch_add(1, std::memory_order_release);
    loop_.notify_all();
}

int openmp_max_threads() {
    return omp_get_max_threads();
}

bool release_threads() {
    // Since GCC 9. LLVM's runtime crashes after a hard pause, and a region that runs must not be paused.
#if defined(__GNUC__) && !defined(__clang__)
    return running_teams == 0 && omp_pause_resource_all(omp_pause_hard) == 0;
#else
    return false;
#endif
}

}  // namespace omp_mlp
