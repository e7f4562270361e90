// What an optimiser remembers of a whole network, however a strategy cuts the network up.
#pragma once

#include <span>
#include <vector>

#include "network/parameters.hpp"
#include "optimizer/optimizer.hpp"
#include "training/state.hpp"

namespace omp_mlp {

struct OptimizerSlots {
    OptimizerSlots(const Shape& shape, const OptimizerOptions& options);

    Index steps = 0;
    std::vector<Parameters> slots;  // a number of each parameter, such as Adam's M
    Buffer gains;                   // of each input the gain, then its slots one after another; or empty
};

// Which way numbers go between a strategy and the slots.
enum class SlotCopy { to_slots, from_slots };

// Entries [begin, begin + size) of the flat parameters, and the gains of `rows` inputs from `first_row`
// on.
struct SlotRange {
    Index begin;
    Index size;
    Index first_row = 0;
    Index rows = 0;  // 0: there are no gains
};

// Copies what a stepper (optimizer.hpp) remembers of one run. Returns where the next run's values begin.
float* copy_run(SlotCopy way, const SlotRange& range, OptimizerSlots& whole, float* values);

void copy_steps(SlotCopy way, OptimizerSlots& whole, OptimizerState& state);

// The runs of a whole network, as a replica has them.
void copy_all_runs(SlotCopy way, const Shape& shape, OptimizerSlots& whole, OptimizerState& state);

// Exchanges the states of some networks.
void exchange(StateExchange& exchange, const Shape& shape, std::span<OptimizerSlots> networks);

}  // namespace omp_mlp
