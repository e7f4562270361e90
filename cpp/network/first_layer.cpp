#include "network/first_layer.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <span>

#include "network/centered_layer.hpp"

namespace omp_mlp {
namespace {

constexpr Index bits = 64;  // of a word of marks

// Calls fn(first, count) for the samples [begin, end), as many at a time as have their bits in one word.
template <typename Fn>
void for_each_marked(Index begin, Index end, const Fn& fn) {
    for (Index first = begin; first < end; first += MarkedRows::most) {
        fn(first, std::min(MarkedRows::most, end - first));
    }
}

void marked_forward(const Kernels& kernels, const LoadedSamples& samples, Index begin, Index end,
                    const FirstWeights<const float>& layer, const float* biases, float* z) {
    const Index words_a_visit = samples.words_a_visit(begin, end - begin);
    for_each_marked(begin, end, [&](Index first, Index count) {
        MarkedRows rows = samples.marked(first, count);
        float* own = z + (first - begin) * layer.width;
        if (layer.copy == nullptr) {
            kernels.marked_forward(rows, words_a_visit, layer.weights, biases, layer.width, own);
            return;
        }
        if (rows.bytes != nullptr) {
            rows.byte_value = layer.copy->byte_values.of.data();
        }
        // Half the bytes: twice the rows of W fit the cache.
        kernels.marked_forward_bfloat16(rows, 2 * words_a_visit, layer.copy->pairs.data(), biases,
                                        layer.width, own);
    });
}

// Those parts of the lists that are rows [first, last) of W.
const ListedRow* cut_lists(const ListedRow* lists, Index count, Index first, Index last,
                           FirstScratch& scratch) {
    scratch.lists.clear();
    for (Index s = 0; s < count; ++s) {
        const ListedRow& list = lists[s];
        const auto* begin = std::lower_bound(list.index, list.index + list.count, first);
        const auto* end = std::lower_bound(begin, list.index + list.count, last);
        scratch.lists.push_back({begin, list.value + (begin - list.index), end - begin});
    }
    return scratch.lists.data();
}

void update_lists(const Kernels& kernels, const LoadedSamples& samples, Index count, const float* delta,
                  const FirstWeights<float>& layer, Index first, Index last, FirstScratch& scratch) {
    if (count > 1 && scratch.present.empty()) {
        const auto features = static_cast<std::size_t>(samples.features());
        scratch.present.resize(features);
        scratch.inputs.resize(features + 1);
        scratch.values.resize(features * static_cast<std::size_t>(BatchTranspose::samples));
    }
    const ListedRow* lists = last - first < samples.features()
                                 ? cut_lists(samples.lists(), count, first, last, scratch)
                                 : samples.lists();
    const BatchTranspose transpose{scratch.present.data(), scratch.values.data(), scratch.inputs.data()};
    for (Index s = 0; s < count; s += BatchTranspose::samples) {
        kernels.lists_update(lists + s, std::min(BatchTranspose::samples, count - s),
                             delta + s * layer.width, layer.weights, layer.biases, layer.width,
                             transpose);
    }
}

// A part of the rows of W is a batch of its own, of fewer columns: only the marks have to be copied.
MarkedRows cut_marks(const MarkedRows& rows, Index first, Index last, FirstScratch& scratch) {
    const Index first_word = first / bits;
    const Index used_words = (last + bits - 1) / bits - first_word;
    const Index words = MarkedRows::words_for(used_words * bits);
    scratch.marks.assign(static_cast<std::size_t>(rows.samples * words), 0);
    scratch.float_rows.clear();
    scratch.byte_rows.clear();
    for (Index s = 0; s < rows.samples; ++s) {
        std::copy_n(rows.marks + s * rows.words + first_word, used_words,
                    scratch.marks.begin() + s * words);
        if (rows.floats != nullptr) {
            scratch.float_rows.push_back(rows.floats[s] + first);
        } else {
            scratch.byte_rows.push_back(rows.bytes[s] + first);
        }
    }
    MarkedRows part = rows;
    part.marks = scratch.marks.data();
    part.words = words;
    part.columns = last - first;
    part.floats = rows.floats != nullptr ? scratch.float_rows.data() : nullptr;
    part.bytes = rows.bytes != nullptr ? scratch.byte_rows.data() : nullptr;
    return part;
}

void update_marks(const Kernels& kernels, const LoadedSamples& samples, Index count, const float* delta,
                  const FirstWeights<float>& layer, Index first, Index last, FirstScratch& scratch) {
    scratch.present.resize(static_cast<std::size_t>(bits * samples.words_a_sample()));
    const bool is_part = last - first < samples.features();
    for_each_marked(0, count, [&](Index s, Index together) {
        const MarkedRows rows = samples.marked(s, together);
        kernels.marked_update(is_part ? cut_marks(rows, first, last, scratch) : rows,
                              delta + s * layer.width, layer.weights + first * layer.width, layer.biases,
                              layer.width, scratch.present.data(),
                              layer.copy != nullptr ? layer.copy->pairs.data() : nullptr);
    });
}

}  // namespace

Index row_unit(Reading reading) {
    return reading == Reading::marks ? bits : 1;
}

void copy_to_bfloat16(const Kernels& kernels, const float* weights, Index inputs, Index width,
                      const float* byte_value, Bfloat16Copy& copy) {
    copy.pairs.resize(static_cast<std::size_t>((inputs + 1) / 2 * width));
    kernels.pair_rows(weights, inputs, width, copy.pairs.data());
    if (byte_value != nullptr) {
        // Rounded as W is: one row, which makes the lower halves of its pairs.
        alignas(cache_line_bytes) std::array<std::uint32_t, 256> pairs;
        kernels.pair_rows(byte_value, 1, std::ssize(pairs), pairs.data());
        std::ranges::transform(pairs, copy.byte_values.of.begin(),
                               [](std::uint32_t pair) { return std::bit_cast<float>(pair << 16); });
    }
}

void first_forward(const Kernels& kernels, const LoadedSamples& samples, Index begin, Index end,
                   const FirstWeights<const float>& layer, float* z, const Scratch& products) {
    const float* biases = layer.biases;
    if (layer.raw_biases != nullptr) {
        take_mean_off_biases(kernels, samples.centering()->mean, layer.weights, layer.biases,
                             layer.width, layer.raw_biases);
        biases = layer.raw_biases;
    }
    switch (samples.reading()) {
        case Reading::lists:
            kernels.lists_forward(samples.lists() + begin, end - begin, layer.weights, biases,
                                  layer.width, z);
            break;
        case Reading::marks:
            marked_forward(kernels, samples, begin, end, layer, biases, z);
            break;
        case Reading::dense:
            kernels.dense_forward(samples.row(begin), samples.row_stride(), end - begin,
                                  samples.features(), layer.weights, biases, layer.width, z, products);
            break;
    }
    if (layer.shift != nullptr) {
        kernels.add_product(samples.projections() + begin, 1, end - begin, 1, layer.shift, layer.width,
                            z);
    }
}

void add_first_gradient(const Kernels& kernels, const LoadedSamples& samples, Index count,
                        const float* delta, const FirstWeights<float>& layer, Index first, Index last,
                        FirstScratch& scratch, const Scratch& products) {
    switch (samples.reading()) {
        case Reading::lists:
            update_lists(kernels, samples, count, delta, layer, first, last, scratch);
            break;
        case Reading::marks:
            update_marks(kernels, samples, count, delta, layer, first, last, scratch);
            break;
        case Reading::dense:
            kernels.dense_update(samples.row(0) + first, samples.row_stride(), count, last - first,
                                 delta, layer.weights + first * layer.width, layer.biases, layer.width,
                                 products);
            break;
    }
    if (layer.raw_biases != nullptr) {
        take_mean_off_gradient(
            kernels,
            std::span{samples.centering()->mean}.subspan(static_cast<std::size_t>(first),
                                                         static_cast<std::size_t>(last - first)),
            delta, count, layer.width, layer.weights + first * layer.width, layer.raw_biases);
    }
    if (layer.shift != nullptr) {
        // The kernels have added each step to the biases once; what is left is mu . mu - mu . x of it.
        const float squared_norm = samples.centering()->squared_norm;
        scratch.factors.resize(static_cast<std::size_t>(count));
        std::transform(samples.projections(), samples.projections() + count, scratch.factors.begin(),
                       [squared_norm](float projection) { return squared_norm - projection; });
        kernels.add_product(scratch.factors.data(), 0, 1, count, delta, layer.width, layer.biases);
        std::ranges::fill(scratch.factors, -1.0F);
        kernels.add_product(scratch.factors.data(), 0, 1, count, delta, layer.width, layer.shift);
    }
}

void multiply_samples(const Kernels& kernels, const LoadedSamples& samples, Index count, Index batch,
                      Index first, Index last, float* products) {
    if (samples.byte_rows() != nullptr) {
        std::array<const std::uint8_t*, MarkedRows::most> rows{};
        std::transform(samples.byte_rows(), samples.byte_rows() + count, rows.begin(),
                       [first](const std::uint8_t* row) { return row + first; });
        kernels.gram_uint8(rows.data(), count, batch, last - first, samples.byte_scale(), products);
        return;
    }
    std::array<const float*, MarkedRows::most> rows{};
    std::transform(samples.float_rows(), samples.float_rows() + count, rows.begin(),
                   [first](const float* row) { return row + first; });
    kernels.gram_float32(rows.data(), count, batch, last - first, products);
}

float centered_part(const LoadedSamples& samples, Index s, Index t) {
    const float* projections = samples.projections();
    return projections == nullptr ? 0.0F
                                  : samples.centering()->squared_norm - projections[s] - projections[t];
}

void move_means(const Centering& centering, float sign, const LayerView<float>& layer) {
    for (Index k = 0; k < layer.fan_in; ++k) {
        const float factor = sign * centering.mean[static_cast<std::size_t>(k)];
        const float* row = layer.weights + k * layer.stride;
        std::transform(layer.biases, layer.biases + layer.stride, row, layer.biases,
                       [factor](float bias, float weight) { return bias + factor * weight; });
    }
}

void fold_shift(const Kernels& kernels, const Centering& centering, const float* shift,
                const LayerView<float>& layer) {
    kernels.add_product(centering.mean.data(), 1, layer.fan_in, 1, shift, layer.stride, layer.weights);
}

}  // namespace omp_mlp
