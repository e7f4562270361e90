// The sum of the updates of all ranks, sent whole or with fewer bits.
//
// What a rank does not send of its updates is not lost: the rank keeps it, and adds it to its next updates
// (error feedback; Seide, Fu, Droppo, Li & Yu 2014; of the largest: Stich, Cordonnier & Jaggi 2018).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.hpp"
#include "base/communicator.hpp"

namespace omp_mlp {

enum class SentAs { float32, bfloat16, largest };

struct Sending {
    SentAs as;
    Index count;  // of the largest
};

class UpdateSums {
public:
    // size: the updates of a rank.
    UpdateSums(const Sending& sending, Communicator& communicator, Index size);

    // Before add_up(): if the largest are sent, leaves these and zeros in the updates, and the rest in left().
    void choose(std::span<float> updates);

    // Replaces this rank's updates by the sum over all ranks. All ranks get the same bits.
    void add_up(std::span<float> updates);

    // Whether only some of the updates are sent.
    bool chooses() const { return as_ == SentAs::largest; }

    // What this rank has not sent yet; empty where it sends everything.
    std::span<float> left() { return left_; }
    std::span<const float> left() const { return left_; }

private:
    struct Entry {
        std::uint32_t index;
        float value;
    };

    void add_up_entries(std::span<float> updates);

    Communicator* communicator_;
    SentAs as_;
    Buffer left_;
    std::vector<std::uint64_t> keys_;  // of choose()
    std::vector<Entry> chosen_;        // of this rank
    std::vector<Entry> of_all_;
};

}  // namespace omp_mlp
