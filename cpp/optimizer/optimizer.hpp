// How a step is taken: the table of optimisers, and the two paths of a step.
//
// In place: the deltas have minus the learning rate as a factor, and the kernels that add a gradient add
// to the parameters themselves. So gradient and step are one. Only plain descent may do that.
// Accumulate, then step: the gradient of a batch is added up in memory of its own. Then one flat loop
// goes over parameters, gradient and state. steps_in_place says which path a training takes. All that
// only plain descent may do asks steps_in_place, and nothing else: several small batches in one visit of
// the first layer, rows that wait for a merge, the shift of centered inputs, transposed output weights,
// the copy in bfloat16.
//
// To add an optimiser: write its function and its row in flat_step.cpp, its settings in OptimizerOptions,
// and its oracle in tests/oracle/optimizer.py.
#pragma once

#include <span>
#include <string_view>

#include "base/buffer.hpp"
#include "optimizer/schedule.hpp"

namespace omp_mlp {

struct Optimizer;

struct OptimizerOptions {
    const Optimizer* method;
    LearningRate learning_rate;
    double momentum;
    bool accumulates;  // accumulate, then step, even where the step could be taken in place
};

// One step. Every optimiser reads the options that it needs.
struct Step {
    float rate;
    const OptimizerOptions& options;
};

struct Optimizer {
    const char* name;
    const char* summary;
    const char* formula;
    const char* reference;
    Index state;  // floats for each parameter, zero at the start of a training
    bool may_step_in_place;
    // Steps n parameters w by their gradient g. `state` has the first float of all n, then the second of
    // all n.
    void (*step)(float* w, const float* g, float* state, Index n, const Step& step);
};

// The optimisers for one instruction set. All tables give the same bits.
struct OptimizerTable {
    const char* name;
    const Optimizer* rows;
    Index count;
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

inline bool steps_in_place(const OptimizerOptions& options) {
    return options.method->may_step_in_place && !options.accumulates;
}

// The factor of a batch's deltas before they are added to the parameters, if the step is taken in place,
// or else to a gradient.
inline float scale_of_deltas(const OptimizerOptions& options, double rate, Index samples) {
    const double factor = steps_in_place(options) ? -rate : 1.0;
    return static_cast<float>(factor / static_cast<double>(samples));
}

// Takes the accumulated steps of some parameters, and holds the optimiser's state of these parameters.
class Stepper {
public:
    Stepper(const OptimizerOptions& options, Index parameters);

    void step(double rate, const float* gradient, float* parameters);

private:
    OptimizerOptions options_;
    Index size_;
    Buffer state_;
};

}  // namespace omp_mlp
