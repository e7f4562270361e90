#include "training/section_memory.hpp"

#include <algorithm>
#include <type_traits>

namespace omp_mlp {
namespace {

// Whether the output layer is kept transposed.
bool has_narrow_outputs(const OneNetworkTask& task) {
    return steps_in_place(task.options.optimizer) && task.network.shape.outputs() <= most_narrow;
}

// What a section owns of layer l, by these units of it. `stretch`: samples that make one visit of the
// first layer.
Piece piece_of(const OneNetworkTask& task, std::size_t l, const Block& own, Index stretch) {
    const auto& layers = task.network.shape.layers();
    const bool last = l + 1 == layers.size();
    Piece piece{.begin = own.begin,
                .units = own.size,
                .fan_in = last ? own.size : layers[l].fan_in,
                .fan_out = last ? layers[l].fan_out : own.size,
                .width = row_stride(last ? layers[l].fan_out : own.size),
                .parameters = {},
                .gradient = {},
                .stepper = {},
                .own = {},
                .deltas = {}};
    const Index weights = last && has_narrow_outputs(task) ? layers[l].fan_out * row_stride(own.size)
                                                           : piece.fan_in * piece.width;
    piece.parameters.resize(static_cast<std::size_t>(weights + piece.width));
    if (!steps_in_place(task.options.optimizer)) {
        piece.gradient.resize(piece.parameters.size());
        piece.stepper.emplace(task.options.optimizer,
                              std::vector<Run>{{.size = weights, .fan_in = layers[l].fan_in},
                                               {.size = piece.width, .fan_in = 0}});
    }
    if (!last) {
        const Index rows = l == 0 ? stretch : task.batch_size;
        piece.own = Units{task.network.activation, rows, own.size, task.dropout().rate(l)};
        piece.deltas.resize(static_cast<std::size_t>(rows * piece.width));
    }
    return piece;
}

void from_flat(float* own, const float* flat, Index count, Index step) {
    for (Index j = 0; j < count; ++j) {
        own[j * step] = flat[j];
    }
}
void to_flat(const float* own, float* flat, Index count, Index step) {
    for (Index j = 0; j < count; ++j) {
        flat[j] = own[j * step];
    }
}

}  // namespace

Block section_of(Index units, Index sections, Index section) {
    const Block lines = block(padded(units) / cache_line_floats, sections, section);
    const Index begin = lines.begin * cache_line_floats;
    return {std::min(begin, units),
            std::min(lines.size * cache_line_floats, std::max<Index>(units - begin, 0))};
}

template <typename Float, typename Own, typename Fn>
void Section::for_each_row(const Shape& shape, Float* all, const Own& rows, const Fn& fn) {
    for (std::size_t l = 0; l < pieces.size(); ++l) {
        Float* flat = all + shape[l].begin;
        Float* biases = flat + shape[l].fan_in * shape[l].stride;
        const Piece& piece = pieces[l];
        const Rows own = rows(pieces[l]);
        if (l + 1 < pieces.size()) {
            for (Index k = 0; k < piece.fan_in; ++k) {
                fn(own.weights + k * piece.width, flat + k * shape[l].stride + piece.begin, piece.units,
                   Index{1});
            }
            fn(own.biases, biases + piece.begin, piece.units, Index{1});
            continue;
        }
        for (Index k = 0; k < piece.units; ++k) {
            fn(own.weights + (is_narrow ? k : k * piece.width), flat + (piece.begin + k) * piece.width,
               shape[l].fan_out, is_narrow ? row_stride(piece.units) : 1);
        }
        if (number == 0 || std::is_const_v<Float>) {
            fn(own.biases, biases, shape[l].fan_out, Index{1});
        }
    }
}

Section::Section(const OneNetworkTask& task, Index stretch, Index own_number, const Parameters& start)
    : number{own_number},
      is_narrow{has_narrow_outputs(task)},
      outputs{task.network, task.batch_size, task.options.batch.skip_confident},
      no_bias(static_cast<std::size_t>(task.network.shape.layers().back().stride)) {
    const auto& layers = task.network.shape.layers();
    for (std::size_t l = 0; l < layers.size(); ++l) {
        const bool last = l + 1 == layers.size();
        const Block own =
            section_of(last ? layers[l].fan_in : layers[l].fan_out, task.threads(), number);
        const Piece& piece = pieces.emplace_back(piece_of(task, l, own, stretch));
        if (l > 0 || task.reading == Reading::dense) {
            product_memory.make_room(l == 0 ? stretch : task.batch_size, piece.fan_in, piece.width);
        }
        // What this layer's deltas add to those below, for all units below.
        const bool inner = l > 0 && !last && own.size > 0;
        below.emplace_back(inner ? static_cast<std::size_t>(task.batch_size * layers[l - 1].stride) : 0);
    }
    if (task.has_shift()) {
        shift.resize(static_cast<std::size_t>(pieces.front().width));
    }
    if (task.takes_means_off()) {
        raw_biases.resize(static_cast<std::size_t>(pieces.front().width));
    }
    for (Buffer& part : parts) {
        part.resize(static_cast<std::size_t>(task.batch_size * layers.back().stride));
    }
    if (stretch > task.batch_size) {
        own_products.resize(static_cast<std::size_t>(MarkedRows::most * MarkedRows::most));
        products.resize(own_products.size());
    }
    read(task.network.shape, start, {});
}

void Section::read(const Shape& shape, const Parameters& parameters, std::span<const float> all_shifts) {
    if (!all_shifts.empty()) {
        std::copy_n(all_shifts.begin() + pieces.front().begin, pieces.front().units, shift.begin());
    }
    for_each_row(shape, parameters.flat().data(), own_parameters, from_flat);
}

void Section::collect(const Shape& shape, Parameters& parameters, std::span<float> all_shifts) {
    std::copy_n(shift.begin(), all_shifts.empty() ? 0 : pieces.front().units,
                all_shifts.begin() + (all_shifts.empty() ? 0 : pieces.front().begin));
    for_each_row(shape, parameters.flat().data(), own_parameters, to_flat);
}

void Section::copy_slots(const Shape& shape, SlotCopy way, OptimizerSlots& whole) {
    for (std::size_t s = 0; s < whole.slots.size(); ++s) {
        const auto own = [&, slot = static_cast<Index>(s)](Piece& piece) {
            // Every piece has a stepper where one piece has one.
            // NOLINTNEXTLINE(bugprone-unchecked-optional-access)
            float* values = piece.stepper->state.values.data();
            const Index weights = std::ssize(piece.parameters) - piece.width;
            return Rows{.weights = values + slot * weights,
                        .biases = values + std::ssize(whole.slots) * weights + slot * piece.width};
        };
        float* flat = whole.slots[s].flat().data();
        if (way == SlotCopy::to_slots) {
            for_each_row(shape, flat, own, to_flat);
        } else {
            for_each_row<const float>(shape, flat, own, from_flat);
        }
    }
    for (Piece& piece : pieces) {
        // Pieces without units take no steps.
        if (way == SlotCopy::from_slots || piece.units > 0) {
            copy_steps(way, whole,
                       piece.stepper->state);  // NOLINT(bugprone-unchecked-optional-access)
        }
    }
}

double Section::measure_gradient() {
    double sum = 0.0;
    for (Piece& piece : pieces) {
        const bool has_biases = number == 0 || &piece != &pieces.back();
        const Index size = std::ssize(piece.gradient) - (has_biases ? 0 : piece.width);
        sum += piece.units > 0 ? omp_mlp::squared_norm(piece.gradient.data(), size) : 0.0;
    }
    return sum;
}

void Section::step(double rate, double scale) {
    for (Piece& piece : pieces) {
        if (piece.units > 0) {
            piece.step(rate, scale);
        }
    }
}

}  // namespace omp_mlp
