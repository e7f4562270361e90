// One merge: the method measures and combines the replicas slice by slice, then the outer step follows.
#pragma once

#include <span>
#include <vector>

#include "base/buffer.hpp"
#include "base/for_each.hpp"
#include "merging/methods.hpp"
#include "merging/outer_step.hpp"
#include "merging/slices.hpp"

namespace omp_mlp {

// Applies a method slice by slice, then the outer step. The slices are the same for any number of
// workers, and their measurements are added up in order. So the result has the same bits, too.
class Merger {
public:
    // replicas: the number of replicas, some of which may be left out of a merge. layer_ends: where each
    // layer ends in the flat buffer, ascending; the last one is the buffer's size.
    Merger(const MergeMethod& method, std::vector<OptionValue> options,
           std::span<const Index> layer_ends, const OuterStep& outer, Index replicas);

    // `master` may be input.base. An outer step needs a base. `momentum_factor` multiplies M.
    void merge(const MergeInput& input, double momentum_factor, const ForEach& for_each, float* master);

    // M, which the merges of a training keep; empty without momentum.
    std::span<float> velocity() { return velocity_; }

private:
    // Whether the merge is a copy of the only replica.
    bool takes_the_only_one(const MergeInput& input);
    void measure(const MergeInput& input, const ForEach& for_each);
    void weigh(const MergeInput& input);
    void merge_slice(const MergeInput& input, const Slice& slice, double momentum_factor, float* master);
    void combine(const MergeInput& input, const Slice& slice, double* merged) const;

    const MergeMethod* method_;
    std::vector<OptionValue> options_;
    std::vector<Slice> slices_;
    std::size_t layers_;
    OuterStep outer_;
    Buffer velocity_;  // M; empty without momentum
    std::vector<double, CacheLineAllocator<double>>
        updates_;                  // sum_i d_i; empty if the method does not ask for it
    std::vector<double> parts_;    // of the sums: slices x sums
    std::vector<double> weights_;  // layers x replicas
};

}  // namespace omp_mlp
