#include "training/section.hpp"

#include <algorithm>
#include <memory>
#include <vector>

#include "base/clock.hpp"
#include "network/loaded_samples.hpp"
#include "threads/lockstep.hpp"
#include "training/one_network.hpp"
#include "training/section_memory.hpp"

namespace omp_mlp {
namespace {

// Samples that make one visit of the first layer, which all sections read.
struct Stretch {
    Stretch(const OneNetworkTask& task, Index count)
        : ids(static_cast<std::size_t>(count)), samples{task.X, count, task.reading, task.centering} {}

    std::vector<Index> ids;
    LoadedSamples samples;
};

class Sections final : public InLockstep {
public:
    Sections(const OneNetworkTask& task, Team& team, const Parameters& start)
        : InLockstep{task},
          stretch_{
              steps_in_place(task.options.optimizer)
                  ? stretch_of(task.reading, task.X.kind, task.batch_size, task.kernels.bytes_together)
                  : task.batch_size},
          clips_{clips(task.options.optimizer)},
          sections_(static_cast<std::size_t>(task.threads())),
          stretches_(slots, Stretch{task, stretch_}) {
        const Parameters parameters = task.on_read_inputs(start);
        // Made by their own threads, so that their memory is near those threads' cores.
        team.for_each(task.threads(), [&](Index i) {
            sections_[static_cast<std::size_t>(i)] =
                std::make_unique<Section>(task, stretch_, i, parameters);
        });
        const auto& layers = task.network.shape.layers();
        for (std::size_t l = 0; l + 2 < layers.size(); ++l) {
            activations_.emplace_back(static_cast<std::size_t>(task.batch_size * layers[l].stride));
        }
    }

protected:
    void write(Team& team, Parameters& parameters, std::span<float> shift) override {
        team.for_each(task().threads(), [&](Index i) {
            sections_[static_cast<std::size_t>(i)]->collect(task().network.shape, parameters, shift);
        });
    }

private:
    void read(const Parameters& parameters, std::span<const float> shift) override {
        for (const auto& section : sections_) {
            section->read(task().network.shape, parameters, shift);
        }
    }

    void copy_slots(SlotCopy way, OptimizerSlots& whole) override {
        for (const auto& section : sections_) {
            section->copy_slots(task().network.shape, way, whole);
        }
    }

    // Stretch t is in slot t % 3: while the slowest section is still at the update of stretch t - 1, the
    // fastest may be in stretch t and reads stretch t + 1.
    static constexpr std::size_t slots = 3;

    // Some of a stretch's samples, which take one step.
    struct Batch {
        Stretch& stretch;
        Index epoch;
        Index first;  // of the stretch's samples
        Index samples;
        std::size_t parity;
        float scale;
    };

    void work(Lockstep::Member& self, Index member, Index members, Index epoch, Heartbeat& heartbeat,
              Trained& trained) override {
        const Shard shard = task().shard();
        const Shard::Epoch order = shard.epoch(epoch);
        const Index size = shard.epoch_size();
        const auto each = [&](const auto& phase) {
            for (Index i = member; i < task().threads(); i += members) {
                phase(i, *sections_[static_cast<std::size_t>(i)]);
            }
        };
        const auto rate_at = [&](Index position) {
            return task().options.optimizer.learning_rate.at(epoch * size + position, shard.length());
        };
        Reporter reporter{heartbeat, task().network.shape.size()};

        if (!begin_epoch(self, each, order)) {
            return;
        }
        std::size_t parity = 0;
        for (Index t = 0, begin = 0; begin < size; ++t, begin += stretch_) {
            Stretch& stretch = slot(t);
            const Index loaded = samples_in(t);
            const bool is_last = begin + stretch_ >= size;
            begin_stretch(self, each, stretch, loaded);
            for (Index first = 0; first < loaded; first += task().batch_size, parity ^= 1U) {
                const Index samples = std::min(task().batch_size, loaded - first);
                const Batch batch{
                    .stretch = stretch,
                    .epoch = epoch,
                    .first = first,
                    .samples = samples,
                    .parity = parity,
                    .scale = scale_of_deltas(task().options.optimizer, rate_at(begin + first), samples)};
                // Between two barriers everybody does a share of what the next stretch needs.
                const auto prepare = [&](Index i, Section& section) {
                    if (first == 0 && !is_last) {
                        read(order, t + 1, i);
                    } else if (first + samples == loaded && !is_last) {
                        multiply(t + 1, i, section);
                    }
                };
                if (!step(self, each, prepare, batch, trained)) {
                    return;
                }
            }
            if (!finish_steps(self, each, stretch, loaded, rate_at(begin))) {
                return;
            }
            self.run([&] {
                if (member == 0) {
                    trained.samples = begin + loaded;
                    reporter.report(trained.samples, trained.loss_sum);
                    if (reporter.stopped()) {
                        self.stop();
                    }
                }
            });
        }
    }

    // Loads the first stretch. Returns whether to go on.
    template <typename Each>
    bool begin_epoch(Lockstep::Member& self, const Each& each, const Shard::Epoch& order) {
        self.run([&] { each([&](Index i, Section& /*section*/) { read(order, 0, i); }); });
        if (!self.meet()) {
            return false;
        }
        if (stretch_ <= task().batch_size) {
            return true;
        }
        self.run([&] { each([&](Index i, Section& section) { multiply(0, i, section); }); });
        return self.meet();
    }

    // The first layer's forward pass of all samples of a stretch.
    template <typename Each>
    void begin_stretch(Lockstep::Member& self, const Each& each, const Stretch& stretch, Index loaded) {
        self.run([&] {
            each([&](Index /*i*/, Section& section) {
                if (loaded > task().batch_size) {
                    sum_products(section, stretch, loaded);
                }
                if (Piece& piece = section.pieces.front(); piece.units > 0) {
                    first_forward(task().kernels, stretch.samples, 0, loaded,
                                  section.first<const float>(piece.weights(), piece.biases()),
                                  piece.own.row(0), section.product_memory.scratch());
                }
            });
        });
    }

    // The gradient of the first layer, and the steps of all layers where they are not taken in place. Returns
    // whether to go on.
    template <typename Each>
    bool finish_steps(Lockstep::Member& self, const Each& each, Stretch& stretch, Index loaded,
                      double rate) {
        self.run([&] {
            each([&](Index /*i*/, Section& section) {
                if (Piece& piece = section.pieces.front(); piece.units > 0) {
                    piece.add([&](float* weights, float* biases) {
                        add_first_gradient(task().kernels, stretch.samples, loaded, piece.deltas.data(),
                                           section.first(weights, biases), 0, task().X.columns,
                                           section.scratch, section.product_memory.scratch());
                    });
                }
                section.squared_norm = clips_ ? section.measure_gradient() : 0.0;
            });
        });
        if (clips_ && !self.meet()) {
            return false;
        }
        self.run([&] {
            const double scale = clips_ ? clipping(task().options.optimizer, squared_norm()) : 1.0;
            each([&](Index /*i*/, Section& section) { section.step(rate, scale); });
        });
        return true;
    }

    // One batch, all but the gradient of the first layer. Returns whether to go on.
    template <typename Each, typename Prepare>
    bool step(Lockstep::Member& self, const Each& each, const Prepare& prepare, const Batch& batch,
              Trained& trained) {
        const std::size_t hidden = sections_.front()->pieces.size() - 1;
        for (std::size_t l = 0; l + 1 < hidden; ++l) {
            self.run([&] {
                each([&](Index /*i*/, Section& section) {
                    forward(section, l, batch);
                    publish(section, l, batch);
                });
            });
            if (!self.meet()) {
                return false;
            }
        }
        self.run([&] {
            each([&](Index i, Section& section) {
                forward(section, hidden - 1, batch);
                add_outputs(section, batch);
                prepare(i, section);
            });
        });
        if (!self.meet()) {
            return false;
        }
        self.run([&] {
            each([&](Index i, Section& section) {
                const double loss = finish_outputs(section, batch);
                if (i == 0) {
                    trained.loss_sum += loss;
                }
                backward_outputs(section, batch);
            });
        });
        for (std::size_t l = hidden - 1; l > 0; --l) {
            self.run([&] { each([&](Index /*i*/, Section& section) { backward(section, l, batch); }); });
            if (!self.meet()) {
                return false;
            }
            self.run(
                [&] { each([&](Index /*i*/, Section& section) { sum_deltas(section, l, batch); }); });
        }
        return true;
    }

    // Of the whole gradient.
    double squared_norm() const {
        double sum = 0.0;
        for (const auto& section : sections_) {
            sum += section->squared_norm;
        }
        return sum;
    }

    Stretch& slot(Index t) { return stretches_[static_cast<std::size_t>(t) % slots]; }
    Index samples_in(Index t) const { return std::min(stretch_, task().X.rows - t * stretch_); }

    // Section i reads its share of a stretch. All sections will ask the memory for the samples of the next one.
    void read(const Shard::Epoch& order, Index t, Index i) {
        Stretch& stretch = slot(t);
        const Block own = block(samples_in(t), task().threads(), i);
        const auto ids = std::span{stretch.ids}.subspan(static_cast<std::size_t>(own.begin),
                                                        static_cast<std::size_t>(own.size));
        Upcoming& upcoming = sections_[static_cast<std::size_t>(i)]->upcoming;
        upcoming.take(order, t * stretch_ + own.begin, ids);
        if (stretch.samples.takes_next()) {
            upcoming.list(order, (t + 1) * stretch_ + own.begin, own.size, task().X.rows);
        }
        stretch.samples.load(task().kernels, own.begin, ids, upcoming.ids());
    }

    // The share of section i in the products of a stretch that has been read.
    void multiply(Index t, Index i, Section& section) {
        if (samples_in(t) > task().batch_size) {
            // Sections of the columns, as of units.
            const Block own = section_of(task().X.columns, task().threads(), i);
            multiply_samples(task().kernels, slot(t).samples, samples_in(t), task().batch_size,
                             own.begin, own.begin + own.size, section.own_products.data());
        }
    }

    void sum_products(Section& section, const Stretch& stretch, Index loaded) const {
        for (Index s = task().batch_size; s < loaded; ++s) {
            for (Index t = 0; t < s / task().batch_size * task().batch_size; ++t) {
                const auto entry = static_cast<std::size_t>(s * MarkedRows::most + t);
                float sum = 1.0F + centered_part(stretch.samples, s, t);  // 1: the bias's input
                for (const auto& other : sections_) {
                    sum += other->own_products[entry];
                }
                section.products[entry] = sum;
            }
        }
    }

    // Rows of the batch.
    static Index first_row(std::size_t l, const Batch& batch) { return l == 0 ? batch.first : 0; }
    static float* activations(Section& section, std::size_t l, const Batch& batch) {
        return section.pieces[l].own.row(first_row(l, batch));
    }
    static float* deltas(Section& section, std::size_t l, const Batch& batch) {
        Piece& piece = section.pieces[l];
        return piece.deltas.data() + first_row(l, batch) * piece.width;
    }

    void multiply_derivative(Section& section, std::size_t l, const Batch& batch) const {
        section.pieces[l].own.multiply_derivative(task().kernels, first_row(l, batch), batch.samples,
                                                  deltas(section, l, batch));
    }

    void forward(Section& section, std::size_t l, const Batch& batch) const {
        Piece& piece = section.pieces[l];
        if (piece.units == 0) {
            return;
        }
        float* own = activations(section, l, batch);
        if (l > 0) {
            task().kernels.dense_forward(activations_[l - 1].data(), task().network.shape[l - 1].stride,
                                         batch.samples, piece.fan_in, piece.weights(), piece.biases(),
                                         piece.width, own, section.product_memory.scratch());
        } else if (batch.first > 0) {
            task().kernels.add_product(section.products.data() + batch.first * MarkedRows::most,
                                       MarkedRows::most, batch.samples, batch.first, piece.deltas.data(),
                                       piece.width, own);
        }
        piece.own.activate(task().kernels, first_row(l, batch), batch.samples);
        if (const Dropout dropout = task().dropout(); dropout.rate(l) > 0.0) {
            for (Index s = 0; s < batch.samples; ++s) {
                const Index id = batch.stretch.ids[static_cast<std::size_t>(batch.first + s)];
                piece.own.leave_out(first_row(l, batch) + s, dropout.key(batch.epoch, id, l),
                                    piece.begin);
            }
        }
    }

    // Own activations, for all to read.
    void publish(Section& section, std::size_t l, const Batch& batch) {
        const Piece& piece = section.pieces[l];
        const Index stride = task().network.shape[l].stride;
        const float* own = activations(section, l, batch);
        for (Index s = 0; s < batch.samples; ++s) {
            std::copy_n(own + s * piece.width, piece.width,
                        activations_[l].data() + s * stride + piece.begin);
        }
    }

    // The own units' part of the outputs' z; the biases are in the first section's.
    void add_outputs(Section& section, const Batch& batch) const {
        const std::size_t last = section.pieces.size() - 1;
        Piece& piece = section.pieces[last];
        if (piece.units == 0) {
            return;
        }
        const float* below = activations(section, last - 1, batch);
        const Index below_width = section.pieces[last - 1].width;
        const float* biases = section.number == 0 ? piece.biases() : section.no_bias.data();
        float* z = section.parts[batch.parity].data();
        if (section.is_narrow) {
            task().kernels.narrow_forward(below, below_width, batch.samples, piece.weights(), biases,
                                          task().network.shape.outputs(), piece.width, z);
        } else {
            task().kernels.dense_forward(below, below_width, batch.samples, piece.fan_in,
                                         piece.weights(), biases, piece.width, z,
                                         section.product_memory.scratch());
        }
    }

    // Every section does all of it: the outputs are few, and a barrier more would take longer.
    double finish_outputs(Section& section, const Batch& batch) const {
        const Index entries = batch.samples * section.pieces.back().width;
        float* z = section.outputs.z();
        std::copy_n(sections_.front()->parts[batch.parity].data(), entries, z);
        for (std::size_t i = 1; i < sections_.size() && sections_[i]->pieces.back().units > 0; ++i) {
            const float* part = sections_[i]->parts[batch.parity].data();
            for (Index k = 0; k < entries; ++k) {
                z[k] += part[k];
            }
        }
        const auto ids = std::span{batch.stretch.ids}.subspan(static_cast<std::size_t>(batch.first),
                                                              static_cast<std::size_t>(batch.samples));
        return section.outputs.run(task().kernels, task().targets, ids, batch.scale);
    }

    void backward_outputs(Section& section, const Batch& batch) const {
        const std::size_t last = section.pieces.size() - 1;
        Piece& piece = section.pieces[last];
        if (piece.units == 0) {
            return;
        }
        const float* delta = section.outputs.deltas();
        const Index below_width = section.pieces[last - 1].width;
        const float* below = activations(section, last - 1, batch);
        float* below_delta = deltas(section, last - 1, batch);
        if (section.is_narrow) {
            task().kernels.narrow_step(below, below_width, batch.samples, delta, piece.width,
                                       task().network.shape.outputs(), piece.weights(), piece.biases(),
                                       below_delta);
        } else {
            task().kernels.dense_backward(delta, batch.samples, piece.weights(), piece.fan_in,
                                          piece.width, below_delta, below_width,
                                          section.product_memory.scratch());
            piece.add([&](float* weights, float* biases) {
                task().kernels.dense_update(below, below_width, batch.samples, piece.fan_in, delta,
                                            weights, biases, piece.width,
                                            section.product_memory.scratch());
            });
        }
        multiply_derivative(section, last - 1, batch);
    }

    // What the own units of layer l add to the deltas of all units below, and to the gradient of their weights.
    void backward(Section& section, std::size_t l, const Batch& batch) const {
        Piece& piece = section.pieces[l];
        if (piece.units == 0) {
            return;
        }
        const Index stride = task().network.shape[l - 1].stride;
        task().kernels.dense_backward(piece.deltas.data(), batch.samples, piece.weights(), piece.fan_in,
                                      piece.width, section.below[l].data(), stride,
                                      section.product_memory.scratch());
        piece.add([&](float* weights, float* biases) {
            task().kernels.dense_update(activations_[l - 1].data(), stride, batch.samples, piece.fan_in,
                                        piece.deltas.data(), weights, biases, piece.width,
                                        section.product_memory.scratch());
        });
    }

    // The deltas of the own units of layer l - 1, from what all sections of layer l have to add.
    void sum_deltas(Section& section, std::size_t l, const Batch& batch) const {
        const Piece& piece = section.pieces[l - 1];
        const Index stride = task().network.shape[l - 1].stride;
        for (Index s = 0; s < batch.samples && piece.units > 0; ++s) {
            float* own = deltas(section, l - 1, batch) + s * piece.width;
            std::fill_n(own, piece.width, 0.0F);
            for (const auto& other : sections_) {
                if (other->pieces[l].units == 0) {
                    break;
                }
                const float* part = other->below[l].data() + s * stride + piece.begin;
                for (Index k = 0; k < piece.width; ++k) {
                    own[k] += part[k];
                }
            }
        }
        multiply_derivative(section, l - 1, batch);
    }

    Index stretch_;  // samples that make one visit of the first layer: a batch, or several small ones
    bool clips_;
    std::vector<std::unique_ptr<Section>> sections_;
    std::vector<Stretch> stretches_;
    std::vector<Buffer> activations_;  // of the hidden layers below the last, for all to read
};

}  // namespace

std::unique_ptr<TrainingStrategy> make_sections(const Task& task, Team& team, const Parameters& start) {
    return std::make_unique<Sections>(
        OneNetworkTask{task, choose_reading(task.options.batch.first_layer, task.X)}, team, start);
}

}  // namespace omp_mlp
