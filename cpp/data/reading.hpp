// How the first layer reads its inputs: as lists of nonzeros, or as dense rows.
//
// Lists touch only the rows of W whose input is nonzero, one vector instruction for each load; the dense
// loops use every load for several samples. Where the one overtakes the other was measured
// (docs/benchmarks.md).
#pragma once

#include "data/samples.hpp"

namespace omp_mlp {

enum class FirstLayer { automatic, sparse, dense };

// What a workspace holds of its samples: lists of nonzeros, dense rows and a mark for each nonzero, or dense rows alone.
enum class Reading { lists, marks, dense };

// The share of nonzeros in X, estimated from up to 256 rows at equal distances: a function of X alone.
double density(const Samples& X);

// Resolves `automatic`; the other wishes are obeyed.
Reading choose_reading(FirstLayer wish, const Samples& X);

// The same for replicas that train on batches of this size. Rows of CSR are spread out in the workspace where
// they are not so thin that looking for their nonzeros would take longer than using them, and where a
// batch of them takes little memory.
Reading choose_replica_reading(FirstLayer wish, const Samples& X, Index batch_size);

// How many samples make one visit of the first layer: a batch, or several small ones. More share the visit, and
// need more products with each other. Of bytes with marks up to `bytes_together` (Kernels), as their products may
// be cheaper; lists are not read together at all.
Index stretch_of(Reading reading, Samples::Kind kind, Index batch_size, Index bytes_together);

}  // namespace omp_mlp
