#include "omp_mlp/one_network.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "omp_mlp/clock.hpp"
#include "omp_mlp/dispatch.hpp"
#include "omp_mlp/hogwild.hpp"
#include "omp_mlp/section.hpp"
#include "omp_mlp/synchronous.hpp"

namespace omp_mlp {
namespace {

std::unique_ptr<OneNetwork> make(Strategy strategy, const Task& task, Team& team,
                                 const Parameters& start) {
    switch (strategy) {
        case Strategy::section:
            // Without hidden units there are no sections of them.
            return task.network.shape.layers().size() > 1 ? make_sections(task, team, start)
                                                          : make_synchronous(task, team, start);
        case Strategy::synchronous:
            return make_synchronous(task, team, start);
        case Strategy::hogwild:
            break;
    }
    return make_hogwild(task, team, start);
}

}  // namespace

TrainResult train_one_network(Strategy strategy, const Network& network, const Samples& X,
                              const Targets& targets, const TrainOptions& options,
                              const std::optional<Parameters>& start, const Observer& observer) {
    const Index batch_size = std::min(options.batch.batch_size, X.rows);
    const bool matrix = choose_reading(options.batch.first_layer, X) == Reading::matrix;
    const Task task{kernels(), network, X, targets, options, matrix ? Reading::matrix : Reading::lists,
                    batch_size};
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
        const auto trainer = make(strategy, task, team, master);
        for (Index epoch = 0; epoch < options.epochs && !heartbeat.stopped(); ++epoch) {
            heartbeat.start_round();
            const Replica::Trained trained = trainer->train_epoch(team, epoch, heartbeat);
            heartbeat.beat_if_due();
            if (!std::isfinite(trained.loss_sum)) {
                throw TrainingDiverged{epoch, 0};
            }
            const double end = wall_seconds();
            if (observer.after_round || epoch + 1 == options.epochs || heartbeat.stopped()) {
                trainer->collect(team, master);
            }
            samples += trained.samples;
            history.push_back({.samples = samples,
                               .loss = trained.samples > 0
                                           ? trained.loss_sum / static_cast<double>(trained.samples)
                                           : std::numeric_limits<double>::quiet_NaN(),
                               .train_seconds = end - begin,
                               .merge_seconds = wall_seconds() - end,
                               .slowest_replica_seconds = trained.cpu_seconds});
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
