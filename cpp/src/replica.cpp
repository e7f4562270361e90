#include "omp_mlp/replica.hpp"

#include <algorithm>
#include <utility>

#include "omp_mlp/clock.hpp"

namespace omp_mlp {

Replica::Replica(const Kernels& kernels, const Network& network, const Sgd& sgd, Shard shard,
                 Index batch_size, FirstLayer first_layer)
    : parameters{network.shape},
      kernels_{&kernels},
      network_{&network},
      sgd_{sgd},
      shard_{shard},
      batch_size_{std::min(batch_size, std::max<Index>(shard.epoch_size(), 1))},
      workspace_{network, batch_size_, first_layer} {}

Replica::Trained Replica::train(const Samples& X, const Targets& targets, Index begin, Index end,
                                Heartbeat& heartbeat) {
    // Multiply-adds between two check-ins: some 0.1 ms.
    constexpr Index check_in_work = Index{1} << 22;

    const double start = thread_cpu_seconds();
    Trained trained;
    Trained reported;
    Index work = 0;
    Index position = begin;
    end = std::min(end, shard_.length());
    while (position < end && !heartbeat.stopped()) {
        const Index in_epoch = position % shard_.epoch_size();
        const Shard::Epoch order = shard_.epoch(position / shard_.epoch_size());
        const Index epoch_end = std::min(shard_.epoch_size(), in_epoch + end - position);
        const auto list_batch = [&](Index p, std::vector<Index>& ids) {
            ids.clear();
            for (const Index stop = std::min(p + batch_size_, epoch_end); p < stop; ++p) {
                ids.push_back(order[p]);
            }
        };
        list_batch(in_epoch, next_);
        for (Index p = in_epoch; p < epoch_end && !heartbeat.stopped();) {
            std::swap(ids_, next_);
            const auto count = static_cast<Index>(ids_.size());
            list_batch(p + count, next_);
            const double rate = sgd_.rate_at(position, shard_.length());
            workspace_.load(*kernels_, X, ids_, next_);
            forward(*kernels_, *network_, parameters, workspace_);
            trained.loss_sum += loss_and_delta(*kernels_, *network_, targets, ids_, workspace_);
            add_gradient(*kernels_, *network_, parameters,
                         static_cast<float>(-rate / static_cast<double>(count)), workspace_, parameters);
            trained.samples += count;
            position += count;
            p += count;
            work += count * network_->shape.size();
            if (work >= check_in_work) {
                heartbeat.check_in(trained.samples - reported.samples,
                                   trained.loss_sum - reported.loss_sum);
                reported = trained;
                work = 0;
            }
        }
    }
    trained.cpu_seconds = thread_cpu_seconds() - start;
    return trained;
}

}  // namespace omp_mlp
