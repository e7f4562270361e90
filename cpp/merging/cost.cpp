#include "merging/cost.hpp"

#include <algorithm>
#include <optional>

#include "base/clock.hpp"
#include "base/random.hpp"
#include "threads/team.hpp"

namespace omp_mlp {
namespace {

// Numbers in [0, 1), different in each stream.
void fill(Buffer& buffer, std::uint64_t stream) {
    for (std::size_t k = 0; k < buffer.size(); ++k) {
        buffer[k] = static_cast<float>(derive(stream, k) >> 40) * 0x1p-24F;
    }
}

// What n replicas leave to a merge when the first layer reads sparse: each has touched random rows and
// the biases.
class Leftovers {
public:
    Leftovers(Index replicas, Index layer_size, const SparseRows& sparse, const float* base)
        : means_(static_cast<std::size_t>(layer_size / sparse.stride), 0.1F) {
        means_.back() = 0.0F;
        const auto rows = means_.size();
        for (Index i = 0; i < replicas; ++i) {
            auto& bits = touched_.emplace_back((rows + 63) / 64);
            auto& shift = shifts_.emplace_back(static_cast<std::size_t>(sparse.stride));
            fill(shift, static_cast<std::uint64_t>(i));
            for (std::size_t k = 0; k < rows; ++k) {
                const double drawn =
                    static_cast<double>(derive(static_cast<std::uint64_t>(i), k)) * 0x1p-64;
                const bool is_touched = drawn < sparse.touched || k + 1 == rows;
                bits[k / 64] |= std::uint64_t{is_touched} << (k % 64);
            }
        }
        for (std::size_t i = 0; i < touched_.size(); ++i) {
            touched_pointers_.push_back(touched_[i].data());
            shift_pointers_.push_back(shifts_[i].data());
        }
        deferred_ = {touched_pointers_.data(), base,          means_.data(),
                     shift_pointers_.data(),   sparse.stride, layer_size};
    }

    const Deferred* deferred() const { return &deferred_; }

private:
    std::vector<float> means_;
    std::vector<std::vector<std::uint64_t>> touched_;
    std::vector<Buffer> shifts_;
    std::vector<const std::uint64_t*> touched_pointers_;
    std::vector<const float*> shift_pointers_;
    Deferred deferred_{};
};

}  // namespace

MergeCost measure_merge_cost(const MergeMethod& method, const std::vector<OptionValue>& options,
                             const std::vector<Index>& layer_ends, const SparseRows* sparse,
                             const OuterStep& outer, Index replicas, int workers, int passes) {
    const auto n = static_cast<std::size_t>(replicas);
    Buffer master(static_cast<std::size_t>(layer_ends.back()));
    fill(master, 0);
    std::vector<Buffer> copies(n, master);
    std::vector<const float*> pointers;
    for (std::size_t i = 0; i < n; ++i) {
        fill(copies[i], i + 1);
        pointers.push_back(copies[i].data());
    }
    const std::vector<double> shares(n, 1.0 / static_cast<double>(n));
    std::optional<Leftovers> leftovers;
    if (sparse != nullptr) {
        leftovers.emplace(replicas, layer_ends.front(), *sparse, master.data());
    }
    // A replica loads these rows while it trains, so they are not in the time of loading.
    const Index loaded_from = sparse != nullptr ? layer_ends.front() - sparse->stride : 0;
    Merger merger{method, options, layer_ends, outer, replicas};
    MergeCost cost{};

    for (int pass = 0; pass < passes; ++pass) {
        cost.loops = 0;
        const ForEach own_share = [&](Index count, const std::function<void(Index)>& fn) {
            ++cost.loops;
            for (Index i = pass % replicas; i < count; i += replicas) {
                fn(i);
            }
        };
        double start = wall_seconds();
        merger.merge({pointers, shares, master.data(), leftovers ? leftovers->deferred() : nullptr}, 1.0,
                     own_share, master.data());
        cost.share_seconds.push_back(wall_seconds() - start);
        start = wall_seconds();
        std::copy(master.begin() + loaded_from, master.end(),
                  copies[static_cast<std::size_t>(pass % replicas)].begin() + loaded_from);
        cost.load_seconds.push_back(wall_seconds() - start);
    }
    Team::run(workers, [&](Team& team) {
        for (int pass = 0; pass < passes; ++pass) {
            const double start = wall_seconds();
            team.for_each(replicas, [](Index /*i*/) {});
            cost.loop_seconds.push_back(wall_seconds() - start);
        }
    });
    return cost;
}

}  // namespace omp_mlp
