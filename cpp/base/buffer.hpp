// Memory whose first byte starts a cache line, so that rows of whole lines never share one.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace omp_mlp {

using Index = std::ptrdiff_t;

inline constexpr std::size_t cache_line_bytes = 64;
inline constexpr Index cache_line_floats = 16;

// Width of a row of `width` floats once it is filled up to whole cache lines.
constexpr Index padded(Index width) {
    return (width + cache_line_floats - 1) / cache_line_floats * cache_line_floats;
}

template <typename T>
struct CacheLineAllocator {
    using value_type = T;

    CacheLineAllocator() = default;
    template <typename U>
    explicit CacheLineAllocator(const CacheLineAllocator<U>& /*other*/) {}

    T* allocate(std::size_t count) {
        return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t{cache_line_bytes}));
    }
    void deallocate(T* memory, std::size_t /*count*/) {
        ::operator delete(memory, std::align_val_t{cache_line_bytes});
    }
    friend bool operator==(const CacheLineAllocator& /*a*/, const CacheLineAllocator& /*b*/) {
        return true;
    }
};

using Buffer = std::vector<float, CacheLineAllocator<float>>;

}  // namespace omp_mlp
