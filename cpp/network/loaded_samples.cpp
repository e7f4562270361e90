#include "network/loaded_samples.hpp"

#include <algorithm>
#include <functional>

#include "base/caches.hpp"

namespace omp_mlp {
namespace {

// Always inline: GCC takes a function that does nothing but prefetch for one without effect, and drops its calls.
[[gnu::always_inline]] inline void prefetch(const void* memory, std::size_t bytes) {
#if defined(__GNUC__)
    for (std::size_t offset = 0; offset < bytes; offset += cache_line_bytes) {
        __builtin_prefetch(static_cast<const char*>(memory) + offset);
    }
#endif
}

// Has the memory start on a sample that will be read soon. Shuffled samples lie anywhere: asking for one
// while another is worked on hides the wait.
[[gnu::always_inline]] inline void prefetch_sample(const Samples& X, Index id) {
    if (X.kind == Samples::Kind::csr) {
        const std::int64_t start = X.starts[id];
        const auto bytes = static_cast<std::size_t>(X.starts[id + 1] - start) * sizeof(float);
        prefetch(X.indices + start, bytes);
        prefetch(X.values + start, bytes);
    } else if (X.kind == Samples::Kind::dense_uint8) {
        prefetch(X.bytes + id * X.columns, static_cast<std::size_t>(X.columns));
    } else {
        prefetch(X.values + id * X.columns, static_cast<std::size_t>(X.columns) * sizeof(float));
    }
}

// Writes a row of CSR as a dense one.
void spread(const Samples& X, Index id, float* row) {
    std::fill_n(row, X.columns, 0.0F);
    const std::int64_t end = X.starts[id + 1];
    for (std::int64_t i = X.starts[id]; i < end; ++i) {
        row[X.indices[i]] = X.values[i];
    }
}

Index bytes_a_sample(const Samples& X) {
    switch (X.kind) {
        case Samples::Kind::csr:
            return (X.starts[X.rows] - X.starts[0]) / std::max<Index>(1, X.rows) *
                   static_cast<Index>(sizeof(*X.values) + sizeof(*X.indices));
        case Samples::Kind::dense_uint8:
            return X.columns;
        case Samples::Kind::dense_float32:
            break;
    }
    return X.columns * static_cast<Index>(sizeof(*X.values));
}

const void* dense_row(const Samples& X, Index id) {
    const Index offset = id * X.columns;
    return X.kind == Samples::Kind::dense_float32 ? static_cast<const void*>(X.values + offset)
                                                  : X.bytes + offset;
}

}  // namespace

// A gather may write a little past its last nonzero, so that the values of lists lie that much apart.
LoadedSamples::LoadedSamples(const Samples& X, Index samples, Reading reading,
                             const Centering* centering)
    : X_{X},
      reading_{reading},
      centering_{centering},
      looks_ahead_{samples * bytes_a_sample(X) <= second_cache_bytes() / 2},
      row_stride_{omp_mlp::row_stride(X.columns) + (reading == Reading::lists ? cache_line_floats : 0)} {
    const auto count = static_cast<std::size_t>(samples);
    const auto entries = static_cast<std::size_t>(samples * row_stride_);
    const bool is_csr = X.kind == Samples::Kind::csr;
    switch (reading) {
        case Reading::lists:
            lists_.resize(count);
            indices_.resize(is_csr ? 0 : entries);
            values_.resize(is_csr ? 0 : entries);
            break;
        case Reading::marks:
            words_ = MarkedRows::words_for(X.columns);
            marks_.resize(count * static_cast<std::size_t>(words_));
            marked_.resize(count);
            upcoming_.resize(takes_next() ? count : 0);
            byte_rows_.resize(X.kind == Samples::Kind::dense_uint8 ? count : 0);
            float_rows_.resize(X.kind != Samples::Kind::dense_uint8 ? count : 0);
            values_.resize(is_csr ? entries : 0);
            break;
        case Reading::dense:
            float_rows_.resize(count);
            values_.resize(reads_in_place() ? 0 : entries);
            break;
    }
    if (centering != nullptr && reading != Reading::dense) {
        projections_.resize(count);
    }
}

void LoadedSamples::load(const Kernels& kernels, Index begin, std::span<const Index> ids,
                         std::span<const Index> next) {
    if (!looks_ahead_) {
        next = {};
    }
    // Where nobody knows what comes next, a sample is asked for while those before it are loaded. Rows with marks
    // are: the forward pass before this has brought them as near as the second cache; from there to the first.
    constexpr std::size_t ahead = 3;
    const bool visits_upcoming = takes_next();
    for (std::size_t s = 0; s < ids.size(); ++s) {
        if (visits_upcoming || next.empty()) {
            if (s + ahead < ids.size() && !reads_in_place()) {  // of which products ask for parts
                prefetch_sample(X_, ids[s + ahead]);
            }
        } else if (s < next.size()) {
            prefetch_sample(X_, next[s]);
        }
        const Index place = begin + static_cast<Index>(s);
        switch (reading_) {
            case Reading::lists:
                load_list(kernels, place, ids[s]);
                break;
            case Reading::marks:
                load_marks(kernels, place, ids[s]);
                break;
            case Reading::dense:
                load_row(kernels, place, ids[s]);
                break;
        }
        if (visits_upcoming) {
            upcoming_[static_cast<std::size_t>(place)] =
                s < next.size() ? dense_row(X_, next[s]) : nullptr;
        }
        if (!projections_.empty()) {
            projections_[static_cast<std::size_t>(place)] =
                centering_->projection[static_cast<std::size_t>(ids[s])];
        }
    }
}

void LoadedSamples::load_list(const Kernels& kernels, Index place, Index id) {
    ListedRow& list = lists_[static_cast<std::size_t>(place)];
    if (X_.kind == Samples::Kind::csr) {
        const std::int64_t start = X_.starts[id];
        list = {X_.indices + start, X_.values + start, X_.starts[id + 1] - start};
        return;
    }
    std::int32_t* index = indices_.data() + place * row_stride_;
    float* value = values_.data() + place * row_stride_;
    const Index offset = id * X_.columns;
    list = {index, value,
            X_.kind == Samples::Kind::dense_float32
                ? kernels.gather_float32(X_.values + offset, X_.columns, index, value)
                : kernels.gather_uint8(X_.bytes + offset, X_.columns, X_.scale, index, value)};
}

void LoadedSamples::load_marks(const Kernels& kernels, Index place, Index id) {
    const auto sample = static_cast<std::size_t>(place);
    std::uint64_t* marks = marks_.data() + place * words_;
    if (X_.kind == Samples::Kind::dense_uint8) {
        byte_rows_[sample] = X_.bytes + id * X_.columns;
        marked_[sample] = kernels.mark_uint8(byte_rows_[sample], X_.columns, marks);
        return;
    }
    float_rows_[sample] = X_.values + id * X_.columns;
    if (X_.kind == Samples::Kind::csr) {
        float* row = values_.data() + place * row_stride_;
        spread(X_, id, row);
        float_rows_[sample] = row;
    }
    marked_[sample] = kernels.mark_float32(float_rows_[sample], X_.columns, marks);
}

void LoadedSamples::load_row(const Kernels& kernels, Index place, Index id) {
    const Index offset = id * X_.columns;
    if (reads_in_place()) {
        float_rows_[static_cast<std::size_t>(place)] = X_.values + offset;
        return;
    }
    float* row = values_.data() + place * row_stride_;
    float_rows_[static_cast<std::size_t>(place)] = row;
    switch (X_.kind) {
        case Samples::Kind::dense_float32:
            std::copy_n(X_.values + offset, X_.columns, row);
            break;
        case Samples::Kind::dense_uint8:
            kernels.widen_uint8(X_.bytes + offset, X_.columns, X_.scale, row);
            break;
        case Samples::Kind::csr:
            spread(X_, id, row);
            break;
    }
    if (centering_ != nullptr) {
        std::transform(row, row + X_.columns, centering_->mean.begin(), row, std::minus<>{});
    }
}

void LoadedSamples::move(Index from, Index to) {
    if (from == to) {
        return;
    }
    const auto f = static_cast<std::size_t>(from);
    const auto t = static_cast<std::size_t>(to);
    if (!projections_.empty()) {
        projections_[t] = projections_[f];
    }
    switch (reading_) {
        case Reading::lists:
            lists_[t] = lists_[f];
            break;
        case Reading::marks:
            std::copy_n(marks_.data() + from * words_, words_, marks_.data() + to * words_);
            marked_[t] = marked_[f];
            if (float_rows_.empty()) {
                byte_rows_[t] = byte_rows_[f];
            } else {
                float_rows_[t] = float_rows_[f];
            }
            break;
        case Reading::dense:
            if (reads_in_place()) {
                float_rows_[t] = float_rows_[f];
            } else {
                std::copy_n(values_.data() + from * row_stride_, row_stride_,
                            values_.data() + to * row_stride_);
            }
            break;
    }
}

MarkedRows LoadedSamples::marked(Index first, Index count) const {
    return {.marks = marks_.data() + first * words_,
            .words = words_,
            .columns = X_.columns,
            .samples = count,
            .floats = float_rows_.empty() ? nullptr : float_rows_.data() + first,
            .bytes = byte_rows_.empty() ? nullptr : byte_rows_.data() + first,
            .byte_value = X_.byte_value,
            .upcoming = upcoming_.empty() ? nullptr : upcoming_.data() + first};
}

Index LoadedSamples::words_a_visit(Index first, Index count) const {
    // Enough rows of W in a visit that starting it does not cost more than the visit.
    constexpr Index enough = 8;
    Index marked = 0;
    for (Index s = first; s < first + count; ++s) {
        marked += marked_[static_cast<std::size_t>(s)];
    }
    const Index all_words = std::max<Index>(1, (X_.columns + 63) / 64);
    return std::clamp<Index>(enough * count * all_words / std::max<Index>(1, marked), 1, all_words);
}

}  // namespace omp_mlp
