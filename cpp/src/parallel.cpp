#include "omp_mlp/parallel.hpp"

#include <omp.h>

#include "omp_mlp/wait.hpp"

namespace omp_mlp {
namespace {

std::atomic<int> running_teams = 0;

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
        const int everything = size_;
        size_ = 1;
        work(0);
        size_ = everything;
        rethrow_first(failures_);
        return;
    }
    busy_.store(size_ - 1, std::memory_order_relaxed);
    loop_.fetch_add(1, std::memory_order_release);
    loop_.notify_all();
    work(0);
    std::exception_ptr failure;
    const auto everyone_is_done = [this] { return busy_.load(std::memory_order_acquire) == 0; };
    while (!wait_awake(everyone_is_done)) {
        if (wait && !failure) {
            run_guarded(wait, failure);
        }
    }
    rethrow_first(failures_);
    if (failure) {
        std::rethrow_exception(failure);
    }
}

void Team::together(const std::function<void(Index)>& fn) {
    // As many indices as threads: each thread gets one.
    for_each(size_, fn);
}

void Team::work(int worker) noexcept {
    for (Index i = worker; i < count_; i += size_) {
        run_guarded([&] { (*fn_)(i); }, failures_[static_cast<std::size_t>(i)]);
    }
}

void Team::serve(int worker) noexcept {
    unsigned seen = 0;
    while (true) {
        if (!wait_awake([&] { return loop_.load(std::memory_order_acquire) != seen; })) {
            loop_.wait(seen, std::memory_order_acquire);
        }
        seen = loop_.load(std::memory_order_acquire);
        if (fn_ == nullptr) {
            return;
        }
        work(worker);
        busy_.fetch_sub(1, std::memory_order_release);
    }
}

void Team::dismiss() {
    fn_ = nullptr;
    loop_.fetch_add(1, std::memory_order_release);
    loop_.notify_all();
}

int openmp_max_threads() {
    return omp_get_max_threads();
}

bool release_threads() {
    // Since GCC 9. LLVM's runtime crashes after a hard pause, and nobody may pause a region that runs.
#if defined(__GNUC__) && !defined(__clang__)
    return running_teams == 0 && omp_pause_resource_all(omp_pause_hard) == 0;
#else
    return false;
#endif
}

}  // namespace omp_mlp
