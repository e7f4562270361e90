"""Measure what work costs on this machine by short trainings, and keep it in the user's cache."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import _core, cadence, checks, disk
from omp_mlp.costs.formulas import KINDS, Costs, Table, Work, predict, work
from omp_mlp.losses import LossKind
from omp_mlp.options import Options, core_fields, core_options
from omp_mlp.workers import available_cores

Seconds = npt.NDArray[np.float64]

# Where rates are measured: features and hidden units of networks with 10 outputs, and batch sizes.
# From what fits in the first-level cache to what fits in none.
_NETWORKS = ((64, 16), (256, 64), (784, 128), (1024, 1024), (4096, 2304))
_BATCHES = (1, 4, 16, 64, 256)
_WHO = ("replica", "synchronous")
_KINDS = ("dense", "sparse")
_DENSITY = 0.2  # of sparse inputs; rates are per nonzero
_LARGE = 2**22  # weights; not measured at every batch size, and not drawn at random
_TOGETHER = 16  # samples that replicas read together, if batches are small
# Where rounds are measured.
_TINY = (16, 16)
_MERGED = ((256, 64), (1024, 128), (1024, 1024), (2048, 2048))
_SHARED = ((512, 128), (1024, 1024))
_SHARED_BATCH = 8
_MOST_KEPT = 2**20  # bytes of a file in the cache
_READY = ((16, 16), (784, 128), (1024, 1024))
_READ = (500, 8_000, 40_000)  # samples of 256 features: up to 40 MB


def calibrate(*, refresh: bool = False, cores: int | None = None, takes: int = 2) -> Costs:
    """Measure this machine, or read an earlier measurement from the user's cache.

    A measurement takes less than 5 s. The cache is a file in the folder that ``OMP_MLP_CACHE``
    names, or else in the folder ``omp_mlp`` of ``XDG_CACHE_HOME`` or of ``~/.cache`` (on macOS
    ``~/Library/Caches``, on Windows ``%LOCALAPPDATA%``). Nothing is written anywhere else. If the
    file cannot be written, nothing is kept. A file that is damaged, or of another version, is
    measured again and replaced.

    Parameters
    ----------
    refresh : bool, default False
        Measure again, and replace what is in the cache.
    cores : int, optional
        Number of cores to measure on. Default: those that this process may use.
    takes : int, default 2
        How often to measure, in turns; the largest network is measured once only. The shortest of
        every time counts. Take more, of about two seconds each, on a machine that is shared.

    Returns
    -------
    Costs
    """
    cores = available_cores() if cores is None else checks.integer("cores", cores, 1)
    takes = checks.integer("takes", takes, 1)
    path = _cache_file(cores)
    if path is not None and not refresh and (kept := _read_kept(path)) is not None:
        return kept
    costs = _measure(cores, takes)
    if path is not None:
        text = json.dumps(costs.as_dict(), indent=1)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            # What can be measured again need not survive a loss of power. Nobody is meant to put a
            # link there.
            disk.write_whole(path, text.encode(), through_links=False, lasting=False)
    return costs


def _read_kept(path: Path) -> Costs | None:
    """Return the costs in a file; None if there is none, or it is damaged or of another version."""
    try:
        kept = Costs.from_dict(json.loads(disk.read_regular(path, most=_MOST_KEPT)))
    except (OSError, ValueError, RecursionError):
        return None
    return kept if set(kept.rates) == KINDS else None


def _cache_file(cores: int) -> Path | None:
    folder = disk.cache_folder()
    if folder is None:
        return None
    version = _core.build_config()["version"]
    node = re.sub(r"[^\w.-]", "_", platform.node())[:100]  # a name and nothing else
    return folder / f"costs-{version}-{_core.kernels_in_use()}-{node}-{cores}.json"


def _measure(cores: int, takes: int = 2) -> Costs:
    # Whatever else the machine does makes times longer only: of every time, the shortest counts.
    seconds = _take(cores, with_large=True)
    for _ in range(takes - 1):
        again = _take(cores, with_large=False)
        seconds = {name: np.minimum(found, again[name]) for name, found in seconds.items()}
    return _explain(cores, seconds)


def _counts(cores: int) -> list[int]:
    """Return the numbers of threads to wait and merge with. One core too may be asked of two."""
    return sorted({2, *(2**k for k in range(1, cores.bit_length())), max(cores, 2)})


def _take(cores: int, *, with_large: bool) -> dict[str, Seconds]:
    """Measure everything once. Without ``with_large``, the largest network's times are infinite."""
    found: dict[str, Any] = {
        # First, as memory is given to a process that had little before.
        "ready replica": [_ready("replica", network) for network in _READY],
        "ready one": [_ready("section", network) for network in _READY],
        "besides": [_of_tiny(16, 64), _of_tiny(64, 64), _of_tiny(16, 1)],
    }

    def row(who: str, kind: str, k: int, threads: int) -> list[float]:
        if not _is_large(_NETWORKS[k]):
            return _row(who, kind, _NETWORKS[k], threads)
        if not with_large:
            return [math.inf] * len(_BATCHES)
        if who == "replica":
            return _row_of_large(kind, _NETWORKS[k], threads)
        # The same way and the same work, but small batches go it alone.
        together = found[f"replica {kind}"][k]
        return _one_way_a_batch(together[_BATCHES.index(_TOGETHER)], together[-1], 1)

    def rows(who: str, kind: str, threads: int) -> list[list[float]]:
        return [row(who, kind, k, threads) for k in range(len(_NETWORKS))]

    for kind in _KINDS:
        for who in _WHO:
            found[f"{who} {kind}"] = rows(who, kind, 1)
        found[f"hogwild {kind}"] = [_of_hogwild(kind, network, cores) for network in _NETWORKS]
    found["crowded"] = rows("replica", "dense", cores) if cores > 1 else found["replica dense"]
    counts = _counts(cores)
    found["in step"] = [_of_step(count, count) for count in counts]
    found["alone"] = _of_step(1, 1)
    found["rounds"] = [_round(count, _TINY) for count in (1, *counts)]
    found["merges"] = [[_round(count, network) for network in _MERGED] for count in (1, cores)]
    found["shared"] = [_of_shared(network) for network in _SHARED]
    found["read"] = [_read(n) for n in _READ]
    return {name: np.array(values) for name, values in found.items()}


def _explain(cores: int, seconds: Mapping[str, Seconds]) -> Costs:
    """Return the costs that explain what was measured."""
    sample, batch = _besides(seconds["besides"])
    rates = _rates({f"{who} {kind}": seconds[f"{who} {kind}"] for who in _WHO for kind in _KINDS},
                   sample, batch)  # fmt: skip
    for kind in _KINDS:
        flop = [_measured_work(network, kind).flop for network in _NETWORKS]
        by_network = np.array(flop) / seconds[f"hogwild {kind}"]
        rates[f"hogwild {kind}"] = tuple((float(rate),) * len(_BATCHES) for rate in by_network)
    counts = _counts(cores)

    def round_of(times: Seconds) -> float:
        """Return the seconds of a round without its samples."""
        return max(float(times[0] - times[1]), 1e-7)

    rounds = {k: round_of(times) for k, times in zip((1, *counts), seconds["rounds"], strict=True)}
    memory = tuple(
        tuple(
            (count + 1) * size / max(round_of(times) - rounds[count], 1e-7)
            for size, times in zip(_sizes(_MERGED), row, strict=True)
        )
        for count, row in zip((1, cores), seconds["merges"], strict=True)
    )
    # What is at hand is in the rates.
    reading = np.maximum(seconds["read"] - seconds["read"][0], 1e-13)
    known = Costs(
        machine=f"{cores} of {os.cpu_count()} cores, kernels {_core.kernels_in_use()}",
        cores=cores,
        sizes=_sizes(_NETWORKS),
        batches=_BATCHES,
        rates=rates,
        crowding=tuple(map(_crowding, _NETWORKS, seconds["replica dense"], seconds["crowded"])),
        barriers={
            count: max(float(together - seconds["alone"]) / 2, 1e-8)
            for count, together in zip(counts, seconds["in step"], strict=True)
        },
        rounds=rounds,
        memory=memory,
        memory_sizes=_sizes(_MERGED),
        sample=sample,
        batch=batch,
        ready={who: tuple(map(float, seconds[f"ready {who}"])) for who in ("replica", "one")},
        ready_sizes=_sizes(_READY),
        reading=tuple(map(float, reading)),
        reading_sizes=tuple(1024.0 * n for n in _READ),
    )
    return replace(
        known,
        sharing=tuple(map(functools.partial(_sharing, known), _SHARED, seconds["shared"])),
        sharing_sizes=_sizes(_SHARED),
    )


def _crowding(
    network: tuple[int, int], alone: Sequence[float], crowded: Sequence[float]
) -> tuple[float, ...]:
    """Return the factor by which a thread is slower, by batch size."""
    ratios = [max(1.0, float(b / a)) for a, b in zip(alone, crowded, strict=True)]
    # Where the weights are in a cache, the batch size is nothing to it, nor is one odd take.
    return tuple(ratios if _is_large(network) else [float(np.median(ratios))] * len(ratios))


def _is_large(network: tuple[int, int]) -> bool:
    return network[0] * network[1] > _LARGE


def _measured_work(network: tuple[int, int], kind: str) -> Work:
    return work((*network, 10), density=_DENSITY if kind == "sparse" else None)


def _sizes(networks: Sequence[tuple[int, int]]) -> tuple[float, ...]:
    return tuple(_measured_work(network, "dense").size for network in networks)


def _read(n: int) -> float:
    """Return the seconds a byte of X of a training on n samples of 256 features."""
    run = _train((256, 16, 10), "dense", "replica", n, 2 if n > 10_000 else 5, 64)
    return float(np.median(run["slowest_replica_seconds"])) / (n * 1024)


def _of_tiny(features: int, batch: int) -> float:
    run = _train((features, 16, 10), "dense", "section", 2048, 5, batch)
    return float(np.median(run["slowest_replica_seconds"][1:])) / 2048


def _besides(seconds: Seconds) -> tuple[float, float]:
    """Return the seconds that a sample and a batch take besides their multiply-adds.

    A line through the flop of two small networks gives those of a sample; batches of one sample
    give those of a batch.
    """
    smaller, larger, single = map(float, seconds)
    flop, more = work((16, 16, 10)).flop, work((64, 16, 10)).flop
    sample = smaller - flop * max(larger - smaller, 0.0) / (more - flop)
    return max(sample, 0.0), max(single - smaller, 0.0)


def _rates(seconds: Mapping[str, Seconds], sample: float, batch: float) -> dict[str, Table]:
    """Return the flop/s that explain the times of samples, less what every sample takes besides."""
    rates: dict[str, Table] = {}
    for name, rows in seconds.items():
        who, kind = name.split()
        table = []
        for k, (network, row) in enumerate(zip(_NETWORKS, rows, strict=True)):
            one = _measured_work(network, kind)
            found = []
            for column, (size, taken) in enumerate(zip(_BATCHES, map(float, row), strict=True)):
                # No less than a part of it: what is taken off was measured elsewhere.
                left = max(taken - sample - batch / size, taken / 4)
                flop = one.flop
                if kind == "sparse":  # the layers above the first are dense
                    flop = 2 * one.first
                    upper = (one.flop - flop) / rates[f"{who} dense"][k][column]
                    left = max(left - upper, left / 4)
                found.append(flop / left)
            table.append(tuple(found))
        rates[name] = tuple(table)
    return rates


def _row(who: str, kind: str, network: tuple[int, int], threads: int = 1) -> list[float]:
    """Return the seconds a sample at each batch size."""
    flop = _measured_work(network, kind).flop
    found = []
    for batch in _BATCHES:
        # About a millisecond an epoch at 10 Gflop/s, as often as it fits into 8 ms. Replicas read
        # small batches together, so that a few samples would not be typical.
        least = 64 if who == "replica" else 2
        n = batch * -(-max(least, min(4096, round(1e7 / flop))) // batch)
        epochs = int(np.clip(8e7 / (n * flop), 3, 40))
        run = _train((*network, 10), kind, who, n, epochs, batch, threads)
        found.append(float(np.median(run["slowest_replica_seconds"][1:])) / n)
    return found


def _row_of_large(kind: str, network: tuple[int, int], threads: int) -> list[float]:
    """Do the same as ``_row`` for replicas, with two batch sizes and one epoch each."""

    def seconds(batch: int, n: int) -> float:
        run = _train((*network, 10), kind, "replica", n, 1, batch, threads)
        return float(run["slowest_replica_seconds"][0]) / n

    small, large = seconds(_TOGETHER, 2 * _TOGETHER), seconds(_BATCHES[-1], _BATCHES[-1])
    return _one_way_a_batch(small, large, _TOGETHER)


def _one_way_a_batch(small: float, large: float, least: int) -> list[float]:
    """Return the seconds a sample at each batch size, from those at _TOGETHER and at the largest.

    Where the weights are in no cache, a batch makes one visit of them and does the work of its
    samples: a / batch + c for each sample. ``least``: samples that are read together.
    """
    a = max(small - large, 0.0) / (1 / _TOGETHER - 1 / _BATCHES[-1])
    c = large - a / _BATCHES[-1]
    return [a / max(batch, least) + c for batch in _BATCHES]


def _of_hogwild(kind: str, network: tuple[int, int], threads: int) -> float:
    """Return the seconds of a sample on one of so many threads; the batch size does not matter."""
    flop = _measured_work(network, kind).flop
    if _is_large(network):  # as little as it does, the size of the weights is nothing to it either
        network = (1024, 512)
    small = _measured_work(network, kind).flop
    n = 16 * max(1, min(256, round(1e6 / small)) // 16)
    run = _train((*network, 10), kind, "hogwild", n * threads, 3, 16, threads)
    return float(np.median(run["slowest_replica_seconds"][1:])) / n * flop / small


@functools.lru_cache(maxsize=2)
def _noise(rows: int, features: int, kind: str) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(0)
    X = rng.random((rows, features), dtype=np.float32)
    if kind == "sparse":
        X *= rng.random(X.shape, dtype=np.float32) < _DENSITY
    return X


def _train(
    layers: tuple[int, int, int],
    kind: str,
    strategy: str,
    n: int,
    epochs: int,
    batch: int,
    threads: int = 1,
    merge_every: int | None = None,
) -> Mapping[str, npt.NDArray[Any]]:
    """Train on noise and return the history's columns; for replicas, n samples each."""
    total = n * threads if strategy == "replica" else n
    X = np.resize(_noise(min(total, 1024), layers[0], kind), (total, layers[0]))
    samples = _core.Samples.dense_float32(X=X)
    y = (np.arange(total) % layers[-1]).astype(np.int32)
    # Millions of random weights take longer than what is measured with them.
    size = cadence.count_parameters(layers)
    network = _core.Network(
        layer_sizes=list(layers),
        activation="relu",
        output="softmax",
        parameters=np.zeros(size, dtype=np.float32) if size > _LARGE else None,
    )
    period = n if merge_every is None else merge_every
    merging = cadence.Merging((period, period), epochs, cadence.NO_OUTER_STEP, False)
    plain = Options(
        threads=threads,
        epochs=epochs,
        learning_rate=1e-3,
        learning_rate_schedule="constant",
        center_inputs=False,
    )
    options = {
        **core_fields(plain),
        **merging.core_fields(plain.merge, []),
        "strategy": strategy,
        "threads": threads,
        "workers": min(threads, available_cores()),
        "batch.batch_size": batch,
        "batch.first_layer": kind,
        "init.rule": "glorot",
        "init.first": "glorot",
        "init.scale": 0.0,
        "init.first_biases": 0.0,
        "init.last_weights": 1.0,
        "dropout": [],
        "keep_replicas": False,
    }
    result = _core.train(
        network=network,
        samples=samples,
        targets=_core.Targets(
            classes=y, values=None, weights=None, loss=LossKind("cross_entropy").core()
        ),
        options=core_options(options),
        state=None,
        after_first_round=None,
        after_round=None,
        during_round=None,
        keep_state=None,
        ranks=None,
    )
    return result.history


def _of_step(threads: int, batch: int) -> float:
    """Return the seconds of a batch with one sample of 16 inputs a thread, and two barriers."""
    run = _train((*_TINY, 16), "dense", "synchronous", 64 * batch, 40, batch, threads)
    return float(np.median(run["train_seconds"][1:])) / 64


def _round(threads: int, network: tuple[int, int]) -> tuple[float, float]:
    """Return the seconds of a round, its merge included, and those of its samples."""
    layers, n = (*network, 10), _TOGETHER
    epochs = int(np.clip(4e6 / (network[0] * network[1]), 4, 40))
    run = _train(layers, "dense", "replica", n, epochs, 8, threads)
    one_round = _train(layers, "dense", "replica", n * 4, 1, 8, threads)
    return float(np.median(run["train_seconds"][1:] + run["merge_seconds"][1:])), float(
        one_round["slowest_replica_seconds"][0]
    ) / 4


def _ready(strategy: str, network: tuple[int, int]) -> float:
    """Return the seconds until the first sample."""
    found = []
    for _ in range(5):
        run = _train((*network, 10), "dense", strategy, 8, 3, 8)
        # One network is given back at the end.
        given_back = 0.0 if strategy == "replica" else float(run["merge_seconds"][-1])
        found.append(
            float(run["train_seconds"][0] - np.median(run["train_seconds"][1:])) + given_back
        )
    return max(float(np.median(found)), 1e-7)


def _of_shared(network: tuple[int, int]) -> float:
    run = _train((*network, 10), "dense", "synchronous", 12 * _SHARED_BATCH, 6, _SHARED_BATCH, 2)
    return float(np.median(run["train_seconds"][1:]))


def _sharing(known: Costs, network: tuple[int, int], taken: float) -> float:
    """Return the bytes/s that explain the time of a batch on two threads that nothing else does."""
    free, slow = (
        predict(
            (*network, 10), 12 * _SHARED_BATCH, 1, 2, "synchronous", batch_size=_SHARED_BATCH,
            costs=replace(known, sharing=(sharing,), ready=None),
        ).total
        for sharing in (math.inf, 1.0)
    )  # fmt: skip
    # Of as many bytes as are moved; between a slow memory and what would not be noticed.
    return float(np.clip((slow - free) / max(taken - free, 1e-9), 1e9, 1e12))
