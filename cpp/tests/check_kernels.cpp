// Runs every table of kernels that this machine has against the plain loops, without Python: for machines
// that only an emulator can play. Prints what differs, and exits with the number of differences.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <initializer_list>
#include <vector>

#include "base/random.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/tables.hpp"
#include "kernels/tile_unit.hpp"
#include "network/activation.hpp"
#include "network/network.hpp"

namespace {

using namespace omp_mlp;

struct Case {
    std::vector<Index> layer_sizes;
    Index samples;
    Activation activation;
    Output output;
    Reading reading;
};

struct Answer {
    double loss;
    std::vector<float> outputs;
    std::vector<float> gradient;
};

std::vector<float> random_inputs(Index samples, Index features) {
    std::vector<float> X(static_cast<std::size_t>(samples * features));
    for (std::size_t i = 0; i < X.size(); ++i) {
        const double u = uniform(7, i);
        X[i] = u < 0.3 ? static_cast<float>(4.0 * u) - 0.5F : 0.0F;
    }
    return X;
}

Answer answer(const Kernels& kernels, const Case& c) {
    const Network network{Shape{c.layer_sizes}, c.activation, c.output};
    Parameters parameters{network.shape};
    initialize(kernels, network.shape, {InitScale::fixed, InitScale::fixed, 0.5}, 3, 0, parameters);

    const std::vector<float> values = random_inputs(c.samples, network.shape.features());
    Samples X{
        .kind = Samples::Kind::dense_float32, .rows = c.samples, .columns = network.shape.features()};
    X.values = values.data();
    std::vector<std::int32_t> classes;
    std::vector<Index> ids;
    for (Index s = 0; s < c.samples; ++s) {
        classes.push_back(static_cast<std::int32_t>(s % network.shape.outputs()));
        ids.push_back(s);
    }
    Targets targets;
    targets.classes = classes.data();
    targets.loss.loss = &loss_of("cross_entropy");

    Workspace workspace{network, X, c.samples, c.reading};
    workspace.load(kernels, ids);
    first_forward(kernels, network, parameters, workspace);
    upper_forward(kernels, network, parameters, workspace);
    Answer result;
    result.loss = loss_and_delta(kernels, network, targets, ids, workspace);
    const float* outputs = workspace.outputs();
    result.outputs.assign(outputs, outputs + c.samples * network.shape.layers().back().stride);
    Parameters gradient{network.shape};
    add_upper_gradient(kernels, network, parameters, 1.0F, workspace, gradient);
    add_first_gradient(kernels, network, workspace, gradient);
    if (c.reading != Reading::lists && c.samples <= MarkedRows::most) {
        multiply_samples(kernels, network, 1, workspace);
        for (Index s = 0; s < c.samples; ++s) {
            const float* products = workspace.products.data() + s * MarkedRows::most;
            result.outputs.insert(result.outputs.end(), products, products + s);
        }
    }
    result.gradient.assign(gradient.flat().begin(), gradient.flat().end());
    return result;
}

bool is_close(const std::vector<float>& got, const std::vector<float>& expected,
              float tolerance = 2e-5F) {
    float largest = 1e-2F;
    for (const float value : expected) {
        largest = std::max(largest, std::abs(value));
    }
    for (std::size_t i = 0; i < got.size(); ++i) {
        if (!(std::abs(got[i] - expected[i]) <= tolerance * largest)) {
            return false;
        }
    }
    return true;
}

// z from -30 to 30, by as many steps as make whole vectors.
constexpr Index grid_size = 60'000;

float grid(Index i) {
    return (static_cast<float>(i) - 0.5F * static_cast<float>(grid_size) + 0.5F) / 1000.0F;
}

// The function, and its derivative by central differences, in double.
bool is_right(const Kernels& kernels, const ActivationRow& row) {
    Buffer a(grid_size);
    for (Index i = 0; i < grid_size; ++i) {
        a[static_cast<std::size_t>(i)] = grid(i);
    }
    const Buffer z = a;
    Buffer slopes(grid_size, 1.0F);
    kernels.activate(row.activation, a.data(), grid_size);
    kernels.multiply_derivative(row.activation, row.needs_z ? z.data() : a.data(), slopes.data(),
                                grid_size);
    constexpr double h = 1e-4;  // less than half a step, so that a kink at 0 lies between two
    for (std::size_t i = 0; i < z.size(); ++i) {
        const auto at = static_cast<double>(z[i]);
        const double value = row.value(at);
        const double slope = (row.value(at + h) - row.value(at - h)) / (2.0 * h);
        if (!(std::abs(static_cast<double>(a[i]) - value) <= 1e-6 * std::max(1.0, std::abs(value))) ||
            !(std::abs(static_cast<double>(slopes[i]) - slope) <= 1e-6)) {
            return false;
        }
    }
    return true;
}

// The same bits as the plain loop's, from any draw on.
bool draws_rightly(const Kernels& kernels, const Kernels& plain) {
    for (const Index n : {1, 7, 8, 100, 1027}) {
        std::vector<float> got(static_cast<std::size_t>(n) + 1, 2.0F);
        std::vector<float> expected = got;
        kernels.draw_uniform(7, 3, n, 0.1, got.data());
        plain.draw_uniform(7, 3, n, 0.1, expected.data());
        if (got != expected) {
            return false;
        }
    }
    return true;
}

std::vector<float> random_floats(std::size_t count, std::uint64_t key) {
    std::vector<float> found(count);
    for (std::size_t i = 0; i < count; ++i) {
        found[i] = static_cast<float>(uniform(key, i)) - 0.5F;
    }
    return found;
}

// The products of a dense layer: z, the deltas below and W after a step.
struct Products {
    Buffer z;
    Buffer below;
    Buffer W;

    friend bool operator==(const Products& a, const Products& b) = default;
};

// To nearest, ties to even.
float rounded_to_bfloat16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return std::bit_cast<float>((bits + 0x7FFFU + ((bits >> 16) & 1U)) & 0xFFFF0000U);
}

Buffer rounded_to_bfloat16(const Buffer& values) {
    Buffer found = values;
    std::ranges::transform(found, found.begin(), [](float v) { return rounded_to_bfloat16(v); });
    return found;
}

// Rows that lie backwards, and start anywhere in a cache line.
struct Scattered {
    Scattered(const Buffer& rows, Index samples, Index stride)
        : floats(static_cast<std::size_t>(samples * apart(stride))) {
        for (Index s = 0; s < samples; ++s) {
            float* begin = floats.data() + (samples - 1 - s) * apart(stride);
            std::copy_n(rows.data() + s * stride, stride, begin + column);
            each.push_back(begin);
        }
    }
    static Index apart(Index stride) { return stride + column + 2; }

    static constexpr Index column = 3;
    Buffer floats;
    std::vector<const float*> each;
};

// rounds: the factors of each product are rounded before it. scatters: the rows of a lie anywhere.
Products products(const Kernels& kernels, Index samples, Index fan_in, Index fan_out,
                  Index scratch_floats, bool rounds = false, bool scatters = false) {
    const Index width = row_stride(fan_out);
    const Index below_stride = row_stride(fan_in);
    const auto rows = [&](Index count, Index own, Index stride, std::uint64_t key) {
        Buffer found(static_cast<std::size_t>(count * stride));
        for (Index s = 0; s < count; ++s) {
            const auto row =
                random_floats(static_cast<std::size_t>(own), key + static_cast<std::uint64_t>(s));
            std::ranges::copy(row, found.begin() + s * stride);
        }
        return found;
    };
    const auto factor = [rounds](const Buffer& exact) {
        return rounds ? rounded_to_bfloat16(exact) : exact;
    };
    const Buffer a = factor(rows(samples, fan_in, below_stride, 1000));
    const Buffer exact_delta = rows(samples, fan_out, width, 5000);
    const Buffer delta = factor(exact_delta);
    Buffer scratch(static_cast<std::size_t>(scratch_floats));
    const Scratch memory{scratch.data(), scratch_floats};
    // W and, as its last row, the biases.
    Products found{.z = Buffer(static_cast<std::size_t>(samples * width)),
                   .below = Buffer(static_cast<std::size_t>(samples * below_stride), 1.0F),
                   .W = rows(fan_in + 1, fan_out, width, 9000)};
    float* bias = found.W.data() + fan_in * width;
    const Buffer W = factor(found.W);
    const Scattered anywhere{a, samples, below_stride};
    const DenseRows rows_of_a =
        scatters ? DenseRows{.each = anywhere.each.data(), .column = Scattered::column}
                 : DenseRows{.first = a.data(), .stride = below_stride};
    kernels.dense_forward(rows_of_a, samples, fan_in, W.data(), bias, fan_out, found.z.data(), memory);
    kernels.dense_backward(delta.data(), samples, W.data(), fan_in, fan_out, found.below.data(),
                           below_stride, memory);
    kernels.dense_update(rows_of_a, samples, fan_in, delta.data(), found.W.data(),
                         rounds ? nullptr : bias, fan_out, memory);
    // The biases' step is no product, and is not rounded.
    for (Index s = 0; rounds && s < samples; ++s) {
        for (Index j = 0; j < width; ++j) {
            bias[j] += exact_delta[static_cast<std::size_t>(s * width + j)];
        }
    }
    return found;
}

// A sum of n products, each of at most 1/4, is wrong by less than n roundings of n / 4, mostly of far less.
bool are_close(const Buffer& got, const Buffer& expected, Index terms) {
    const auto tolerance = 2e-7F * static_cast<float>(terms);
    return std::ranges::equal(got, expected,
                              [tolerance](float a, float b) { return std::abs(a - b) <= tolerance; });
}

// All products are right, up to rounding.
bool are_close(const Products& got, const Products& expected, Index samples, Index fan_in,
               Index fan_out) {
    return are_close(got.z, expected.z, fan_in) && are_close(got.below, expected.below, fan_out) &&
           are_close(got.W, expected.W, samples);
}

// The same bits with any scratch memory, wherever the rows lie, and, of a sample, however many others there are, but for so few that the
// product goes another way.
bool has_the_same_bits(const Kernels& kernels, const Products& got, Index samples, Index fan_in,
                       Index fan_out, Index few) {
    if (products(kernels, samples, fan_in, fan_out, 8 * Scratch::least) != got ||
        products(kernels, samples, fan_in, fan_out, Scratch::least, false, true) != got) {
        return false;
    }
    if (samples - 4 <= few) {
        return true;
    }
    const Products fewer = products(kernels, samples - 4, fan_in, fan_out, Scratch::least);
    return std::equal(fewer.z.begin(), fewer.z.end(), got.z.begin()) &&
           std::equal(fewer.below.begin(), fewer.below.end(), got.below.begin());
}

// The same as the plain loops.
bool multiplies_rightly(const Kernels& kernels, const Kernels& plain, Index samples, Index fan_in,
                        Index fan_out) {
    const Products expected = products(plain, samples, fan_in, fan_out, Scratch::least);
    const Products got = products(kernels, samples, fan_in, fan_out, Scratch::least);
    return are_close(got, expected, samples, fan_in, fan_out) &&
           has_the_same_bits(kernels, got, samples, fan_in, fan_out, 4);
}

// With factors rounded to bfloat16. A product of two has 16 bits, and is exact in float32, so the tolerance is that of
// sums of float32. The instruction takes denormal numbers for zero, of which there are none here.
bool rounds_rightly(const Kernels& kernels, const Kernels& plain, Index samples, Index fan_in,
                    Index fan_out) {
    const Products exact = products(plain, samples, fan_in, fan_out, Scratch::least);
    const Products expected = products(plain, samples, fan_in, fan_out, Scratch::least, true);
    const Products got = products(*kernels.bfloat16, samples, fan_in, fan_out, Scratch::least);
    return are_close(got, expected, samples, fan_in, fan_out) && !are_close(got.z, exact.z, fan_in) &&
           !are_close(got.below, exact.below, fan_out) && !are_close(got.W, exact.W, samples) &&
           has_the_same_bits(*kernels.bfloat16, got, samples, fan_in, fan_out, 32);
}

struct Count {
    int checked = 0;
    int failed = 0;
};

struct Size {
    Index fan_in;
    Index fan_out;
};

// Checks products of all sizes and numbers of samples.
template <typename Holds>
Count check_products(const Kernels& kernels, const Kernels& plain, const Holds& holds,
                     std::initializer_list<Size> sizes, std::initializer_list<Index> numbers_of_samples,
                     const char* wrong) {
    Count count;
    for (const auto& [fan_in, fan_out] : sizes) {
        for (const Index samples : numbers_of_samples) {
            ++count.checked;
            if (!holds(kernels, plain, samples, fan_in, fan_out)) {
                ++count.failed;
                std::printf("%s %s wrongly: samples %td, %td x %td\n", kernels.name, wrong, samples,
                            fan_in, fan_out);
            }
        }
    }
    return count;
}

Count check_dense(const Kernels& kernels, const Kernels& plain) {
    return check_products(kernels, plain, multiplies_rightly,
                          {{1, 1},
                           {3, 17},
                           {255, 15},
                           {257, 257},
                           {33, 1030},
                           {1030, 2},
                           {512, 144},
                           {144, 512},
                           {512, 1024},
                           {300, 272},
                           {17, 4100}},
                          {1, 2, 3, 4, 5, 15, 17, 33, 130, 257}, "multiplies");
}

// Products whose factors are rounded, where a table has them.
Count check_rounding(const Kernels& kernels, const Kernels& plain) {
    if (kernels.bfloat16 == nullptr) {
        std::printf("%s skipped: no products of bfloat16\n", kernels.name);
        return {};
    }
    return check_products(kernels, plain, rounds_rightly,
                          {{64, 128},
                           {257, 257},
                           {71, 1030},
                           {1030, 130},
                           {512, 144},
                           {144, 512},
                           {300, 272},
                           {65, 4100},
                           {1025, 129}},
                          {33, 47, 130, 257, 515}, "rounds");
}

// The products in tiles: emulated, wherever the rest of them runs, and in the unit itself, where there is one.
Count check_tile_unit(const Kernels& plain) {
    Count count;
    const auto check = [&]([[maybe_unused]] const char* name, [[maybe_unused]] const Kernels* in_unit) {
        Kernels rounding = plain;
        rounding.name = name;
        rounding.bfloat16 = in_unit;
        const Count found = check_rounding(rounding, plain);
        count.checked += found.checked;
        count.failed += found.failed;
        std::printf("%s checked\n", name);
    };
#if defined(__x86_64__)
    const bool has_pairs = std::ranges::any_of(
        available_kernels(), [](const Kernels* kernels) { return kernels->bfloat16 != nullptr; });
    check("emulated unit", has_pairs ? &emulated_unit_kernels : nullptr);
#endif
#if defined(OMP_MLP_HAS_AMX)
    check("avx512_amx", has_pairs && has_tile_unit() ? &avx512_amx_kernels : nullptr);
#endif
    return count;
}

}  // namespace

int main() {
    int checked = 0;
    int failed = 0;
    const Kernels& plain = *available_kernels().back();
    for (const Kernels* kernels : available_kernels()) {
        for (const ActivationRow& row : activations()) {
            ++checked;
            if (!is_right(*kernels, row)) {
                ++failed;
                std::printf("%s differs: %s\n", kernels->name, row.name);
            }
        }
        ++checked;
        if (!draws_rightly(*kernels, plain)) {
            ++failed;
            std::printf("%s draws wrongly\n", kernels->name);
        }
        for (const Index hidden : {1, 5, 16, 33, 64, 100, 127, 128, 129, 272}) {
            for (const Index samples : {1, 2, 3, 7, 32, 33, 70}) {
                for (const ActivationRow& row : activations()) {
                    for (const Reading way : {Reading::lists, Reading::marks, Reading::dense}) {
                        const Case c{
                            {37, hidden, 19, 10}, samples, row.activation, Output::softmax, way};
                        const Answer got = answer(*kernels, c);
                        const Answer expected = answer(plain, c);
                        ++checked;
                        if (!is_close(got.gradient, expected.gradient) ||
                            !is_close(got.outputs, expected.outputs) ||
                            !(std::abs(got.loss - expected.loss) <= 1e-5 * (1.0 + expected.loss))) {
                            ++failed;
                            std::printf("%s differs: hidden %td, samples %td, %s, way %d\n",
                                        kernels->name, hidden, samples, row.name, static_cast<int>(way));
                        }
                    }
                }
            }
        }
        for (const Count& count : {check_dense(*kernels, plain), check_rounding(*kernels, plain)}) {
            checked += count.checked;
            failed += count.failed;
        }
        std::printf("%s checked\n", kernels->name);
    }
    const Count in_unit = check_tile_unit(plain);
    checked += in_unit.checked;
    failed += in_unit.failed;
    std::printf("%d passed, %d failed\n", checked - failed, failed);
    return std::min(failed, 100);
}
