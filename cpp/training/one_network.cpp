#include "training/one_network.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "base/clock.hpp"
#include "kernels/dispatch.hpp"
#include "training/hogwild.hpp"
#include "training/section.hpp"
#include "training/synchronous.hpp"

namespace omp_mlp {
namespace {

std::unique_ptr<OneNetwork> make(const Task& task, Team& team, const Parameters& start) {
    switch (task.options.strategy) {
        case Strategy::section:
            // Without hidden units there are no sections of them.
            return task.network.shape.layers().size() > 1 ? make_sections(task, team, start)
                                                          : make_synchronous(task, team, start);
        case Strategy::synchronous:
            return make_synchronous(task, team, start);
        case Strategy::hogwild:
            return make_hogwild(task, team, start);
        case Strategy::replica:
            break;
    }
    throw std::logic_error{"replicas are not one network"};
}

// biases += sign (mu . W), in double: from raw to centered inputs, or back.
void move_means(const Shape& shape, const Centering& centering, double sign, Parameters& parameters) {
    const auto layer = parameters.layer(shape[0]);
    for (Index j = 0; j < layer.fan_out; ++j) {
        double sum = 0.0;
        for (Index k = 0; k < layer.fan_in; ++k) {
            sum += static_cast<double>(centering.mean[static_cast<std::size_t>(k)]) *
                   static_cast<double>(layer.weights[k * layer.stride + j]);
        }
        layer.biases[j] += static_cast<float>(sign * sum);
    }
}

// W += mu s.
void fold_shift(const Shape& shape, const Centering& centering, std::span<const float> shift,
                Parameters& parameters) {
    const auto layer = parameters.layer(shape[0]);
    for (Index k = 0; k < layer.fan_in; ++k) {
        const float mean = centering.mean[static_cast<std::size_t>(k)];
        float* row = layer.weights + k * layer.stride;
        for (const float s : shift) {
            *row++ += mean * s;
        }
    }
}

// Single samples are read faster from lists than from marks; sections read several small batches together.
// Hogwild walks over the nonzeros one by one, so it wants them listed; centered inputs have no zeros.
Reading reading(const Samples& X, const TrainOptions& options) {
    const Reading chosen = choose_reading(options.batch.first_layer, X);
    if (options.strategy == Strategy::hogwild) {
        return options.center_inputs ? Reading::dense : Reading::lists;
    }
    constexpr Index few = 4;
    const bool is_alone = options.strategy == Strategy::synchronous && options.batch.batch_size < few;
    return chosen == Reading::marks && is_alone ? Reading::lists : chosen;
}

}  // namespace

Replica::Trained InLockstep::train_epoch(Team& team, Index epoch, Heartbeat& heartbeat) {
    Replica::Trained trained;
    std::vector<double> cpu_seconds(static_cast<std::size_t>(team.size()));
    Lockstep lockstep{team.size()};
    team.together([&](Index member) {
        const double start = thread_cpu_seconds();
        Lockstep::Member self{lockstep};
        work(self, member, team.size(), epoch, heartbeat, trained);
        cpu_seconds[static_cast<std::size_t>(member)] = thread_cpu_seconds() - start;
        self.finish();
    });
    trained.cpu_seconds = *std::ranges::max_element(cpu_seconds);
    return trained;
}

TrainResult train_one_network(const Network& network, const Samples& X, const Targets& targets,
                              const TrainOptions& options, const std::optional<Parameters>& start,
                              const Observer& observer) {
    const Index batch_size = std::min(options.batch.batch_size, X.rows);
    Parameters master{network.shape};
    if (start) {
        std::ranges::copy(start->flat(), master.flat().begin());
    } else {
        initialize(network.shape, options.init, options.seed, 0, master);
    }
    Heartbeat heartbeat{observer.during_round};
    std::vector<RoundReport> history;
    const auto all_finite = [&] {
        return std::ranges::all_of(master.flat(), [](float value) { return std::isfinite(value); });
    };
    Index samples = 0;
    Team::run(options.workers, [&](Team& team) {
        double begin = wall_seconds();
        std::optional<Centering> centering;
        if (options.center_inputs) {
            centering =
                measure_centering(X, [&team](Index count, const auto& fn) { team.for_each(count, fn); });
        }
        const Task task{.kernels = kernels(),
                        .network = network,
                        .X = X,
                        .targets = targets,
                        .options = options,
                        .reading = reading(X, options),
                        .centering = centering ? &*centering : nullptr,
                        .batch_size = batch_size};
        const bool centers_rows = centering && task.reading == Reading::dense;
        if (centers_rows) {
            move_means(network.shape, *centering, 1.0, master);
        }
        Buffer shift(static_cast<std::size_t>(centering ? network.shape[0].stride : 0));
        const auto trainer = make(task, team, master);
        for (Index epoch = 0; epoch < options.epochs && !heartbeat.stopped(); ++epoch) {
            heartbeat.start_round();
            const Replica::Trained trained = trainer->train_epoch(team, epoch, heartbeat);
            heartbeat.beat_if_due();
            if (!std::isfinite(trained.loss_sum)) {
                throw TrainingDiverged{epoch, 0};
            }
            const double end = wall_seconds();
            if (observer.after_round || epoch + 1 == options.epochs || heartbeat.stopped()) {
                trainer->collect(team, master, shift);
                if (centers_rows) {
                    move_means(network.shape, *centering, -1.0, master);
                } else if (centering) {
                    fold_shift(network.shape, *centering, shift, master);
                }
            }
            samples += trained.samples;
            history.push_back({.samples = samples,
                               .loss = trained.samples > 0
                                           ? trained.loss_sum / static_cast<double>(trained.samples)
                                           : std::numeric_limits<double>::quiet_NaN(),
                               .train_seconds = end - begin,
                               .merge_seconds = wall_seconds() - end,
                               .slowest_replica_seconds = trained.cpu_seconds,
                               .mean_replica_seconds = std::numeric_limits<double>::quiet_NaN(),
                               .skipped = {}});
            begin = wall_seconds();
            if (observer.after_round && observer.after_round(history.back(), master)) {
                break;
            }
            begin = wall_seconds();
        }
    });
    if (!all_finite()) {
        throw TrainingDiverged{std::max<Index>(static_cast<Index>(history.size()) - 1, 0), 0};
    }
    return {std::move(master), {}, std::move(history)};
}

}  // namespace omp_mlp
