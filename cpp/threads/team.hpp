// The only door to OpenMP: a team of threads that runs one loop after another.
//
// Work is handed out by index, never by thread number: OMP_THREAD_LIMIT, OMP_DYNAMIC or nesting may
// grant fewer threads than asked for, and then every index is still visited once. What fn(i) computes
// must depend on i alone; results are then the same bits for any number of workers.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <vector>

#include "base/buffer.hpp"

namespace omp_mlp {

// The team lives in a single parallel region. Between loops its threads wait in their own way, awake for
// some microseconds and then asleep: OpenMP's barriers spin for milliseconds, which halves the speed of
// everybody when the cores are shared with another busy process.
class Team {
public:
    // Runs lead(team) on the calling thread, with up to `workers` threads, itself among them, at its
    // service. With one worker everything runs inline. What lead throws is rethrown.
    static void run(int workers, const std::function<void(Team&)>& lead);

    // Calls fn(i) for every i < count. Worker w begins with i = w, w + size, ..., the same in every loop;
    // whoever is done with that takes over what nobody has begun, so that nobody waits for a thread that
    // does not get a core. Then the calling thread calls wait() over and over until all is done, if there
    // is one. Exceptions are kept for each index; after the loop the lowest index's is rethrown, or else
    // the one of wait().
    void for_each(Index count, const std::function<void(Index)>& fn,
                  const std::function<void()>& wait = {});

    // Calls fn(member) for every member < size(), each on a thread of its own, so that they may wait for each
    // other (Lockstep). The calling thread is member 0.
    void together(const std::function<void(Index member)>& fn);

    Index size() const { return size_; }

private:
    explicit Team(int size) : size_{size} {}
    void visit(Index i) noexcept;
    void try_index(Index i) noexcept;
    void work(int worker) noexcept;
    bool enter() noexcept;
    void serve(int worker) noexcept;
    void dismiss();

    // A loop begins when the calling thread has written what follows up to begun_, opens it and counts it in
    // loop_. Other threads may come in while it is open, and only while one is inside may it look at these.
    // When nothing is left, the loop is closed; when everybody is out, the next can be written.
    int size_;
    Index count_ = 0;
    const std::function<void(Index)>* fn_ = nullptr;  // null: the team is dismissed
    std::vector<std::exception_ptr> failures_;
    std::vector<std::atomic<bool>> begun_;
    alignas(cache_line_bytes) std::atomic<unsigned> loop_ = 0;  // the number of loops begun
    alignas(cache_line_bytes) std::atomic<Index> left_ = 0;     // indices that are not done
    static constexpr int closed = 1 << 30;
    alignas(cache_line_bytes) std::atomic<int> inside_ = closed;  // threads, but for the calling one
};

// What OpenMP would use if nobody asked for a number.
int openmp_max_threads();

// Gives OpenMP's threads back to the system. libgomp hangs in the child of a fork whose parent keeps a
// pool of threads; called before the fork, this cures it. Returns false where the runtime is another one
// or cannot do it.
bool release_threads();

}  // namespace omp_mlp
