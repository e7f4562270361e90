#include "threads/team.hpp"

#include <omp.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <csetjmp>
#include <cstdlib>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/flush_to_zero.hpp"
#include "threads/wait.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace omp_mlp {
namespace {

// Of the calling thread: how many threads the system has given to its teams, which OpenMP keeps; and how
// many it has refused.
thread_local int granted_threads = 1;
thread_local int refused_threads = 0;
thread_local ForkWatch granted_here;

#if defined(__unix__) || defined(__APPLE__)

// The size of a thread's stack that OpenMP is told by the environment; 0: the system's own.
std::size_t stack_size() {
    for (const char* name : {"OMP_STACKSIZE", "GOMP_STACKSIZE"}) {
        const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): read and not kept
        if (text == nullptr) {
            continue;
        }
        char* unit = nullptr;
        const unsigned long long number = std::strtoull(text, &unit, 10);
        while (std::isspace(static_cast<unsigned char>(*unit)) != 0) {
            ++unit;
        }
        constexpr std::string_view units = "BKMG";
        const char wanted = *unit == '\0' ? 'K' : static_cast<char>(std::toupper(*unit));
        const std::size_t power = units.find(wanted);
        if (number > 0 && power != std::string_view::npos) {
            return static_cast<std::size_t>(number) << (10 * power);
        }
    }
    return 0;
}

// A thread that does nothing.
struct Trial {
    pthread_t thread{};
    const std::atomic<bool>* may_end = nullptr;
    std::atomic<long> id = 0;

    static void* run(void* trial) {
        auto* self = static_cast<Trial*>(trial);
#if defined(__linux__)
        self->id = syscall(SYS_gettid);
#endif
        self->may_end->wait(false);
        return nullptr;
    }

    // Until the system no longer counts it, which is a little after its end.
    void wait_until_gone() const {
        pthread_join(thread, nullptr);
#if defined(__linux__)
        const std::string entry = "/proc/self/task/" + std::to_string(id.load());
        for (int tries = 0; tries < 10'000 && access(entry.c_str(), F_OK) == 0; ++tries) {
            std::this_thread::sleep_for(std::chrono::microseconds{50});
        }
#endif
    }
};

// Starts so many threads at once, and ends them again; returns how many there were. OpenMP's runtime ends
// the process if it gets none.
int try_threads(int count) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return 0;
    }
    if (const std::size_t size = stack_size(); size > 0) {
        pthread_attr_setstacksize(&attributes, size);
    }
    std::vector<Trial> trials(static_cast<std::size_t>(count));
    std::atomic<bool> may_end = false;
    int started = 0;
    for (Trial& trial : trials) {
        trial.may_end = &may_end;
        if (pthread_create(&trial.thread, &attributes, &Trial::run, &trial) != 0) {
            break;
        }
        ++started;
    }
    pthread_attr_destroy(&attributes);
    store_and_wake(may_end, true);
    for (const Trial& trial : std::span{trials}.first(static_cast<std::size_t>(started))) {
        trial.wait_until_gone();
    }
    return started;
}

#else

int try_threads(int count) {
    return count;
}

#endif

// How many of the workers the system has threads for. It is asked when a team is larger than all before.
int workers_to_be_had(int workers) {
    if (granted_here.is_in_child()) {
        granted_here = {};
        granted_threads = 1;
    }
    if (workers > granted_threads) {
        const int more = std::min(workers, omp_get_thread_limit()) - granted_threads;
        const int had = more > 0 ? try_threads(more) : more;
        if (had < more) {
            // One less than there were: others may ask for threads, too.
            refused_threads =
                std::max(refused_threads, workers - granted_threads - std::max(had - 1, 0));
            granted_threads += std::max(had - 1, 0);
            return granted_threads;
        }
        granted_threads = workers;
    }
    return workers;
}

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
    Team team{workers > 1 ? workers_to_be_had(workers) : 1};
    if (team.size_ == 1) {
        lead(team);
        return;
    }
    std::exception_ptr failure;
    team.open_region(lead, failure);
    if (failure) {
        std::rethrow_exception(failure);
    }
}

void Team::open_region(const std::function<void(Team&)>& lead, std::exception_ptr& failure) {
    // The child of a fork cannot leave the region by its end, where the runtime waits for all threads. It
    // jumps out, over the frames of the runtime alone. OpenMP gives it one thread from then on.
    std::jmp_buf before_region;
    // NOLINTNEXTLINE(modernize-avoid-setjmp-longjmp): no object is skipped
    if (setjmp(before_region) != 0) {
        return;
    }
#pragma omp parallel num_threads(size_) default(none) shared(lead, failure, before_region)
    {
#pragma omp single
        size_ = omp_get_num_threads();
        if (omp_get_thread_num() == 0) {
            run_guarded([&] { lead(*this); }, failure);
            if (watch_.is_in_child()) {
                if (!failure) {
                    failure =
                        std::make_exception_ptr(std::runtime_error{"forked within a team of threads"});
                }
                std::longjmp(before_region, 1);  // NOLINT(modernize-avoid-setjmp-longjmp)
            }
            dismiss();
        } else {
            serve(omp_get_thread_num());
        }
    }
}

void Team::for_each(Index count, const std::function<void(Index)>& fn,
                    const std::function<void()>& wait) {
    count_ = count;
    fn_ = &fn;
    failures_.assign(static_cast<std::size_t>(count), nullptr);
    if (size_ == 1 || count == 1) {
        const FlushToZero flush;
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
    store_and_wake(loop_, loop_.load(std::memory_order_relaxed) + 1);
    work(0);
    std::exception_ptr failure;
    const auto everything_is_done = [this] { return left_.load(std::memory_order_acquire) == 0; };
    while (!wait_awake(everything_is_done) && !watch_.is_in_child()) {
        if (wait && !failure) {
            run_guarded(wait, failure);
        }
    }
    // From here on no thread enters. Threads that are inside find nothing to do, and leave.
    inside_.fetch_or(closed, std::memory_order_relaxed);
    const auto everyone_is_out = [this] { return inside_.load(std::memory_order_acquire) == closed; };
    while (!wait_awake(everyone_is_out) && !watch_.is_in_child()) {
    }
    rethrow_first(failures_);
    if (failure) {
        std::rethrow_exception(failure);
    }
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
    const FlushToZero flush;
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
    store_and_wake(loop_, loop_.load(std::memory_order_relaxed) + 1);
}

int openmp_max_threads() {
    return omp_get_max_threads();
}

bool release_threads() {
    // Since GCC 9. It refuses within a region. LLVM's runtime crashes after a hard pause.
#if defined(__GNUC__) && !defined(__clang__)
    if (omp_pause_resource_all(omp_pause_hard) != 0) {
        return false;
    }
    granted_threads = 1;
    return true;
#else
    return false;
#endif
}

int missing_threads() {
    return std::exchange(refused_threads, 0);
}

}  // namespace omp_mlp
