"""Train the same data on one worker of a cluster, on two, and in one process without a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client

import omp_mlp
import omp_mlp.dask

from ..common.data import Data
from ..common.others import Others
from ..common.timing import Probe, ratios, summarise

WAYS = ("one worker", "two workers", "one process, two replicas")

MOST_FOR_OTHERS = 0.05
"""Of a core, in a pass; more disturbs trainings that have all cores more than those on one."""


def held(client: Client, blocks: Sequence[np.ndarray], workers: Sequence[str]) -> da.Array:
    """Return a Dask array of blocks, each in the memory of a worker."""
    parts = []
    for block, worker in zip(blocks, workers, strict=True):
        future = client.scatter(block, workers=[worker], hash=False)
        parts.append(da.from_delayed(future, block.shape, block.dtype))
    return da.concatenate(parts)


def ways(client: Client, data: Data, options: dict[str, Any]) -> dict[str, Callable[[int], Any]]:
    """Return what trains in each of the ways, by a seed; a replica for each worker."""
    first, second = sorted(client.nthreads())

    def on(workers: Sequence[str]) -> Callable[[int], Any]:
        X, y = (held(client, np.array_split(of, 2), workers) for of in (data.X, data.y))
        return lambda seed: omp_mlp.dask.train(client, X, y, 1, seed=seed, **options)

    def alone(seed: int) -> Any:  # noqa: ANN401
        return omp_mlp.train_parallel(
            data.X, data.y, 2, seed=seed, workers=2, shuffle="shards", **options
        )

    return dict(zip(WAYS, (on([first, first]), on([first, second]), alone), strict=True))


def one_pass(
    trains: Mapping[str, Callable[[int], Any]], data: Data, number: int, probe: Probe
) -> dict[str, Any]:
    """Train once in all ways with the pass's number as seed; every second pass goes backwards.

    "others" are the cores that other programs took meanwhile, where the system tells it.
    """

    def measured(way: str) -> dict[str, float]:
        begin = time.perf_counter()
        model = trains[way](number)
        seconds = time.perf_counter() - begin
        score = model.score(data.X_test, data.y_test)
        return {"seconds": seconds, "score": score, "merges": len(model.history)}

    def one() -> dict[str, Any]:
        others = Others()
        found: dict[str, Any] = {way: measured(way) for way in order}
        return {**found, "others": others.cores()}

    order = list(trains) if number % 2 == 0 else list(reversed(trains))
    return probe.undisturbed(one, lambda found: (found["others"] or 0.0) <= MOST_FOR_OTHERS)


def summary(passes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarise the passes for each way; speed-ups are ratios within a pass."""
    runs = {way: [found[way] for found in passes] for way in WAYS}
    seconds = {way: [run["seconds"] for run in found] for way, found in runs.items()}
    return {
        way: {
            "seconds": summarise(seconds[way]),
            "speedup": ratios(seconds[WAYS[0]], seconds[way]),
            "score": summarise([run["score"] for run in found]),
            "merges": summarise([run["merges"] for run in found]),
        }
        for way, found in runs.items()
    }
