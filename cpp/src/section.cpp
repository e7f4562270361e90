#include "omp_mlp/section.hpp"

#include <algorithm>
#include <array>

#include "omp_mlp/clock.hpp"
#include "omp_mlp/lockstep.hpp"
#include "omp_mlp/output_stage.hpp"
#include "omp_mlp/shared_batch.hpp"

namespace omp_mlp {
namespace {

// What a section owns of a hidden layer: its units [begin, begin + units) with the weights into them; of the
// output layer: the weights out of the last hidden layer's units.
struct Piece {
    Index begin;
    Index units;
    Index fan_in;
    Index width;         // padded
    Buffer weights;      // fan_in rows and the biases
    Buffer activations;  // samples x width
    Buffer deltas;

    float* biases() { return weights.data() + fan_in * width; }
};

// Of `units`, in whole cache lines.
Block section_of(Index units, Index sections, Index section) {
    const Block lines = block(padded(units) / cache_line_floats, sections, section);
    const Index begin = lines.begin * cache_line_floats;
    return {std::min(begin, units),
            std::min(lines.size * cache_line_floats, std::max<Index>(units - begin, 0))};
}

struct Section {
    Section(const Task& task, Index number, const Parameters& start)
        : outputs{task.network, task.batch_size, task.options.batch.skip_confident},
          no_bias(static_cast<std::size_t>(task.network.shape.layers().back().stride)) {
        const auto& layers = task.network.shape.layers();
        Index widest = layers.back().stride;
        for (std::size_t l = 0; l < layers.size(); ++l) {
            const bool last = l + 1 == layers.size();
            const Block own =
                section_of(last ? layers[l].fan_in : layers[l].fan_out, task.threads(), number);
            Piece piece{.begin = own.begin,
                        .units = own.size,
                        .fan_in = last ? own.size : layers[l].fan_in,
                        .width = last ? layers[l].stride : padded(own.size),
                        .weights = {},
                        .activations = {},
                        .deltas = {}};
            piece.weights.resize(static_cast<std::size_t>((piece.fan_in + 1) * piece.width));
            if (!last) {
                const auto entries = static_cast<std::size_t>(task.batch_size * piece.width);
                piece.activations.resize(entries);
                piece.deltas.resize(entries);
                widest = std::max(widest, piece.width);
            }
            pieces.push_back(std::move(piece));
            // What this layer's deltas add to those below, for all units below.
            const bool inner = l > 0 && !last && own.size > 0;
            below.emplace_back(inner ? static_cast<std::size_t>(task.batch_size * layers[l - 1].stride)
                                     : 0);
        }
        panel.resize(static_cast<std::size_t>(64 * widest));
        if (task.centering != nullptr) {
            shift.resize(static_cast<std::size_t>(pieces.front().width));
        }
        for (Buffer& part : parts) {
            part.resize(static_cast<std::size_t>(task.batch_size * layers.back().stride));
        }
        for (std::size_t l = 0; l < layers.size(); ++l) {
            const float* flat = start.flat().data() + layers[l].begin;
            Piece& piece = pieces[l];
            const bool last = l + 1 == layers.size();
            if (last) {
                std::copy_n(flat + piece.begin * piece.width, piece.units * piece.width,
                            piece.weights.data());
                std::copy_n(flat + layers[l].fan_in * piece.width, piece.width, piece.biases());
                continue;
            }
            for (Index k = 0; k <= piece.fan_in; ++k) {
                std::copy_n(flat + k * layers[l].stride + piece.begin, piece.units,
                            piece.weights.data() + k * piece.width);
            }
        }
    }

    FirstWeights first() {
        Piece& piece = pieces.front();
        return {piece.weights.data(), piece.biases(), shift.empty() ? nullptr : shift.data(),
                piece.width};
    }

    void collect(const Shape& shape, bool with_output_biases, Parameters& parameters,
                 std::span<float> all_shifts) {
        std::copy_n(shift.begin(), all_shifts.empty() ? 0 : pieces.front().units,
                    all_shifts.begin() + (all_shifts.empty() ? 0 : pieces.front().begin));
        for (std::size_t l = 0; l < pieces.size(); ++l) {
            float* flat = parameters.flat().data() + shape[l].begin;
            Piece& piece = pieces[l];
            if (l + 1 < pieces.size()) {
                for (Index k = 0; k <= piece.fan_in; ++k) {
                    std::copy_n(piece.weights.data() + k * piece.width, piece.units,
                                flat + k * shape[l].stride + piece.begin);
                }
                continue;
            }
            std::copy_n(piece.weights.data(), piece.units * piece.width,
                        flat + piece.begin * piece.width);
            if (with_output_biases) {
                std::copy_n(piece.biases(), piece.width, flat + shape[l].fan_in * piece.width);
            }
        }
    }

    std::vector<Piece> pieces;
    std::vector<Buffer> below;
    Buffer shift;  // s of centering.hpp, of the own units
    SharedBatch::Scratch scratch;
    OutputStage outputs;
    Buffer panel;
    Buffer no_bias;
    // The own part of the outputs' z; two, in turn, for a section may be one batch ahead of another that
    // still reads.
    std::array<Buffer, 2> parts;
};

class Sections final : public InLockstep {
public:
    Sections(const Task& task, Team& team, const Parameters& start)
        : task_{task}, sections_(static_cast<std::size_t>(task.threads())) {
        // Made by their own threads, so that their memory is near those threads' cores.
        team.for_each(task.threads(), [&](Index i) {
            sections_[static_cast<std::size_t>(i)] = std::make_unique<Section>(task, i, start);
        });
        for (std::size_t slot = 0; slot < slots; ++slot) {
            batches_.emplace_back(task.X, task.batch_size, task.reading, task.centering);
        }
        const auto& layers = task.network.shape.layers();
        for (std::size_t l = 0; l + 2 < layers.size(); ++l) {
            activations_.emplace_back(static_cast<std::size_t>(task.batch_size * layers[l].stride));
        }
    }

    void collect(Team& team, Parameters& parameters, std::span<float> shift) override {
        team.for_each(task_.threads(), [&](Index i) {
            sections_[static_cast<std::size_t>(i)]->collect(task_.network.shape, i == 0, parameters,
                                                            shift);
        });
    }

private:
    // Batch b is in slot b % 3: while the slowest section is still at the update of batch b - 1, the fastest
    // may be in batch b and reads batch b + 1.
    static constexpr std::size_t slots = 3;

    void work(Lockstep::Member& self, Index member, Index members, Index epoch, Heartbeat& heartbeat,
              Replica::Trained& trained) override {
        const Shard shard = task_.shard();
        const Shard::Epoch order = shard.epoch(epoch);
        const Index batches = (shard.epoch_size() + task_.batch_size - 1) / task_.batch_size;
        const std::size_t hidden = sections_.front()->pieces.size() - 1;
        const auto each = [&](const auto& phase) {
            for (Index i = member; i < task_.threads(); i += members) {
                phase(i, *sections_[static_cast<std::size_t>(i)]);
            }
        };
        Reporter reporter{heartbeat, task_.network.shape.size()};

        self.run([&] { each([&](Index i, Section& /*section*/) { read(order, 0, i); }); });
        if (!self.meet()) {
            return;
        }
        for (Index b = 0; b < batches; ++b) {
            const Index begin = b * task_.batch_size;
            const Index samples = std::min(task_.batch_size, shard.epoch_size() - begin);
            const double rate =
                task_.options.sgd.rate_at(epoch * shard.epoch_size() + begin, shard.length());
            const auto scale = static_cast<float>(-rate / static_cast<double>(samples));
            SharedBatch& batch = batches_[static_cast<std::size_t>(b) % slots];
            const auto parity = static_cast<std::size_t>(b) % 2;

            for (std::size_t l = 0; l + 1 < hidden; ++l) {
                self.run([&] {
                    each([&](Index /*i*/, Section& section) {
                        forward(section, l, batch, samples);
                        publish(section, l, samples);
                    });
                });
                if (!self.meet()) {
                    return;
                }
            }
            self.run([&] {
                each([&](Index i, Section& section) {
                    forward(section, hidden - 1, batch, samples);
                    add_outputs(section, i, samples, section.parts[parity].data());
                    if (b + 1 < batches) {
                        read(order, b + 1, i);
                    }
                });
            });
            if (!self.meet()) {
                return;
            }
            self.run([&] {
                each([&](Index i, Section& section) {
                    const double loss = finish_outputs(section, batch, samples, parity, scale);
                    if (i == 0) {
                        trained.loss_sum += loss;
                    }
                    backward_outputs(section, samples);
                });
            });
            for (std::size_t l = hidden - 1; l > 0; --l) {
                self.run([&] {
                    each([&](Index /*i*/, Section& section) { backward(section, l, samples); });
                });
                if (!self.meet()) {
                    return;
                }
                self.run([&] {
                    each([&](Index /*i*/, Section& section) { sum_deltas(section, l, samples); });
                });
            }
            self.run([&] {
                each([&](Index /*i*/, Section& section) {
                    Piece& piece = section.pieces.front();
                    if (piece.units > 0) {
                        batch.update(task_.kernels, samples, piece.deltas.data(), section.first(), 0,
                                     task_.X.columns, section.scratch);
                    }
                });
                if (member == 0) {
                    trained.samples = begin + samples;
                    reporter.report(trained.samples, trained.loss_sum);
                    if (reporter.stopped()) {
                        self.stop();
                    }
                }
            });
        }
    }

    // Section i reads its share of a batch.
    void read(const Shard::Epoch& order, Index number, Index i) {
        SharedBatch& batch = batches_[static_cast<std::size_t>(number) % slots];
        const Index begin = number * task_.batch_size;
        const Index samples = std::min(task_.batch_size, task_.X.rows - begin);
        const Block own = block(samples, task_.threads(), i);
        for (Index s = own.begin; s < own.begin + own.size; ++s) {
            batch.ids[static_cast<std::size_t>(s)] = order[begin + s];
        }
        batch.read(task_.kernels, own.begin, own.begin + own.size);
    }

    void forward(Section& section, std::size_t l, const SharedBatch& batch, Index samples) const {
        Piece& piece = section.pieces[l];
        if (piece.units == 0) {
            return;
        }
        if (l == 0) {
            batch.forward(task_.kernels, 0, samples, section.first(), piece.activations.data());
        } else {
            task_.kernels.dense_forward(activations_[l - 1].data(), task_.network.shape[l - 1].stride,
                                        samples, piece.fan_in, piece.weights.data(), piece.biases(),
                                        piece.width, piece.activations.data());
        }
        task_.kernels.activate(task_.network.activation, piece.activations.data(),
                               samples * piece.width);
    }

    // Own activations, for all to read.
    void publish(const Section& section, std::size_t l, Index samples) {
        const Piece& piece = section.pieces[l];
        const Index stride = task_.network.shape[l].stride;
        for (Index s = 0; s < samples; ++s) {
            std::copy_n(piece.activations.data() + s * piece.width, piece.width,
                        activations_[l].data() + s * stride + piece.begin);
        }
    }

    // The own units' part of the outputs' z; the biases are in the first section's.
    void add_outputs(Section& section, Index i, Index samples, float* part) const {
        const Piece& last_hidden = section.pieces[section.pieces.size() - 2];
        Piece& piece = section.pieces.back();
        if (piece.units > 0) {
            task_.kernels.dense_forward(last_hidden.activations.data(), last_hidden.width, samples,
                                        piece.fan_in, piece.weights.data(),
                                        i == 0 ? piece.biases() : section.no_bias.data(), piece.width,
                                        part);
        }
    }

    // Every section does all of it: the outputs are few, and a barrier more would take longer.
    double finish_outputs(Section& section, const SharedBatch& batch, Index samples, std::size_t parity,
                          float scale) const {
        const Index entries = samples * section.pieces.back().width;
        float* z = section.outputs.z();
        std::copy_n(sections_.front()->parts[parity].data(), entries, z);
        for (std::size_t i = 1; i < sections_.size() && sections_[i]->pieces.back().units > 0; ++i) {
            const float* part = sections_[i]->parts[parity].data();
            for (Index k = 0; k < entries; ++k) {
                z[k] += part[k];
            }
        }
        return section.outputs.run(task_.kernels, task_.targets,
                                   std::span{batch.ids}.first(static_cast<std::size_t>(samples)), scale);
    }

    void backward_outputs(Section& section, Index samples) const {
        Piece& below = section.pieces[section.pieces.size() - 2];
        Piece& piece = section.pieces.back();
        const float* delta = section.outputs.deltas();
        if (piece.units == 0) {
            return;
        }
        task_.kernels.dense_backward(delta, samples, piece.weights.data(), piece.fan_in, piece.width,
                                     below.deltas.data(), below.width, section.panel.data());
        task_.kernels.multiply_derivative(task_.network.activation, below.activations.data(),
                                          below.deltas.data(), samples * below.width);
        task_.kernels.dense_update(below.activations.data(), below.width, samples, piece.fan_in, delta,
                                   piece.weights.data(), piece.biases(), piece.width);
    }

    // What the own units of layer l add to the deltas of all units below, and the step of their weights.
    void backward(Section& section, std::size_t l, Index samples) const {
        Piece& piece = section.pieces[l];
        if (piece.units == 0) {
            return;
        }
        const Index stride = task_.network.shape[l - 1].stride;
        task_.kernels.dense_backward(piece.deltas.data(), samples, piece.weights.data(), piece.fan_in,
                                     piece.width, section.below[l].data(), stride, section.panel.data());
        task_.kernels.dense_update(activations_[l - 1].data(), stride, samples, piece.fan_in,
                                   piece.deltas.data(), piece.weights.data(), piece.biases(),
                                   piece.width);
    }

    // The deltas of the own units of layer l - 1, from what all sections of layer l have to add.
    void sum_deltas(Section& section, std::size_t l, Index samples) const {
        Piece& piece = section.pieces[l - 1];
        const Index stride = task_.network.shape[l - 1].stride;
        for (Index s = 0; s < samples && piece.units > 0; ++s) {
            float* own = piece.deltas.data() + s * piece.width;
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
        task_.kernels.multiply_derivative(task_.network.activation, piece.activations.data(),
                                          piece.deltas.data(), samples * piece.width);
    }

    Task task_;
    std::vector<std::unique_ptr<Section>> sections_;
    std::vector<SharedBatch> batches_;
    std::vector<Buffer> activations_;  // of the hidden layers below the last, for all to read
};

}  // namespace

std::unique_ptr<OneNetwork> make_sections(const Task& task, Team& team, const Parameters& start) {
    return std::make_unique<Sections>(task, team, start);
}

}  // namespace omp_mlp
