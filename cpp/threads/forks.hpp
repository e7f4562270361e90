// Whether this process is the child of a fork. The threads of the parent do not exist in the child: nobody may wait
// for them there.
#pragma once

namespace omp_mlp {

// The number of forks that lie between this process and the one that loaded the library.
unsigned fork_count() noexcept;

// Remembers the process that made it.
class ForkWatch {
public:
    ForkWatch() noexcept : made_{fork_count()} {}

    // Whether the process was forked since, and this is the child.
    bool is_in_child() const { return fork_count() != made_; }

private:
    unsigned made_;
};

}  // namespace omp_mlp
