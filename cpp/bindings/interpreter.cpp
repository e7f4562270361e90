#include "bindings/interpreter.hpp"

#include <pybind11/pybind11.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "base/flush_to_zero.hpp"

namespace omp_mlp {
namespace {

namespace py = pybind11;
using namespace std::chrono_literals;

enum class State { open, closing, closed };

std::atomic<State> state = State::open;
std::atomic<int> calls = 0;  // without the GIL, of this process and of its parents at their fork
std::atomic<unsigned> counted_in = 0;

// The thread that ends the interpreter. It may take the GIL as long as it likes.
thread_local bool is_closing_thread = false;

// The calls of the parent's other threads do not exist in the child of a fork.
void count_anew_in_child() {
    const unsigned here = fork_count();
    if (counted_in.exchange(here) != here) {
        calls = 0;
    }
}

// Without the GIL. An error would be printed by its thread, and Python ends the process where that meets its own last
// output.
[[noreturn]] void stay() {
    while (true) {
        std::this_thread::sleep_for(1h);
    }
}

}  // namespace

CoreCall::CoreCall() {
    if (state != State::open && !is_closing_thread) {
        const py::gil_scoped_release release;
        stay();
    }
    count_anew_in_child();
    ++calls;
}

CoreCall::~CoreCall() {
    if (!watch_.is_in_child()) {
        --calls;
    }
}

StayIfClosed::~StayIfClosed() {
    if (state != State::open && !is_closing_thread) {
        if (!watch_.is_in_child()) {
            --calls;  // its CoreCall never ends
        }
        stay();
    }
}

bool ask_python(const std::function<bool()>& fn) {
    if (state != State::open && !is_closing_thread) {
        return true;
    }
    const KeepSubnormal keep;
    const py::gil_scoped_acquire acquire;
    const ForkWatch watch;
    const bool answer = fn();
    if (watch.is_in_child()) {
        throw std::runtime_error{
            "the callback forked this process, and the training goes on in its parent: a child must not "
            "return from "
            "the callback; leave it with os._exit"};
    }
    return answer;
}

Heartbeat watch_for_signals() {
    return Heartbeat{[](const Progress&) {
        return ask_python([] {
            if (PyErr_CheckSignals() != 0) {
                throw py::error_already_set{};
            }
            return false;
        });
    }};
}

void close_core() {
    count_anew_in_child();
    is_closing_thread = true;
    state = State::closing;
    {
        const py::gil_scoped_release release;  // calls take the GIL when they end
        const auto give_up = std::chrono::steady_clock::now() + 10s;
        while (calls > 0 && std::chrono::steady_clock::now() < give_up) {
            std::this_thread::sleep_for(1ms);
        }
    }
    state = State::closed;
}

}  // namespace omp_mlp
