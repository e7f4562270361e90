// The sum of the updates of all ranks, sent whole or with fewer bits.
//
// What a rank does not send of its updates is not lost: the rank keeps it, and adds it to its next updates
// (error feedback; Seide, Fu, Droppo, Li & Yu 2014, 1-bit stochastic gradient descent).
#pragma once

#include <span>

#include "base/buffer.hpp"
#include "base/communicator.hpp"

namespace omp_mlp {

enum class SentAs { float32, bfloat16 };

class UpdateSums {
public:
    // size: the updates of a rank.
    UpdateSums(SentAs sent_as, Communicator& communicator, Index size);

    // Replaces this rank's updates by the sum over all ranks. All ranks get the same bits.
    void add_up(std::span<float> updates);

    // What this rank has not sent yet; empty where it sends everything.
    std::span<float> left() { return left_; }

private:
    Communicator* communicator_;
    Buffer left_;
};

}  // namespace omp_mlp
