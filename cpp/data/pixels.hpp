// Float inputs that are bytes divided by one number, as pixels mostly are. They are kept as these bytes
// while a network is trained. Training on floats waits for the memory of shuffled samples; bytes need a
// quarter of it. Sums of products of bytes are sums of integers.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "data/samples.hpp"
#include "kernels/kernels.hpp"

namespace omp_mlp {

class Pixels {
public:
    // In the order of preference.
    static constexpr std::array divisors{255.0F, 1.0F, 256.0F, 16.0F};

    // X as bytes by the first divisor that fits() X, if X is_worth_it(). X is finite then.
    static std::optional<Pixels> of(const Kernels& kernels, const Samples& X, int workers);

    // X as bytes by this divisor, if it fits(). Where several processes have rows, all take the same one.
    static std::optional<Pixels> of(const Kernels& kernels, const Samples& X, float divisor,
                                    int workers);

    // Whether X is dense and every entry is a byte divided by `divisor`, to the last bit.
    static bool fits(const Kernels& kernels, const Samples& X, float divisor, int workers);

    // Whether X is dense, sparse enough to be read with marks, and takes at most `most_bytes` as bytes. X
    // may be a part of more rows: `entries` and `density` are those of all.
    static bool is_worth_it(const Samples& X, Index entries, double density);

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
