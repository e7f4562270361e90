// Chooses between tables of functions that are compiled for several instruction sets. One table is in
// use: the best that this machine can run, unless another is selected by name.
#pragma once

#include <atomic>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace omp_mlp {

template <typename Table>
class TableChoice {
public:
    // runnable: the tables, best first; not empty. what: names them in the error.
    TableChoice(std::vector<const Table*> runnable, std::string what)
        : runnable_{std::move(runnable)}, what_{std::move(what)}, selected_{runnable_.front()} {}

    std::span<const Table* const> runnable() const { return runnable_; }

    const Table& selected() const { return *selected_.load(std::memory_order_relaxed); }

    // "best" or a name; throws std::invalid_argument, listing the names, if there is none of that name.
    void select(std::string_view name) {
        std::string names = "'best'";
        for (const Table* table : runnable_) {
            if (name == table->name || name == "best") {
                selected_ = name == "best" ? runnable_.front() : table;
                return;
            }
            names += ", '" + std::string{table->name} + "'";
        }
        throw std::invalid_argument{what_ + " must be one of " + names + "; got '" + std::string{name} +
                                    "'"};
    }

private:
    std::vector<const Table*> runnable_;
    std::string what_;
    std::atomic<const Table*> selected_;
};

}  // namespace omp_mlp
