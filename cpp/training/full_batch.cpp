#include "training/full_batch.hpp"

#include <algorithm>
#include <numeric>

#include "base/block.hpp"
#include "kernels/dispatch.hpp"

namespace omp_mlp {
namespace {

// Enough for many workers. But each part has the memory of a network. It needs many samples, so that adding
// it up costs little, and work that is worth waking a thread for.
Index count_parts(Index rows, Index parameters) {
    constexpr Index fewest_rows = 256;
    constexpr Index least_work = Index{1} << 20;   // multiply-adds
    constexpr Index most_memory = Index{1} << 24;  // floats
    const Index most = std::clamp<Index>(most_memory / parameters, 8, 64);
    const Index worth = std::min(rows / fewest_rows, rows * parameters / least_work);
    return std::clamp<Index>(worth, 1, most);
}

}  // namespace

FullBatch::FullBatch(const Network& network, const Samples& X, const Targets& targets,
                     FirstLayer first_layer, bool centers, int workers)
    : network_{network},
      X_{X},
      targets_{targets},
      reading_{choose_reading(first_layer, X)},
      sums_(static_cast<std::size_t>(count_parts(X.rows, network.shape.size())),
            Parameters{network.shape}),
      workers_{std::min(workers, static_cast<int>(sums_.size()))} {
    if (centers) {
        Team::run(workers_, [&](Team& team) { centering_ = measure_centering(X, in_parallel(team)); });
    }
}

void FullBatch::to_centered(Parameters& parameters) const {
    if (centering_) {
        move_means(*centering_, 1.0F, parameters.layer(network_.shape[0]));
    }
}

void FullBatch::to_raw(Parameters& parameters) const {
    if (centering_) {
        move_means(*centering_, -1.0F, parameters.layer(network_.shape[0]));
    }
}

double FullBatch::evaluate(const Parameters& parameters, std::span<double> gradient,
                           Heartbeat& heartbeat) {
    std::vector<double> losses(sums_.size());
    heartbeat.start_round();
    Team::run(workers_, [&](Team& team) {
        team.for_each(
            std::ssize(sums_),
            [&](Index part) {
                losses[static_cast<std::size_t>(part)] = add_part(part, parameters, heartbeat);
            },
            [&] { heartbeat.wait(); });
        add_up(team, gradient);
    });
    heartbeat.beat_if_due();
    return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(X_.rows);
}

// Returns the sum of the losses of the part's samples.
double FullBatch::add_part(Index part, const Parameters& parameters, Heartbeat& heartbeat) {
    constexpr Index batch_size = 64;  // enough to read the weights from cache
    Parameters& sum = sums_[static_cast<std::size_t>(part)];
    std::ranges::fill(sum.flat(), 0.0F);
    const Block own = block(X_.rows, std::ssize(sums_), part);
    Workspace workspace{
        network_, X_, std::min(batch_size, own.size), reading_, centering_ ? &*centering_ : nullptr,
        false};
    Reporter reporter{heartbeat, network_.shape.size()};
    std::vector<Index> ids;
    double loss = 0.0;
    for (Index done = 0; done < own.size && !reporter.stopped();) {
        ids.resize(static_cast<std::size_t>(std::min(batch_size, own.size - done)));
        std::iota(ids.begin(), ids.end(), own.begin + done);
        workspace.load(kernels(), ids);
        first_forward(kernels(), network_, parameters, workspace);
        upper_forward(kernels(), network_, parameters, workspace);
        loss += loss_and_delta(kernels(), network_, targets_, ids, workspace);
        add_upper_gradient(kernels(), network_, parameters, 1.0F, workspace, sum);
        add_first_gradient(kernels(), network_, workspace, sum);
        done += std::ssize(ids);
        reporter.report(done, loss);
    }
    return loss;
}

void FullBatch::add_up(Team& team, std::span<double> gradient) const {
    constexpr Index slices = 64;
    Index packed_begin = 0;
    for (const LayerShape& layer : network_.shape.layers()) {
        const Index rows = layer.fan_in + 1;  // the biases are the last
        team.for_each(std::min(slices, rows), [&](Index slice) {
            const Block own = block(rows, std::min(slices, rows), slice);
            for (Index row = own.begin; row < own.begin + own.size; ++row) {
                const auto entries =
                    gradient.subspan(static_cast<std::size_t>(packed_begin + row * layer.fan_out),
                                     static_cast<std::size_t>(layer.fan_out));
                std::ranges::fill(entries, 0.0);
                for (const Parameters& sum : sums_) {
                    const auto added =
                        sum.flat().subspan(static_cast<std::size_t>(layer.begin + row * layer.stride));
                    std::ranges::transform(
                        entries, added, entries.begin(),
                        [](double total, float part) { return total + static_cast<double>(part); });
                }
                for (double& entry : entries) {
                    entry /= static_cast<double>(X_.rows);
                }
            }
        });
        packed_begin += rows * layer.fan_out;
    }
}

}  // namespace omp_mlp
