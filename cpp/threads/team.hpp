// The only door to OpenMP: a team of threads that runs one loop after another.
//
// The team hands out work by index, never by thread number. OMP_THREAD_LIMIT, OMP_DYNAMIC or nesting may
// grant fewer threads than asked for, and every index is still visited once. What fn(i) computes must
// depend on i alone. Results then have the same bits for any number of workers.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <vector>

#include "base/buffer.hpp"
#include "base/for_each.hpp"
#include "threads/forks.hpp"

namespace omp_mlp {

// The team lives in a single parallel region. Between loops its threads wait in their own way, awake for
// some microseconds and then asleep. OpenMP's barriers spin for milliseconds, which halves the speed of
// all processes that share the cores.
class Team {
public:
    // Runs lead(team) on the calling thread. The team has up to `workers` threads, the calling thread
    // among them, and fewer where the system gives no more: missing_threads() counts these. With one worker
    // everything runs inline. What lead throws is rethrown.
    //
    // `lead` may fork. In the child it has to throw soon: the loops no longer wait for the other threads,
    // which do not exist there, and the team is left as it is.
    static void run(int workers, const std::function<void(Team&)>& lead);

    // Calls fn(i) for every i < count. Worker w begins with i = w, w + size, ..., the same in every
    // loop. A worker that is done with these takes indices that no worker has begun, so the loop waits
    // for no thread that does not get a core. Then the calling thread calls wait(), if there is one,
    // until all is done. Exceptions are kept for each index. After the loop, the exception of the lowest
    // index is rethrown, or else that of wait(). fn() reads and writes subnormal numbers as zeros.
    void for_each(Index count, const std::function<void(Index)>& fn,
                  const std::function<void()>& wait = {});

    Index size() const { return size_; }

private:
    explicit Team(int size) : size_{size} {}
    void open_region(const std::function<void(Team&)>& lead, std::exception_ptr& failure);
    void visit(Index i) noexcept;
    void try_index(Index i) noexcept;
    void work(int worker) noexcept;
    bool enter() noexcept;
    void serve(int worker) noexcept;
    void dismiss();

    // The calling thread begins a loop: it writes the members from here to begun_, opens the loop, and
    // counts it in loop_. Another thread may enter while the loop is open, and may look at these members
    // only while it is inside. When no index is left, the loop is closed. When all threads are out, the
    // next loop can be written.
    int size_;
    ForkWatch watch_;
    Index count_ = 0;
    const std::function<void(Index)>* fn_ = nullptr;  // null: the team is dismissed
    std::vector<std::exception_ptr> failures_;
    std::vector<std::atomic<bool>> begun_;
    alignas(cache_line_bytes) std::atomic<unsigned> loop_ = 0;  // the number of loops begun
    alignas(cache_line_bytes) std::atomic<Index> left_ = 0;     // indices that are not done
    static constexpr int closed = 1 << 30;
    alignas(cache_line_bytes) std::atomic<int> inside_ = closed;  // threads, without the calling one
};

// The team's loops, for code that knows nothing of threads. The team must outlive them.
inline ForEach in_parallel(Team& team) {
    return [&team](Index count, const std::function<void(Index)>& fn) { team.for_each(count, fn); };
}

// The number of threads that OpenMP uses by default.
int openmp_max_threads();

// Gives the threads that OpenMP keeps for the calling thread back to the system. libgomp hangs in the child
// of a fork if the forking thread keeps a pool of threads; a call before the fork prevents that. What other
// threads run meanwhile goes on. Returns false where the runtime is another one or cannot do it, as within
// a team.
bool release_threads();

// How many threads the system refused to the calling thread's teams since it last asked.
int missing_threads();

}  // namespace omp_mlp
