// Merging: from the replicas of a network, and the base they started from, to the next master.
//
// Methods see flat spans and layer boundaries, never a network. To add one: write its function(s) and its row
// in methods.cpp, and its oracle in tests/oracle. Error messages, documentation, benchmarks and tests read the
// table.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/buffer.hpp"
#include "merging/loops.hpp"

namespace omp_mlp {

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

}  // namespace omp_mlp
