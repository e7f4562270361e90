#include "omp_mlp/shared_batch.hpp"

#include <algorithm>

namespace omp_mlp {

UpdateScratch::UpdateScratch(Index features, Index samples, Reading reading) {
    if (reading == Reading::lists) {
        rows.reserve(static_cast<std::size_t>(samples));
    }
    if (reading == Reading::lists && samples > 1) {
        const auto inputs = static_cast<std::size_t>(features);
        present_.resize(inputs);
        inputs_.resize(inputs + 1);
        values_.resize(inputs * static_cast<std::size_t>(BatchTranspose::samples));
    }
}

// A gather may write a little past its last nonzero, so that rows of lists lie that much apart.
SharedBatch::SharedBatch(const Samples& X, Index samples, Reading reading)
    : ids(static_cast<std::size_t>(samples)),
      X_{&X},
      reading_{reading},
      features_{X.columns},
      row_stride_{padded(X.columns) + (reading == Reading::lists ? cache_line_floats : 0)} {
    const auto entries = static_cast<std::size_t>(samples * row_stride_);
    if (reading == Reading::lists) {
        rows_.resize(static_cast<std::size_t>(samples));
    }
    if (reading == Reading::matrix) {
        values_.resize(entries);
    } else if (X.kind != Samples::Kind::csr) {
        values_.resize(entries);
        indices_.resize(entries);
    }
}

void SharedBatch::read(const Kernels& kernels, Index begin, Index end) {
    constexpr Index ahead = 2;  // samples that the memory starts on before they are read
    for (Index s = begin; s < end; ++s) {
        if (s + ahead < end) {
            prefetch_sample(*X_, ids[static_cast<std::size_t>(s + ahead)]);
        }
        const Index id = ids[static_cast<std::size_t>(s)];
        const Index offset = id * X_->columns;
        float* value = values_.data() + s * row_stride_;
        std::int32_t* index = indices_.data() + s * row_stride_;
        const bool lists = reading_ == Reading::lists;
        SparseRow row{index, value, 0};
        switch (X_->kind) {
            case Samples::Kind::dense_float32:
                if (lists) {
                    row.count = kernels.gather_float32(X_->values + offset, features_, index, value);
                } else {
                    std::copy_n(X_->values + offset, features_, value);
                }
                break;
            case Samples::Kind::dense_uint8:
                if (lists) {
                    row.count =
                        kernels.gather_uint8(X_->bytes + offset, features_, X_->scale, index, value);
                } else {
                    kernels.widen_uint8(X_->bytes + offset, features_, X_->scale, value);
                }
                break;
            case Samples::Kind::csr: {
                const std::int64_t start = X_->starts[id];
                row = {X_->indices + start, X_->values + start, X_->starts[id + 1] - start};
                if (!lists) {
                    std::fill_n(value, features_, 0.0F);
                    for (Index i = 0; i < row.count; ++i) {
                        value[row.index[i]] += row.value[i];
                    }
                }
                break;
            }
        }
        if (lists) {
            rows_[static_cast<std::size_t>(s)] = row;
        }
    }
}

void SharedBatch::forward(const Kernels& kernels, Index begin, Index end, const FirstWeights& layer,
                          float* z) const {
    if (reading_ == Reading::lists) {
        kernels.sparse_forward(rows_.data() + begin, end - begin, layer.weights, layer.biases,
                               layer.width, z);
    } else {
        kernels.dense_forward(values_.data() + begin * row_stride_, row_stride_, end - begin, features_,
                              layer.weights, layer.biases, layer.width, z);
    }
}

void SharedBatch::update(const Kernels& kernels, Index samples, const float* delta, float scale,
                         const FirstWeights& layer, Index first, Index last,
                         UpdateScratch& scratch) const {
    if (reading_ == Reading::matrix) {
        kernels.dense_update(values_.data() + first, row_stride_, samples, last - first, delta, scale,
                             layer.weights + first * layer.width, layer.biases, layer.width);
        return;
    }
    const SparseRow* rows = rows_.data();
    if (last - first < features_) {
        scratch.rows.clear();
        for (Index s = 0; s < samples; ++s) {
            const SparseRow& row = rows_[static_cast<std::size_t>(s)];
            const auto* begin = std::lower_bound(row.index, row.index + row.count, first);
            const auto* end = std::lower_bound(begin, row.index + row.count, last);
            scratch.rows.push_back({begin, row.value + (begin - row.index), end - begin});
        }
        rows = scratch.rows.data();
    }
    for (Index s = 0; s < samples; s += BatchTranspose::samples) {
        kernels.sparse_update(rows + s, std::min(BatchTranspose::samples, samples - s),
                              delta + s * layer.width, scale, layer.weights, layer.biases, layer.width,
                              scratch.transpose(), nullptr);
    }
}

}  // namespace omp_mlp
