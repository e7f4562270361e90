// What processes that train one network together need of each other. What it is made of, such as MPI, is
// the caller's. Every rank makes the same calls in the same order, and a call ends when all have made it.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "base/buffer.hpp"

namespace omp_mlp {

class Communicator {
public:
    Communicator() = default;
    Communicator(const Communicator&) = delete;
    Communicator(Communicator&&) = delete;
    Communicator& operator=(const Communicator&) = delete;
    Communicator& operator=(Communicator&&) = delete;
    virtual ~Communicator() = default;

    virtual Index size() const = 0;  // ranks
    virtual Index rank() const = 0;  // of this process, from 0

    // Writes what the ranks give, which is of one size, to `everyone` in the order of the ranks.
    virtual void gather(std::span<const std::byte> mine, std::span<std::byte> everyone) = 0;

    // Replaces each value by its sum over the ranks. All ranks get the same bits.
    virtual void add_up(std::span<float> values) = 0;
    virtual void add_up(std::span<double> values) = 0;

    // The same where each message has bfloat16 numbers. What a rank rounds off what it sends is in `left`,
    // and is a part of what it sends in the next call.
    virtual void add_up_rounded(std::span<float> values, std::span<float> left) = 0;

    // Runs work, which makes the calls above, on a thread of its own, and returns at once. Nobody else makes
    // calls until finish() has waited for its end. finish() throws what the work threw. A caller that throws
    // before does not finish: the work, and what it holds, may outlive the caller.
    virtual void begin(std::function<void()> work) = 0;
    virtual void finish() = 0;
};

}  // namespace omp_mlp
