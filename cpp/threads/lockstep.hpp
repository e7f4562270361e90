// Threads that work in step: each does its share, then all meet at a barrier, many thousand times a
// second.
#pragma once

#include <array>
#include <atomic>
#include <exception>

#include "base/buffer.hpp"
#include "threads/forks.hpp"
#include "threads/wait.hpp"

namespace omp_mlp {

// A sense-reversing barrier (Mellor-Crummey & Scott 1991, central counter). The last thread to arrive
// turns the phase. The others wait for the phase, awake at first and then asleep. The barrier is ready
// for the next meeting at once.
class Barrier {
public:
    explicit Barrier(Index members) : members_{members}, missing_{members} {}

    void meet() {
        if (members_ == 1) {
            return;
        }
        const unsigned phase = phase_.load(std::memory_order_relaxed);
        if (missing_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            missing_.store(members_, std::memory_order_relaxed);
            phase_.store(phase + 1, std::memory_order_release);
            phase_.notify_all();
        } else if (!wait_awake([&] { return phase_.load(std::memory_order_acquire) != phase; }) &&
                   !watch_.is_in_child()) {  // where nobody else would come
            phase_.wait(phase, std::memory_order_acquire);
        }
    }

private:
    Index members_;
    ForkWatch watch_;
    // Apart, so that those who arrive do not disturb those who wait.
    alignas(cache_line_bytes) std::atomic<Index> missing_;
    alignas(cache_line_bytes) std::atomic<unsigned> phase_ = 0;
};

// A barrier whose members agree on when to stop. A member that fails or wants to end must still come to
// the next meeting, or the others would wait for ever. At that meeting all members hear of it and leave
// together.
class Lockstep {
public:
    explicit Lockstep(Index members) : barrier_{members} {}

    class Member {
    public:
        explicit Member(Lockstep& lockstep) : lockstep_{&lockstep} {}

        // Does a share of the work. After an exception, this member does nothing more. The others hear
        // of the exception at the next meeting, and `finish` rethrows it.
        template <typename Work>
        void run(const Work& work) noexcept {
            if (failure_) {
                return;
            }
            try {
                work();
            } catch (...) {
                failure_ = std::current_exception();
                stop();
            }
        }

        // Makes all members stop at the next meeting.
        void stop() { lockstep_->stops_[phase_ & 1U].store(true, std::memory_order_relaxed); }

        // Waits for the others, and returns whether to go on. After it, all members see what was written
        // before.
        bool meet() {
            lockstep_->barrier_.meet();
            // Two flags take turns: a member that is one meeting ahead raises the other flag.
            return !lockstep_->stops_[phase_++ & 1U].load(std::memory_order_relaxed);
        }

        void finish() const {
            if (failure_) {
                std::rethrow_exception(failure_);
            }
        }

    private:
        Lockstep* lockstep_;
        unsigned phase_ = 0;
        std::exception_ptr failure_;
    };

private:
    Barrier barrier_;
    std::array<std::atomic<bool>, 2> stops_{};
};

}  // namespace omp_mlp
