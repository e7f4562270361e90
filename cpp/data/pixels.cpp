#include "data/pixels.hpp"

#include <algorithm>
#include <atomic>
#include <new>
#include <vector>

#include "data/reading.hpp"
#include "threads/team.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace omp_mlp {
namespace {

// The operating system clears memory of this size page by page. Fewer and larger pages take a quarter of
// the time.
constexpr std::size_t huge_page = std::size_t{2} << 20;

std::uint8_t* allocate(std::size_t size) {
    auto* memory = static_cast<std::uint8_t*>(::operator new(size, std::align_val_t{huge_page}));
#if defined(__linux__)
    madvise(memory, size, MADV_HUGEPAGE);  // a wish; a refusal costs time only
#endif
    return memory;
}

// Whether the divisor fits some rows of X at equal distances: most others are ruled out by these.
bool fits_some(const Kernels& kernels, const Samples& X, float divisor) {
    constexpr Index rows_looked_at = 64;
    const Index step = std::max<Index>(1, X.rows / rows_looked_at);
    std::vector<std::uint8_t> scratch(static_cast<std::size_t>(X.columns));
    for (Index row = 0; row < X.rows; row += step) {
        if (!kernels.to_bytes(X.values + row * X.columns, X.columns, divisor, scratch.data())) {
            return false;
        }
    }
    return true;
}

// Writes X as bytes, but not to null. False if an entry is no byte divided by the divisor.
bool convert(const Kernels& kernels, const Samples& X, float divisor, int workers, std::uint8_t* bytes) {
    constexpr Index piece_size = Index{1} << 18;
    const Index size = X.rows * X.columns;
    const Index pieces = (size + piece_size - 1) / piece_size;
    std::atomic<bool> all_fit{true};
    const auto convert_piece = [&](Index piece) {
        const Index begin = piece * piece_size;
        const Index end = std::min(begin + piece_size, size);
        std::vector<std::uint8_t> scratch(bytes == nullptr ? static_cast<std::size_t>(end - begin) : 0);
        if (all_fit.load(std::memory_order_relaxed) &&
            !kernels.to_bytes(X.values + begin, end - begin, divisor,
                              bytes == nullptr ? scratch.data() : bytes + begin)) {
            all_fit.store(false, std::memory_order_relaxed);
        }
    };
    if (pieces > 0) {
        Team::run(static_cast<int>(std::min<Index>(workers, pieces)),
                  [&](Team& team) { team.for_each(pieces, convert_piece); });
    }
    return all_fit;
}

}  // namespace

void Pixels::Free::operator()(std::uint8_t* memory) const {
    ::operator delete(memory, std::align_val_t{huge_page});
}

Pixels::Pixels(Index rows, Index columns, float divisor)
    : rows_{rows},
      columns_{columns},
      divisor_{divisor},
      bytes_{allocate(static_cast<std::size_t>(rows * columns))},
      byte_values_{std::make_unique<ByteTable>()} {
    for (std::size_t byte = 0; byte < byte_values_->of.size(); ++byte) {
        byte_values_->of[byte] = static_cast<float>(byte) / divisor;
    }
}

bool Pixels::is_worth_it(const Samples& X, Index entries, double density) {
    return X.kind == Samples::Kind::dense_float32 && entries > 0 && entries <= most_bytes &&
           choose_reading(FirstLayer::automatic, X, density) == Reading::marks;
}

bool Pixels::fits(const Kernels& kernels, const Samples& X, float divisor, int workers) {
    return X.kind == Samples::Kind::dense_float32 && fits_some(kernels, X, divisor) &&
           convert(kernels, X, divisor, workers, nullptr);
}

std::optional<Pixels> Pixels::of(const Kernels& kernels, const Samples& X, float divisor, int workers) {
    if (X.kind != Samples::Kind::dense_float32 || !fits_some(kernels, X, divisor)) {
        return std::nullopt;
    }
    Pixels pixels{X.rows, X.columns, divisor};
    const bool is_kept = convert(kernels, X, divisor, workers, pixels.bytes_.get());
    return is_kept ? std::optional{std::move(pixels)} : std::nullopt;
}

std::optional<Pixels> Pixels::of(const Kernels& kernels, const Samples& X, int workers) {
    if (!is_worth_it(X, X.rows * X.columns, density(X))) {
        return std::nullopt;
    }
    for (const float divisor : divisors) {
        if (auto found = of(kernels, X, divisor, workers)) {
            return found;
        }
    }
    return std::nullopt;
}

Samples Pixels::samples() const {
    return {.kind = Samples::Kind::dense_uint8,
            .rows = rows_,
            .columns = columns_,
            .bytes = bytes_.get(),
            .scale = 1.0F / divisor_,
            .byte_value = byte_values_->of.data()};
}

}  // namespace omp_mlp
