#include "threads/heartbeat.hpp"

#include <utility>

namespace omp_mlp {

using namespace std::chrono_literals;

Heartbeat::Heartbeat(std::function<bool(const Progress&)> beat) : beat_{std::move(beat)} {}

void Heartbeat::start_round() {
    samples_.store(0, std::memory_order_relaxed);
    loss_sum_.store(0.0, std::memory_order_relaxed);
}

void Heartbeat::check_in(Index samples, double loss_sum) {
    samples_.fetch_add(samples, std::memory_order_relaxed);
    loss_sum_.fetch_add(loss_sum, std::memory_order_relaxed);
    if (std::this_thread::get_id() == caller_) {
        beat_if_due();
    }
}

void Heartbeat::wait() {
    std::this_thread::sleep_for(50us);
    beat_if_due();
}

void Heartbeat::beat_if_due() {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_beat_ < 50ms || stopped()) {
        return;
    }
    last_beat_ = now;
    try {
        if (beat_(
                {samples_.load(std::memory_order_relaxed), loss_sum_.load(std::memory_order_relaxed)})) {
            stopped_.store(true, std::memory_order_relaxed);
        }
    } catch (...) {
        stopped_.store(true, std::memory_order_relaxed);
        throw;
    }
}

void Reporter::report(Index samples, double loss_sum) {
    constexpr Index check_in_work = Index{1} << 22;  // some 0.1 ms
    const Index unreported = samples - reported_.samples;
    if (unreported * work_a_sample_ >= check_in_work) {
        heartbeat_->check_in(unreported, loss_sum - reported_.loss_sum);
        reported_ = {samples, loss_sum};
    }
}

}  // namespace omp_mlp
