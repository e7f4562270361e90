// Merge methods make the next master from the replicas of a network and the base that they started from.
//
// Methods see flat spans and layer boundaries, never a network. To add a method, write its function and
// its row in methods.cpp, and its oracle in tests/oracle. Error messages, documentation, benchmarks and
// tests read the table.
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
    const Deferred* deferred = nullptr;      // work that the replicas leave to the merge, if any
    // Where other ranks have replicas, too, sample_share is that of all of them, and this is the place of
    // replicas[0] among them.
    std::size_t first = 0;

    std::size_t count() const { return sample_share.size(); }  // replicas of all ranks
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

// What a method has to know of a whole layer before it can merge a slice of it: sums over the slices.
struct Measure {
    Index (*count)(Index replicas);  // of sums
    // Writes the slice's part of each sum. It may use the slice of `updates`, and then leaves sum_i d_i
    // there.
    void (*slice)(const MergeInput& input, const ReplicaRows& rows, double* updates, double* sums);
    // Whether `slice` leaves sum_i d_i in `updates`. Where all replicas weigh the same, the merge needs
    // nothing else, and reads the replicas' parameters only once.
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
    bool may_skip;  // whether the method means the same when replicas that are not finite are left out
    std::span<const MergeOption> options;
    const Measure* measure;  // or null
    // Most methods weigh the replicas, in each layer by itself: W = base + sum_i k_i (w_i - base) if the
    // method needs the base, else W = sum_i k_i w_i. `weigh` writes the k_i. `options`: a value for each
    // option.
    void (*weigh)(const MergeInput& input, std::span<const OptionValue> options,
                  std::span<const double> sums, std::span<double> weights);
    // For the other methods `weigh` is null, and `combine` writes the merged parameters of a slice.
    void (*combine)(const ReplicaRows& rows, double* merged);
};

std::span<const MergeMethod> merge_methods();

// Throws std::invalid_argument, listing the names, if there is no method of that name.
const MergeMethod& merge_method(std::string_view name);

// Whether sums over the replicas are all that the method has to know of them. Then ranks can add up sums
// of their own replicas.
bool merges_by_sums(const MergeMethod& method);

}  // namespace omp_mlp
