// One merge of the replicas of several ranks, by sums: each rank adds up what its own replicas learned, and
// the communicator adds up the sums of the ranks.
#pragma once

#include <span>
#include <vector>

#include "base/buffer.hpp"
#include "base/communicator.hpp"
#include "base/for_each.hpp"
#include "merging/methods.hpp"
#include "merging/outer_step.hpp"
#include "merging/slices.hpp"
#include "merging/update_sums.hpp"

namespace omp_mlp {

// Makes what Merger makes of all replicas, up to rounding: the sums of the ranks are rounded to float
// before they are added up. What is sent are updates, which are small, so that the master loses nothing.
// All ranks get the same bits. Updates may be sent with fewer bits (update_sums.hpp).
class SumMerger {
public:
    // The method has to be one that merges_by_sums().
    SumMerger(const MergeMethod& method, std::vector<OptionValue> options,
              std::span<const Index> layer_ends, const OuterStep& outer, Communicator& communicator,
              const Sending& sending);

    // input.replicas are those of this rank, perhaps none. There is a base: the same on all ranks.
    void merge(const MergeInput& input, double momentum_factor, const ForEach& for_each, float* master);

    // A merge in three parts, where the networks of the ranks did not start from one base. begin() takes this
    // rank's network, or none, and input.base, where that started. send() alone makes calls of the
    // communicator, and may run on another thread, while the networks change. Only then does the rank have
    // to know the others' shares: the inputs of send() and finish() have these, and no networks. finish()
    // adds the updates to input.base, which is the same on all ranks.
    void begin(const MergeInput& input, const ForEach& for_each);
    void send(const MergeInput& input);
    void finish(const MergeInput& input, double momentum_factor, const ForEach& for_each, float* master);

    // M, which the merges of a training keep; empty without momentum.
    std::span<float> velocity() { return velocity_; }

    // What this rank has not sent of its updates, which the merges of a training keep, too.
    std::span<float> left() { return sums_.left(); }

private:
    void add_weighted_updates(const MergeInput& input, const ForEach& for_each);
    void add_update(const MergeInput& input, const ForEach& for_each);
    void measure_updates(const MergeInput& input, const ForEach& for_each);
    void send_weighted();
    void send_measured();
    void weigh(const MergeInput& input);
    void weigh_measured(const MergeInput& input, const ForEach& for_each);
    void take_steps(const MergeInput& input, double momentum_factor, const ForEach& for_each,
                    float* master);
    void measure_sum(const ForEach& for_each);
    std::vector<double> shares_sent() const;
    void take_step(const MergeInput& input, const Slice& slice, double momentum_factor, float* master);
    std::vector<double> sum_of_layers() const;
    std::span<double> weights_of(std::size_t layer, const MergeInput& input);

    const MergeMethod* method_;
    std::vector<OptionValue> options_;
    std::vector<Slice> slices_;
    std::size_t layers_;
    OuterStep outer_;
    Communicator* communicator_;
    UpdateSums sums_;
    Buffer velocity_;              // M; empty without momentum
    Buffer sent_;                  // the sum of the updates: of this rank, and then of all
    std::vector<double> updates_;  // of begin(), where weights are not known yet; else empty
    std::vector<double> parts_;    // a sum for each slice
    std::vector<double> squares_;  // sum_i |d_i|^2 of each layer
    std::vector<double> weights_;  // layers x replicas of all ranks
};

}  // namespace omp_mlp
