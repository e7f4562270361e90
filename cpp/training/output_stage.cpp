#include "training/output_stage.hpp"

#include <algorithm>

namespace omp_mlp {

OutputStage::OutputStage(const Network& network, Index samples, double skip_confident)
    : network_{&network},
      stride_{network.shape.layers().back().stride},
      z_(static_cast<std::size_t>(samples * stride_)),
      deltas_(z_.size()),
      skip_confident_{static_cast<float>(skip_confident)} {}

double OutputStage::run(const Kernels& kernels, const Targets& targets, std::span<const Index> ids,
                        float scale) {
    const double loss = loss_and_delta(kernels, *network_, targets, ids, z_.data(), deltas_.data());
    if (skip_confident_ > 0.0F) {
        for (std::size_t s = 0; s < ids.size(); ++s) {
            float* delta = deltas_.data() + static_cast<Index>(s) * stride_;
            // delta = weight (p - one-hot), so that of the correct class is -weight (1 - p(correct)).
            const float weight = targets.weights != nullptr ? targets.weights[ids[s]] : 1.0F;
            if (-delta[targets.classes[ids[s]]] < skip_confident_ * weight) {
                std::fill_n(delta, stride_, 0.0F);
            }
        }
    }
    std::for_each_n(deltas_.data(), static_cast<Index>(ids.size()) * stride_,
                    [scale](float& delta) { delta *= scale; });
    return loss;
}

}  // namespace omp_mlp
