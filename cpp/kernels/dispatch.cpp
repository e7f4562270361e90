#include "kernels/dispatch.hpp"

#include <vector>

#include "base/table_choice.hpp"
#include "kernels/tables.hpp"
#include "kernels/tile_unit.hpp"

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

TableChoice<Kernels>& choice() {
    static TableChoice<Kernels> of_kernels{runnable_kernels(), "kernels"};
    return of_kernels;
}

}  // namespace

std::span<const Kernels* const> available_kernels() {
    return choice().runnable();
}

const Kernels& kernels() {
    return choice().selected();
}

#if defined(OMP_MLP_HAS_AMX)

namespace {

Kernels in_unit(Kernels rounding) {
    rounding.dense_forward = avx512_amx_kernels.dense_forward;
    rounding.dense_backward = avx512_amx_kernels.dense_backward;
    rounding.dense_update = avx512_amx_kernels.dense_update;
    return rounding;
}

}  // namespace

#endif

const Kernels* bfloat16_kernels() {
#if defined(__x86_64__)
    const Kernels* rounding = kernels().bfloat16;
    if (rounding == nullptr) {
        return nullptr;
    }
#if defined(OMP_MLP_HAS_AMX)
    if (has_tile_unit()) {
        static const Kernels tiled = in_unit(*rounding);  // one table has a bfloat16 alone
        return &tiled;
    }
#endif
    __builtin_cpu_init();
    return __builtin_cpu_is("amd") != 0 ? rounding : nullptr;
#else
    return nullptr;
#endif
}

void select_kernels(std::string_view name) {
    choice().select(name);
}

}  // namespace omp_mlp
