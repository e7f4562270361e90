#include "training/one_network.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/clock.hpp"

namespace omp_mlp {

OneNetworkTask::OneNetworkTask(const Task& task, Reading how)
    : Task{task}, reading{how}, batch_size{std::min(task.options.batch.batch_size, task.X.rows)} {}

Parameters OneNetworkTask::on_read_inputs(const Parameters& start) const {
    Parameters parameters = start;
    if (centering != nullptr && !has_shift()) {
        move_means(*centering, 1.0F, parameters.layer(network.shape[0]));
    }
    return parameters;
}

Rounds OneNetwork::rounds() const {
    const Index rows = task_.X.rows;
    return {task_.options.epochs * rows, {rows, rows}, task_.batch_size};
}

RoundReport OneNetwork::train_round(Team& team, const Round& round, const Parameters& /*master*/,
                                    Heartbeat& heartbeat) {
    const Trained trained = train_epoch(team, round.number, heartbeat);
    if (!std::isfinite(trained.loss_sum)) {
        throw TrainingDiverged{round.row, 0};
    }
    RoundReport report = report_of({&trained, 1});
    report.mean_replica_seconds = std::numeric_limits<double>::quiet_NaN();
    return report;
}

void OneNetwork::collect(Team& team, const Round& /*round*/, const Parameters& /*base*/,
                         Parameters& master, RoundReport& /*report*/) {
    const LayerShape& shape = task_.network.shape[0];
    Buffer shift(static_cast<std::size_t>(task_.has_shift() ? shape.stride : 0));
    write(team, master, shift);
    if (task_.has_shift()) {
        fold_shift(task_.kernels, *task_.centering, shift.data(), master.layer(shape));
    } else if (task_.centering != nullptr) {
        move_means(*task_.centering, -1.0F, master.layer(shape));
    }
}

// The parameters as they are trained: to centre a master anew would round.
void InLockstep::exchange_state(Team& team, StateExchange& exchange) {
    const LayerShape& first = task().network.shape[0];
    Parameters parameters{task().network.shape};
    Buffer shift(static_cast<std::size_t>(task().has_shift() ? first.stride : 0));
    if (!exchange.reads()) {
        write(team, parameters, shift);
    }
    exchange("trained_network", task().network.shape, parameters);
    exchange("shift", std::span{shift});
    if (exchange.reads()) {
        read(parameters, shift);
    }
    exchange_optimizers(team, exchange);
}

void InLockstep::exchange_optimizers(Team& /*team*/, StateExchange& exchange) {
    if (steps_in_place(task().options.optimizer)) {
        return;
    }
    OptimizerSlots whole{task().network.shape, task().options.optimizer};
    if (!exchange.reads()) {
        copy_slots(SlotCopy::to_slots, whole);
    }
    omp_mlp::exchange(exchange, task().network.shape, std::span{&whole, 1});
    if (exchange.reads()) {
        copy_slots(SlotCopy::from_slots, whole);
    }
}

Trained InLockstep::train_epoch(Team& team, Index epoch, Heartbeat& heartbeat) {
    Trained trained;
    std::vector<double> cpu_seconds(static_cast<std::size_t>(team.size()));
    Reporter reporter{heartbeat, task().network.shape.size()};
    Lockstep lockstep{team.size(), task().threads()};
    team.for_each(team.size(), [&](Index member) {
        const double start = thread_cpu_seconds();
        Lockstep::Member self{lockstep, member};
        work(self, epoch, reporter, trained);
        cpu_seconds[static_cast<std::size_t>(member)] = thread_cpu_seconds() - start;
        self.finish();
    });
    trained.cpu_seconds = *std::ranges::max_element(cpu_seconds);
    return trained;
}

}  // namespace omp_mlp
