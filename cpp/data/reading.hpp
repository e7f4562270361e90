// How the first layer reads its inputs: sparse (as lists, or as rows with marks) or dense.
//
// Sparse reading touches only the rows of W whose input is not zero, with one vector instruction for
// each load. Dense loops use every load for several samples. docs/benchmarks.md measures at which
// density the two are equally fast.
#pragma once

#include <optional>

#include "data/samples.hpp"

namespace omp_mlp {

enum class FirstLayer { automatic, sparse, dense };

// What is held of a sample: a list of its nonzeros; a dense row and a mark for each nonzero; or a dense
// row alone.
enum class Reading { lists, marks, dense };

// The share of nonzeros in X, estimated from up to 256 rows at equal distances: a function of X alone.
double density(const Samples& X);

// Resolves `automatic`. Obeys the other wishes. `known`: the density to go by, if not that of X.
Reading choose_reading(FirstLayer wish, const Samples& X, std::optional<double> known = std::nullopt);

// The same for replicas that train on batches of this size. Rows of CSR are spread out in the workspace,
// unless they are so thin that finding their nonzeros would take longer than using them, or a batch of
// them takes much memory.
Reading choose_replica_reading(FirstLayer wish, const Samples& X, Index batch_size,
                               std::optional<double> known = std::nullopt);

// The number of samples of a stretch, which makes one visit of the first layer: one batch, or several
// small ones. In a longer stretch more samples share the visit, and need more products with each other.
// Bytes with marks take up to `bytes_together` (Kernels) samples, because their products may be cheaper.
// Lists are not read together.
Index stretch_of(Reading reading, Samples::Kind kind, Index batch_size, Index bytes_together);

}  // namespace omp_mlp
