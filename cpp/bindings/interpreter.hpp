// The core's calls and the interpreter: looking up from the core to Python, and the end of Python.
//
// When the interpreter ends, Python ends every thread that then takes the GIL, in the middle of whatever it does. So
// before that, close_core() asks all calls of the core to stop and waits for them; and a call that is there from then on
// never takes the GIL again.
#pragma once

#include <functional>

#include "threads/forks.hpp"
#include "threads/heartbeat.hpp"

namespace omp_mlp {

// A call of the core that runs without the GIL. It begins with the GIL. It never begins if the interpreter is ending:
// only daemon threads are left then, and theirs stays here.
class CoreCall {
public:
    CoreCall();
    ~CoreCall();
    CoreCall(const CoreCall&) = delete;
    CoreCall(CoreCall&&) = delete;
    CoreCall& operator=(const CoreCall&) = delete;
    CoreCall& operator=(CoreCall&&) = delete;

private:
    ForkWatch watch_;
};

// Its end, before the GIL is taken back, does not come if the interpreter is ending.
class StayIfClosed {
public:
    StayIfClosed() = default;
    ~StayIfClosed();
    StayIfClosed(const StayIfClosed&) = delete;
    StayIfClosed(StayIfClosed&&) = delete;
    StayIfClosed& operator=(const StayIfClosed&) = delete;
    StayIfClosed& operator=(StayIfClosed&&) = delete;

private:
    ForkWatch watch_;
};

// With the GIL, from within a core that runs without it. Returns fn(), or true (stop) if the interpreter is ending.
// Throws if fn() forked and this is the child, and if a signal has come.
bool ask_python(const std::function<bool()>& fn);

// What long calls without a callback look up for: Ctrl-C.
Heartbeat watch_for_signals();

// Stops all calls, and waits up to some seconds for them. With the GIL.
void close_core();

}  // namespace omp_mlp
