#include "training/section.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

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
        Index begin;   // of the stretch, in the epoch
        Index loaded;  // the stretch's samples
        Index first;   // of the stretch's samples
        Index samples;
        bool ends_stretch;
        std::size_t parity;
        float scale;
        double rate;  // of steps that are not taken in place
    };

    void work(Lockstep::Member& self, Index epoch, Reporter& reporter, Trained& trained) override {
        const Shard shard = task().shard();
        const Shard::Epoch order = shard.epoch(epoch);
        const Index size = shard.epoch_size();
        const auto rate_at = [&](Index position) {
            return task().options.optimizer.learning_rate.at(epoch * size + position, shard.length());
        };
        if (!begin_epoch(self, order)) {
            return;
        }
        std::optional<Batch> last;
        // What is left of the last batch needs no other section, and is done with the first phase of the next one.
        const auto finish_last = [&](Section& section) {
            if (last) {
                finish(section, *last, trained);
                if (section.number == 0 && last->ends_stretch) {
                    trained.samples = last->begin + last->first + last->samples;
                    reporter.report(trained.samples, trained.loss_sum);
                    if (reporter.stopped()) {
                        self.stop();
                    }
                }
            }
        };
        std::size_t parity = 0;
        for (Index t = 0, begin = 0; begin < size; ++t, begin += stretch_) {
            const Index loaded = samples_in(t);
            const bool is_last = begin + stretch_ >= size;
            const double rate = rate_at(begin);
            for (Index first = 0; first < loaded; first += task().batch_size, parity ^= 1U) {
                const Index samples = std::min(task().batch_size, loaded - first);
                const Batch batch{
                    .stretch = slot(t),
                    .epoch = epoch,
                    .begin = begin,
                    .loaded = loaded,
                    .first = first,
                    .samples = samples,
                    .ends_stretch = first + samples == loaded,
                    .parity = parity,
                    .scale = scale_of_deltas(task().options.optimizer,
                                             first == 0 ? rate : rate_at(begin + first), samples),
                    .rate = rate};
                const auto begin_batch = [&](Section& section) {
                    finish_last(section);
                    if (first == 0) {
                        begin_stretch(section, batch);
                    }
                };
                // In one phase everybody does a share of what the next stretch needs.
                const auto prepare = [&](Section& section) {
                    if (first == 0 && !is_last) {
                        read(order, t + 1, section);
                    } else if (batch.ends_stretch && !is_last) {
                        multiply(t + 1, section);
                    }
                };
                if (!step(self, begin_batch, prepare, batch, trained)) {
                    return;
                }
                last.emplace(batch);
            }
        }
        run(self, finish_last);
    }

    // A phase whose parts are the sections. Returns whether to go on.
    template <typename Work>
    bool run(Lockstep::Member& self, const Work& work) {
        return self.run([&](Index i) { work(*sections_[static_cast<std::size_t>(i)]); });
    }

    // Loads the first stretch. Returns whether to go on.
    bool begin_epoch(Lockstep::Member& self, const Shard::Epoch& order) {
        return run(self, [&](Section& section) { read(order, 0, section); }) &&
               (stretch_ <= task().batch_size ||
                run(self, [&](Section& section) { multiply(0, section); }));
    }

    // The first layer's forward pass of all samples of a stretch.
    void begin_stretch(Section& section, const Batch& batch) const {
        if (batch.loaded > task().batch_size) {
            sum_products(section, batch.stretch, batch.loaded);
        }
        if (Piece& piece = section.pieces.front(); piece.units > 0) {
            first_forward(task().kernels, batch.stretch.samples, 0, batch.loaded,
                          section.first<const float>(piece.weights(), piece.biases()), piece.own.row(0),
                          section.product_memory.scratch());
        }
    }

    // One batch, but for what `finish` does. Returns whether to go on.
    template <typename Begin, typename Prepare>
    bool step(Lockstep::Member& self, const Begin& begin, const Prepare& prepare, const Batch& batch,
              Trained& trained) {
        const std::size_t hidden = hidden_layers();
        for (std::size_t l = 0; l + 1 < hidden; ++l) {
            const bool goes_on = run(self, [&](Section& section) {
                if (l == 0) {
                    begin(section);
                }
                forward(section, l, batch);
                publish(section, l, batch);
            });
            if (!goes_on) {
                return false;
            }
        }
        const bool has_outputs = run(self, [&](Section& section) {
            if (hidden == 1) {
                begin(section);
            }
            forward(section, hidden - 1, batch);
            add_outputs(section, batch);
            prepare(section);
        });
        if (!has_outputs) {
            return false;
        }
        for (std::size_t l = hidden - 1; l > 0; --l) {
            const bool goes_on = run(self, [&](Section& section) {
                find_deltas(section, l, batch, trained);
                backward(section, l, batch);
            });
            if (!goes_on) {
                return false;
            }
        }
        return !clips_ || run(self, [&](Section& section) { add_gradient(section, batch, trained); });
    }

    // The end of a batch: its gradient, unless it was needed as a whole, and the steps of all layers where they
    // are not taken in place.
    void finish(Section& section, const Batch& batch, Trained& trained) {
        if (!clips_) {
            add_gradient(section, batch, trained);
        }
        if (batch.ends_stretch) {
            section.step(batch.rate, clips_ ? clipping(task().options.optimizer, squared_norm()) : 1.0);
        }
    }

    // The deltas of the first layer's units; with the last batch of a stretch, the first layer's gradient.
    void add_gradient(Section& section, const Batch& batch, Trained& trained) {
        find_deltas(section, 0, batch, trained);
        if (!batch.ends_stretch) {
            return;
        }
        if (Piece& piece = section.pieces.front(); piece.units > 0) {
            piece.add([&](float* weights, float* biases) {
                add_first_gradient(task().kernels, batch.stretch.samples, batch.loaded,
                                   piece.deltas.data(), section.first(weights, biases), 0,
                                   task().X.columns, section.scratch, section.product_memory.scratch());
            });
        }
        section.squared_norm = clips_ ? section.measure_gradient() : 0.0;
    }

    // The deltas of the own units of layer l, from the outputs or from what all sections have to add.
    void find_deltas(Section& section, std::size_t l, const Batch& batch, Trained& trained) const {
        if (l + 1 < hidden_layers()) {
            sum_deltas(section, l + 1, batch);
            return;
        }
        const double loss = finish_outputs(section, batch);
        if (section.number == 0) {
            trained.loss_sum += loss;
        }
        backward_outputs(section, batch);
    }

    std::size_t hidden_layers() const { return task().network.shape.layers().size() - 1; }

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

    // A section reads its share of a stretch. All sections will ask the memory for the samples of the next one.
    void read(const Shard::Epoch& order, Index t, Section& section) {
        Stretch& stretch = slot(t);
        const Block own = block(samples_in(t), task().threads(), section.number);
        const auto ids = std::span{stretch.ids}.subspan(static_cast<std::size_t>(own.begin),
                                                        static_cast<std::size_t>(own.size));
        section.upcoming.take(order, t * stretch_ + own.begin, ids);
        if (stretch.samples.takes_next()) {
            section.upcoming.list(order, (t + 1) * stretch_ + own.begin, own.size, task().X.rows);
        }
        stretch.samples.load(task().kernels, own.begin, ids, section.upcoming.ids());
    }

    // The share of a section in the products of a stretch that has been read.
    void multiply(Index t, Section& section) {
        if (samples_in(t) > task().batch_size) {
            // Sections of the columns, as of units.
            const Block own = section_of(task().X.columns, task().threads(), section.number);
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
            task().kernels.dense_forward(
                {activations_[l - 1].data(), task().network.shape[l - 1].stride}, batch.samples,
                piece.fan_in, piece.weights(), piece.biases(), piece.fan_out, own,
                section.product_memory.scratch());
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

    // Own activations, for all to read. Where the own rows have an empty line, the next section's units follow here.
    void publish(Section& section, std::size_t l, const Batch& batch) {
        const Piece& piece = section.pieces[l];
        const Index stride = task().network.shape[l].stride;
        const float* own = activations(section, l, batch);
        for (Index s = 0; s < batch.samples; ++s) {
            std::copy_n(own + s * piece.width, padded(piece.units),
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
            task().kernels.dense_forward({below, below_width}, batch.samples, piece.fan_in,
                                         piece.weights(), biases, piece.fan_out, z,
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
                                          piece.fan_out, below_delta, below_width,
                                          section.product_memory.scratch());
            piece.add([&](float* weights, float* biases) {
                task().kernels.dense_update({below, below_width}, batch.samples, piece.fan_in, delta,
                                            weights, biases, piece.fan_out,
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
                                      piece.fan_out, section.below[l].data(), stride,
                                      section.product_memory.scratch());
        piece.add([&](float* weights, float* biases) {
            task().kernels.dense_update({activations_[l - 1].data(), stride}, batch.samples,
                                        piece.fan_in, piece.deltas.data(), weights, biases,
                                        piece.fan_out, section.product_memory.scratch());
        });
    }

    // The deltas of the own units of layer l - 1, from what all sections of layer l have to add.
    void sum_deltas(Section& section, std::size_t l, const Batch& batch) const {
        const Piece& piece = section.pieces[l - 1];
        const Index stride = task().network.shape[l - 1].stride;
        const Index filled = padded(piece.units);
        for (Index s = 0; s < batch.samples && piece.units > 0; ++s) {
            float* own = deltas(section, l - 1, batch) + s * piece.width;
            std::fill_n(own, filled, 0.0F);
            for (const auto& other : sections_) {
                if (other->pieces[l].units == 0) {
                    break;
                }
                const float* part = other->below[l].data() + s * stride + piece.begin;
                for (Index k = 0; k < filled; ++k) {
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
