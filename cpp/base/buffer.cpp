#include "base/buffer.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace omp_mlp {

void ask_for_huge_pages(void* memory, std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    // Whole pages alone, so that nothing takes more memory than it has to. A system that has no such pages refuses,
    // and all goes on with small ones.
    if (const std::size_t whole = bytes / huge_page_bytes * huge_page_bytes; whole > 0) {
        (void)madvise(memory, whole, MADV_HUGEPAGE);
    }
#else
    (void)memory;
    (void)bytes;
#endif
}

}  // namespace omp_mlp
