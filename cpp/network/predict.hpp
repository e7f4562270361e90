// Applies a trained network to many samples, in parallel over blocks of samples.
#pragma once

#include "network/network.hpp"

namespace omp_mlp {

// out: samples x outputs. `raw`: z of the last layer, in place of the outputs.
void predict(const Network& network, const Parameters& parameters, const Samples& X, bool raw,
             int workers, float* out);

}  // namespace omp_mlp
