#include "bindings/ranks.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/bfloat16.hpp"
#include "bindings/names.hpp"

namespace omp_mlp {

using namespace py::literals;

namespace {

void call_python(const std::function<void()>& fn) {
    const bool ends = ask_python([&] {
        fn();
        return false;
    });
    if (ends) {
        throw std::runtime_error{"a rank waits for no other: the interpreter is shutting down"};
    }
}

template <typename T>
py::memoryview view_of(std::span<T> values) {
    return py::memoryview::from_buffer(values.data(), {static_cast<py::ssize_t>(values.size())},
                                       {py::ssize_t{sizeof(T)}});
}

template <typename T>
void add_up_in_python(const py::object& transport, std::span<T> values) {
    call_python([&] { transport.attr("add_up")(view_of(values)); });
}

std::unique_ptr<PyRanks> make_ranks(py::object transport, Index rank, Index size, Index replicas_a_rank,
                                    Index longest_shard, Index first_row, double density, bool gathers,
                                    bool may_stop, Index merges_a_round, SentAs sent_as,
                                    double sent_share, const py::object& aside) {
    if (rank < 0 || rank >= size) {
        throw py::value_error{"rank must be from 0 to " + std::to_string(size - 1) + "; got " +
                              std::to_string(rank)};
    }
    if (merges_a_round < 1) {
        throw py::value_error{"merges_a_round must be at least 1; got " +
                              std::to_string(merges_a_round)};
    }
    if (gathers && !aside.is_none()) {
        throw py::value_error{"aside must be None where merges gather parameters"};
    }
    auto made = std::make_unique<PyRanks>(std::move(transport), aside, rank, size);
    made->ranks = {.communicator = made->communicator.get(),
                   .replicas_a_rank = replicas_a_rank,
                   .longest_shard = longest_shard,
                   .first_row = first_row,
                   .density = density,
                   .gathers = gathers,
                   .may_stop = may_stop,
                   .merges_a_round = merges_a_round,
                   .sent_as = sent_as,
                   .sent_share = sent_share,
                   .overlaps = !aside.is_none()};
    return made;
}

template <typename T>
std::span<T> to_write(Array<T>& array) {
    return {array.mutable_data(), static_cast<std::size_t>(array.size())};
}

void round_arrays(const Array<float>& values, Array<float>& left, Array<std::uint16_t>& rounded) {
    if (left.size() != values.size() || rounded.size() != values.size()) {
        throw py::value_error{"values, left and rounded must have the same size; got " +
                              std::to_string(values.size()) + ", " + std::to_string(left.size()) +
                              " and " + std::to_string(rounded.size())};
    }
    round_to_bfloat16(view(values), to_write(left), to_write(rounded));
}

void widen_array(const Array<std::uint16_t>& numbers, Array<float>& floats) {
    if (floats.size() != numbers.size()) {
        throw py::value_error{"numbers and floats must have the same size; got " +
                              std::to_string(numbers.size()) + " and " + std::to_string(floats.size())};
    }
    widen({numbers.data(), static_cast<std::size_t>(numbers.size())}, to_write(floats));
}

}  // namespace

PyCommunicator::PyCommunicator(py::object transport, py::object aside, Index rank, Index size)
    : transport_{std::move(transport)}, aside_{std::move(aside)}, rank_{rank}, size_{size} {}

void PyCommunicator::gather(std::span<const std::byte> mine, std::span<std::byte> everyone) {
    call_python([&] {
        transport_.attr("gather")(
            py::memoryview::from_memory(mine.data(), std::ssize(mine)),
            py::memoryview::from_memory(static_cast<void*>(everyone.data()), std::ssize(everyone)));
    });
}

void PyCommunicator::add_up(std::span<float> values) {
    add_up_in_python(transport_, values);
}

void PyCommunicator::add_up(std::span<double> values) {
    add_up_in_python(transport_, values);
}

void PyCommunicator::add_up_rounded(std::span<float> values, std::span<float> left) {
    call_python([&] { transport_.attr("add_up_rounded")(view_of(values), view_of(left)); });
}

void PyCommunicator::begin(std::function<void()> work) {
    // Whoever holds the work holds this communicator, which it calls.
    const auto run = [self = shared_from_this(), work = std::move(work)] {
        without_gil([&] {
            work();
            return true;
        });
    };
    call_python([&] { aside_.attr("start")(py::cpp_function{run}); });
}

void PyCommunicator::finish() {
    call_python([&] { aside_.attr("wait")(); });
}

void bind_ranks(py::module_& m) {
    m.def("round_to_bfloat16", &round_arrays, "values"_a.noconvert(), "left"_a.noconvert(),
          "rounded"_a.noconvert());
    m.def("widen_bfloat16", &widen_array, "numbers"_a.noconvert(), "floats"_a.noconvert());
    py::class_<PyRanks>(m, "Ranks")
        .def(py::init(&make_ranks), py::kw_only(), "transport"_a, "rank"_a, "size"_a,
             "replicas_a_rank"_a, "longest_shard"_a, "first_row"_a, "density"_a, "gathers"_a,
             "may_stop"_a, "merges_a_round"_a, "sent_as"_a, "sent_share"_a, "aside"_a);
}

}  // namespace omp_mlp
