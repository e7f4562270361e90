#include "training/strategy.hpp"

#include "training/hogwild.hpp"
#include "training/replicas.hpp"
#include "training/section.hpp"
#include "training/synchronous.hpp"

namespace omp_mlp {

void TrainingStrategy::exchange_state(Team& team, StateExchange& exchange) {
    exchange_optimizers(team, exchange);
}

void TrainingStrategy::exchange_optimizers(Team& /*team*/, StateExchange& /*exchange*/) {
    refuse_state("strategy", "is one that does not repeat itself");
}

std::unique_ptr<TrainingStrategy> make_strategy(const Task& task, Team& team, const Parameters& start) {
    switch (task.options.strategy) {
        case Strategy::replica:
            return make_replicas(task);
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

}  // namespace omp_mlp
