"""Interrupts, limits, failed allocations, forks, and long runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .trial import SkipError, Trial, attempts

_INTERRUPTS = """
signal.signal(signal.SIGALRM, signal.default_int_handler)
model = omp_mlp.Model([np.ones((20, 500)), np.ones((500, 2))], [np.ones(500), np.ones(2)])
rows = np.ones((20_000, 20), np.float32)
WORK = [lambda s=s: fit(rng, s, rows=2000, epochs=1000) for s in STRATEGIES]
WORK += [lambda: [model.predict(rows) for _ in range(99)]]
WORK += [lambda: [omp_mlp.merge([model] * 50, "median") for _ in range(999)]]
expected = fit(np.random.default_rng(1)).history.loss
for k in range(count):
    began = time.perf_counter()
    try:
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-4, 0.03))
        WORK[k % len(WORK)]()
        failures.append("no interrupt")
    except KeyboardInterrupt:
        pass
    except BaseException as error:
        failures.append(repr(error))
    if time.perf_counter() - began > 5:
        failures.append("later than 5 s")
    if k % 50 == 0 and (fit(np.random.default_rng(1)).history.loss != expected).any():
        failures.append("another result afterwards")
"""


_MEMORY = """
import resource
fit(rng, workers=2)
used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
# From too little for a training to enough for it, above what the process has.
room = (1 + k * 400 // count) << 20
resource.setrlimit(resource.RLIMIT_AS, (used + room, hard))
warnings.simplefilter("ignore")
try:
    fit(rng, STRATEGIES[k % 4], workers=2, hidden_layer_sizes=(4000, 500))
except MemoryError:
    pass
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
"""

_THREADS = """
import resource
warnings.simplefilter("ignore")
expected = fit(np.random.default_rng(seed), workers=1).history.loss
threads = len(os.listdir("/proc/self/task"))
resource.setrlimit(resource.RLIMIT_NPROC, (threads + k % 8, threads + k % 8))
found = fit(np.random.default_rng(seed), workers=3).history.loss
if (found != expected).any():
    failures.append("another result")
for strategy in STRATEGIES:
    fit(np.random.default_rng(seed), strategy, workers=8)
"""


def _threads(seed: int, count: int) -> list[str]:
    if os.name != "posix" or os.getuid() != 0:
        prefix: list[str] = []
    elif shutil.which("setpriv") is not None:
        # The limit does not hold for root.
        prefix = ["setpriv", "--reuid=54321", "--clear-groups"]
    else:
        raise SkipError("the limit on threads does not hold for root, and there is no setpriv")
    environment = {"OMP_MLP_CACHE": tempfile.gettempdir(), "OPENBLAS_NUM_THREADS": "1"}
    return attempts(_THREADS, apart=True, prefix=prefix, environment=environment)(seed, count)


_FAILING_NEW = r"""
#include <cstdlib>
#include <new>
static long left = 0;  // allocations until the one that fails; 0: none does
extern "C" void fail_after(long k) { left = k; }
static void* get(std::size_t size, std::size_t alignment) {
    // pybind11 and Python end the process if they get no memory for some objects of some bytes.
    bool counts = size >= 512 && left > 0;
    if (counts && __atomic_sub_fetch(&left, 1, __ATOMIC_RELAXED) == 0) throw std::bad_alloc();
    std::size_t whole = alignment ? (size + alignment - 1) / alignment * alignment : size;
    void* memory = alignment > 16 ? std::aligned_alloc(alignment, whole)
                                  : std::malloc(size ? size : 1);
    if (!memory) throw std::bad_alloc();
    return memory;
}
void* operator new(std::size_t size) { return get(size, 0); }
void* operator new[](std::size_t size) { return get(size, 0); }
void* operator new(std::size_t size, std::align_val_t a) { return get(size, std::size_t(a)); }
void* operator new[](std::size_t size, std::align_val_t a) { return get(size, std::size_t(a)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
"""


_ALLOCATIONS = """
import ctypes
fail_after = ctypes.CDLL(os.environ["LD_PRELOAD"]).fail_after
path = os.path.join(tempfile.mkdtemp(), "model")
model = fit(np.random.default_rng(0))
model.save(path)
X = np.ones((300, 20), np.float32)
WORK = [lambda s=s: fit(np.random.default_rng(seed), s, workers=2) for s in STRATEGIES]
WORK += [lambda: model.predict(X), lambda: omp_mlp.merge([model] * 3, "median")]
WORK += [lambda: model.save(path), lambda: omp_mlp.load(path)]
expected = fit(np.random.default_rng(1)).history.loss
for k in range(count):
    try:
        fail_after(1 + k // len(WORK))
        WORK[k % len(WORK)]()
    except MemoryError:
        pass
    except BaseException as error:
        failures.append(f"{k}: {error!r}")
    finally:
        fail_after(0)
if (fit(np.random.default_rng(1)).history.loss != expected).any():
    failures.append("another result afterwards")
"""


def _allocations(seed: int, count: int) -> list[str]:
    names = (os.environ.get("CXX", ""), "c++", "g++", "clang++")
    compiler = next(filter(shutil.which, names), None)
    if compiler is None or sys.platform != "linux":
        raise SkipError("it needs Linux and a C++ compiler")
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "new.cpp", Path(folder) / "libnew.so"
        source.write_text(_FAILING_NEW)
        subprocess.run(
            [compiler, "-std=c++17", "-w", "-O1", "-shared", "-fPIC", "-o", library, source],
            check=True,
        )
        return attempts(_ALLOCATIONS, environment={"LD_PRELOAD": str(library)})(seed, count)


_FORKS = """
strategy = STRATEGIES[k % 4]
fit(rng, workers=2)
stop, started = threading.Event(), threading.Event()
def callback(report):
    started.set()
    return stop.is_set()
def work():
    fit(np.random.default_rng(0), strategy, rows=2000, epochs=10**6, workers=2, callback=callback)
other = threading.Thread(target=work)
other.start()
started.wait()
time.sleep(rng.uniform(0, 0.02))
child = os.fork()
if child == 0:
    signal.alarm(60)
    fit(rng, strategy, workers=2).predict(np.ones((5000, 20)))
    os._exit(0)
_, status = os.waitpid(child, 0)
stop.set()
other.join()
if status:
    failures.append(f"a child of a thread's fork: {status}")
children = []
def forks(report):
    if not children:
        children.append(os.fork())
        signal.alarm(60 * (children == [0]))
try:
    fit(rng, strategy, rows=2000, epochs=20, workers=2, callback=forks)
except RuntimeError:
    os._exit(5 if children == [0] else 6)
if children and os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) != 5:
    failures.append("a child that returned from the callback got no error")
"""

_DAEMONS = """
callback = (lambda report: None) if k % 3 == 0 else None
def work():
    while True:
        fit(rng, STRATEGIES[k % 4], rows=2000, epochs=100, workers=2, callback=callback)
for _ in range(1 + k % 2):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05 + k % 10 / 50)
"""


_SOAK = """
warnings.simplefilter("ignore")
path = os.path.join(tempfile.mkdtemp(), "model")

def measure():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd")), len(
        os.listdir("/proc/self/task")
    )

for k in range(count):
    model = fit(rng, STRATEGIES[k % 4], workers=2)
    model.predict(np.ones((100, 20)))
    omp_mlp.merge([model] * 3, "weight_matching")
    if k % 20 == 0:
        model.save(path)
        omp_mlp.load(path)
    try:
        model.predict(np.full((1, 20), np.nan))
    except ValueError:
        pass
    if k == count // 4:
        before = measure()
after = measure()
if after[0] > before[0] + (8 << 20) or after[1:] != before[1:]:
    failures.append(f"memory, files and threads: {before}, then {after}")
"""

_NO_FORK = "" if hasattr(os, "fork") else "there is no fork"
_NO_PROC = "" if Path("/proc/self/statm").exists() else "it needs /proc"
TRIALS = (
    Trial("Ctrl-C in training, predicting, merging", 500, attempts(_INTERRUPTS)),
    Trial(
        "trainings with little memory (RLIMIT_AS)", 60, attempts(_MEMORY, apart=True, skip=_NO_PROC)
    ),
    Trial("trainings with few threads (RLIMIT_NPROC)", 24, _threads),
    Trial("failed allocations, each of the first 400", 3200, _allocations),
    Trial("forks beside and within trainings", 40, attempts(_FORKS, apart=True, skip=_NO_FORK)),
    Trial("daemon threads at the end of the interpreter", 40, attempts(_DAEMONS, apart=True)),
    Trial("calls in a row without growth", 20_000, attempts(_SOAK, skip=_NO_PROC)),
)
