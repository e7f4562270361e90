#include "training/hogwild.hpp"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <vector>

#include "base/clock.hpp"
#include "network/first_layer.hpp"
#include "network/loaded_samples.hpp"
#include "training/one_network.hpp"
#include "training/output_stage.hpp"

namespace omp_mlp {
namespace {

float load(float& weight) {
    return std::atomic_ref{weight}.load(std::memory_order_relaxed);
}

// Not one atomic addition but a load and a store: somebody's store in between is lost.
void add(float& weight, float step) {
    std::atomic_ref{weight}.store(load(weight) + step, std::memory_order_relaxed);
}

// One thread's samples and scratch memory; the parameters are everybody's.
class Runner {
public:
    Runner(const OneNetworkTask& task, Index number, Parameters& parameters)
        : task_{task},
          parameters_{&parameters},
          shard_{task.X.rows,         task.threads(),       number,
                 task.options.epochs, task.options.shuffle, task.options.seed},
          batch_size_{std::min(task.options.batch.batch_size, std::max<Index>(shard_.epoch_size(), 1))},
          ids_(static_cast<std::size_t>(batch_size_)),
          batch_{task.X, batch_size_, task.reading, task.centering},
          outputs_{task.network, batch_size_, task.options.batch.skip_confident} {
        for (const LayerShape& layer : task.network.shape.layers()) {
            const bool is_hidden = units_.size() + 1 < task.network.shape.layers().size();
            units_.emplace_back(is_hidden ? task.network.activation : Activation::identity, batch_size_,
                                layer.fan_out, task.dropout().rate(units_.size()));
            deltas_.emplace_back(static_cast<std::size_t>(batch_size_ * layer.stride));
        }
    }

    Trained train(Index number, Heartbeat& heartbeat) {
        const double start = thread_cpu_seconds();
        Trained trained;
        Reporter reporter{heartbeat, task_.network.shape.size()};
        const Shard::Epoch order = shard_.epoch(number);
        for (Index begin = 0; begin < shard_.epoch_size() && !heartbeat.stopped();
             begin += batch_size_) {
            const Index samples = std::min(batch_size_, shard_.epoch_size() - begin);
            for (Index s = 0; s < samples; ++s) {
                ids_[static_cast<std::size_t>(s)] = order[begin + s];
            }
            batch_.load(task_.kernels, 0, std::span{ids_}.first(static_cast<std::size_t>(samples)));
            const double rate = task_.options.optimizer.learning_rate.at(
                number * shard_.epoch_size() + begin, shard_.length());
            trained.loss_sum +=
                step(number, samples, static_cast<float>(-rate / static_cast<double>(samples)));
            trained.samples += samples;
            reporter.report(trained.samples, trained.loss_sum);
        }
        trained.cpu_seconds = thread_cpu_seconds() - start;
        return trained;
    }

private:
    double step(Index epoch, Index samples, float scale) {
        const auto& layers = task_.network.shape.layers();
        const std::size_t last = layers.size() - 1;
        for (std::size_t l = 0; l <= last; ++l) {
            for (Index s = 0; s < samples; ++s) {
                forward(l, s);
            }
            units_[l].activate(task_.kernels, 0, samples);
            if (const Dropout dropout = task_.dropout(); dropout.rate(l) > 0.0) {
                for (Index s = 0; s < samples; ++s) {
                    units_[l].leave_out(s, dropout.key(epoch, ids_[static_cast<std::size_t>(s)], l), 0);
                }
            }
        }
        std::copy_n(units_[last].row(0), samples * layers[last].stride, outputs_.z());
        const double loss =
            outputs_.run(task_.kernels, task_.targets,
                         std::span{ids_}.first(static_cast<std::size_t>(samples)), scale);
        std::copy_n(outputs_.deltas(), samples * layers[last].stride, deltas_[last].data());
        for (std::size_t l = last; l > 0; --l) {
            for (Index s = 0; s < samples; ++s) {
                backward(l, s);
            }
            units_[l - 1].multiply_derivative(task_.kernels, 0, samples, deltas_[l - 1].data());
            for (Index s = 0; s < samples; ++s) {
                update(l, s);
            }
        }
        for (Index s = 0; s < samples; ++s) {
            update(0, s);
        }
        return loss;
    }

    // Calls fn(k, value) for every input of layer l that is not zero in sample s.
    template <typename Fn>
    void for_each_input(std::size_t l, Index s, const Fn& fn) const {
        if (l == 0 && task_.reading == Reading::dense) {
            const float* row = batch_.float_rows()[s];
            for (Index k = 0; k < task_.X.columns; ++k) {
                fn(k, row[k]);
            }
            return;
        }
        if (l == 0) {
            const ListedRow& row = batch_.lists()[s];
            for (Index i = 0; i < row.count; ++i) {
                fn(row.index[i], row.value[i]);
            }
            return;
        }
        const LayerShape& below = task_.network.shape[l - 1];
        const float* a = units_[l - 1].row(s);
        for (Index k = 0; k < below.fan_out; ++k) {
            if (a[k] != 0.0F) {
                fn(k, a[k]);
            }
        }
    }

    void forward(std::size_t l, Index s) {
        const auto layer = parameters_->layer(task_.network.shape[l]);
        float* z = units_[l].row(s);
        for (Index j = 0; j < layer.fan_out; ++j) {
            z[j] = load(layer.biases[j]);
        }
        for_each_input(l, s, [&](Index k, float value) {
            float* row = layer.weights + k * layer.stride;
            for (Index j = 0; j < layer.fan_out; ++j) {
                z[j] += value * load(row[j]);
            }
        });
    }

    void backward(std::size_t l, Index s) {
        const auto layer = parameters_->layer(task_.network.shape[l]);
        const float* delta = deltas_[l].data() + s * layer.stride;
        float* below = deltas_[l - 1].data() + s * task_.network.shape[l - 1].stride;
        for (Index k = 0; k < layer.fan_in; ++k) {
            float* row = layer.weights + k * layer.stride;
            float sum = 0.0F;
            for (Index j = 0; j < layer.fan_out; ++j) {
                sum += delta[j] * load(row[j]);
            }
            below[k] = sum;
        }
    }

    void update(std::size_t l, Index s) {
        const auto layer = parameters_->layer(task_.network.shape[l]);
        const float* delta = deltas_[l].data() + s * layer.stride;
        for (Index j = 0; j < layer.fan_out; ++j) {
            add(layer.biases[j], delta[j]);
        }
        for_each_input(l, s, [&](Index k, float value) {
            float* row = layer.weights + k * layer.stride;
            for (Index j = 0; j < layer.fan_out; ++j) {
                add(row[j], value * delta[j]);
            }
        });
    }

    OneNetworkTask task_;
    Parameters* parameters_;
    Shard shard_;
    Index batch_size_;
    std::vector<Index> ids_;
    LoadedSamples batch_;
    OutputStage outputs_;
    std::vector<Units> units_;  // of each layer
    std::vector<Buffer> deltas_;
};

class Hogwild final : public OneNetwork {
public:
    Hogwild(const OneNetworkTask& task, Team& team, const Parameters& start)
        : OneNetwork{task},
          parameters_{task.on_read_inputs(start)},
          runners_(static_cast<std::size_t>(task.threads())) {
        assert(steps_in_place(task.options.optimizer));
        team.for_each(task.threads(), [&](Index i) {
            runners_[static_cast<std::size_t>(i)] = std::make_unique<Runner>(task, i, parameters_);
        });
    }

private:
    Trained train_epoch(Team& team, Index epoch, Heartbeat& heartbeat) override {
        std::vector<Trained> trained(runners_.size());
        team.for_each(
            static_cast<Index>(runners_.size()),
            [&](Index i) {
                const auto r = static_cast<std::size_t>(i);
                trained[r] = runners_[r]->train(epoch, heartbeat);
            },
            [&] { heartbeat.wait(); });
        Trained total;
        for (const Trained& one : trained) {
            total.samples += one.samples;
            total.loss_sum += one.loss_sum;
            total.cpu_seconds = std::max(total.cpu_seconds, one.cpu_seconds);
        }
        return total;
    }

protected:
    void write(Team& /*team*/, Parameters& parameters, std::span<float> /*shift*/) override {
        std::ranges::copy(parameters_.flat(), parameters.flat().begin());
    }

private:
    Parameters parameters_;
    std::vector<std::unique_ptr<Runner>> runners_;
};

}  // namespace

std::unique_ptr<TrainingStrategy> make_hogwild(const Task& task, Team& team, const Parameters& start) {
    // It walks over the nonzeros one by one, so it wants them listed; centered inputs have no zeros.
    const Reading reading = task.options.center_inputs ? Reading::dense : Reading::lists;
    return std::make_unique<Hogwild>(OneNetworkTask{task, reading}, team, start);
}

}  // namespace omp_mlp
