// Merging: from the replicas of a network, and the base they started from, to the next master.
//
// Methods see flat spans and layer boundaries, never a network. To add one: write its function(s) in
// merge.cpp, add its row to the table there, and its oracle to tests/reference.py. Error messages,
// documentation, benchmarks and tests read the table.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "omp_mlp/buffer.hpp"
#include "omp_mlp/merge_loops.hpp"

namespace omp_mlp {

// A piece of the flat buffer; it lies within one layer.
struct Slice {
    Index begin;
    Index end;
    std::size_t layer;
};

struct MergeInput {
    std::span<const float* const> replicas;  // each a flat buffer, in the order of their index
    std::span<const double> sample_share;    // of each replica in the samples of the round; sums to 1
    const float* base;                       // where the round started, or null if there is none
    const Deferred* deferred = nullptr;      // what the replicas have left to do, if anything
};

// A setting of a method: a number, or one of a few words.
struct MergeOption {
    std::string_view name;
    std::string_view summary;
    std::span<const std::string_view> words;  // the first is the default
};

struct OptionValue {
    std::string word;  // empty: the number holds
    double number = 0.0;
};

// What a method has to know of whole layers before it can merge any slice of them: sums over the slices.
struct Measure {
    Index (*count)(Index replicas);  // of sums
    // Writes the slice's part of each sum. May need the slice of `updates`, which is sum_i d_i then.
    void (*slice)(const MergeInput& input, const ReplicaRows& rows, double* updates, double* sums);
    // Whether it leaves sum_i d_i in `updates`. Where all replicas weigh the same, that is all it takes to
    // merge, and their parameters are read only once.
    bool adds_updates;
};

// How often a method is best applied.
enum class Cadence { once, periodic };

struct MergeMethod {
    std::string_view name;
    std::string_view summary;
    std::string_view formula;
    std::string_view reference;
    Cadence cadence;
    bool needs_base;
    bool may_skip;  // whether it means the same without a replica that is not finite
    std::span<const MergeOption> options;
    const Measure* measure;  // or null
    // Most methods weigh the replicas, each layer for itself: W = base + sum_i k_i (w_i - base) if the
    // method needs the base, else W = sum_i k_i w_i. Writes the k_i. `options`: a value for each option.
    void (*weigh)(const MergeInput& input, std::span<const OptionValue> options,
                  std::span<const double> sums, std::span<double> weights);
    // All others, whose `weigh` is null, write the merged parameters of a slice.
    void (*combine)(const ReplicaRows& rows, double* merged);
};

std::span<const MergeMethod> merge_methods();

// Throws std::invalid_argument, listing the names, if there is none of that name.
const MergeMethod& merge_method(std::string_view name);

// What is done with the merged parameters: u = merged - base; M = momentum M + u; then
//     master = base + learning_rate M                     (momentum)
//     master = base + learning_rate (u + momentum M)      (nesterov)
struct OuterStep {
    double learning_rate;
    double momentum;
    bool nesterov;

    bool takes_merged_as_it_is() const { return learning_rate == 1.0 && momentum == 0.0; }
};

// Runs fn(0), ..., fn(count - 1), in any order, perhaps in parallel.
using ForEach = std::function<void(Index count, const std::function<void(Index)>& fn)>;

// Applies a method slice by slice, then the outer step. The slices are the same for any number of workers,
// and what is measured of them is added up in order, so the result is the same bits too.
class Merger {
public:
    // replicas: how many there are, though some of them may be left out of a merge.
    // layer_ends: where each layer ends in the flat buffer, ascending; the last one is its size.
    Merger(const MergeMethod& method, std::vector<OptionValue> options,
           std::span<const Index> layer_ends, const OuterStep& outer, Index replicas);

    // `master` may be input.base; an outer step needs a base. `momentum_factor` is one more factor of M.
    void merge(const MergeInput& input, double momentum_factor, const ForEach& for_each, float* master);

private:
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
