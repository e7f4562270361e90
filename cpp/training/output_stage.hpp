// The upper end of a network that several threads train: the losses and deltas of some samples of a
// batch.
#pragma once

#include <span>

#include "network/network.hpp"

namespace omp_mlp {

// The outputs of some samples: from their z to their losses and deltas.
class OutputStage {
public:
    OutputStage(const Network& network, Index samples, double skip_confident);

    // samples x stride of the last layer. What is written there is z.
    float* z() { return workspace_.outputs(); }
    const float* deltas() { return workspace_.deltas(0); }

    // Fills the deltas, times `scale`, and returns the sum of the samples' losses. Samples with
    // 1 - p(correct) below skip_confident get deltas of zero.
    double run(const Kernels& kernels, const Targets& targets, std::span<const Index> ids, float scale);

private:
    Network network_;  // the last layer alone, on a single input
    Index stride_;
    Workspace workspace_;
    float skip_confident_;
};

}  // namespace omp_mlp
