#include "training/state.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <type_traits>

namespace omp_mlp {

void refuse_state(const std::string& name, const std::string& what) {
    throw std::invalid_argument{"the state's " + name + " " + what};
}

template <typename T>
const std::vector<T>& StateExchange::find(const char* name) const {
    const auto found = read_->find(name);
    if (found == read_->end()) {
        refuse_state(name, "is missing");
    }
    const auto* values = std::get_if<std::vector<T>>(&found->second);
    if (values == nullptr) {
        refuse_state(name, "has another type of numbers than expected");
    }
    return *values;
}

template const std::vector<float>& StateExchange::find(const char*) const;
template const std::vector<double>& StateExchange::find(const char*) const;
template const std::vector<Index>& StateExchange::find(const char*) const;

namespace {

void check_size(const char* name, std::size_t got, std::size_t expected) {
    if (got != expected) {
        refuse_state(name,
                     "must have " + std::to_string(expected) + " entries; got " + std::to_string(got));
    }
}

}  // namespace

template <typename T>
void StateExchange::one(const char* name, T& value) {
    std::vector<T> values{value};
    (*this)(name, values);
    check_size(name, values.size(), 1);
    if constexpr (std::is_same_v<T, Index>) {
        if (reads() && (values.front() < 0 || values.front() > most_count)) {
            refuse_state(name, "must be a count; got " + std::to_string(values.front()));
        }
    }
    value = values.front();
}

template void StateExchange::one(const char*, Index&);
template void StateExchange::one(const char*, double&);

void StateExchange::rate(const char* name, double& value) {
    one(name, value);
    if (reads() && (!std::isfinite(value) || value < 0.0)) {
        refuse_state(name, "must be finite and not negative; got " + std::to_string(value));
    }
}

void StateExchange::operator()(const char* name, bool& value) {
    auto number = static_cast<Index>(value);
    one(name, number);
    value = number != 0;
}

void StateExchange::operator()(const char* name, std::span<float> values) {
    if (!reads()) {
        (*written_)[name] = std::vector<float>(values.begin(), values.end());
        return;
    }
    const std::vector<float>& found = find<float>(name);
    check_size(name, found.size(), values.size());
    std::ranges::copy(found, values.begin());
}

void StateExchange::operator()(const char* name, const Shape& shape,
                               std::span<Parameters* const> networks) {
    const auto size = static_cast<std::size_t>(shape.packed_size());
    std::vector<float> all(reads() ? 0 : size * networks.size());
    if (reads()) {
        check_size(name, find<float>(name).size(), size * networks.size());
        all = find<float>(name);
    }
    for (std::size_t i = 0; i < networks.size(); ++i) {
        const auto one = std::span{all}.subspan(i * size, size);
        if (reads()) {
            unpack(shape, one, *networks[i]);
        } else {
            pack(shape, *networks[i], one);
        }
    }
    if (!reads()) {
        (*written_)[name] = std::move(all);
    }
}

void StateExchange::operator()(const char* name, const Shape& shape, Parameters& parameters) {
    Parameters* const one = &parameters;
    (*this)(name, shape, std::span{&one, 1});
}

}  // namespace omp_mlp
