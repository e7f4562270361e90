// The outer step makes the next master from the merged parameters. It follows every merge method. Its
// memory M belongs to the training.
#pragma once

namespace omp_mlp {

// u = merged - base; M = momentum M + u; then
//     master = base + learning_rate M                     (momentum)
//     master = base + learning_rate (u + momentum M)      (nesterov)
struct OuterStep {
    double learning_rate;
    double momentum;
    bool nesterov;

    bool takes_merged_as_it_is() const { return learning_rate == 1.0 && momentum == 0.0; }
};

}  // namespace omp_mlp
