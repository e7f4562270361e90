"""Interrupts, limits, forks, the end of the interpreter, and long runs."""

from __future__ import annotations

import os
import shutil
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
state = os.path.join(tempfile.mkdtemp(), "state")
WORK += [lambda: fit(rng, rows=2000, epochs=1000, checkpoint=state, checkpoint_every=1)]
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


# OpenBLAS ends the process if it gets no memory, which it takes at its first large product.
_MEMORY = """
import resource
np.ones((600, 600)) @ np.ones((600, 600))
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
import pickle
warnings.simplefilter("ignore")
path = os.path.join(tempfile.mkdtemp(), "model")

def measure():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd")), len(
        os.listdir("/proc/self/task")
    )

before, k, began = None, 0, time.monotonic()
while time.monotonic() - began < count:
    k += 1
    checkpoint = path + ".state" if k % 10 == 0 and k % 4 != 3 else None
    model = fit(rng, STRATEGIES[k % 4], workers=2, checkpoint=checkpoint)
    model.predict(np.ones((100, 20)))
    omp_mlp.merge([model] * 3, "weight_matching")
    if k % 20 == 0:
        model.save(path)
        omp_mlp.load(path)
        pickle.loads(pickle.dumps(model))
    try:
        model.predict(np.full((1, 20), np.nan))
    except ValueError:
        pass
    if before is None and time.monotonic() - began > count / 4:
        before = measure()
after = measure()
if before is None:
    failures.append("no call ended in time")
elif after[0] > before[0] + (8 << 20) or after[1:] != before[1:]:
    failures.append(f"memory, files and threads: {before}, then {after}")
"""

_NO_FORK = "" if hasattr(os, "fork") else "there is no fork"
_NO_PROC = "" if Path("/proc/self/statm").exists() else "it needs /proc"
TRIALS = (
    Trial("Ctrl-C in training, predicting, merging", 500, attempts(_INTERRUPTS)),
    Trial(
        "trainings with little memory (RLIMIT_AS)",
        60,
        attempts(_MEMORY, apart=True, skip=_NO_PROC, environment={"OPENBLAS_NUM_THREADS": "1"}),
    ),
    Trial("trainings with few threads (RLIMIT_NPROC)", 24, _threads),
    Trial("forks beside and within trainings", 40, attempts(_FORKS, apart=True, skip=_NO_FORK)),
    Trial("daemon threads at the end of the interpreter", 40, attempts(_DAEMONS, apart=True)),
    Trial("seconds of calls in a row, without growth", 600, attempts(_SOAK, skip=_NO_PROC)),
)
