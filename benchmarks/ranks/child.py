"""The program of each rank: a job of JSON in the arguments, a line of JSON from the first rank."""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import numpy as np

import omp_mlp
from omp_mlp import mpi

Job = dict[str, Any]


def all_reduce(job: Job) -> dict[str, Any]:
    """Time an all-reduce of so many floats, bare and as the rounds call it."""
    MPI = mpi.MPI
    values = np.zeros(job["floats"], np.float32)
    transport = mpi.job().transport

    def bare() -> None:
        request = MPI.COMM_WORLD.Iallreduce(MPI.IN_PLACE, [values, MPI.FLOAT])
        while not request.Test():
            pass

    return {
        name: _median_seconds(work, job["repeats"])
        for name, work in (("bare", bare), ("transport", lambda: transport.add_up(values.data)))
    }


def _median_seconds(work: Any, repeats: int) -> float:  # noqa: ANN401 - a callable
    seconds = []
    for _ in range(repeats):
        mpi.MPI.COMM_WORLD.Barrier()
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def rounds(job: Job) -> dict[str, Any]:
    """Time the rounds of a training in which there is next to nothing to do."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(job["rows"], job["features"])).astype(np.float32)
    model = _train(job, X, np.arange(job["rows"]) % 2)
    history = model.history
    seconds = history.train_seconds + history.merge_seconds
    return {"round": float(np.median(seconds)), "merge": float(np.median(history.merge_seconds))}


def train(job: Job) -> dict[str, Any]:
    """Train on images; tell the seconds of the rounds, and the score if there is a test set."""
    X, y = (np.load(job[name], mmap_mode="r") for name in ("X", "y"))
    model = _train(job, X, y)
    history = model.history
    of_rounds = history.train_seconds + history.merge_seconds
    found = {
        "seconds": float(of_rounds.sum()),
        "round": float(np.median(of_rounds)),
        "samples": int(history.samples[-1]),
        "merges": len(history),
    }
    if "X_test" in job:
        found["score"] = model.score(np.load(job["X_test"]), np.load(job["y_test"]))
    return found


def _train(job: Job, X: Any, y: Any) -> omp_mlp.Model:  # noqa: ANN401 - arrays
    options, threads = dict(job["options"]), job["threads"]
    rank, size = mpi.MPI.COMM_WORLD.Get_rank(), mpi.MPI.COMM_WORLD.Get_size()
    if size == 1:
        model = omp_mlp.train_parallel(X, y, threads, shuffle="shards", **options)
        assert isinstance(model, omp_mlp.Model)
        return model
    # Those of the rank's replicas in one process.
    shards = np.array_split(np.arange(len(X)), size * threads)
    own = np.concatenate(shards[rank * threads : (rank + 1) * threads])
    return mpi.train_parallel(X[own], y[own], threads, **options, **job.get("of_ranks", {}))


def slow_down(delay: float) -> None:
    """Simulate a slow network: each message waits for so many seconds before it is sent."""
    send = mpi._Transport._wait

    def wait(transport: Any, request: Any) -> None:  # noqa: ANN401 - of mpi4py
        time.sleep(delay)
        send(transport, request)

    mpi._Transport._wait = wait  # type: ignore[method-assign]


JOBS = {"all_reduce": all_reduce, "rounds": rounds, "train": train}

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if given.get("delay"):
        slow_down(given["delay"])
    answer = JOBS[given["job"]](given)
    if mpi.MPI.COMM_WORLD.Get_rank() == 0:
        print(json.dumps(answer))
