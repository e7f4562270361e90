// Which rows of the first layer a replica has needed since the last merge.
//
// Where inputs are sparse, a few dozen samples have a nonzero in little more than half of the columns. A
// replica loads only the rows of these columns from the master, when a sample first needs them. The next
// merge reads only these rows of the replica (Deferred, merging/loops.hpp).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "network/parameters.hpp"

namespace omp_mlp {

class TouchedRows {
public:
    explicit TouchedRows(const LayerShape& first_layer);

    // Of the bits.
    static Index words(const LayerShape& first_layer) { return first_layer.fan_in / 64 + 1; }

    // The bits, as Deferred has them. The biases' row is always among them.
    const std::uint64_t* bits() const { return bits_.data(); }

    void touch_all();
    void touch_none();
    // Copies the rows of `master` that are marked and not touched yet to `parameters`. Both are flat
    // buffers. marks: bits as here, `words` words for each of some samples.
    void touch(std::span<const std::uint64_t> marks, Index words, const float* master,
               float* parameters);

private:
    Index rows_;
    Index stride_;
    std::vector<std::uint64_t> bits_;
};

}  // namespace omp_mlp
