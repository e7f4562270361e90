// How a step is taken: the table of optimisers, and the two paths of a step.
//
// In place: the deltas have minus the learning rate as a factor, and the kernels that add a gradient add
// to the parameters themselves. So gradient and step are one. Only plain descent may do that.
// Accumulate, then step: the gradient of a batch is added up in memory of its own. Then one flat loop
// goes over parameters, gradient and state, and leaves zeros in the gradient. A replica does so block by block of rows
// (network/row_blocks.hpp), unless the step needs the whole gradient. steps_in_place says which path a training takes. All that
// only plain descent may do asks steps_in_place, and nothing else: several small batches in one visit of
// the first layer, rows that wait for a merge, the shift of centered inputs,
// transposed output weights.
//
// Before a step of the second path, the gradient may be clipped and weights may decay: g <- scale g + l2 w,
// w <- w - rate weight_decay w, both with the w before the step. Biases do not decay.
//
// In the neural tangent parametrisation (Jacot, Gabriel & Hongler 2018), a layer of fan-in n has z = V^T x / sqrt(n) + b, and the
// optimiser steps V. The weights here are W = V / sqrt(n): so their gradient and their step both have the factor
// 1 / sqrt(n), and decay is as in W.
//
// With gains of the inputs (the scaling layer of Holzmueller, Grinsztajn & Steinwart 2024), the first layer's row of input j is
// s_j V_j, and the optimiser steps the gain s_j, from 1 on, and V_j. Only the product is kept: V_j is the row over s_j.
//
// To add an optimiser: write its function and its row in flat_step.cpp, its settings in OptimizerOptions,
// and its oracle in tests/oracle/optimizer.py.
#pragma once

#include <cmath>
#include <span>
#include <string_view>
#include <vector>

#include "base/buffer.hpp"
#include "base/for_each.hpp"
#include "optimizer/schedule.hpp"

namespace omp_mlp {

struct Optimizer;

struct OptimizerOptions {
    const Optimizer* method;
    LearningRate learning_rate;
    double momentum;
    double beta_1;
    double beta_2;
    double rho;
    double epsilon;       // at least the smallest normal float: the padding would be 0 / 0
    double weight_decay;  // decoupled: W <- W - rate weight_decay W
    double l2;            // coupled: the gradient gets l2 W
    double max_norm;      // of a batch's gradient, before l2; infinity: it is not clipped
    bool accumulates;     // accumulate, then step, even where the step could be taken in place
    bool ntk;             // the neural tangent parametrisation
    double gain_rate;     // of the gains of the inputs, in units of the learning rate; 0: there are none
};

// One step. Every optimiser reads the options that it needs.
struct Step {
    double rate;
    double correction_1;  // 1 - beta_1^t in the t-th step, from t = 1 on
    double correction_2;  // 1 - beta_2^t
    double scale;         // factor of the gradient
    double l2;
    double weight_decay;
    const OptimizerOptions& options;
};

struct Optimizer {
    const char* name;
    const char* summary;
    const char* formula;
    const char* reference;
    Index state;  // floats for each parameter, zero at the start of a training
    bool may_step_in_place;
    // Steps n parameters w by their gradient g, which becomes zero. `state` has the first float of each, and from
    // state + apart on the second of each.
    void (*step)(float* w, float* g, float* state, Index apart, Index n, const Step& step);
};

// The optimisers for one instruction set. All tables give the same bits.
struct OptimizerTable {
    const char* name;
    const Optimizer* rows;
    Index count;
    double (*squared_norm)(const float* g, Index n);
};

// The tables that this machine can run, the widest first.
std::span<const OptimizerTable* const> available_optimizer_tables();
// Selects a table by name, for tests, and not while a training runs. "best" undoes it. Throws
// std::invalid_argument, listing the names, if there is no table of that name.
void select_optimizer_table(std::string_view name);

// The rows of the table in use.
std::span<const Optimizer> optimizers();
// Throws std::invalid_argument, listing the names, if there is no row of that name.
const Optimizer& optimizer(std::string_view name);

inline bool clips(const OptimizerOptions& options) {
    return std::isfinite(options.max_norm);
}

inline bool steps_in_place(const OptimizerOptions& options) {
    const bool is_plain = options.weight_decay == 0.0 && options.l2 == 0.0 && !clips(options);
    const bool is_standard = !options.ntk && options.gain_rate == 0.0;
    return options.method->may_step_in_place && is_plain && !options.accumulates && is_standard;
}

// Whether a step needs the whole gradient of a batch before the first parameter can be stepped.
inline bool needs_whole_gradient(const OptimizerOptions& options) {
    return clips(options) || options.gain_rate > 0.0;
}

// The factor of a batch's deltas before they are added to the parameters, if the step is taken in place,
// or else to a gradient.
inline float scale_of_deltas(const OptimizerOptions& options, double rate, Index samples) {
    const double factor = steps_in_place(options) ? -rate : 1.0;
    return static_cast<float>(factor / static_cast<double>(samples));
}

// The sum of squares of some entries of a gradient. All tables give the same bits.
double squared_norm(const float* gradient, Index n);
// The factor that brings a gradient to a norm of at most max_norm, as torch.nn.utils.clip_grad_norm_ has it.
double clipping(const OptimizerOptions& options, double squared_norm);

// The weights or the biases of a layer, or a part of them, which follow each other.
struct Run {
    Index size;
    Index fan_in;    // of the layer; 0 for biases, which do not decay
    Index rows = 0;  // of weights that may have gains, which are those of the first layer
};

// What an optimiser remembers of some parameters.
struct OptimizerState {
    Index steps = 0;  // that were taken
    Buffer values;    // of one run after another

    void reset();
};

// Writes the mean of the states `from`, with the most steps of them, to the states `to`. Adds up in their order.
void average(std::span<OptimizerState* const> from, std::span<OptimizerState* const> to,
             const ForEach& for_each);

// Takes the accumulated steps of some parameters.
class Stepper {
public:
    Stepper(const OptimizerOptions& options, std::vector<Run> runs);

    // `scale`: a factor of the gradient. Leaves zeros in the gradient.
    void step(double rate, double scale, float* gradient, float* parameters);

    // The same step in parts: begin, and then every parameter once. step_part steps `count` parameters of a run,
    // beginning with number `first`, which are at `parameters`. Not with gains, nor with a gradient that is clipped:
    // both need the gradient of a whole run, or of all runs.
    void begin(double rate);
    void step_part(std::size_t run, Index first, Index count, float* gradient, float* parameters);

    OptimizerState state;

private:
    Step step_of(const Run& run, double scale) const;
    // Brings rows s_j V_j and their gradient to those of V_j, and finds the gradient of the gains.
    void take_gains_out(const Run& run, const float* gains, float* gradient, float* parameters);

    Buffer gain_gradient_;
    OptimizerOptions options_;
    std::vector<Run> runs_;
    std::vector<Index> values_begin_;  // of each run in the state
    double rate_ = 0.0;                // of the step that was begun
    double correction_1_ = 0.0;
    double correction_2_ = 0.0;
};

}  // namespace omp_mlp
