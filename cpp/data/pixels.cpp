#include "data/pixels.hpp"

#include <algorithm>
#include <array>
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

constexpr std::array divisors{255.0F, 1.0F, 256.0F, 16.0F};

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

// The divisor that fits some rows of X at equal distances, if there is one.
std::optional<float> find_divisor(const Kernels& kernels, const Samples& X) {
    constexpr Index rows_looked_at = 64;
    const Index step = std::max<Index>(1, X.rows / rows_looked_at);
    std::vector<std::uint8_t> scratch(static_cast<std::size_t>(X.columns));
    const auto* fitting = std::ranges::find_if(divisors, [&](float divisor) {
        for (Index row = 0; row < X.rows; row += step) {
            if (!kernels.to_bytes(X.values + row * X.columns, X.columns, divisor, scratch.data())) {
                return false;
            }
        }
        return true;
    });
    return fitting != divisors.end() ? std::optional{*fitting} : std::nullopt;
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

std::optional<Pixels> Pixels::of(const Kernels& kernels, const Samples& X, int workers) {
    const Index size = X.rows * X.columns;
    if (X.kind != Samples::Kind::dense_float32 || size == 0 || size > most_bytes ||
        choose_reading(FirstLayer::automatic, X) != Reading::marks) {
        return std::nullopt;
    }
    const std::optional<float> divisor = find_divisor(kernels, X);
    if (!divisor) {
        return std::nullopt;
    }
    Pixels pixels{X.rows, X.columns, *divisor};
    constexpr Index piece_size = Index{1} << 18;
    const Index pieces = (size + piece_size - 1) / piece_size;
    std::atomic<bool> all_fit{true};
    const auto convert = [&](Index piece) {
        const Index begin = piece * piece_size;
        if (all_fit.load(std::memory_order_relaxed) &&
            !kernels.to_bytes(X.values + begin, std::min(piece_size, size - begin), *divisor,
                              pixels.bytes_.get() + begin)) {
            all_fit.store(false, std::memory_order_relaxed);
        }
    };
    Team::run(static_cast<int>(std::min<Index>(workers, pieces)),
              [&](Team& team) { team.for_each(pieces, convert); });
    return all_fit ? std::optional{std::move(pixels)} : std::nullopt;
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
