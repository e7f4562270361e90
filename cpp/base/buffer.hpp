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

// From one row to the next, for rows of `width` floats. Rows that start 2 KB apart, or a multiple of that, would share one
// or two of the 64 places that a first-level cache has for a line, and a tile of a few dozen of them would drive itself
// out. Such rows get one more line, which stays empty.
constexpr Index row_stride(Index width) {
    constexpr Index crowding = Index{2048} / static_cast<Index>(sizeof(float));
    const Index filled = padded(width);
    return filled + (filled > 0 && filled % crowding == 0 ? cache_line_floats : 0);
}

// Asks the system for pages of 2 MB where there is room for whole ones. Wide layers lie on thousands of small pages, and
// a product that goes down their columns would wait for addresses to be looked up. What fills several small pages starts
// on one, so that as few rows as can be lie on two, and the speed does not depend on where memory happens to be.
inline constexpr std::size_t small_page_bytes = std::size_t{1} << 12;
inline constexpr std::size_t huge_page_bytes = std::size_t{1} << 21;
void ask_for_huge_pages(void* memory, std::size_t bytes);

template <typename T>
struct CacheLineAllocator {
    using value_type = T;

    CacheLineAllocator() = default;
    template <typename U>
    explicit CacheLineAllocator(const CacheLineAllocator<U>& /*other*/) {}

    T* allocate(std::size_t count) {
        void* memory = ::operator new(count * sizeof(T), alignment(count));
        ask_for_huge_pages(memory, count * sizeof(T));
        return static_cast<T*>(memory);
    }
    void deallocate(T* memory, std::size_t count) { ::operator delete(memory, alignment(count)); }

    static constexpr std::align_val_t alignment(std::size_t count) {
        const std::size_t bytes = count * sizeof(T);
        return std::align_val_t{bytes < 8 * small_page_bytes ? cache_line_bytes
                                : bytes < huge_page_bytes    ? small_page_bytes
                                                             : huge_page_bytes};
    }
    friend bool operator==(const CacheLineAllocator& /*a*/, const CacheLineAllocator& /*b*/) {
        return true;
    }
};

using Buffer = std::vector<float, CacheLineAllocator<float>>;

}  // namespace omp_mlp
