// What a training knows between two rounds: all that it needs to go on with the same bits.
//
// A state is a table of arrays by their names. StateExchange writes the table and reads it, by the same
// calls. So what is written and what is read cannot differ. Arrays that are read are checked for their types
// and sizes.
#pragma once

#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "network/parameters.hpp"

namespace omp_mlp {

using StateArray = std::variant<std::vector<float>, std::vector<double>, std::vector<Index>>;
using TrainingState = std::map<std::string, StateArray>;

class StateExchange {
public:
    // Writes into an empty state.
    explicit StateExchange(TrainingState& state) : written_{&state} {}
    // Reads, and throws std::invalid_argument if something is missing or has another type or size.
    explicit StateExchange(const TrainingState& state) : read_{&state} {}

    bool reads() const { return read_ != nullptr; }

    // All integers of a state are counts, and some go on growing.
    static constexpr Index most_count = Index{1} << 53;

    // Arrays of any length, which reading replaces.
    template <typename T>
    void operator()(const char* name, std::vector<T>& values) {
        if (reads()) {
            values = find<T>(name);
        } else {
            (*written_)[name] = values;
        }
    }
    // Arrays of this length.
    void operator()(const char* name, std::span<float> values);
    // Parameters, packed as Python sees them, of one network after another.
    void operator()(const char* name, const Shape& shape, std::span<Parameters* const> networks);
    void operator()(const char* name, const Shape& shape, Parameters& parameters);
    // Single numbers.
    void operator()(const char* name, Index& value) { one(name, value); }
    void operator()(const char* name, double& value) { one(name, value); }
    void operator()(const char* name, bool& value);
    // A learning rate: finite and not negative.
    void rate(const char* name, double& value);

private:
    template <typename T>
    const std::vector<T>& find(const char* name) const;
    template <typename T>
    void one(const char* name, T& value);

    TrainingState* written_ = nullptr;
    const TrainingState* read_ = nullptr;
};

// Throws std::invalid_argument: what a state says cannot be.
[[noreturn]] void refuse_state(const std::string& name, const std::string& what);

}  // namespace omp_mlp
