#include "kernels/tile_unit.hpp"

#if defined(OMP_MLP_HAS_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace omp_mlp {
namespace {

#if defined(OMP_MLP_HAS_AMX)

// Intel's manual, volume 2A, CPUID: leaf 7, EDX.
bool machine_has_it() {
    constexpr unsigned bfloat16 = 1U << 22U;
    constexpr unsigned tiles = 1U << 24U;
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & bfloat16) != 0 &&
           (edx & tiles) != 0;
}

// Documentation/arch/x86/xstate.rst of Linux.
bool system_grants_it() {
    constexpr long ask_for_permission = 0x1023;  // ARCH_REQ_XCOMP_PERM
    constexpr long tile_data = 18;               // XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, ask_for_permission, tile_data) == 0;
}

#endif

}  // namespace

bool has_tile_unit() {
#if defined(OMP_MLP_HAS_AMX)
    static const bool found = machine_has_it() && system_grants_it();
    return found;
#else
    return false;
#endif
}

}  // namespace omp_mlp
