// Lets the calling thread look up from training about every 50 ms (Ctrl-C, progress, callbacks), and
// stop all threads. Replicas check in between batches, from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "base/buffer.hpp"

namespace omp_mlp {

// How far a round is, summed over the replicas. The order of the sum depends on the clock, so it is for
// display only: no result is computed from it.
struct Progress {
    Index samples = 0;
    double loss_sum = 0.0;
};

class Heartbeat {
public:
    // `beat` runs on the thread that builds the heartbeat. It returns true to stop the training, and may
    // throw, which stops it too.
    explicit Heartbeat(std::function<bool(const Progress&)> beat);

    // Reports that so many more samples are done. Beats if this is the calling thread and a beat is due.
    void check_in(Index samples, double loss_sum);

    // The calling thread calls this while it waits long for the others: it sleeps a little, and beats if
    // a beat is due.
    void wait();

    bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

    void start_round();

    // On the calling thread only, for rounds in which no thread checks in because they are too short.
    void beat_if_due();

private:
    std::function<bool(const Progress&)> beat_;
    std::thread::id caller_ = std::this_thread::get_id();
    std::chrono::steady_clock::time_point last_beat_ = std::chrono::steady_clock::now();
    alignas(cache_line_bytes) std::atomic<bool> stopped_ = false;
    alignas(cache_line_bytes) std::atomic<Index> samples_ = 0;
    std::atomic<double> loss_sum_ = 0.0;
};

// One thread's progress in a round. It tells the heartbeat after a certain amount of work, not after
// every batch.
class Reporter {
public:
    // work_a_sample: multiply-adds.
    Reporter(Heartbeat& heartbeat, Index work_a_sample)
        : heartbeat_{&heartbeat}, work_a_sample_{work_a_sample} {}

    // Reports what is done since the round began.
    void report(Index samples, double loss_sum);

    bool stopped() const { return heartbeat_->stopped(); }

private:
    Heartbeat* heartbeat_;
    Index work_a_sample_;
    Progress reported_;
};

}  // namespace omp_mlp
