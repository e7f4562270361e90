#include "omp_mlp/merge_cost.hpp"

#include <algorithm>

#include "omp_mlp/clock.hpp"
#include "omp_mlp/parallel.hpp"
#include "omp_mlp/random.hpp"

namespace omp_mlp {
namespace {

// Numbers in [0, 1), different in each stream.
void fill(Buffer& buffer, std::uint64_t stream) {
    for (std::size_t k = 0; k < buffer.size(); ++k) {
        buffer[k] = static_cast<float>(derive(stream, k) >> 40) * 0x1p-24F;
    }
}

}  // namespace

MergeCost measure_merge_cost(const MergeMethod& method, const std::vector<OptionValue>& options,
                             const std::vector<Index>& layer_ends, Index unfolded_stride,
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
    std::vector<float> means;
    std::vector<Buffer> shifts(n, Buffer(static_cast<std::size_t>(unfolded_stride)));
    std::vector<const float*> shift_pointers;
    if (unfolded_stride > 0) {
        means.resize(static_cast<std::size_t>(layer_ends.front() / unfolded_stride), 0.1F);
    }
    for (std::size_t i = 0; i < n; ++i) {
        fill(shifts[i], n + i + 1);
        shift_pointers.push_back(shifts[i].data());
    }
    const Unfolded unfolded{means.data(), shift_pointers.data(), unfolded_stride, layer_ends.front()};
    const std::vector<double> shares(n, 1.0 / static_cast<double>(n));
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
        merger.merge({pointers, shares, master.data(), means.empty() ? nullptr : &unfolded}, 1.0,
                     own_share, master.data());
        cost.share_seconds.push_back(wall_seconds() - start);
        start = wall_seconds();
        std::ranges::copy(master, copies[static_cast<std::size_t>(pass % replicas)].begin());
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
