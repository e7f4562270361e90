"""Requests for memory that fail, one after another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .trial import SkipError, Trial, attempts

_FAILING_NEW = r"""
#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <new>
static long left = 0;  // requests until the one that fails; 0: none does
extern "C" void fail_after(long k) { left = k; }
static bool is_within_python() {
    static const auto has_gil =
        reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "PyGILState_Check"));
    return has_gil != nullptr && has_gil() != 0;
}
static bool is_from(void* caller, const char* library) {
    Dl_info about;
    return dladdr(caller, &about) != 0 && std::strstr(about.dli_fname, library) != nullptr;
}
// Other extensions, as SciPy's, may end the process if they get no memory. So does pybind11, which
// is within ours, for some small objects, with the GIL. Without the GIL, all of ours is the core.
static bool counts(std::size_t size, void* caller) {
    if (is_within_python()) return size >= 512 && is_from(caller, "omp_mlp/_core");
    return is_from(caller, "omp_mlp/_core") || is_from(caller, "libstdc++");
}
static void* get(std::size_t size, std::size_t alignment, void* caller) {
    if (left > 0 && counts(size, caller) && __atomic_sub_fetch(&left, 1, __ATOMIC_RELAXED) == 0) {
        throw std::bad_alloc();
    }
    std::size_t whole = alignment ? (size + alignment - 1) / alignment * alignment : size;
    void* memory = alignment > 16 ? std::aligned_alloc(alignment, whole)
                                  : std::malloc(size ? size : 1);
    if (!memory) throw std::bad_alloc();
    return memory;
}
#define CALLER __builtin_return_address(0)
void* operator new(std::size_t n) { return get(n, 0, CALLER); }
void* operator new[](std::size_t n) { return get(n, 0, CALLER); }
void* operator new(std::size_t n, std::align_val_t a) { return get(n, std::size_t(a), CALLER); }
void* operator new[](std::size_t n, std::align_val_t a) { return get(n, std::size_t(a), CALLER); }
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
folder = tempfile.mkdtemp()
path, state = os.path.join(folder, "model"), os.path.join(folder, "state")
model = fit(np.random.default_rng(0))
model.save(path)
X, y = rng.normal(size=(300, 20)).astype(np.float32), np.arange(300) % 3
def train(strategy, **options):
    return fit(np.random.default_rng(seed), strategy, workers=2, **options)
train("replica", checkpoint=state)
data = np.random.default_rng(seed).normal(size=(200, 20)).astype(np.float32), np.arange(200) % 3
WORK = [lambda s=s: train(s) for s in STRATEGIES]
WORK += [lambda s=s: train(s, checkpoint=state) for s in STRATEGIES[:3]]
WORK += [lambda: omp_mlp.train_parallel(*data, resume=state, epochs=2)]
WORK += [lambda: train("replica", optimizer="adam", averaging="lawa")]
lbfgs = {"hidden_layer_sizes": (16,), "epochs": 2, "optimizer": "lbfgs"}
WORK += [lambda: omp_mlp.train_parallel(*data, 1, **lbfgs)]
WORK += [lambda: model.predict(X), lambda: omp_mlp.merge([model] * 3, "median")]
WORK += [lambda: omp_mlp.merge([model] * 3, "weight_matching")]
WORK += [lambda: model.save(path), lambda: omp_mlp.load(path)]
WORK += [lambda: omp_mlp.TrainingState.load(state)]
for work in WORK:
    work()  # what is imported on the way is not the core's
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
    if k % len(WORK) == 0:
        try:
            omp_mlp.load(path), omp_mlp.TrainingState.load(state)
        except BaseException as error:
            failures.append(f"{k}: {error!r}")
if (fit(np.random.default_rng(1)).history.loss != expected).any():
    failures.append("another result afterwards")
if len(os.listdir(folder)) > 2:
    failures.append("drafts are left")
"""
_WORK = 16


def _allocations(seed: int, count: int) -> list[str]:
    names = (os.environ.get("CXX", ""), "c++", "g++", "clang++")
    compiler = next(filter(shutil.which, names), None)
    if compiler is None or sys.platform != "linux":
        raise SkipError("it needs Linux and a C++ compiler")
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "new.cpp", Path(folder) / "libnew.so"
        source.write_text(_FAILING_NEW)
        command = [compiler, "-std=c++17", "-w", "-O1", "-shared", "-fPIC", "-o", library, source]
        subprocess.run([*command, "-ldl"], check=True)
        return attempts(_ALLOCATIONS, environment={"LD_PRELOAD": str(library)})(seed, count)


TRIALS = (Trial("failed requests for memory, each of the first 400", 400 * _WORK, _allocations),)
