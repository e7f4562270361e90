"""The process of one peer: requests as lines of JSON on standard input, replies on standard output.

Started by :class:`.bench.Bench` with the thread counts in the environment. The first
request names the cores, and the process pins itself to them before it imports NumPy or a peer, so
every thread that a library starts is pinned as well.

Each clock starts when the library is called with the data in memory, and stops when it has returned
the trained network or the labels.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from . import Row, Training

if TYPE_CHECKING:
    from .data import Data


class Server:
    """What a peer's process does; the methods without an underscore are its requests."""

    def __init__(self) -> None:
        self._data: Data
        self._peer: Any = None
        self._network: Any = None

    def open(
        self, row: Mapping[str, Any], cores: list[int], data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Pin the process, import the library, load the data; tell about threads and versions."""
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)
        from . import data as data_module

        description = Row(**row)
        module = importlib.import_module(f"{__package__}.libraries.{description.module}")
        self._peer = module.Peer(len(cores), description.options)
        self._data = data_module.load(data, description.form)
        version = str(importlib.import_module(description.library).__version__)
        about = getattr(module.Peer, "about", {})
        return {"version": version, "thread_pools": _thread_pools(), **about}

    def train(
        self,
        training: Mapping[str, Any],
        samples: int | None = None,
        score: bool = True,
        calls: int = 1,
    ) -> dict[str, Any]:
        """Train on the first ``samples``, ``calls`` times over; tell the median time of a call."""
        from .data import first_weights

        task = Training(**training)
        X, y = _first(self._data.X, samples), self._data.y[:samples]
        start = first_weights(
            self._data.n_features, task.hidden, layers=task.layers, seed=task.seed
        )
        self._network = None
        gc.collect()
        wall, cpu = [], []
        for _ in range(calls):
            cpu_begin, begin = time.process_time(), time.perf_counter()
            self._network = self._peer.train(task, X, y, start)
            wall.append(time.perf_counter() - begin)
            cpu.append(time.process_time() - cpu_begin)
        middle = sorted(range(calls), key=wall.__getitem__)[calls // 2]
        return {
            "seconds": wall[middle],
            "cpu_seconds": cpu[middle],
            "samples": len(y),
            "accuracy": self._score() if score else None,
        }

    def predict(self, rows: int, calls: int) -> dict[str, Any]:
        """Predict labels of so many rows with the network trained last."""
        import numpy as np

        X = self._data.X_test
        if rows > X.shape[0]:
            # A small test set is repeated.
            X = X[np.arange(rows) % X.shape[0]]
        X = _first(X, rows)
        gc.collect()
        cpu_begin, begin = time.process_time(), time.perf_counter()
        for _ in range(calls):
            labels = self._peer.predict(self._network, X)
        seconds = time.perf_counter() - begin
        assert len(labels) == rows
        return {
            "seconds": seconds / calls,
            "cpu_seconds": (time.process_time() - cpu_begin) / calls,
        }

    def memory(self, training: Mapping[str, Any]) -> dict[str, Any]:
        """Train once and tell how far the peak of resident memory rose above what was there before.

        To be asked of a fresh process: what a library has allocated before, it may use again.
        """
        before = _forget_peak()
        self.train(training, score=False)
        return {"before_bytes": before, "growth_bytes": max(0, _peak() - before)}

    def _score(self) -> float:
        labels = self._peer.predict(self._network, self._data.X_test)
        return 100.0 * float((labels == self._data.y_test).mean())


def _first(X: Any, rows: int | None) -> Any:  # noqa: ANN401 - NumPy or SciPy
    """Return the first rows; X itself if that is all, because a slice of CSR is a copy."""
    return X if rows is None or rows >= X.shape[0] else X[:rows]


# --- what the process knows of itself -----------------------------------------------------------


def _thread_pools() -> list[str]:
    """Describe the pools of BLAS and OpenMP in this process, where threadpoolctl can tell."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    return sorted(
        f"{pool['internal_api']} {pool.get('version') or ''}".strip()
        + f", {pool['num_threads']} thread(s)"
        for pool in threadpool_info()
    )


def _status(field: str) -> int | None:
    """Return a size from Linux's account of this process, in bytes."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(f"{field}:"):
                return 1024 * int(line.split()[1])
    return None


def _peak() -> int:
    """Return the peak of resident memory in bytes.

    Of the memory of this program: ``ru_maxrss`` also remembers the larger process that started it,
    so it is the second choice.
    """
    peak = _status("VmHWM")
    if peak is not None:
        return peak
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _forget_peak() -> int:
    """Give back what is free, restart the peak where Linux can, and return where it stands."""
    import ctypes

    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    return _peak()


# --- requests and replies -----------------------------------------------------------------------


def _serve(requests: TextIO, replies: TextIO) -> None:
    server = Server()
    for line in requests:
        request = json.loads(line)
        try:
            reply = getattr(server, request.pop("do"))(**request)
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    # Ctrl-C is for the script, which then closes the standard input of its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints must not run into the replies.
    own_output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _serve(sys.stdin, own_output)
