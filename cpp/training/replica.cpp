#include "training/replica.hpp"

#include <algorithm>
#include <cassert>
#include <span>

#include "base/clock.hpp"

namespace omp_mlp {
namespace {

std::vector<Run> runs_of(const Shape& shape) {
    std::vector<Run> runs;
    for (const LayerShape& layer : shape.layers()) {
        const Index rows = runs.empty() ? layer.fan_in : 0;
        runs.push_back({.size = layer.fan_in * layer.stride, .fan_in = layer.fan_in, .rows = rows});
        runs.push_back({.size = layer.stride, .fan_in = 0});
    }
    return runs;
}

}  // namespace

Replica::Replica(const Task& task, Reading reading, const OptimizerOptions& optimizer,
                 const Shard& shard)
    : parameters{task.network.shape},
      kernels_{&task.kernels},
      network_{&task.network},
      targets_{&task.targets},
      optimizer_{&optimizer},
      shard_{shard},
      batch_size_{std::min(task.options.batch.batch_size, std::max<Index>(shard.epoch_size(), 1))},
      stretch_{steps_in_place(optimizer)
                   ? stretch_of(reading, task.X.kind, batch_size_, task.kernels.bytes_together)
                   : batch_size_},
      skip_confident_{static_cast<float>(task.options.batch.skip_confident)},
      workspace_{task.network,  task.X, stretch_, reading, task.centering, steps_in_place(optimizer),
                 task.dropout()},
      has_dropout_{task.dropout().drops()},
      touched_{task.network.shape[0]} {
    if (!steps_in_place(optimizer)) {
        stepper_.emplace(optimizer, runs_of(task.network.shape));
        if (needs_whole_gradient(optimizer)) {
            gradient_.emplace(task.network.shape);
        }
    }
}

void Replica::load(std::span<const float> master, Handover handover) {
    assert(handover == Handover::whole || !stepper_);  // whose steps visit all rows
    const bool waits =
        handover == Handover::with_leftovers && workspace_.inputs().reading() == Reading::marks;
    const LayerShape& first = network_->shape[0];
    const auto begin = static_cast<std::size_t>(waits ? first.fan_in * first.stride : 0);
    std::ranges::copy(master.subspan(begin), parameters.flat().subspan(begin).begin());
    if (waits) {
        touched_.touch_none();
        master_ = master.data();
    } else {
        touched_.touch_all();
        master_ = nullptr;
    }
}

std::optional<Leftovers> Replica::leftovers(Handover handover) const {
    return handover == Handover::with_leftovers
               ? std::optional{Leftovers{touched_.bits(), workspace_.shift}}
               : std::nullopt;
}

Trained Replica::train(Index begin, Index end, Handover handover, Heartbeat& heartbeat) {
    const double start = thread_cpu_seconds();
    Trained trained;
    Reporter reporter{heartbeat, network_->shape.size()};
    if (workspace_.inputs().centering() != nullptr) {
        begin_centered(*network_, workspace_, parameters);
    }
    const bool has_transposed_output = !stepper_ && has_narrow_output(*network_);
    if (has_transposed_output) {
        transpose_output(*network_, parameters, workspace_);
    }
    for (end = std::min(end, shard_.length()); begin < end && !reporter.stopped();) {
        const Index position = begin % shard_.epoch_size();
        const Index epoch_end = std::min(shard_.epoch_size(), position + end - begin);
        train_epoch(begin / shard_.epoch_size(), position, epoch_end, reporter, trained);
        begin += epoch_end - position;
    }
    if (has_transposed_output) {
        restore_output(*network_, workspace_, parameters);
    }
    if (workspace_.inputs().centering() != nullptr) {
        end_centered(*kernels_, *network_, handover == Handover::whole, workspace_, parameters);
    }
    trained.cpu_seconds = thread_cpu_seconds() - start;
    return trained;
}

void Replica::train_epoch(Index number, Index begin, Index end, Reporter& reporter, Trained& trained) {
    // Samples that are looked up in the epoch's order at a time, a whole number of stretches.
    const Index window = std::max<Index>(1, 256 / stretch_) * stretch_;

    const Shard::Epoch order = shard_.epoch(number);
    // Those of the next round are listed too, so that its first ones are on their way while replicas are merged.
    const Index listed_end = std::min(end + std::min(stretch_, end - begin), shard_.epoch_size());
    for (Index p = begin; p < end && !reporter.stopped();) {
        if ((p - begin) % window == 0) {
            list(order, p, std::min(p + window + stretch_, listed_end));
        }
        const std::span<const Index> listed =
            std::span{ids_}.subspan(static_cast<std::size_t>((p - begin) % window));
        const auto count = static_cast<std::size_t>(std::min(stretch_, end - p));
        const auto ids = listed.first(count);
        const auto next = listed.subspan(count, std::min(count, listed.size() - count));

        workspace_.load(*kernels_, ids, next);
        if (has_dropout_) {
            workspace_.leave_out(number, ids);
        }
        if (master_ != nullptr) {
            touched_.touch(workspace_.inputs().marks(workspace_.loaded()),
                           workspace_.inputs().words_a_sample(), master_, parameters.flat().data());
        }
        first_forward(*kernels_, *network_, parameters, workspace_);
        trained.loss_sum += train_stretch(ids, number * shard_.epoch_size() + p);

        p += static_cast<Index>(count);
        trained.samples += static_cast<Index>(count);
        reporter.report(trained.samples, trained.loss_sum);
    }
}

double Replica::train_stretch(std::span<const Index> ids, Index position) {
    if (stepper_) {
        return gradient_ ? step_whole_gradient(ids, position) : step_block_by_block(ids, position);
    }
    const double loss_sum = train_upper(ids, position, [&](float scale) {
        if (workspace_.samples() > 0) {
            add_upper_gradient(*kernels_, *network_, parameters, scale, workspace_, parameters);
        }
    });
    add_first_gradient(*kernels_, *network_, workspace_, parameters);
    return loss_sum;
}

// Only called where there are a stepper and a gradient.
// NOLINTBEGIN(bugprone-unchecked-optional-access)
double Replica::step_whole_gradient(std::span<const Index> ids, Index position) {
    const double loss_sum = train_upper(ids, position, [&](float scale) {
        if (workspace_.samples() > 0) {
            add_upper_gradient(*kernels_, *network_, parameters, scale, workspace_, *gradient_);
        }
    });
    add_first_gradient(*kernels_, *network_, workspace_, *gradient_);
    const std::span<float> flat = gradient_->flat();
    const double scale =
        clips(*optimizer_) ? clipping(*optimizer_, squared_norm(flat.data(), std::ssize(flat))) : 1.0;
    stepper_->step(optimizer_->learning_rate.at(position, shard_.length()), scale, flat.data(),
                   parameters.flat().data());
    return loss_sum;
}

double Replica::step_block_by_block(std::span<const Index> ids, Index position) {
    const RowBlocks::Use step_rows = [&](std::size_t l, Index first, Index count, float* gradient) {
        const LayerShape& layer = network_->shape[l];
        const bool is_bias = first == layer.fan_in;  // a run of its own (runs_of)
        stepper_->step_part(2 * l + (is_bias ? 1 : 0), is_bias ? 0 : first * layer.stride,
                            count * layer.stride, gradient,
                            parameters.flat().data() + layer.begin + first * layer.stride);
    };
    stepper_->begin(optimizer_->learning_rate.at(position, shard_.length()));
    const double loss_sum = train_upper(ids, position, [&](float scale) {
        hand_out_upper_gradient(*kernels_, *network_, parameters, scale, workspace_, step_rows);
    });
    hand_out_first_gradient(*kernels_, *network_, workspace_, step_rows);
    return loss_sum;
}
// NOLINTEND(bugprone-unchecked-optional-access)

template <typename AddGradient>
double Replica::train_upper(std::span<const Index> ids, Index position,
                            const AddGradient& add_gradient) {
    const auto samples = static_cast<Index>(ids.size());
    if (samples > batch_size_) {
        multiply_samples(*kernels_, *network_, batch_size_, workspace_);
    }
    double loss_sum = 0.0;
    for (Index first = 0; first < samples; first += batch_size_) {
        const Index count = std::min(batch_size_, samples - first);
        const auto batch = ids.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
        const double rate = optimizer_->learning_rate.at(position + first, shard_.length());
        workspace_.begin_batch(first, count);
        if (first > 0) {
            add_earlier_steps(*kernels_, *network_, workspace_);
        }
        upper_forward(*kernels_, *network_, parameters, workspace_);
        loss_sum += loss_and_delta(*kernels_, *network_, *targets_, batch, workspace_);
        if (skip_confident_ > 0.0F) {
            drop_confident(batch);
        }
        add_gradient(scale_of_deltas(*optimizer_, rate, count));
        workspace_.undrop();
    }
    workspace_.forget_dropped();
    return loss_sum;
}

// Selective backpropagation (Jiang et al. 2019), by a threshold. The step stays a mean over the whole batch.
void Replica::drop_confident(std::span<const Index> ids) {
    const LayerShape& layer = network_->shape.layers().back();
    const float* deltas = workspace_.deltas(network_->shape.layers().size() - 1);
    keep_.resize(ids.size());
    for (std::size_t s = 0; s < ids.size(); ++s) {
        // delta = weight (p - one-hot), so that of the correct class is -weight (1 - p(correct)).
        const float weight = targets_->weights != nullptr ? targets_->weights[ids[s]] : 1.0F;
        const float delta = deltas[static_cast<Index>(s) * layer.stride + targets_->classes[ids[s]]];
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
