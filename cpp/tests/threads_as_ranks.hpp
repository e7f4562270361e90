// Ranks that are threads of one process, for sanitizers: messages are copies under a lock.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <latch>
#include <mutex>
#include <span>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "base/bfloat16.hpp"
#include "base/buffer.hpp"
#include "base/communicator.hpp"

namespace omp_mlp {

struct RankLeft : std::runtime_error {
    RankLeft() : std::runtime_error{"a rank has left"} {}
};

// Where the ranks of a training meet for each message.
class Meeting {
public:
    using Message = std::vector<std::byte>;

    explicit Meeting(Index ranks) : given_(static_cast<std::size_t>(ranks)) {}

    Index size() const { return std::ssize(given_); }

    // Returns what all ranks give, once all have come. Throws RankLeft if a rank has left.
    std::vector<Message> meet(Index rank, std::span<const std::byte> mine) {
        std::unique_lock lock{mutex_};
        if (has_left_) {
            throw RankLeft{};
        }
        given_[static_cast<std::size_t>(rank)].assign(mine.begin(), mine.end());
        const Index number = number_;
        if (++come_ == size()) {
            last_ = given_;
            come_ = 0;
            ++number_;
            changed_.notify_all();
        }
        changed_.wait(lock, [&] { return number_ != number || has_left_; });
        if (number_ == number) {
            throw RankLeft{};
        }
        return last_;  // the next meeting does not end without this rank
    }

    void leave() {
        const std::scoped_lock lock{mutex_};
        has_left_ = true;
        changed_.notify_all();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Message> given_;
    std::vector<Message> last_;  // of the last meeting that was complete
    Index come_ = 0;             // of the meeting that is on
    Index number_ = 0;           // of meetings that were complete
    bool has_left_ = false;
};

class ThreadAsRank final : public Communicator {
public:
    // `leaves_at`: the call of finish(), from 1, that throws RankLeft and does not wait; 0: none. The work that
    // is on its way then has not begun: end() lets it go on.
    ThreadAsRank(Meeting& meeting, Index rank, Index leaves_at = 0)
        : meeting_{&meeting}, rank_{rank}, leaves_at_{leaves_at} {}
    ThreadAsRank(const ThreadAsRank&) = delete;
    ThreadAsRank(ThreadAsRank&&) = delete;
    ThreadAsRank& operator=(const ThreadAsRank&) = delete;
    ThreadAsRank& operator=(ThreadAsRank&&) = delete;
    ~ThreadAsRank() override { end(); }

    // Once the training is over. Messages that the rank has begun still arrive; others do not.
    void end() {
        if (aside_.joinable()) {
            is_over_.count_down();
            aside_.join();
        }
        meeting_->leave();
    }

    Index size() const override { return meeting_->size(); }
    Index rank() const override { return rank_; }

    void gather(std::span<const std::byte> mine, std::span<std::byte> everyone) override {
        auto to = everyone.begin();
        for (const Meeting::Message& message : meeting_->meet(rank_, mine)) {
            to = std::ranges::copy(message, to).out;
        }
    }

    void add_up(std::span<float> values) override { add_up_in_order(values); }
    void add_up(std::span<double> values) override { add_up_in_order(values); }

    void add_up_rounded(std::span<float> values, std::span<float> left) override {
        std::vector<std::uint16_t> rounded(values.size());
        round_to_bfloat16(values, left, rounded);
        widen(rounded, values);
        add_up_in_order(values);
    }

    void begin(std::function<void()> work) override {
        ++begun_;
        aside_ = std::thread{[this, work = std::move(work), is_held = begun_ == leaves_at_] {
            try {
                if (is_held) {
                    is_over_.wait();
                }
                work();
            } catch (...) {
                failure_ = std::current_exception();
            }
        }};
    }

    void finish() override {
        if (begun_ == leaves_at_) {
            throw RankLeft{};
        }
        aside_.join();
        if (failure_) {
            std::rethrow_exception(std::exchange(failure_, nullptr));
        }
    }

private:
    template <typename T>
    void add_up_in_order(std::span<T> values) {
        std::vector<T> all(values.size() * static_cast<std::size_t>(size()));
        gather(std::as_bytes(values), std::as_writable_bytes(std::span{all}));
        std::ranges::fill(values, T{0});
        for (std::size_t i = 0; i < all.size(); ++i) {
            values[i % values.size()] += all[i];
        }
    }

    Meeting* meeting_;
    Index rank_;
    Index leaves_at_;
    Index begun_ = 0;
    std::latch is_over_{1};
    std::thread aside_;
    std::exception_ptr failure_;
};

}  // namespace omp_mlp
