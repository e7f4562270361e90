#include "base/caches.hpp"

#include <cstdint>
#include <fstream>
#include <string>

#if defined(__linux__)
#include <unistd.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace omp_mlp {
namespace {

#if defined(__linux__)

// From the folders that describe the caches of the first core.
Index described_size() {
    for (int number = 0; number < 8; ++number) {
        const std::string folder =
            "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(number) + "/";
        int level = 0;
        Index size = 0;
        std::string unit;
        if ((std::ifstream{folder + "level"} >> level) && level == 2 &&
            (std::ifstream{folder + "size"} >> size >> unit)) {
            return size * (unit == "M" ? 1024 * 1024 : 1024);
        }
    }
    return 0;
}

Index size_of_second() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
    // Not every C library knows it on every processor.
    if (const long size = sysconf(_SC_LEVEL2_CACHE_SIZE); size > 0) {
        return size;
    }
#endif
    return described_size();
}

#elif defined(__APPLE__)

Index size_of_second() {
    std::int64_t size = 0;
    std::size_t bytes = sizeof size;
    return sysctlbyname("hw.l2cachesize", &size, &bytes, nullptr, 0) == 0 ? static_cast<Index>(size) : 0;
}

#else

Index size_of_second() {
    return 0;
}

#endif

}  // namespace

Index second_cache_bytes() {
    static const Index found = size_of_second();
    return found > 0 ? found : Index{256} * 1024;
}

}  // namespace omp_mlp
