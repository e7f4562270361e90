// Times the three products of a dense layer on one core, for benchmarks/sizes/products.py: forward, backward and
// update, over widths and numbers of samples. Prints a line of JSON for each.
#include <algorithm>
#include <cstdio>
#include <vector>

#include "base/buffer.hpp"
#include "base/clock.hpp"
#include "base/random.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/product_memory.hpp"

namespace {

using namespace omp_mlp;

constexpr int passes = 5;
constexpr double operations_a_pass = 4e8;

// Operations a second of `work`, which does so many: the median of the passes, in the CPU time of this thread.
double rate(double operations, const auto& work) {
    const int times = std::max(1, static_cast<int>(operations_a_pass / operations));
    std::vector<double> rates;
    for (int pass = 0; pass < passes; ++pass) {
        const double begin = thread_cpu_seconds();
        for (int time = 0; time < times; ++time) {
            work();
        }
        rates.push_back(operations * times / (thread_cpu_seconds() - begin));
    }
    std::ranges::sort(rates);
    return rates[passes / 2];
}

// Rows of `width` numbers of up to `scale`, padded with zeros to `stride`.
Buffer rows(Index count, Index width, Index stride, double scale, std::uint64_t key) {
    Buffer found(static_cast<std::size_t>(count * stride));
    for (Index row = 0; row < count; ++row) {
        for (Index column = 0; column < width; ++column) {
            const auto entry = static_cast<std::size_t>(row * stride + column);
            found[entry] = static_cast<float>(scale * (uniform(key, entry) - 0.5));
        }
    }
    return found;
}

void time_layer(const Kernels& kernels, Index units, Index samples) {
    const Index stride = row_stride(units);
    Buffer W = rows(units + 1, units, stride, 0.1, 1);
    float* bias = W.data() + units * stride;
    const Buffer a = rows(samples, units, stride, 1.0, 2);
    // So small that W stays what it is, however often it is updated.
    const Buffer delta = rows(samples, units, stride, 1e-6, 3);
    Buffer z(static_cast<std::size_t>(samples * stride));
    Buffer below(static_cast<std::size_t>(samples * stride));
    ProductMemory memory;
    memory.make_room(samples, units, stride);

    const double operations = 2.0 * static_cast<double>(units * units * samples);
    const double forward = rate(operations, [&] {
        kernels.dense_forward({a.data(), stride}, samples, units, W.data(), bias, units, z.data(),
                              memory.scratch());
    });
    const double backward = rate(operations, [&] {
        kernels.dense_backward(delta.data(), samples, W.data(), units, units, below.data(), stride,
                               memory.scratch());
    });
    const double update = rate(operations, [&] {
        kernels.dense_update({a.data(), stride}, samples, units, delta.data(), W.data(), bias, units,
                             memory.scratch());
    });
    std::printf(R"({"width": %td, "samples": %td, "forward": %.4g, "backward": %.4g, "update": %.4g})"
                "\n",
                units, samples, forward, backward, update);
}

}  // namespace

int main() {
    for (const Index width : {256, 512, 1000, 1024, 1027, 2048}) {
        for (const Index samples : {8, 32, 128, 256, 512}) {
            time_layer(kernels(), width, samples);
        }
    }
}
