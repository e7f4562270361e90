// The processes that train together, in Python: a transport made there, which the core calls between loops.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "bindings/arrays.hpp"
#include "training/ranks.hpp"

namespace omp_mlp {

// Calls the methods of an object of Python: gather(mine, everyone) with buffers of bytes, add_up(values) with
// a buffer of float32 or float64, in place, and add_up_rounded(values, left) with two of float32. All end
// when all ranks have called.
//
// `aside`, or None, does work on another thread: start(work) returns at once, and wait() when the work is done.
class PyCommunicator final : public Communicator, public std::enable_shared_from_this<PyCommunicator> {
public:
    PyCommunicator(py::object transport, py::object aside, Index rank, Index size);

    Index size() const override { return size_; }
    Index rank() const override { return rank_; }
    void gather(std::span<const std::byte> mine, std::span<std::byte> everyone) override;
    void add_up(std::span<float> values) override;
    void add_up(std::span<double> values) override;
    void add_up_rounded(std::span<float> values, std::span<float> left) override;
    void begin(std::function<void()> work) override;
    void finish() override;

private:
    py::object transport_;
    py::object aside_;
    Index rank_;
    Index size_;
};

struct PyRanks {
    PyRanks(py::object transport, py::object aside, Index rank, Index size)
        : communicator{
              std::make_shared<PyCommunicator>(std::move(transport), std::move(aside), rank, size)} {}

    std::shared_ptr<PyCommunicator> communicator;
    Ranks ranks{};  // with this communicator
};

void bind_ranks(py::module_& m);

}  // namespace omp_mlp
