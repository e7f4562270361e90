// The mean loss over all samples and its gradient, by all workers at once: what a method needs that takes
// its steps elsewhere (L-BFGS in Python).
//
// The samples are cut into parts, and the parts' gradients are added up in double, in the order of the
// parts. How many parts there are follows from the data and the network alone, so that the sums have the
// same bits for any number of workers.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "data/centering.hpp"
#include "data/samples.hpp"
#include "network/network.hpp"
#include "threads/heartbeat.hpp"
#include "threads/team.hpp"

namespace omp_mlp {

class FullBatch {
public:
    // All of these outlive it. `centers`: the loss is a function of parameters for inputs minus their means
    // (Wc, bc of centering.hpp), which is better conditioned.
    FullBatch(const Network& network, const Samples& X, const Targets& targets, FirstLayer first_layer,
              bool centers, int workers);

    // Between parameters for raw inputs and those that the loss is a function of.
    void to_centered(Parameters& parameters) const;
    void to_raw(Parameters& parameters) const;

    // Returns the mean loss, and writes its gradient in the packed form (parameters.hpp). A training that
    // the heartbeat stops leaves both unfinished.
    double evaluate(const Parameters& parameters, std::span<double> gradient, Heartbeat& heartbeat);

private:
    double add_part(Index part, const Parameters& parameters, Heartbeat& heartbeat);
    void add_up(Team& team, std::span<double> gradient) const;

    const Network& network_;
    const Samples& X_;
    const Targets& targets_;
    Reading reading_;
    std::vector<Parameters> sums_;  // the sum of each part's gradients
    int workers_;
    std::optional<Centering> centering_;
};

}  // namespace omp_mlp
