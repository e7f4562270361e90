#include "network/first_layer.hpp"

#include <algorithm>
#include <array>
#include <iterator>
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
        kernels.marked_forward(samples.marked(first, count), words_a_visit, layer.weights, biases,
                               layer.width(), z + (first - begin) * layer.width());
    });
}

// The gradient of the first `count` samples: first what all rows of W need once, then some rows at a time.
class FirstGradient {
public:
    // Of the rows [first, last).
    FirstGradient(const Kernels& kernels, const LoadedSamples& samples, Index count, const float* delta,
                  Index fan_out, Index first, Index last, FirstScratch& scratch, const Scratch& products)
        : kernels_{kernels},
          samples_{samples},
          count_{count},
          delta_{delta},
          fan_out_{fan_out},
          width_{row_stride(fan_out)},
          scratch_{scratch},
          products_{products} {
        if (samples.reading() == Reading::marks) {
            transpose_marks(first, last);
        } else if (samples.reading() == Reading::lists && count > 1 && scratch.present.empty()) {
            const auto features = static_cast<std::size_t>(samples.features());
            scratch.present.resize(features);
            scratch.inputs.resize(features + 1);
            scratch.values.resize(features * static_cast<std::size_t>(BatchTranspose::samples));
        }
    }

    // Adds to the rows [first, last) of W, of which `rows` is the first, and to the biases, unless they are null.
    void add(Index first, Index last, float* rows, float* biases) const {
        if (count_ == 0) {
            return;  // all samples were left out
        }
        switch (samples_.reading()) {
            case Reading::lists:
                add_lists(first, last, rows, biases);
                break;
            case Reading::marks:
                for_each_marked(0, count_, [&](Index s, Index together) {
                    kernels_.marked_update(samples_.marked(s, together), present(s), first, last - first,
                                           delta_ + s * width_, rows, biases, width_);
                });
                break;
            case Reading::dense:
                kernels_.dense_update(samples_.rows(0, first), count_, last - first, delta_, rows,
                                      biases, fan_out_, products_);
                break;
        }
    }

private:
    std::uint32_t* present(Index sample) const {
        return scratch_.present.data() + sample / MarkedRows::most * bits * samples_.words_a_sample();
    }

    void transpose_marks(Index first, Index last) const {
        const Index words = (count_ + MarkedRows::most - 1) / MarkedRows::most;
        scratch_.present.resize(static_cast<std::size_t>(words * bits * samples_.words_a_sample()));
        for_each_marked(0, count_, [&](Index s, Index together) {
            kernels_.transpose_marks(samples_.marked(s, together), first, last, present(s));
        });
    }

    void add_lists(Index first, Index last, float* rows, float* biases) const {
        const ListedRow* lists =
            last - first < samples_.features() ? cut_lists(first, last) : samples_.lists();
        const BatchTranspose transpose{scratch_.present.data(), scratch_.values.data(),
                                       scratch_.inputs.data()};
        for (Index s = 0; s < count_; s += BatchTranspose::samples) {
            kernels_.lists_update(lists + s, std::min(BatchTranspose::samples, count_ - s),
                                  delta_ + s * width_, rows, biases, width_, transpose);
        }
    }

    // Those parts of the lists that are rows [first, last) of W, counted from there.
    const ListedRow* cut_lists(Index first, Index last) const {
        scratch_.lists.clear();
        scratch_.indices.clear();
        for (Index s = 0; s < count_; ++s) {
            const ListedRow& list = samples_.lists()[s];
            const auto* begin = std::lower_bound(list.index, list.index + list.count, first);
            const auto* end = std::lower_bound(begin, list.index + list.count, last);
            scratch_.lists.push_back({nullptr, list.value + (begin - list.index), end - begin});
            std::transform(begin, end, std::back_inserter(scratch_.indices),
                           [first](std::int32_t k) { return k - static_cast<std::int32_t>(first); });
        }
        const std::int32_t* index = scratch_.indices.data();
        for (ListedRow& list : scratch_.lists) {
            list.index = index;
            index += list.count;
        }
        return scratch_.lists.data();
    }

    const Kernels& kernels_;
    const LoadedSamples& samples_;
    Index count_;
    const float* delta_;
    Index fan_out_;
    Index width_;
    FirstScratch& scratch_;
    Scratch products_;
};

std::span<const float> means(const LoadedSamples& samples, Index first, Index last) {
    return std::span{samples.centering()->mean}.subspan(static_cast<std::size_t>(first),
                                                        static_cast<std::size_t>(last - first));
}

}  // namespace

Index row_unit(Reading reading) {
    return reading == Reading::marks ? bits : 1;
}

void first_forward(const Kernels& kernels, const LoadedSamples& samples, Index begin, Index end,
                   const FirstWeights<const float>& layer, float* z, const Scratch& products) {
    const float* biases = layer.biases;
    if (layer.raw_biases != nullptr) {
        take_mean_off_biases(kernels, samples.centering()->mean, layer.weights, layer.biases,
                             layer.width(), layer.raw_biases);
        biases = layer.raw_biases;
    }
    switch (samples.reading()) {
        case Reading::lists:
            kernels.lists_forward(samples.lists() + begin, end - begin, layer.weights, biases,
                                  layer.width(), z);
            break;
        case Reading::marks:
            marked_forward(kernels, samples, begin, end, layer, biases, z);
            break;
        case Reading::dense:
            kernels.dense_forward(samples.rows(begin, 0), end - begin, samples.features(), layer.weights,
                                  biases, layer.fan_out, z, products);
            break;
    }
    if (layer.shift != nullptr) {
        kernels.add_product(samples.projections() + begin, 1, end - begin, 1, layer.shift, layer.width(),
                            z);
    }
}

void add_first_gradient(const Kernels& kernels, const LoadedSamples& samples, Index count,
                        const float* delta, const FirstWeights<float>& layer, Index first, Index last,
                        FirstScratch& scratch, const Scratch& products) {
    const FirstGradient gradient{kernels, samples, count,   delta,   layer.fan_out,
                                 first,   last,    scratch, products};
    float* rows = layer.weights + first * layer.width();
    gradient.add(first, last, rows, layer.biases);
    if (layer.raw_biases != nullptr) {
        subtract_sum(delta, count, layer.width(), layer.raw_biases);
        take_mean_off_gradient(kernels, means(samples, first, last), layer.raw_biases, layer.width(),
                               rows);
    }
    if (layer.shift != nullptr) {
        // The kernels have added each step to the biases once; what is left is mu . mu - mu . x of it.
        const float squared_norm = samples.centering()->squared_norm;
        scratch.factors.resize(static_cast<std::size_t>(count));
        std::transform(samples.projections(), samples.projections() + count, scratch.factors.begin(),
                       [squared_norm](float projection) { return squared_norm - projection; });
        kernels.add_product(scratch.factors.data(), 0, 1, count, delta, layer.width(), layer.biases);
        std::ranges::fill(scratch.factors, -1.0F);
        kernels.add_product(scratch.factors.data(), 0, 1, count, delta, layer.width(), layer.shift);
    }
}

void hand_out_first_gradient(const Kernels& kernels, const LoadedSamples& samples, Index count,
                             const float* delta, const LayerShape& shape, float* raw_biases,
                             FirstScratch& scratch, const Scratch& products, const RowBlocks& blocks) {
    const FirstGradient gradient{kernels, samples,      count,   delta,   shape.fan_out,
                                 0,       shape.fan_in, scratch, products};
    if (raw_biases != nullptr) {
        subtract_sum(delta, count, shape.stride, raw_biases);
    }
    blocks.hand_out(shape, [&](Index first, Index last, float* rows, float* biases) {
        gradient.add(first, last, rows, biases);
        if (raw_biases != nullptr) {
            take_mean_off_gradient(kernels, means(samples, first, last), raw_biases, shape.stride, rows);
        }
    });
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
