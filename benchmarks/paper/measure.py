"""Train, score every way to use the same replicas, and take times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import omp_mlp

from ..common import timing
from ..common.data import Data
from . import ANSWERS, PRESETS, TIMES

# Timing stops after the pass that uses this up, but not before three passes.
TIMING_BUDGET_SECONDS = 60.0
# For one start that all threads share: how many threads, and how many seeds.
SHARED_THREADS = (2, 8, 16)
SHARED_SEEDS = 3

Say = Callable[[str], None]


def amplify_hidden(model: omp_mlp.Model, gain: int) -> omp_mlp.Model:
    """Multiply all parameters but the output layer's by ``gain``."""
    factors = [np.float32(gain)] * (len(model.weights) - 1) + [np.float32(1)]
    return omp_mlp.Model(
        [factor * W for factor, W in zip(factors, model.weights, strict=True)],
        [factor * b for factor, b in zip(factors, model.biases, strict=True)],
        activation=model.activation,
        output_activation=model.output_activation,
        classes=model.classes,
    )


def score(data: Data, n: int, seed: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Train n replicas once, and score every way to use them, in percent.

    ``differing_answers`` counts the test samples that the sum answers in another way than the
    average with W and b of its hidden layers multiplied by n, which it must equal: the sum is n
    times the average in every parameter, and a factor on the output layer does not move the largest
    output.
    """
    average = omp_mlp.train_parallel(
        data.X, data.y, n, "average", seed=seed, keep_replicas=True, **options
    )
    # The bits of a training with merge="sum".
    total = omp_mlp.merge(average.replicas, "sum")
    of_replicas = [replica.decision_function(data.X_test) for replica in average.replicas]
    classes = average.classes
    assert classes is not None

    def percent(logits: np.ndarray) -> float:
        return 100.0 * float(np.mean(classes[logits.argmax(axis=1)] == data.y_test))

    of_sum = total.decision_function(data.X_test)
    amplified = amplify_hidden(average, n).decision_function(data.X_test)
    return {
        "logit_ensemble": percent(np.mean(of_replicas, axis=0)),
        "single_replica": float(np.mean([percent(logits) for logits in of_replicas])),
        "sum": percent(of_sum),
        "average": percent(average.decision_function(data.X_test)),
        "differing_answers": int(np.sum(of_sum.argmax(axis=1) != amplified.argmax(axis=1))),
    }


def accuracy(
    data: Data, threads: Sequence[int], seeds: int, options: Mapping[str, Any], say: Say
) -> list[dict[str, Any]]:
    """Score all numbers of threads; return an entry for each, with a summary over the seeds.

    ``gain`` is the sum minus the average, in points.
    """
    entries = []
    for n in threads:
        runs = []
        for seed in range(seeds):
            say(f"accuracy, {n} threads, seed {seed}")
            runs.append(score(data, n, seed, options))
        entries.append(
            {
                "threads": n,
                **{name: timing.summarise([run[name] for run in runs]) for name in ANSWERS},
                "gain": timing.summarise([run["sum"] - run["average"] for run in runs]),
                "differing_answers": [run["differing_answers"] for run in runs],
            }
        )
    return entries


def shared_start(data: Data, say: Say, *, quick: bool) -> list[dict[str, Any]]:
    """Score merges of replicas that start from the same weights, with sigmoid and ReLU units."""
    settings = {
        "the preset's sigmoid units and squared error": {**PRESETS["paper"], "init": "shared"},
        "ReLU units and cross-entropy": PRESETS["relu"],
    }
    threads, seeds = (SHARED_THREADS[:1], 1) if quick else (SHARED_THREADS, SHARED_SEEDS)
    return [
        {"setting": name, **entry}
        for name, options in settings.items()
        for entry in accuracy(data, threads, seeds, options, say)
    ]


def times(
    data: Data,
    threads: Sequence[int],
    passes: int,
    options: Mapping[str, Any],
    probe: timing.Probe,
    say: Say,
) -> dict[str, Any]:
    """Time trainings in turn.

    Returns
    -------
    dict
        ``rows``: every training with its parts. ``seconds`` and ``speedup``: for each number of
        threads a summary of every curve; a speed-up is over one thread in the same pass.
    """

    def train(cell: tuple[int, bool]) -> dict[str, Any]:
        n, own_threads = cell
        say(f"time, {n} threads")
        workers = n if own_threads else None
        history = probe.undisturbed(
            lambda: omp_mlp.train_parallel(
                data.X, data.y, n, "average", seed=0, workers=workers, **options
            )
        ).history
        return {
            "threads": n,
            "workers": workers or "as many as cores",
            "train_seconds": float(np.sum(history.train_seconds)),
            "merge_seconds": float(np.sum(history.merge_seconds)),
            "slowest_replica_cpu_seconds": float(np.sum(history.slowest_replica_seconds)),
        }

    # With one replica both are the same run.
    cells = [(n, own) for n in threads for own in ((True,) if n == 1 else (True, False))]
    passed = timing.in_turn(cells, train, passes, budget=TIMING_BUDGET_SECONDS)
    found = dict(zip(cells, passed, strict=True))
    runs = {n: _curves(found[n, True], found.get((n, False), found[n, True])) for n in threads}
    one = runs.get(1)
    return {
        "rows": [
            {"pass": number, **run} for cell in cells for number, run in enumerate(found[cell])
        ],
        "seconds": [
            {"threads": n, **{name: timing.summarise(runs[n][name]) for name in TIMES}}
            for n in threads
        ],
        "speedup": one
        and [
            {"threads": n, **{name: timing.ratios(one[name], runs[n][name]) for name in TIMES}}
            for n in threads
        ],
    }


def _curves(
    own: Sequence[Mapping[str, Any]], shared: Sequence[Mapping[str, Any]]
) -> dict[str, list[float]]:
    """Return the seconds of the curves, by trainings with a worker a replica and a worker a core.

    The modelled ones are those of the latter: a replica that shares its core with others finds its
    weights evicted from the cache, which n cores would spare it.
    """
    return {
        "system_threads": [run["train_seconds"] + run["merge_seconds"] for run in own],
        "core_workers": [run["train_seconds"] + run["merge_seconds"] for run in shared],
        "modelled": [run["slowest_replica_cpu_seconds"] + run["merge_seconds"] for run in shared],
    }


def undisturbed_share(rows: Sequence[Mapping[str, Any]], cores: int) -> float:
    """Share of the wall-clock time in which the slowest replica had a core to itself.

    Taken from the runs with no more replicas than cores: about 1 on a quiet machine, less where
    other work takes part of the cores. The lowest median over the numbers of threads.
    """
    shares: dict[int, list[float]] = {}
    for row in rows:
        if row["threads"] <= cores:
            share = row["slowest_replica_cpu_seconds"] / row["train_seconds"]
            shares.setdefault(row["threads"], []).append(share)
    return min((float(np.median(group)) for group in shares.values()), default=1.0)
