#include "training/shared_batch.hpp"

#include <algorithm>
#include <functional>

#include "network/centered_layer.hpp"

namespace omp_mlp {

// A gather may write a little past its last nonzero, so that rows of lists lie that much apart.
SharedBatch::SharedBatch(const Samples& X, Index samples, Reading reading, const Centering* centering)
    : ids(static_cast<std::size_t>(samples)),
      X_{&X},
      reading_{reading},
      centering_{centering},
      features_{X.columns},
      row_stride_{padded(X.columns) + (reading == Reading::lists ? cache_line_floats : 0)} {
    const auto count = static_cast<std::size_t>(samples);
    const auto entries = static_cast<std::size_t>(samples * row_stride_);
    switch (reading) {
        case Reading::lists:
            rows_.resize(count);
            if (X.kind != Samples::Kind::csr) {
                values_.resize(entries);
                indices_.resize(entries);
            }
            break;
        case Reading::marks: {
            words_ = MarkedRows::words_for(features_);
            marks_.resize(count * static_cast<std::size_t>(words_));
            float_rows_.resize(X.kind == Samples::Kind::dense_float32 ? count : 0);
            byte_rows_.resize(X.kind == Samples::Kind::dense_uint8 ? count : 0);
            // Enough rows of W in a visit that starting it does not cost more than the visit.
            constexpr double enough = 8.0;
            const double marks_a_word = density(X) * static_cast<double>(bits);
            words_a_visit_ =
                std::clamp<Index>(static_cast<Index>(enough / std::max(marks_a_word, 0.01)), 1, words_);
            break;
        }
        case Reading::dense:
            values_.resize(entries);
            break;
    }
    if (centering != nullptr) {
        projections_.resize(count);
    }
}

void SharedBatch::read(const Kernels& kernels, Index begin, Index end) {
    constexpr Index ahead = 3;  // samples that the memory starts on before they are read
    for (Index s = begin; s < end; ++s) {
        if (s + ahead < end) {
            prefetch_sample(*X_, ids[static_cast<std::size_t>(s + ahead)]);
        }
        const auto sample = static_cast<std::size_t>(s);
        const Index id = ids[sample];
        const Index offset = id * X_->columns;
        const bool is_csr = X_->kind == Samples::Kind::csr;
        const bool is_float = X_->kind == Samples::Kind::dense_float32;
        float* value = values_.data() + s * row_stride_;
        ListedRow list{};
        if (is_csr) {
            const std::int64_t start = X_->starts[id];
            list = {X_->indices + start, X_->values + start, X_->starts[id + 1] - start};
        }
        if (centering_ != nullptr) {
            projections_[sample] = centering_->projection[static_cast<std::size_t>(id)];
        }
        switch (reading_) {
            case Reading::lists:
                if (!is_csr) {
                    std::int32_t* index = indices_.data() + s * row_stride_;
                    list = {index, value,
                            is_float
                                ? kernels.gather_float32(X_->values + offset, features_, index, value)
                                : kernels.gather_uint8(X_->bytes + offset, features_, X_->scale, index,
                                                       value)};
                }
                rows_[sample] = list;
                break;
            case Reading::marks:
                if (is_float) {
                    float_rows_[sample] = X_->values + offset;
                    kernels.mark_float32(X_->values + offset, features_, marks_.data() + s * words_);
                } else {
                    byte_rows_[sample] = X_->bytes + offset;
                    kernels.mark_uint8(X_->bytes + offset, features_, marks_.data() + s * words_);
                }
                break;
            case Reading::dense:
                if (is_csr) {
                    spread(*X_, id, value);
                } else if (is_float) {
                    std::copy_n(X_->values + offset, features_, value);
                } else {
                    kernels.widen_uint8(X_->bytes + offset, features_, X_->scale, value);
                }
                if (centering_ != nullptr) {
                    std::transform(value, value + features_, centering_->mean.begin(), value,
                                   std::minus<>{});
                }
                break;
        }
    }
}

void SharedBatch::multiply(const Kernels& kernels, Index samples, Index batch, Index first, Index last,
                           float* products) const {
    if (!byte_rows_.empty()) {
        std::array<const std::uint8_t*, MarkedRows::most> rows{};
        for (Index s = 0; s < samples; ++s) {
            rows[static_cast<std::size_t>(s)] = byte_rows_[static_cast<std::size_t>(s)] + first;
        }
        kernels.gram_uint8(rows.data(), samples, batch, last - first, X_->scale, products);
        return;
    }
    std::array<const float*, MarkedRows::most> rows{};
    for (Index s = 0; s < samples; ++s) {
        rows[static_cast<std::size_t>(s)] =
            (reading_ == Reading::dense ? row(s) : float_rows_[static_cast<std::size_t>(s)]) + first;
    }
    kernels.gram_float32(rows.data(), samples, batch, last - first, products);
}

float SharedBatch::step_factor(Index s, Index t) const {
    constexpr float bias = 1.0F;
    if (centering_ == nullptr || reading_ == Reading::dense) {
        return bias;
    }
    return bias + centering_->squared_norm - projections_[static_cast<std::size_t>(s)] -
           projections_[static_cast<std::size_t>(t)];
}

MarkedRows SharedBatch::marked(Index first, Index count) const {
    return {.marks = marks_.data() + first * words_,
            .words = words_,
            .columns = features_,
            .samples = count,
            .floats = float_rows_.empty() ? nullptr : float_rows_.data() + first,
            .bytes = byte_rows_.empty() ? nullptr : byte_rows_.data() + first,
            .byte_value = X_->byte_value,
            .upcoming = nullptr};
}

void SharedBatch::forward(const Kernels& kernels, Index begin, Index end, const FirstWeights& layer,
                          float* z) const {
    const float* biases = layer.biases;
    if (layer.raw_biases != nullptr) {
        take_mean_off_biases(kernels, centering_->mean, layer.weights, layer.biases, layer.width,
                             layer.raw_biases);
        biases = layer.raw_biases;
    }
    switch (reading_) {
        case Reading::lists:
            kernels.lists_forward(rows_.data() + begin, end - begin, layer.weights, biases, layer.width,
                                  z);
            break;
        case Reading::marks:
            for (Index s = begin; s < end; s += MarkedRows::most) {
                kernels.marked_forward(marked(s, std::min(MarkedRows::most, end - s)), words_a_visit_,
                                       layer.weights, biases, layer.width,
                                       z + (s - begin) * layer.width);
            }
            break;
        case Reading::dense:
            kernels.dense_forward(row(begin), row_stride_, end - begin, features_, layer.weights, biases,
                                  layer.width, z);
            break;
    }
    if (layer.shift != nullptr && reading_ != Reading::dense) {
        kernels.add_product(projections_.data() + begin, 1, end - begin, 1, layer.shift, layer.width, z);
    }
}

void SharedBatch::update(const Kernels& kernels, Index samples, const float* step,
                         const FirstWeights& layer, Index first, Index last, Scratch& scratch) const {
    switch (reading_) {
        case Reading::lists:
            update_lists(kernels, samples, step, layer, first, last, scratch);
            break;
        case Reading::marks:
            update_marks(kernels, samples, step, layer, first, last, scratch);
            break;
        case Reading::dense:
            kernels.dense_update(values_.data() + first, row_stride_, samples, last - first, step,
                                 layer.weights + first * layer.width, layer.biases, layer.width);
            break;
    }
    if (layer.raw_biases != nullptr) {
        take_mean_off_gradient(
            kernels,
            std::span{centering_->mean}.subspan(static_cast<std::size_t>(first),
                                                static_cast<std::size_t>(last - first)),
            step, samples, layer.width, layer.weights + first * layer.width, layer.raw_biases);
    }
    if (layer.shift != nullptr && reading_ != Reading::dense) {
        // The kernels have added each step to the biases once; what is left is mu . mu - mu . x of it.
        scratch.factors_.resize(static_cast<std::size_t>(samples));
        std::transform(projections_.begin(), projections_.begin() + samples, scratch.factors_.begin(),
                       [this](float projection) { return centering_->squared_norm - projection; });
        kernels.add_product(scratch.factors_.data(), 0, 1, samples, step, layer.width, layer.biases);
        std::ranges::fill(scratch.factors_, -1.0F);
        kernels.add_product(scratch.factors_.data(), 0, 1, samples, step, layer.width, layer.shift);
    }
}

void SharedBatch::update_lists(const Kernels& kernels, Index samples, const float* step,
                               const FirstWeights& layer, Index first, Index last,
                               Scratch& scratch) const {
    if (scratch.present_.empty()) {
        const auto features = static_cast<std::size_t>(features_);
        scratch.present_.resize(features);
        scratch.inputs_.resize(features + 1);
        scratch.values_.resize(features * static_cast<std::size_t>(BatchTranspose::samples));
    }
    const ListedRow* rows = rows_.data();
    if (last - first < features_) {
        scratch.rows_.clear();
        for (Index s = 0; s < samples; ++s) {
            const ListedRow& row = rows_[static_cast<std::size_t>(s)];
            const auto* begin = std::lower_bound(row.index, row.index + row.count, first);
            const auto* end = std::lower_bound(begin, row.index + row.count, last);
            scratch.rows_.push_back({begin, row.value + (begin - row.index), end - begin});
        }
        rows = scratch.rows_.data();
    }
    const BatchTranspose transpose{scratch.present_.data(), scratch.values_.data(),
                                   scratch.inputs_.data()};
    for (Index s = 0; s < samples; s += BatchTranspose::samples) {
        kernels.lists_update(rows + s, std::min(BatchTranspose::samples, samples - s),
                             step + s * layer.width, layer.weights, layer.biases, layer.width,
                             transpose);
    }
}

void SharedBatch::update_marks(const Kernels& kernels, Index samples, const float* step,
                               const FirstWeights& layer, Index first, Index last,
                               Scratch& scratch) const {
    scratch.present_.resize(static_cast<std::size_t>(bits * words_));
    const bool is_part = last - first < features_;
    const Index first_word = first / bits;
    const Index used_words = (last + bits - 1) / bits - first_word;
    // A part of the rows is a batch of its own, of fewer columns: only the marks have to be copied.
    const Index words = is_part ? MarkedRows::words_for(used_words * bits) : words_;
    for (Index s = 0; s < samples; s += MarkedRows::most) {
        MarkedRows rows = marked(s, std::min(MarkedRows::most, samples - s));
        if (is_part) {
            scratch.marks_.assign(static_cast<std::size_t>(rows.samples * words), 0);
            scratch.float_rows_.clear();
            scratch.byte_rows_.clear();
            for (Index i = 0; i < rows.samples; ++i) {
                std::copy_n(rows.marks + i * words_ + first_word, used_words,
                            scratch.marks_.begin() + i * words);
                if (rows.floats != nullptr) {
                    scratch.float_rows_.push_back(rows.floats[i] + first);
                } else {
                    scratch.byte_rows_.push_back(rows.bytes[i] + first);
                }
            }
            rows.marks = scratch.marks_.data();
            rows.words = words;
            rows.columns = last - first;
            rows.floats = rows.floats != nullptr ? scratch.float_rows_.data() : nullptr;
            rows.bytes = rows.bytes != nullptr ? scratch.byte_rows_.data() : nullptr;
        }
        kernels.marked_update(rows, step + s * layer.width, layer.weights + first * layer.width,
                              layer.biases, layer.width, scratch.present_.data(), nullptr);
    }
}

}  // namespace omp_mlp
