// The merges of a training: how the usual ones are made, and the last one.
#pragma once

#include <optional>
#include <span>
#include <variant>

#include "merging/merger.hpp"
#include "merging/sum_merger.hpp"
#include "threads/team.hpp"
#include "training/task.hpp"

namespace omp_mlp {

inline constexpr OuterStep no_outer_step{.learning_rate = 1.0, .momentum = 0.0, .nesterov = false};

// What merges are made with: the last one of a training may have a method of its own.
class Mergers {
public:
    // `ranks`: null, or those that merge together.
    Mergers(const Task& task, const Ranks* ranks, const OuterStep& outer);

    void merge(const MergeInput& input, bool is_last, double momentum_factor, Team& team,
               Parameters& master);

    // The parts of a merge that travels (sum_merger.hpp). The ranks merge by sums.
    void begin(const MergeInput& input, bool is_last, Team& team);
    void send(const MergeInput& input, bool is_last);
    void finish(const MergeInput& input, bool is_last, double momentum_factor, Team& team,
                Parameters& master);

    // M of the outer step.
    std::span<float> velocity();
    // What this rank has not sent of its updates.
    std::span<float> left();

private:
    // Merges all networks where this process has them all, or sums over the ranks.
    using AnyMerger = std::variant<Merger, SumMerger>;

    static AnyMerger make(const Task& task, const Ranks* ranks, const MergeMethod& method,
                          const std::vector<OptionValue>& options, const OuterStep& outer,
                          const Sending& sending);
    AnyMerger& one(bool is_last) { return is_last && last_ ? *last_ : usual_; }
    SumMerger& by_sums(bool is_last) { return std::get<SumMerger>(one(is_last)); }

    AnyMerger usual_;
    std::optional<AnyMerger> last_;
};

}  // namespace omp_mlp
