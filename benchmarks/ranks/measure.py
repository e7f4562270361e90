"""Start ranks, and measure: the cost of a round, the speed, the accuracy."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..common.data import Data
from ..common.files import PROJECT_ROOT

LIMIT = 600  # seconds of one start
SPEED = {"epochs": 2, "merge_every": 2048, "batch_size": 8, "learning_rate": 0.1}
NETWORKS = {"8-4-2": (8, (4,)), "784-128-10": (784, (128,))}


def run(ranks: int, job: Mapping[str, Any]) -> dict[str, Any]:
    """Let so many ranks do a job; return what the first one found."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    mpiexec = shutil.which("mpiexec", path=places)
    if mpiexec is None:
        raise SystemExit("needs an MPI with mpiexec: pip install mpich")
    program = [sys.executable, "-m", "benchmarks.ranks.child", json.dumps(job)]
    done = subprocess.run(
        [mpiexec, "-n", str(ranks), *program],
        cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{ranks} ranks failed at {job}:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def round_costs(passes: int) -> list[dict[str, Any]]:
    """Measure what a round of two ranks takes besides that of one process, and an all-reduce.

    gradient_diversity adds up a few numbers, and then the network.
    """
    found = []
    for name, (features, hidden) in NETWORKS.items():
        parameters = (features + 1) * hidden[0] + (hidden[0] + 1) * 2
        of_training = {
            "job": "rounds", "features": features, "rows": 1024, "threads": 1,
            "options": {
                "hidden_layer_sizes": hidden, "epochs": 20, "merge_every": 8, "batch_size": 8,
                "learning_rate": 0.01, "workers": 1,
            },
        }  # fmt: skip
        measured = []
        for _ in range(passes):
            alone, two = (run(ranks, of_training)["round"] for ranks in (1, 2))
            network, few = (
                run(2, {"job": "all_reduce", "floats": floats, "repeats": 500})["bare"]
                for floats in (parameters, 4)
            )
            measured.append({"alone": alone, "two": two, "all_reduce": network, "small": few})
        median = {key: statistics.median(one[key] for one in measured) for key in measured[0]}
        overhead = statistics.median(
            one["two"] - one["alone"] - one["all_reduce"] for one in measured
        )
        found.append({"network": name, "parameters": parameters, **median, "overhead": overhead})
    return found


def speeds(data: Data, folder: Path, passes: int) -> dict[str, Any]:
    """Train with one process of two replicas and with two ranks of one, in turn."""
    files = save(data, folder)
    rates: dict[str, list[float]] = {"process": [], "ranks": []}
    for number in range(passes):
        order = [("process", 1, 2), ("ranks", 2, 1)]
        for name, ranks, threads in order[:: 1 if number % 2 == 0 else -1]:
            job = {"job": "train", "X": files["X"], "y": files["y"], "threads": threads}
            found = run(ranks, {**job, "options": {**SPEED, "workers": threads}})
            rates[name].append(found["samples"] / found["seconds"])
    ratios = [two / one for one, two in zip(rates["process"], rates["ranks"], strict=True)]
    return {"options": SPEED, "rates": rates, "ratio": statistics.median(ratios), "ratios": ratios}


def accuracies(
    data: Data, folder: Path, replicas: Sequence[int], periods: Sequence[int], seeds: int
) -> list[dict[str, Any]]:
    """Score networks of one process, and of four ranks with several periods of their merges."""
    files, found = save(data, folder), []
    for count in replicas:
        for period in (None, *periods):
            ranks = 1 if period is None else 4
            scores = []
            for seed in range(seeds):
                job: dict[str, Any] = {"job": "train", **files, "threads": count // ranks}
                job["options"] = {"epochs": 5, "seed": seed, "workers": 1}
                job["of_ranks"] = {"merge_ranks_every": period or 1}
                answer = run(ranks, job)
                scores.append(100 * answer["score"])
            found.append(
                {
                    "replicas": count, "ranks": ranks, "merge_ranks_every": period,
                    "rounds": answer["merges"], "scores": scores, "mean": float(np.mean(scores)),
                }
            )  # fmt: skip
    return found


def save(data: Data, folder: Path) -> dict[str, str]:
    """Write the images where the ranks find them."""
    names = {}
    for name in ("X", "y", "X_test", "y_test"):
        names[name] = str(folder / f"{name}.npy")
        np.save(names[name], getattr(data, name))
    return names
