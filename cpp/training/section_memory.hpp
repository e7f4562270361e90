// What one section of the hidden units has in memory: its pieces of all layers, and room to work.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "base/block.hpp"
#include "network/first_layer.hpp"
#include "training/one_network.hpp"
#include "training/output_stage.hpp"
#include "training/upcoming.hpp"

namespace omp_mlp {

// What one of the sections owns of some units, in whole cache lines.
Block section_of(Index units, Index sections, Index section);

// What a section owns of a hidden layer: its units [begin, begin + units) with the weights into them; of the
// output layer: the weights out of the last hidden layer's units.
struct Piece {
    Index begin;
    Index units;
    Index fan_in;
    Index fan_out;  // numbers in a row of its weights
    Index width;    // row_stride(fan_out)
    // fan_in rows and then the biases. Where steps are taken in place, narrow output layers are kept transposed
    // (Kernels::narrow_step): a row for each output, and then the biases.
    Buffer parameters;
    Buffer gradient;  // likewise; empty where steps are taken in place
    std::optional<Stepper> stepper;
    Units own;  // of the first layer, those of the whole stretch
    Buffer deltas;

    float* weights() { return parameters.data(); }
    float* biases() { return parameters.data() + std::ssize(parameters) - width; }

    // Calls add(weights, biases) with where to add the gradient of a batch: the parameters, or their gradient.
    template <typename Add>
    void add(const Add& add_to) {
        if (!stepper) {
            add_to(weights(), biases());
            return;
        }
        add_to(gradient.data(), gradient.data() + std::ssize(gradient) - width);
    }

    // Takes the step of the gradient, if steps are not taken in place.
    void step(double rate, double scale) {
        if (stepper) {
            stepper->step(rate, scale, gradient.data(), parameters.data());
        }
    }
};

struct Section {
    // `stretch`: samples that make one visit of the first layer.
    Section(const OneNetworkTask& task, Index stretch, Index own_number, const Parameters& start);

    // Takes over what is the section's.
    void read(const Shape& shape, const Parameters& parameters, std::span<const float> all_shifts);

    // The first layer, or its gradient.
    template <typename Float>
    FirstWeights<Float> first(Float* weights, Float* biases) {
        return {weights, biases, shift.empty() ? nullptr : shift.data(),
                raw_biases.empty() ? nullptr : raw_biases.data(), pieces.front().fan_out};
    }

    void collect(const Shape& shape, Parameters& parameters, std::span<float> all_shifts);

    // What the steppers remember.
    void copy_slots(const Shape& shape, SlotCopy way, OptimizerSlots& whole);

    // The sum of squares of the gradient of what is the section's. All have the output biases; they are the
    // first one's.
    double measure_gradient();

    void step(double rate, double scale);

    Index number;
    bool is_narrow;
    std::vector<Piece> pieces;
    std::vector<Buffer> below;
    Buffer shift;       // s of centering.hpp, of the own units
    Buffer raw_biases;  // as FirstWeights has them
    Upcoming upcoming;  // samples of the own share of the next stretch
    FirstScratch scratch;
    OutputStage outputs;
    ProductMemory product_memory;
    Buffer no_bias;
    // The own part of the outputs' z; two, in turn, for a section may be one batch ahead of another that
    // still reads.
    std::array<Buffer, 2> parts;
    // Products of a stretch's samples: the own columns' part, for all to read, and the sum of all parts.
    Buffer own_products;
    Buffer products;
    double squared_norm = 0.0;  // of the own gradient, for all to read

private:
    // Rows of a piece, of its parameters or of a number of each of them.
    struct Rows {
        float* weights;
        float* biases;
    };

    static Rows own_parameters(Piece& piece) { return {piece.weights(), piece.biases()}; }

    // Calls fn(own, flat, count, step) for every row of weights and biases that is the section's: entry j of
    // the row is own[j * step] and flat[j]. `rows` are those of a piece, and `all` those of the whole
    // network. All sections have the output biases, and alike; in `all` that is written, they are the first
    // one's.
    template <typename Float, typename Own, typename Fn>
    void for_each_row(const Shape& shape, Float* all, const Own& rows, const Fn& fn);
};

}  // namespace omp_mlp
