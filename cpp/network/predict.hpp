// Applies a trained network to many samples, in parallel over blocks of samples.
#pragma once

#include "network/network.hpp"
#include "threads/heartbeat.hpp"

namespace omp_mlp {

// out: samples x outputs; not complete if the heartbeat is stopped. `raw`: z of the last layer, in place of the outputs.
void predict(const Network& network, const Parameters& parameters, const Samples& X, bool raw,
             int workers, Heartbeat& heartbeat, float* out);

}  // namespace omp_mlp
