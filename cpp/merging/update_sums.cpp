#include "merging/update_sums.hpp"

#include <cstddef>

namespace omp_mlp {

// A rank that is alone sends nothing. So it rounds nothing.
UpdateSums::UpdateSums(SentAs sent_as, Communicator& communicator, Index size)
    : communicator_{&communicator},
      left_(sent_as == SentAs::float32 || communicator.size() == 1 ? 0
                                                                   : static_cast<std::size_t>(size)) {}

void UpdateSums::add_up(std::span<float> updates) {
    if (left_.empty()) {
        communicator_->add_up(updates);
    } else {
        communicator_->add_up_rounded(updates, left_);
    }
}

}  // namespace omp_mlp
