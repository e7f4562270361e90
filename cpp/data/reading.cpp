#include "data/reading.hpp"

#include <algorithm>
#include <cstdint>
#include <span>
#include <type_traits>

namespace omp_mlp {
namespace {

template <typename Entry>
Index count_nonzeros(std::span<const Entry> entries) {
    // Counts as wide as the entries, which few enough of them fit, are what a vector adds up.
    using Count = std::conditional_t<sizeof(Entry) == 1, std::uint8_t, std::uint32_t>;
    constexpr std::size_t together = 128;
    Index nonzeros = 0;
    for (std::size_t begin = 0; begin < entries.size(); begin += together) {
        Count count = 0;
        for (const Entry entry : entries.subspan(begin, std::min(together, entries.size() - begin))) {
            count = static_cast<Count>(count + static_cast<Count>(entry != Entry{0}));
        }
        nonzeros += static_cast<Index>(count);
    }
    return nonzeros;
}

}  // namespace

double density(const Samples& X) {
    constexpr Index rows_looked_at = 256;
    const Index step = std::max<Index>(1, X.rows / rows_looked_at);
    const auto columns = static_cast<std::size_t>(X.columns);
    Index entries = 0;
    Index nonzeros = 0;
    for (Index row = 0; row < X.rows; row += step) {
        const Index begin = row * X.columns;
        entries += X.columns;
        switch (X.kind) {
            case Samples::Kind::csr:
                nonzeros += X.starts[row + 1] - X.starts[row];
                break;
            case Samples::Kind::dense_uint8:
                nonzeros += count_nonzeros(std::span{X.bytes + begin, columns});
                break;
            case Samples::Kind::dense_float32:
                nonzeros += count_nonzeros(std::span{X.values + begin, columns});
                break;
        }
    }
    return entries > 0 ? static_cast<double>(nonzeros) / static_cast<double>(entries) : 0.0;
}

Reading choose_reading(FirstLayer wish, const Samples& X, std::optional<double> known) {
    if (wish == FirstLayer::automatic) {
        // Sparse and dense reading are equally fast at 0.65 with AVX2 and at 0.95 with AVX-512, for
        // batches of 1 to 128. This lies between the two.
        constexpr double crossover = 0.8;
        wish = (known ? *known : density(X)) < crossover ? FirstLayer::sparse : FirstLayer::dense;
    }
    if (wish == FirstLayer::dense) {
        return Reading::dense;
    }
    return X.kind == Samples::Kind::csr ? Reading::lists : Reading::marks;
}

Reading choose_replica_reading(FirstLayer wish, const Samples& X, Index batch_size,
                               std::optional<double> known) {
    constexpr double thinnest = 0.03;
    constexpr Index most_entries = Index{1} << 20;
    constexpr Index most_together = 32;
    const Reading reading = choose_reading(wish, X, known);
    const bool spread = reading == Reading::lists &&
                        std::max(batch_size, most_together) * X.columns <= most_entries &&
                        (known ? *known : density(X)) >= thinnest;
    return spread ? Reading::marks : reading;
}

Index stretch_of(Reading reading, Samples::Kind kind, Index batch_size, Index bytes_together) {
    Index together = 16;
    if (reading == Reading::lists) {
        together = 1;
    } else if (kind == Samples::Kind::dense_uint8 && reading == Reading::marks) {
        together = bytes_together;
    }
    return std::max<Index>(together / batch_size, 1) * batch_size;
}

}  // namespace omp_mlp
