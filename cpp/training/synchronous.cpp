#include "training/synchronous.hpp"

#include <algorithm>
#include <optional>
#include <vector>

#include "network/first_layer.hpp"
#include "network/loaded_samples.hpp"
#include "threads/lockstep.hpp"
#include "training/one_network.hpp"
#include "training/output_stage.hpp"
#include "training/upcoming.hpp"

namespace omp_mlp {
namespace {

// Where to cut the rows of the first layer, so that every part gets as many nonzeros of X: by a count over
// up to 64 samples at equal distances. The cuts, multiples of `unit`, change nothing but the speed.
std::vector<Index> cut_rows(const Samples& X, Index parts, Index unit, bool by_nonzeros) {
    constexpr Index rows_looked_at = 64;
    std::vector<Index> counts(static_cast<std::size_t>(X.columns), 1);  // 1: for the row itself
    const Index step = std::max<Index>(1, X.rows / rows_looked_at);
    for (Index row = 0; row < X.rows && by_nonzeros; row += step) {
        if (X.kind == Samples::Kind::csr) {
            for (std::int64_t i = X.starts[row]; i < X.starts[row + 1]; ++i) {
                ++counts[static_cast<std::size_t>(X.indices[i])];
            }
            continue;
        }
        for (Index k = 0; k < X.columns; ++k) {
            const Index entry = row * X.columns + k;
            const bool nonzero =
                X.kind == Samples::Kind::dense_uint8 ? X.bytes[entry] != 0 : X.values[entry] != 0.0F;
            counts[static_cast<std::size_t>(k)] += nonzero ? 1 : 0;
        }
    }
    Index total = 0;
    for (const Index count : counts) {
        total += count;
    }
    std::vector<Index> cuts{0};
    Index before = 0;
    Index k = 0;
    for (Index part = 1; part < parts; ++part) {
        while (k < X.columns && before * parts < part * total) {
            before += counts[static_cast<std::size_t>(k++)];
        }
        // To the nearest multiple of the unit.
        cuts.push_back(std::clamp((k + unit / 2) / unit * unit, cuts.back(), X.columns / unit * unit));
    }
    cuts.push_back(X.columns);
    return cuts;
}

Reading reading_of(const Task& task) {
    constexpr Index few_samples = 4;
    constexpr Index many_columns = 256;
    const Reading chosen = choose_reading(task.options.batch.first_layer, task.X);
    // Single samples are read faster from lists than from marks. Rows of marks are cut in words of 64; where there
    // are few for each part, lists can be cut anywhere.
    const Index parts = task.options.threads;
    const bool is_alone = task.options.batch.batch_size < few_samples;
    const bool is_cut_fine = parts > 1 && task.X.columns < many_columns * parts;
    return chosen == Reading::marks && (is_alone || is_cut_fine) ? Reading::lists : chosen;
}

// What one part of the work needs for itself.
struct Part {
    explicit Part(const OneNetworkTask& task)
        : outputs{task.network, (task.batch_size + task.threads() - 1) / task.threads(),
                  task.options.batch.skip_confident} {
        Index widest = 0;
        for (const LayerShape& layer : task.network.shape.layers()) {
            widest = std::max(widest, layer.stride);
            if (layer.begin > 0 || task.reading == Reading::dense) {
                product_memory.make_room(task.batch_size, layer.fan_in, layer.stride);
            }
        }
        no_biases.resize(static_cast<std::size_t>(widest));
        if (task.takes_means_off()) {
            raw_biases.resize(static_cast<std::size_t>(task.network.shape[0].stride));
        }
    }

    float* raw_first_biases() { return raw_biases.empty() ? nullptr : raw_biases.data(); }

    Upcoming upcoming;  // samples of the own share of the next batch
    FirstScratch scratch;
    OutputStage outputs;
    ProductMemory product_memory;
    Buffer no_biases;               // where the steps of the biases go that another part takes
    Buffer raw_biases;              // as FirstWeights has them
    std::vector<Stepper> steppers;  // of the own rows of each layer; none where steps are taken in place
    double loss = 0.0;
    double squared_norm = 0.0;  // of the gradient of the own rows
};

class Synchronous final : public InLockstep {
public:
    Synchronous(const OneNetworkTask& task, Team& team, const Parameters& start)
        : InLockstep{task},
          clips_{clips(task.options.optimizer)},
          parameters_{task.on_read_inputs(start)},
          ids_(static_cast<std::size_t>(task.batch_size)),
          batch_{task.X, task.batch_size, task.reading, task.centering},
          cuts_{
              cut_rows(task.X, task.threads(), row_unit(task.reading), task.reading != Reading::dense)},
          shift_(static_cast<std::size_t>(task.has_shift() ? task.network.shape[0].stride : 0)),
          parts_(static_cast<std::size_t>(task.threads())) {
        const auto& layers = task.network.shape.layers();
        const bool in_place = steps_in_place(task.options.optimizer);
        team.for_each(task.threads(), [&](Index i) {
            auto part = std::make_unique<Part>(task);
            for (std::size_t l = 0; l < layers.size() && !in_place; ++l) {
                part->steppers.emplace_back(
                    task.options.optimizer,
                    std::vector<Run>{{.size = rows_of(l, i).size * layers[l].stride,
                                      .fan_in = layers[l].fan_in,
                                      .rows = l == 0 ? rows_of(l, i).size : 0}});
            }
            parts_[static_cast<std::size_t>(i)] = std::move(part);
        });
        if (!in_place) {
            gradient_.emplace(task.network.shape);
            for (const LayerShape& layer : layers) {
                bias_steppers_.emplace_back(task.options.optimizer,
                                            std::vector<Run>{{.size = layer.stride, .fan_in = 0}});
            }
        }
        for (const LayerShape& layer : task.network.shape.layers()) {
            units_.emplace_back(task.network.activation, task.batch_size, layer.fan_out,
                                task.dropout().rate(units_.size()));
            deltas_.emplace_back(static_cast<std::size_t>(task.batch_size * layer.stride));
        }
    }

protected:
    void write(Team& /*team*/, Parameters& parameters, std::span<float> shift) override {
        std::ranges::copy(parameters_.flat(), parameters.flat().begin());
        std::ranges::copy(shift_, shift.begin());
    }

private:
    void read(const Parameters& parameters, std::span<const float> shift) override {
        std::ranges::copy(parameters.flat(), parameters_.flat().begin());
        std::ranges::copy(shift, shift_.begin());
    }

    void copy_slots(SlotCopy way, OptimizerSlots& whole) override {
        const auto& layers = task().network.shape.layers();
        for (std::size_t l = 0; l < layers.size(); ++l) {
            const LayerShape& layer = layers[l];
            for (Index i = 0; i < task().threads(); ++i) {
                const Block rows = rows_of(l, i);
                const SlotRange range{.begin = layer.begin + rows.begin * layer.stride,
                                      .size = rows.size * layer.stride,
                                      .first_row = rows.begin,
                                      .rows = l == 0 && !whole.gains.empty() ? rows.size : 0};
                copy_stepper(way, range, whole, parts_[static_cast<std::size_t>(i)]->steppers[l]);
            }
            const SlotRange biases{.begin = layer.begin + layer.fan_in * layer.stride,
                                   .size = layer.stride};
            copy_stepper(way, biases, whole, bias_steppers_[l]);
        }
    }

    // All steppers have taken as many steps.
    static void copy_stepper(SlotCopy way, const SlotRange& range, OptimizerSlots& whole,
                             Stepper& stepper) {
        copy_run(way, range, whole, stepper.state.values.data());
        copy_steps(way, whole, stepper.state);
    }

    void work(Lockstep::Member& self, Index epoch, Reporter& reporter, Trained& trained) override {
        const Shard shard = task().shard();
        const Shard::Epoch order = shard.epoch(epoch);
        for (Index begin = 0; begin < shard.epoch_size(); begin += task().batch_size) {
            const Index samples = std::min(task().batch_size, shard.epoch_size() - begin);
            const double rate = task().options.optimizer.learning_rate.at(
                epoch * shard.epoch_size() + begin, shard.length());
            const float scale = scale_of_deltas(task().options.optimizer, rate, samples);
            const bool goes_on = self.run([&](Index i) {
                pass(epoch, order, shard.epoch_size(), begin, block(samples, task().threads(), i), scale,
                     *parts_[static_cast<std::size_t>(i)]);
            });
            if (!goes_on) {
                return;
            }
            if (clips_ && !self.run([&](Index i) { add_gradients(i, samples); })) {
                return;
            }
            const bool stepped = self.run([&](Index i) {
                if (!clips_) {
                    add_gradients(i, samples);
                }
                if (gradient_) {
                    step(i, rate, clips_ ? clipping(task().options.optimizer, squared_norm()) : 1.0);
                }
                if (i == 0) {
                    for (const auto& part : parts_) {
                        trained.loss_sum += part->loss;
                    }
                    trained.samples = begin + samples;
                    reporter.report(trained.samples, trained.loss_sum);
                    if (reporter.stopped()) {
                        self.stop();
                    }
                }
            });
            if (!stepped) {
                return;
            }
        }
    }

    // Samples `own` of the batch, forward and back: leaves their activations and deltas for all to read.
    void pass(Index epoch, const Shard::Epoch& order, Index epoch_size, Index begin, const Block& own,
              float scale, Part& part) {
        part.loss = 0.0;
        if (own.size == 0) {
            return;
        }
        const Kernels& kernels = task().kernels;
        const auto& layers = task().network.shape.layers();
        const auto ids = std::span{ids_}.subspan(static_cast<std::size_t>(own.begin),
                                                 static_cast<std::size_t>(own.size));
        part.upcoming.take(order, begin + own.begin, ids);
        if (batch_.takes_next()) {
            part.upcoming.list(order, begin + task().batch_size + own.begin, own.size, epoch_size);
        }
        batch_.load(kernels, own.begin, ids, part.upcoming.ids());
        const auto activations = [&](std::size_t l) {
            return l + 1 == layers.size() ? part.outputs.z() : units_[l].row(own.begin);
        };
        const auto first = parameters_.layer(layers[0]);
        first_forward(kernels, batch_, own.begin, own.begin + own.size,
                      {first.weights, first.biases, shift(), part.raw_first_biases(), first.stride},
                      activations(0), part.product_memory.scratch());
        for (std::size_t l = 1; l < layers.size(); ++l) {
            const auto layer = parameters_.layer(layers[l]);
            units_[l - 1].activate(kernels, own.begin, own.size);
            if (const Dropout dropout = task().dropout(); dropout.rate(l - 1) > 0.0) {
                for (Index s = 0; s < own.size; ++s) {
                    const Index id = ids[static_cast<std::size_t>(s)];
                    units_[l - 1].leave_out(own.begin + s, dropout.key(epoch, id, l - 1), 0);
                }
            }
            kernels.dense_forward({activations(l - 1), layers[l - 1].stride}, own.size, layer.fan_in,
                                  layer.weights, layer.biases, layer.fan_out, activations(l),
                                  part.product_memory.scratch());
        }
        part.loss = part.outputs.run(kernels, task().targets, ids, scale);
        const Index stride = layers.back().stride;
        std::copy_n(part.outputs.deltas(), own.size * stride,
                    deltas_.back().data() + own.begin * stride);
        for (std::size_t l = layers.size() - 1; l > 0; --l) {
            const auto layer = parameters_.layer(layers[l]);
            const Index below_stride = layers[l - 1].stride;
            float* below = deltas_[l - 1].data() + own.begin * below_stride;
            kernels.dense_backward(deltas_[l].data() + own.begin * layer.stride, own.size, layer.weights,
                                   layer.fan_in, layer.fan_out, below, below_stride,
                                   part.product_memory.scratch());
            units_[l - 1].multiply_derivative(kernels, own.begin, own.size, below);
        }
    }

    // The rows of layer l whose steps part i takes.
    Block rows_of(std::size_t l, Index i) const {
        if (l > 0) {
            return block(task().network.shape[l].fan_in, task().threads(), i);
        }
        const auto cut = static_cast<std::size_t>(i);
        return {cuts_[cut], cuts_[cut + 1] - cuts_[cut]};
    }

    // The gradient of part i's rows of every layer, over the whole batch. The biases are the first part's.
    void add_gradients(Index i, Index samples) {
        Part& part = *parts_[static_cast<std::size_t>(i)];
        const auto& layers = task().network.shape.layers();
        part.squared_norm = 0.0;
        for (std::size_t l = 0; l < layers.size(); ++l) {
            const auto target = (gradient_ ? *gradient_ : parameters_).layer(layers[l]);
            add_gradient(l, i, samples, target, part);
            if (clips_) {
                const Block rows = rows_of(l, i);
                part.squared_norm += omp_mlp::squared_norm(target.weights + rows.begin * target.stride,
                                                           rows.size * target.stride);
                part.squared_norm += i == 0 ? omp_mlp::squared_norm(target.biases, target.stride) : 0.0;
            }
        }
    }

    // Of the whole gradient.
    double squared_norm() const {
        double sum = 0.0;
        for (const auto& part : parts_) {
            sum += part->squared_norm;
        }
        return sum;
    }

    // The step of part i's rows of every layer.
    void step(Index i, double rate, double scale) {
        Part& part = *parts_[static_cast<std::size_t>(i)];
        const auto& layers = task().network.shape.layers();
        for (std::size_t l = 0; l < layers.size(); ++l) {
            const auto layer = parameters_.layer(layers[l]);
            // Only where there is one.
            // NOLINTNEXTLINE(bugprone-unchecked-optional-access)
            const auto gradient = gradient_->layer(layers[l]);
            const Index begin = rows_of(l, i).begin * layer.stride;
            part.steppers[l].step(rate, scale, gradient.weights + begin, layer.weights + begin);
            if (i == 0) {
                bias_steppers_[l].step(rate, scale, gradient.biases, layer.biases);
            }
        }
    }

    // Adds the gradient of part i's rows to `target`: the parameters of layer l, or their gradient.
    void add_gradient(std::size_t l, Index i, Index samples, const LayerView<float>& target,
                      Part& part) {
        const Block rows = rows_of(l, i);
        float* biases = i == 0 ? target.biases : part.no_biases.data();
        if (l == 0) {
            add_first_gradient(task().kernels, batch_, samples, deltas_[0].data(),
                               {target.weights, biases, i == 0 ? shift() : nullptr,
                                part.raw_first_biases(), target.fan_out},
                               rows.begin, rows.begin + rows.size, part.scratch,
                               part.product_memory.scratch());
            return;
        }
        task().kernels.dense_update(
            {units_[l - 1].row(0) + rows.begin, task().network.shape[l - 1].stride}, samples, rows.size,
            deltas_[l].data(), target.weights + rows.begin * target.stride, biases, target.fan_out,
            part.product_memory.scratch());
    }

    float* shift() { return shift_.empty() ? nullptr : shift_.data(); }

    bool clips_;
    Parameters parameters_;
    std::vector<Index> ids_;
    LoadedSamples batch_;
    std::vector<Index> cuts_;
    Buffer shift_;  // s of centering.hpp
    // Where steps are not taken in place; every part has the steppers of its rows.
    std::optional<Parameters> gradient_;
    std::vector<Stepper> bias_steppers_;  // of each layer
    std::vector<std::unique_ptr<Part>> parts_;
    std::vector<Units> units_;    // of each layer; those of the outputs are not used
    std::vector<Buffer> deltas_;  // of each layer
};

}  // namespace

std::unique_ptr<TrainingStrategy> make_synchronous(const Task& task, Team& team,
                                                   const Parameters& start) {
    return std::make_unique<Synchronous>(OneNetworkTask{task, reading_of(task)}, team, start);
}

}  // namespace omp_mlp
