// Trains on inputs minus their means, without making sparse inputs dense.
//
// With mu the mean of the inputs, a network on x - mu with first layer (Wc, bc) is the network on x with
//     Wc = W + mu s,   bc = v + Wc^T mu,   so that   z = Wc^T (x - mu) + bc = W^T x + (mu . x) s + v.
// A step t (of one sample) that adds (x - mu) t to Wc and t to bc becomes
//     W += x t (the nonzeros of x only),   s -= t,   v += (1 - mu . x + mu . mu) t,
// so only s and v are dense. s is called the shift. W += mu s, s = 0 folds it into a plain network on x.
#pragma once

#include <vector>

#include "base/communicator.hpp"
#include "base/for_each.hpp"
#include "data/samples.hpp"

namespace omp_mlp {

struct Centering {
    std::vector<float> mean;        // mu: of each column
    std::vector<float> projection;  // mu . x of each sample
    float squared_norm;             // mu . mu
};

// The sums do not depend on how for_each runs its loops. With a communicator, the means are those of the
// samples of all ranks.
Centering measure_centering(const Samples& X, const ForEach& for_each,
                            Communicator* communicator = nullptr);

}  // namespace omp_mlp
