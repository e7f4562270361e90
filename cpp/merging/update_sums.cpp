#include "merging/update_sums.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>
#include <functional>
#include <limits>
#include <utility>

namespace omp_mlp {

// A rank that is alone sends nothing. So it sends nothing less.
UpdateSums::UpdateSums(const Sending& sending, Communicator& communicator, Index size)
    : communicator_{&communicator}, as_{communicator.size() == 1 ? SentAs::float32 : sending.as} {
    if (as_ != SentAs::float32) {
        left_.resize(static_cast<std::size_t>(size));
    }
    if (as_ == SentAs::largest) {
        assert(sending.count > 0 && sending.count <= size);
        assert(std::in_range<std::uint32_t>(size));
        keys_.resize(left_.size());
        chosen_.resize(static_cast<std::size_t>(sending.count));
        of_all_.resize(chosen_.size() * static_cast<std::size_t>(communicator.size()));
    }
}

void UpdateSums::choose(std::span<float> updates) {
    if (!chooses()) {
        return;
    }
    // The bits of numbers without their signs are in the order of the magnitudes, and NaN comes last. Of
    // equal magnitudes, the first is the larger one.
    constexpr std::uint32_t magnitude = 0x7FFFFFFF;
    constexpr std::uint32_t last = std::numeric_limits<std::uint32_t>::max();
    for (std::size_t k = 0; k < left_.size(); ++k) {
        left_[k] += updates[k];
        keys_[k] = static_cast<std::uint64_t>(std::bit_cast<std::uint32_t>(left_[k]) & magnitude)
                       << 32U |
                   (last - static_cast<std::uint32_t>(k));
    }
    const auto end = keys_.begin() + std::ssize(chosen_);
    std::nth_element(keys_.begin(), end - 1, keys_.end(), std::greater{});
    std::sort(keys_.begin(), end, [](std::uint64_t a, std::uint64_t b) {
        return static_cast<std::uint32_t>(a) > static_cast<std::uint32_t>(b);  // by the index
    });
    std::ranges::fill(updates, 0.0F);
    for (std::size_t k = 0; k < chosen_.size(); ++k) {
        const std::uint32_t index = last - static_cast<std::uint32_t>(keys_[k]);
        chosen_[k] = {index, std::exchange(left_[index], 0.0F)};
        updates[index] = chosen_[k].value;
    }
}

void UpdateSums::add_up(std::span<float> updates) {
    switch (as_) {
        case SentAs::float32:
            communicator_->add_up(updates);
            return;
        case SentAs::bfloat16:
            communicator_->add_up_rounded(updates, left_);
            return;
        case SentAs::largest:
            add_up_entries(updates);
            return;
    }
}

void UpdateSums::add_up_entries(std::span<float> updates) {
    communicator_->gather(std::as_bytes(std::span{std::as_const(chosen_)}),
                          std::as_writable_bytes(std::span{of_all_}));
    std::ranges::fill(updates, 0.0F);
    for (const Entry& entry : of_all_) {  // in the order of the ranks
        updates[entry.index] += entry.value;
    }
}

}  // namespace omp_mlp
