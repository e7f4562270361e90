// Threads that work in step: phase after phase, many thousand times a second.
#pragma once

#include <atomic>
#include <exception>
#include <utility>
#include <vector>

#include "base/buffer.hpp"
#include "threads/forks.hpp"
#include "threads/wait.hpp"

namespace omp_mlp {

// The work of a phase is cut into parts, and a phase begins when all parts of the phase before are done.
//
// The members claim the parts one by one. Each begins with its own parts, whose memory is near its core.
// Then it claims those of members that are not there. So nobody waits for a thread that gets no core, but
// for one that lost its core within a part. A thread that comes late finds that phases are over, and skips
// them. This is what a barrier cannot do (Mellor-Crummey & Scott 1991): every thread has to reach it.
class Lockstep {
public:
    Lockstep(Index members, Index parts)
        : members_{members}, parts_{parts}, claims_(claimed(parts)), arrivals_(claimed(members)) {}

    class Member;

private:
    // A word that one member mostly writes alone.
    struct alignas(cache_line_bytes) Word {
        std::atomic<unsigned> value = 0;
    };

    std::size_t claimed(Index words) const { return members_ > 1 ? static_cast<std::size_t>(words) : 0; }

    bool is_over(unsigned phase) const { return phase_.load(std::memory_order_acquire) != phase; }

    // What the parts of a phase read was written in the phases before. So a claim only has to be atomic.
    bool claim(Index part, unsigned phase) {
        std::atomic<unsigned>& claims = claims_[static_cast<std::size_t>(part)].value;
        unsigned expected = phase;
        return claims.load(std::memory_order_relaxed) == phase &&
               claims.compare_exchange_strong(expected, phase + 1, std::memory_order_relaxed);
    }

    // Whether a member has not begun a phase, or one before it.
    bool is_missing(Index member, unsigned phase) const {
        const unsigned arrived =
            arrivals_[static_cast<std::size_t>(member)].value.load(std::memory_order_relaxed);
        return static_cast<int>(arrived - (phase + 1)) < 0;
    }

    // The member that counts the last part of a phase begins the next phase. Returns whether it did. The others are
    // mostly awake, and store_and_wake would wait until they no longer hold the word. So that member looks for
    // sleepers now, and once more when its store has been seen.
    bool count(Index parts, unsigned phase) {
        if (parts == 0 || done_.fetch_add(parts, std::memory_order_acq_rel) + parts != parts_) {
            return false;
        }
        done_.store(0, std::memory_order_relaxed);
        phase_.store(phase + 1, std::memory_order_release);
        phase_.notify_all();
        return true;
    }

    void look_for_sleepers() {
        std::atomic_thread_fence(std::memory_order_seq_cst);
        phase_.notify_all();
    }

    void sleep_through(unsigned phase) {
        if (!watch_.is_in_child()) {  // where nobody else would come
            phase_.wait(phase, std::memory_order_acquire);
        }
    }

    Index members_;
    Index parts_;
    ForkWatch watch_;
    std::vector<Word> claims_;    // of each part: the number of phases in which it was claimed
    std::vector<Word> arrivals_;  // of each member: one more than the phase that it began last
    // Apart, so that those who count do not disturb those who wait.
    alignas(cache_line_bytes) std::atomic<Index> done_ = 0;  // parts of the present phase
    alignas(cache_line_bytes) std::atomic<unsigned> phase_ = 0;
    alignas(cache_line_bytes) std::atomic<bool> stops_ = false;
};

// What a thread has of the lockstep. All members run the same phases in the same order.
class Lockstep::Member {
public:
    Member(Lockstep& lockstep, Index number) : lockstep_{&lockstep}, number_{number} {}
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;
    Member(Member&&) = delete;
    Member& operator=(Member&&) = delete;
    ~Member() {
        if (began_phase_) {
            lockstep_->look_for_sleepers();
        }
    }

    // Runs work(part) for parts that nobody else has claimed, until all parts are done. After it, all members
    // see what the parts wrote. Returns whether to go on. An exception ends the lockstep with the phase, and
    // `finish` rethrows it.
    template <typename Work>
    bool run(const Work& work) noexcept {
        const unsigned phase = phase_++;
        if (lockstep_->members_ == 1) {
            for (Index part = 0; part < lockstep_->parts_; ++part) {
                do_part(work, part);
            }
        } else if (!lockstep_->is_over(phase)) {
            share(work, phase);
        }
        return !lockstep_->stops_.load(std::memory_order_relaxed) && !lockstep_->watch_.is_in_child();
    }

    // Within a part: no phase comes after this one.
    void stop() { lockstep_->stops_.store(true, std::memory_order_relaxed); }

    void finish() const {
        if (failure_) {
            std::rethrow_exception(failure_);
        }
    }

private:
    template <typename Work>
    void share(const Work& work, unsigned phase) noexcept {
        Lockstep& all = *lockstep_;
        const auto is_over = [&] { return all.is_over(phase); };
        all.arrivals_[static_cast<std::size_t>(number_)].value.store(phase + 1,
                                                                     std::memory_order_relaxed);
        Index done = claim_of(work, phase, number_);
        // Who was missing in the phase before is not waited for. Only a member that helped then asks who it was,
        // because the answer is in the cache of another core.
        if (helped_) {
            const Index helped = claim_of_others(
                work, phase, [&](Index other) { return all.is_missing(other, phase - 1); });
            helped_ = helped > 0;
            done += helped;
        }
        count(done, phase);
        if (wait_spinning(is_over, pauses_before_help)) {
            return;
        }
        help(work, phase, [&](Index other) { return all.is_missing(other, phase); });
        if (wait_awake(is_over)) {
            return;
        }
        // Somebody else has claimed all that is left, or is about to.
        help(work, phase, [](Index /*other*/) { return true; });
        if (!is_over()) {
            all.sleep_through(phase);
        }
    }

    template <typename Work, typename IsDue>
    void help(const Work& work, unsigned phase, const IsDue& is_due) noexcept {
        const Index done = claim_of_others(work, phase, is_due);
        helped_ = helped_ || done > 0;
        count(done, phase);
    }

    void count(Index done, unsigned phase) noexcept {
        const bool began_last = std::exchange(began_phase_, lockstep_->count(done, phase));
        if (began_last) {
            lockstep_->look_for_sleepers();
        }
    }

    // claim_of the other members of whom `is_due` is true, beginning with the next one.
    template <typename Work, typename IsDue>
    Index claim_of_others(const Work& work, unsigned phase, const IsDue& is_due) noexcept {
        Index done = 0;
        for (Index away = 1; away < lockstep_->members_; ++away) {
            const Index other = (number_ + away) % lockstep_->members_;
            if (is_due(other)) {
                done += claim_of(work, phase, other);
            }
        }
        return done;
    }

    // Does what nobody has claimed of the parts of a member. Returns how many they were.
    template <typename Work>
    Index claim_of(const Work& work, unsigned phase, Index owner) noexcept {
        Index done = 0;
        for (Index part = owner; part < lockstep_->parts_; part += lockstep_->members_) {
            if (lockstep_->claim(part, phase)) {
                do_part(work, part);
                ++done;
            }
        }
        return done;
    }

    template <typename Work>
    void do_part(const Work& work, Index part) noexcept {
        try {
            work(part);
        } catch (...) {
            failure_ = std::current_exception();
            stop();
        }
    }

    static constexpr int pauses_before_help = 50;

    Lockstep* lockstep_;
    Index number_;
    unsigned phase_ = 0;
    bool helped_ = false;  // in the phase that was shared last, with parts of other members
    // With the parts that were counted last. So sleepers are to be looked for once more.
    bool began_phase_ = false;
    std::exception_ptr failure_;
};

}  // namespace omp_mlp
