#include "omp_mlp/replica.hpp"

#include <algorithm>
#include <span>

#include "omp_mlp/clock.hpp"

namespace omp_mlp {

Replica::Replica(const Kernels& kernels, const Network& network, const Sgd& sgd, Shard shard,
                 const BatchOptions& options, Reading reading)
    : parameters{network.shape},
      kernels_{&kernels},
      network_{&network},
      sgd_{sgd},
      shard_{shard},
      batch_size_{std::min(options.batch_size, std::max<Index>(shard.epoch_size(), 1))},
      is_online_{batch_size_ == 1 && reading == Reading::pairs},
      skip_confident_{static_cast<float>(options.skip_confident)},
      workspace_{network, batch_size_, reading} {
    if (options.bfloat16_forward) {
        first_weights_.resize(static_cast<std::size_t>(network.shape[0].size()));
        workspace_.first_weights = first_weights_;
    }
}

Replica::Trained Replica::train(const Samples& X, const Targets& targets, Index begin, Index end,
                                Heartbeat& heartbeat) {
    const double start = thread_cpu_seconds();
    Trained trained;
    reported_ = {};
    if (!first_weights_.empty()) {
        kernels_->round_to_bfloat16(parameters.flat().data(), network_->shape[0].size(),
                                    first_weights_.data());
    }
    for (end = std::min(end, shard_.length()); begin < end && !heartbeat.stopped();) {
        const Index position = begin % shard_.epoch_size();
        const Index epoch_end = std::min(shard_.epoch_size(), position + end - begin);
        train_epoch(X, targets, begin / shard_.epoch_size(), position, epoch_end, heartbeat, trained);
        begin += epoch_end - position;
    }
    trained.cpu_seconds = thread_cpu_seconds() - start;
    return trained;
}

void Replica::train_epoch(const Samples& X, const Targets& targets, Index number, Index begin, Index end,
                          Heartbeat& heartbeat, Trained& trained) {
    // Multiply-adds between two check-ins: some 0.1 ms.
    constexpr Index check_in_work = Index{1} << 22;
    // Samples that are looked up in the epoch's order at a time, a whole number of batches.
    const Index window = std::max<Index>(1, 256 / batch_size_) * batch_size_;

    const Shard::Epoch order = shard_.epoch(number);
    const Trained before = trained;
    bool is_ahead = false;  // whether first_forward is done already
    for (Index p = begin; p < end && !heartbeat.stopped();) {
        if ((p - begin) % window == 0) {
            list(order, p, std::min(p + window + 2 * batch_size_, end));
        }
        const std::span<const Index> listed =
            std::span{ids_}.subspan(static_cast<std::size_t>((p - begin) % window));
        const auto batch = static_cast<std::size_t>(std::min(batch_size_, end - p));
        const auto ids = listed.first(batch);
        const auto next = listed.subspan(batch, std::min(batch, listed.size() - batch));

        const Index in_stream = number * shard_.epoch_size() + p;
        const double rate = sgd_.rate_at(in_stream, shard_.length());
        const auto scale = static_cast<float>(-rate / static_cast<double>(batch));
        if (!is_ahead) {
            workspace_.load(*kernels_, X, ids, next);
            first_forward(*kernels_, *network_, parameters, workspace_);
        }
        upper_forward(*kernels_, *network_, parameters, workspace_);
        trained.loss_sum += loss_and_delta(*kernels_, *network_, targets, ids, workspace_);
        if (skip_confident_ > 0.0F) {
            drop_confident(targets, ids);
        }
        const bool has_step = workspace_.samples() > 0;
        if (has_step) {
            add_upper_gradient(*kernels_, *network_, parameters, scale, workspace_, parameters);
        }
        is_ahead = is_online_ && has_step && !next.empty();
        if (is_ahead) {
            workspace_.load_pair(*kernels_, X, ids[0], next[0]);
            if (listed.size() > 2) {
                prefetch_sample(X, listed[2]);
            }
            add_first_gradient_then_forward(*kernels_, *network_, scale, workspace_, parameters);
        } else if (has_step) {
            add_first_gradient(*kernels_, *network_, scale, workspace_, parameters);
        }
        p += static_cast<Index>(batch);
        trained.samples = before.samples + p - begin;
        const Index unreported = trained.samples - reported_.samples;
        if (unreported * network_->shape.size() >= check_in_work) {
            heartbeat.check_in(unreported, trained.loss_sum - reported_.loss_sum);
            reported_ = trained;
        }
    }
}

// Selective backpropagation (Jiang et al. 2019), by a threshold. The step stays a mean over the whole batch.
void Replica::drop_confident(const Targets& targets, std::span<const Index> ids) {
    const LayerShape& layer = network_->shape.layers().back();
    keep_.resize(ids.size());
    for (std::size_t s = 0; s < ids.size(); ++s) {
        // delta = weight (p - one-hot), so that of the correct class is -weight (1 - p(correct)).
        const float weight = targets.weights != nullptr ? targets.weights[ids[s]] : 1.0F;
        const float delta = workspace_.deltas.back()[static_cast<std::size_t>(
            static_cast<Index>(s) * layer.stride + targets.classes[ids[s]])];
        keep_[s] = !(-delta < skip_confident_ * weight);  // NaN is kept, and found out
    }
    workspace_.drop(keep_);
}

void Replica::list(const Shard::Epoch& order, Index begin, Index end) {
    ids_.clear();
    for (Index p = begin; p < end; ++p) {
        ids_.push_back(order[p]);
    }
}

}  // namespace omp_mlp
