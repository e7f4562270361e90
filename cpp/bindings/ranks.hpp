// The processes that train together, in Python: a transport made there, which the core calls between loops.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "bindings/arrays.hpp"
#include "training/ranks.hpp"

namespace omp_mlp {

// Calls the methods of an object of Python: gather(mine, everyone) with buffers of bytes, add_up(values) with
// a buffer of float32 or float64, in place, and add_up_rounded(values, left) with two of float32. All end
// when all ranks have called.
class PyCommunicator final : public Communicator {
public:
    PyCommunicator(py::object transport, Index rank, Index size);

    Index size() const override { return size_; }
    Index rank() const override { return rank_; }
    void gather(std::span<const std::byte> mine, std::span<std::byte> everyone) override;
    void add_up(std::span<float> values) override;
    void add_up(std::span<double> values) override;
    void add_up_rounded(std::span<float> values, std::span<float> left) override;

private:
    py::object transport_;
    Index rank_;
    Index size_;
};

struct PyRanks {
    PyRanks(py::object transport, Index rank, Index size)
        : communicator{std::move(transport), rank, size} {}

    PyCommunicator communicator;
    Ranks ranks{};  // with this communicator
};

void bind_ranks(py::module_& m);

}  // namespace omp_mlp
