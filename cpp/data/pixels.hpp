// Float inputs that are bytes divided by one number, as pixels mostly are, kept as those bytes while a network
// is trained: a quarter of the memory to read for each sample of a shuffled order, which is what training on
// floats waits for, and sums of products in integers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "data/samples.hpp"
#include "kernels/kernels.hpp"

namespace omp_mlp {

class Pixels {
public:
    // X as bytes, if it is dense, every entry is a byte divided by 1, 16, 255 or 256 to the last bit, few
    // enough are not zero for them to be read one by one, and the copy takes at most `most_bytes`. Then it is
    // finite, too.
    static std::optional<Pixels> of(const Kernels& kernels, const Samples& X, int workers);

    // What to train on in place of X; every entry is worth the same float.
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
    // On the heap, so that samples() stays right when this is moved.
    std::unique_ptr<ByteTable> byte_values_;
};

}  // namespace omp_mlp
