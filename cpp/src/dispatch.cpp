#include "omp_mlp/dispatch.hpp"

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernel_tables.hpp"

namespace omp_mlp {
namespace {

std::vector<const Kernels*> runnable_kernels() {
    std::vector<const Kernels*> found;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
        if (__builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni")) {
            found.push_back(&avx512_bf16_kernels);
        }
        found.push_back(&avx512_kernels);
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        found.push_back(&avx2_kernels);
    }
    found.push_back(&sse2_kernels);
#elif defined(__aarch64__)
    found.push_back(&neon_kernels);
#endif
    found.push_back(&plain_kernels);
    return found;
}

const std::vector<const Kernels*>& tables() {
    static const std::vector<const Kernels*> found = runnable_kernels();
    return found;
}

std::atomic<const Kernels*>& selected() {
    static std::atomic<const Kernels*> table = tables().front();
    return table;
}

}  // namespace

std::span<const Kernels* const> available_kernels() {
    return tables();
}

const Kernels& kernels() {
    return *selected().load(std::memory_order_relaxed);
}

void select_kernels(std::string_view name) {
    std::string names = "'best'";
    for (const Kernels* table : tables()) {
        if (name == table->name || name == "best") {
            selected() = name == "best" ? tables().front() : table;
            return;
        }
        names += ", '" + std::string{table->name} + "'";
    }
    throw std::invalid_argument{"kernels must be one of " + names + "; got '" + std::string{name} + "'"};
}

}  // namespace omp_mlp
