// Float inputs that are bytes divided by one number, as pixels mostly are. They are kept as these bytes
// while a network is trained. Training on floats waits for the memory of shuffled samples; bytes need a
// quarter of it. Sums of products of bytes are sums of integers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "data/samples.hpp"
#include "kernels/kernels.hpp"

namespace omp_mlp {

class Pixels {
public:
    // X as bytes, if X is dense, if every entry is a byte divided by 1, 16, 255 or 256 to the last bit,
    // if X is sparse enough to be read with marks, and if the copy takes at most `most_bytes`. X is
    // finite then.
    static std::optional<Pixels> of(const Kernels& kernels, const Samples& X, int workers);

    // The samples to train on in place of X. Every entry stands for the same float.
    Samples samples() const;

    static constexpr Index most_bytes = Index{56} << 20;

private:
    struct Free {
        void operator()(std::uint8_t* memory) const;
    };

    Pixels(Index rows, Index columns, float divisor);

    Index rows_;
    Index columns_;
    float divisor_;
    std::unique_ptr<std::uint8_t[], Free> bytes_;
    // On the heap, so that samples() stays valid when this object is moved.
    std::unique_ptr<ByteTable> byte_values_;
};

}  // namespace omp_mlp
