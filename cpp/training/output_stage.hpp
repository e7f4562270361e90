// The upper end of a network that several threads train: the losses and deltas of some samples of a
// batch.
#pragma once

#include <span>

#include "network/loss.hpp"

namespace omp_mlp {

// The outputs of some samples: from their z to their losses and deltas.
class OutputStage {
public:
    OutputStage(const Network& network, Index samples, double skip_confident);

    // samples x stride of the last layer. What is written there is z.
    float* z() { return z_.data(); }
    const float* deltas() const { return deltas_.data(); }

    // Fills the deltas, times `scale`, and returns the sum of the samples' losses. Samples with
    // 1 - p(correct) below skip_confident get deltas of zero.
    double run(const Kernels& kernels, const Targets& targets, std::span<const Index> ids, float scale);

private:
    const Network* network_;
    Index stride_;
    Buffer z_;
    Buffer deltas_;
    float skip_confident_;
};

}  // namespace omp_mlp
