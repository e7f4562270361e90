"""What a training costs on a machine, and which strategy is the quickest: a model of a few numbers.

The formulas are our own derivation. Pethick et al. (2003), who chose between exemplar and node
parallelism by cost equations, and Dahl et al. (2008), who counted the cost of communication on a
cluster, could be read as abstracts only. For P threads on C cores, N samples, E epochs, batches of
B, W floats of weights of b = 4 bytes, F flop a sample, s flop/s of a core, and M merges::

    replica       ceil(P/C) E ceil(N/P) F/s + M (alpha_merge(P) + (P + 1) b W / bandwidth)
    pattern       replica with M = E
    section       ceil(P/C) E N F_1/s + E ceil(N/B) (2 hidden layers - 1) alpha(P)
    synchronous   ceil(P/C) E N/B (ceil(B/P) F_pass/s + B/P F_step/s)
                    + E ceil(N/B) (2 alpha(P) + (P-1)/P b W' / sharing)
    hogwild       ceil(P/C) E ceil(N/P) F/s

alpha is the time of a barrier, alpha_merge that of a merge of nothing. F_1 is what the largest
section has to do, in whole cache lines of 16 hidden units; F_pass is forward and back, F_step the
update; W' are the weights that a batch changes. s was measured for these kernels, at this size of
the weights and of the batch; to that comes the time to get the network ready, in proportion to W.
On a cluster (:class:`Cluster`) of P nodes, with L = ceil(log2 P), messages of alpha + bytes beta
seconds, and gamma seconds to add a weight::

    replica       E ceil(N/P) F/s + L (alpha + b W beta) + M L (2 alpha + 2 b W beta + W gamma)
    section       E N F_1/s + E ceil(N/B) 2 hidden layers L alpha + E N bytes beta, of which each
                    sample has 2 (P-1)/P b for each unit of the hidden layers but the last, and
                    2 L b for each output
    synchronous   E N/B ceil(B/P) F/s + E ceil(N/B) L (2 alpha + 2 b W beta + W gamma)
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import _cadence, _core, _validate
from omp_mlp._workers import available_cores
from omp_mlp.model import Model

_BYTES = 4  # of a weight
_LINE = 16  # floats of a cache line
_FORMAT = 1  # of the cached file
STRATEGIES = ("replica", "section", "synchronous", "hogwild", "pattern")
CHOICES = ("replica", "section", "synchronous")
"""What ``strategy="auto"`` chooses from: with the same options, the same number of merges and, for
one network, the same result. "pattern" is "replica" with fewer merges, and never slower."""

# Where rates are measured: features and hidden units of networks with 10 outputs, and batch sizes.
# From what fits in the first-level cache to what fits in none.
_NETWORKS = ((64, 16), (256, 64), (784, 128), (1024, 1024), (4096, 2304))
_BATCHES = (1, 4, 16, 64)
_LARGE = 2**22  # weights; not measured at every batch size
_DENSITY = 0.2  # of sparse inputs; rates are per nonzero


@dataclass(frozen=True)
class Costs:
    """What work costs on one machine. Made by :func:`calibrate`, or by hand.

    Attributes
    ----------
    machine : str
        What was measured.
    cores : int
        Cores that were free to use.
    sizes : tuple of float
        Bytes of weights for which rates are known, ascending.
    batches : tuple of int
        Batch sizes for which rates are known, ascending.
    rates : mapping of str to tuple of tuples
        Flop/s of one thread, ``rates[kind][size][batch]``. Kinds: "replica dense", "replica
        sparse" (a training by replicas), "one dense", "one sparse" (one network for all threads),
        "hogwild dense", "hogwild sparse" (with all cores at it).
    crowding : tuple of tuples of float
        ``crowding[size][batch]``: by what a thread is slower while all cores are busy, at least 1.
    barriers : mapping of int to float
        Seconds of a barrier by number of threads.
    merges : mapping of int to float
        Seconds of a round and merge of a tiny network by number of threads.
    bandwidth : float
        Bytes/s at which a merge goes through replicas.
    sharing : float
        Bytes/s at which weights that another thread has changed are read.
    setup_replica, setup_one : float
        Seconds a byte of weights to get a replica, or one network for all threads, ready.
    """

    machine: str
    cores: int
    sizes: tuple[float, ...]
    batches: tuple[int, ...]
    rates: Mapping[str, tuple[tuple[float, ...], ...]]
    crowding: tuple[tuple[float, ...], ...]
    barriers: Mapping[int, float]
    merges: Mapping[int, float]
    bandwidth: float
    sharing: float = math.inf
    setup_replica: float = 0.0
    setup_one: float = 0.0

    @classmethod
    def uniform(
        cls,
        rate: float,
        *,
        barrier: float = 0.0,
        merge: float = 0.0,
        bandwidth: float = math.inf,
        cores: int = 1,
    ) -> Costs:
        """Return the costs of a machine with one rate for everything: for calculations by hand."""
        row = ((rate,),)
        return cls(
            machine=f"{cores} cores of {rate:g} flop/s",
            cores=cores,
            sizes=(1.0,),
            batches=(1,),
            rates={
                f"{who} {how}": row
                for who in ("replica", "one", "hogwild")
                for how in ("dense", "sparse")
            },
            crowding=((1.0,),),
            barriers={2: barrier},
            merges={2: merge},
            bandwidth=bandwidth,
            sharing=bandwidth,
        )

    def rate(self, kind: str, size: float, batch: float, *, crowd: float = 0.0) -> float:
        """Return the flop/s of a thread, interpolated in the logarithms of size and batch size.

        ``crowd``: from 0 (the other cores are idle) to 1 (all are busy with the same).
        """
        alone = self._interpolated(self.rates[kind], size, batch)
        slower = self._interpolated(self.crowding, size, batch)
        return alone / math.pow(slower, crowd)

    def barrier(self, threads: int) -> float:
        """Return the seconds of a barrier."""
        return _by_threads(self.barriers, threads)

    def merge(self, threads: int) -> float:
        """Return the seconds of a round and merge in which there is nothing to do."""
        return _by_threads(self.merges, threads)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers, for JSON."""
        return {"format": _FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Costs:
        """Undo :meth:`as_dict`, also after JSON."""
        values = dict(values)
        if values.pop("format") != _FORMAT:
            raise ValueError("these costs were written by another version")
        for name in ("sizes", "batches"):
            values[name] = tuple(values[name])
        values["crowding"] = tuple(map(tuple, values["crowding"]))
        values["rates"] = {k: tuple(map(tuple, rows)) for k, rows in values["rates"].items()}
        for name in ("barriers", "merges"):
            values[name] = {int(k): float(v) for k, v in values[name].items()}
        return cls(**values)

    def _interpolated(
        self, table: tuple[tuple[float, ...], ...], size: float, batch: float
    ) -> float:
        logs: npt.NDArray[np.float64] = np.log(table)
        by_size = [np.interp(math.log(batch), np.log(self.batches), row) for row in logs]
        return float(np.exp(np.interp(math.log(size), np.log(self.sizes), by_size)))


@dataclass(frozen=True)
class Cluster:
    """Nodes of one core each, joined by a network.

    Attributes
    ----------
    latency : float
        Seconds until a message arrives, however short.
    bandwidth : float
        Bytes/s of a link.
    """

    latency: float
    bandwidth: float

    @classmethod
    def ethernet(cls, gigabits: float, latency: float = 50e-6) -> Cluster:
        """Return a cluster with links of so many Gbit/s."""
        return cls(latency, gigabits * 1e9 / 8)


@dataclass(frozen=True)
class Prediction:
    """The seconds of a training by what they are spent on, and what was assumed.

    ``compute`` has in it what is needed to get ready.
    """

    strategy: str
    threads: int
    compute: float
    synchronise: float
    merge: float
    assumptions: tuple[str, ...]

    @property
    def total(self) -> float:
        """All of it, in seconds."""
        return self.compute + self.synchronise + self.merge


@dataclass(frozen=True)
class Curve:
    """Predictions for ever more threads or nodes; prints as a table with its assumptions."""

    predictions: tuple[Prediction, ...]

    def __str__(self) -> str:
        alone = self.predictions[0].total
        lines = ["threads    seconds   speed-up    compute  synchronise      merge"]
        lines += [
            f"{p.threads:>7} {p.total:>10.4g} {alone / p.total:>10.3g} {p.compute:>10.4g} "
            f"{p.synchronise:>12.4g} {p.merge:>10.4g}"
            for p in self.predictions
        ]
        seen = dict.fromkeys(text for p in self.predictions for text in p.assumptions)
        return "\n".join([*lines, "Assumed:", *(f"- {text}" for text in seen)])


@dataclass(frozen=True)
class Work:
    """What a network has to do for one sample, on one thread or in one section of it."""

    forward: float  # flop, and so on
    backward: float
    update: float
    size: float  # bytes of weights

    @property
    def flop(self) -> float:
        """Of all three."""
        return self.forward + self.backward + self.update


def work(
    network: Model | Sequence[int], *, density: float | None = None, sections: int = 1
) -> Work:
    """Count the flop a sample; multiply and add are two, rows are whole cache lines of 16 floats.

    Parameters
    ----------
    network : Model or sequence of int
        A network, or its layer sizes: features, hidden units of each layer, outputs.
    density : float, optional
        Share of nonzeros in X, where the first layer reads lists of them; None: it reads a matrix.
    sections : int, default 1
        Of the hidden units; what counts is the largest one.
    """
    sizes = list(network.layer_sizes if isinstance(network, Model) else network)
    if len(sizes) < 2:
        raise ValueError(f"network must have at least features and outputs; got {sizes}")
    sizes = [_validate.integer(f"network[{k}]", size, 1) for k, size in enumerate(sizes)]
    last = len(sizes) - 2
    forward = backward = update = size = 0.0
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        rows, width = fan_in, _padded(fan_out)
        if layer < last:
            width = _LINE * -(-(width // _LINE) // sections)
        elif layer > 0:
            # The output layer is cut by the units of the last hidden layer.
            rows = min(fan_in, _LINE * -(-(_padded(fan_in) // _LINE) // sections))
        inputs = rows if layer > 0 or density is None else rows * density
        flop = 2.0 * inputs * width
        forward += flop
        update += flop
        backward += flop if layer > 0 else 0.0
        size += _BYTES * rows * width
    return Work(forward, backward, update, size)


def predict(
    network: Model | Sequence[int],
    n_samples: int,
    epochs: int,
    threads: int,
    strategy: str = "replica",
    merge_every: int | tuple[int, int] | str | None = None,
    *,
    batch_size: int = 8,
    density: float | None = None,
    costs: Costs | None = None,
    cores: int | None = None,
    cluster: Cluster | None = None,
) -> Prediction:
    """Predict how long a training takes.

    Parameters
    ----------
    network : Model or sequence of int
        A network, or its layer sizes: features, hidden units of each layer, outputs.
    n_samples, epochs, threads : int
    strategy : {"replica", "section", "synchronous", "hogwild", "pattern"}, default "replica"
    merge_every : int, pair of int, None or "auto", default None
        Samples a replica trains between merges, or at first and at last; None: one merge, at the
        end; "auto": what ``train_parallel`` does by default. Matters to "replica" only.
    batch_size : int, default 8
    density : float, optional
        Share of nonzeros in X, where the first layer reads lists of them; None: it reads a matrix.
    costs : Costs, optional
        Default: :func:`calibrate`.
    cores : int, optional
        Of the machine. Default: those that ``costs`` were measured on.
    cluster : Cluster, optional
        Nodes of one core each, ``threads`` of them, instead of one machine.

    Returns
    -------
    Prediction
    """
    n_samples = _validate.integer("n_samples", n_samples, 1)
    epochs = _validate.integer("epochs", epochs, 0)
    threads = _validate.integer("threads", threads, 1)
    batch = min(_validate.integer("batch_size", batch_size, 1), n_samples)
    _validate.choice("strategy", strategy, STRATEGIES)
    if density is not None:
        density = _validate.real("density", density, 0.0)
    costs = calibrate() if costs is None else costs
    cores = costs.cores if cores is None else _validate.integer("cores", cores, 1)
    if cluster is not None:
        cores = threads
    task = _Task(
        whole=work(network, density=density),
        section=work(network, density=density, sections=threads),
        layers=(network.layer_sizes if isinstance(network, Model) else tuple(network)),
        samples=n_samples,
        epochs=epochs,
        threads=threads,
        batch=batch,
        batches=epochs * -(-n_samples // batch),
        density=density,
        costs=costs,
        cores=cores,
        crowd=0.0 if cluster else (min(threads, cores) - 1) / max(cores - 1, 1),
    )
    if strategy == "replica":
        parts = _replica(task, _merges(merge_every, task), cluster)
    elif strategy == "pattern":
        parts = _replica(task, epochs, cluster)
    elif strategy == "hogwild":
        if cluster is not None:
            raise ValueError("strategy='hogwild' needs one memory; got a cluster")
        parts = _hogwild(task)
    elif strategy == "section" and len(task.layers) > 2:
        parts = _section(task, cluster)
    else:  # without hidden units there are no sections, and rows are split instead
        parts = _synchronous(task, cluster)
    return Prediction(strategy, threads, *parts, _assumptions(costs, cores, threads, cluster))


def extrapolate(
    network: Model | Sequence[int],
    n_samples: int,
    epochs: int,
    threads: Iterable[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
    strategy: str = "replica",
    merge_every: int | tuple[int, int] | str | None = None,
    **options: Any,  # noqa: ANN401 - handed on to predict
) -> Curve:
    """Predict a training on more and more cores, or with ``cluster=`` on more and more nodes.

    Takes the options of :func:`predict`; ``cores`` is as many as there are threads.

    Examples
    --------
    Would 64 nodes on 10 Gbit/s help? ::

        print(costs.extrapolate((784, 1024, 10), 50_000, 10, cluster=costs.Cluster.ethernet(10)))
    """
    if options.get("costs") is None:
        options["costs"] = calibrate()
    predictions = []
    for count in threads:
        alike = {"cores": count, **options}
        predictions.append(
            predict(network, n_samples, epochs, count, strategy, merge_every, **alike)
        )
    if not predictions:
        raise ValueError("threads must name at least one number; got none")
    return Curve(tuple(predictions))


def choose(
    network: Model | Sequence[int],
    n_samples: int,
    epochs: int,
    threads: int,
    merge_every: int | tuple[int, int] | str | None = None,
    *,
    strategies: Sequence[str] = CHOICES,
    margin: float = 0.15,
    **options: Any,  # noqa: ANN401 - handed on to predict
) -> Prediction:
    """Return the prediction for the quickest strategy on up to so many threads.

    Takes the options of :func:`predict`. One thread, which is ("replica", 1), is left only for what
    is quicker by more than ``margin``: a wrong choice of it costs nothing.
    """
    threads = _validate.integer("threads", threads, 1)
    for strategy in strategies:
        _validate.choice("strategies", strategy, STRATEGIES)
    if options.get("costs") is None:
        options["costs"] = calibrate()
    best = alone = predict(network, n_samples, epochs, 1, "replica", merge_every, **options)
    for count in sorted({threads, *(2**k for k in range(1, threads.bit_length()))} - {1}):
        if count > threads:
            continue
        for strategy in strategies:
            found = predict(network, n_samples, epochs, count, strategy, merge_every, **options)
            if found.total < best.total and found.total < (1 - margin) * alone.total:
                best = found
    return best


# ---------------------------------------------------------------------------------- the formulas


@dataclass(frozen=True)
class _Task:
    whole: Work
    section: Work
    layers: Sequence[int]
    samples: int
    epochs: int
    threads: int
    batch: int
    batches: int
    density: float | None
    costs: Costs
    cores: int
    crowd: float

    @property
    def kind(self) -> str:
        return "dense" if self.density is None else "sparse"

    @property
    def turns(self) -> int:
        """How often a core has to take over another thread's work."""
        return -(-self.threads // self.cores)

    @property
    def levels(self) -> int:
        return (self.threads - 1).bit_length()

    def rate(self, who: str, size: float, batch: float) -> float:
        return self.costs.rate(f"{who} {self.kind}", size, max(batch, 1), crowd=self.crowd)


def _merges(merge_every: int | tuple[int, int] | str | None, task: _Task) -> int:
    """Count the merges of a training by replicas."""
    stream = task.epochs * -(-task.samples // task.threads)
    if merge_every is None:
        return min(stream, 1)
    if isinstance(merge_every, str):
        _validate.choice("merge_every", merge_every, ("auto",))
        if task.threads == 1:
            return task.epochs
        density = 1.0 if task.density is None else task.density
        sizes = tuple(task.layers)
        upper = sum(a * b for a, b in pairwise(sizes[1:]))
        adds = 2.0 * density * sizes[0] * sizes[1] + 3.0 * upper
        period = _cadence.growing_period(task.threads, task.batch, max(stream, 1), sizes, adds)
    else:
        first, last = merge_every if isinstance(merge_every, tuple) else (merge_every, merge_every)
        period = (
            _validate.integer("merge_every", first, 1),
            _validate.integer("merge_every", last, 1),
        )
    whole = max(stream, 1)
    if period[0] == period[1]:
        period = (min(period[0], whole), min(period[0], whole))
    return _cadence.count_merges(stream, period, task.batch)


def _hogwild(task: _Task) -> tuple[float, float, float]:
    shard = -(-task.samples // task.threads)
    # Its rates were measured with all cores at it.
    rate = task.costs.rate(f"hogwild {task.kind}", task.whole.size, task.batch)
    compute = task.turns * task.epochs * shard * task.whole.flop / rate
    return compute + task.costs.setup_one * task.whole.size, 0.0, 0.0


def _replica(task: _Task, merges: int, cluster: Cluster | None) -> tuple[float, float, float]:
    costs, size = task.costs, task.whole.size
    shard = -(-task.samples // task.threads)
    stream = task.epochs * shard
    compute = task.turns * (
        stream * task.whole.flop / task.rate("replica", size, min(task.batch, shard))
        + costs.setup_replica * size
    )
    if cluster is None:
        once = costs.merge(task.threads) + (task.threads + 1) * size / costs.bandwidth
        return compute, 0.0, merges * once
    message = cluster.latency + size / cluster.bandwidth
    adds = size / costs.bandwidth
    return compute, task.levels * message, merges * task.levels * (2 * message + adds)


def _section(task: _Task, cluster: Cluster | None) -> tuple[float, float, float]:
    costs = task.costs
    compute = task.turns * (
        task.epochs
        * task.samples
        * task.section.flop
        / task.rate("one", task.section.size, task.batch)
        + costs.setup_one * task.section.size
    )
    if task.threads == 1:
        return compute, 0.0, 0.0
    barriers = 2 * (len(task.layers) - 2) - 1
    if cluster is None:
        return compute, task.batches * barriers * costs.barrier(task.threads), 0.0
    # Of each sample, the activations of the hidden layers below the last, and as many deltas, reach
    # every node, and the outputs' sums go up and down a tree.
    inner = 2 * sum(task.layers[1:-2]) * _BYTES * (task.threads - 1) / task.threads
    outputs = 2 * task.levels * task.layers[-1] * _BYTES
    latency = task.batches * (barriers + 1) * task.levels * cluster.latency
    traffic = task.epochs * task.samples * (inner + outputs) / cluster.bandwidth
    return compute, latency + traffic, 0.0


def _synchronous(task: _Task, cluster: Cluster | None) -> tuple[float, float, float]:
    costs, whole = task.costs, task.whole
    part = -(-task.batch // task.threads)
    # A last, smaller batch counts as what it is of a whole one.
    steps = task.epochs * task.samples / task.batch
    passes = part * (whole.forward + whole.backward) / task.rate("one", whole.size, part)
    if cluster is None:
        updates = (
            task.batch / task.threads * whole.update / task.rate("one", whole.size, task.batch)
        )
    else:  # every node sums up the gradient of its own samples
        updates = part * whole.update / task.rate("one", whole.size, part)
    compute = task.turns * steps * (passes + updates) + costs.setup_one * whole.size
    if task.threads == 1:
        return compute, 0.0, 0.0
    if cluster is None:
        moved = (task.threads - 1) / task.threads * _changed(task, task.batch) / costs.sharing
        return compute, task.batches * (2 * costs.barrier(task.threads) + moved), 0.0
    message = cluster.latency + whole.size / cluster.bandwidth
    adds = whole.size / costs.bandwidth
    return compute, task.batches * task.levels * (2 * message + adds), 0.0


def _changed(task: _Task, batch: int) -> float:
    """Return the bytes of weights that a step changes: those of inputs that are all zero stay."""
    first = _BYTES * task.layers[0] * _padded(task.layers[1])
    untouched = 0.0 if task.density is None else (1 - min(task.density, 1.0)) ** batch
    return task.whole.size - first * untouched


def _assumptions(
    costs: Costs, cores: int, threads: int, cluster: Cluster | None
) -> tuple[str, ...]:
    found = [f"cores as measured: {costs.machine}"]
    if cluster is not None:
        found += [
            f"one core a node; messages of {cluster.latency * 1e6:g} us at "
            f"{cluster.bandwidth * 8e-9:g} Gbit/s, which do not get in each other's way",
            "sums go up and down a binary tree of nodes; nothing is sent while work is done",
        ]
    elif cores != costs.cores or threads > max(*costs.barriers, 2):
        found += [
            "every core is as fast as one of those measured while all were busy",
            "barriers and merges take longer with the logarithm of the number of threads",
            "one memory, whose bandwidth does not grow with the cores",
        ]
    return tuple(found)


def _by_threads(seconds: Mapping[int, float], threads: int) -> float:
    """Interpolate in log2(threads); beyond what was measured, go on in proportion to it."""
    if threads in seconds:
        return seconds[threads]
    if threads == 1:
        return 0.0
    known = sorted(count for count in seconds if count > 1)
    logs = [math.log2(count) for count in known]
    if threads > known[-1]:
        return seconds[known[-1]] * math.ceil(math.log2(threads)) / logs[-1]
    return float(np.interp(math.log2(threads), logs, [seconds[count] for count in known]))


def _padded(width: int) -> int:
    return -(-width // _LINE) * _LINE


def _gigaflops(*rows: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(1e9 * rate for rate in row) for row in rows)


_HOGWILD = _gigaflops(*[(4.5,) * 4] * 5)

# Rounded from a core with AVX-512 at 3.6 GHz; what several cores do is set, not measured.
TYPICAL = Costs(
    machine="a typical machine of 8 cores with AVX-512",
    cores=8,
    sizes=(5e3, 7e4, 4e5, 4.3e6, 3.8e7),
    batches=_BATCHES,
    rates={
        "replica dense": _gigaflops(
            (20, 30, 35, 40), (75, 80, 90, 100), (95, 100, 100, 110), (90, 95, 100, 100),
            (60, 65, 70, 75),
        ),
        "replica sparse": _gigaflops(
            (8, 10, 12, 14), (30, 35, 40, 45), (50, 55, 60, 65), (40, 40, 40, 40),
            (22, 22, 22, 22),
        ),
        "one dense": _gigaflops(
            (17, 30, 40, 45), (37, 70, 90, 100), (42, 80, 100, 110), (15, 70, 100, 100),
            (7, 22, 50, 75),
        ),
        "one sparse": _gigaflops(
            (8, 7, 13, 16), (25, 21, 37, 46), (37, 31, 57, 67), (35, 33, 45, 45),
            (21, 21, 21, 21),
        ),
        "hogwild dense": _HOGWILD,
        "hogwild sparse": _HOGWILD,
    },
    crowding=((1.0,) * 4,) * 4 + ((1.5,) * 4,),
    barriers={2: 1e-6, 4: 1.5e-6, 8: 2.5e-6},
    merges={1: 2e-6, 2: 5e-6, 4: 8e-6, 8: 1.5e-5},
    bandwidth=1e10,
    sharing=1e10,
    setup_replica=2.5e-9,
    setup_one=1e-9,
)  # fmt: skip
"""What ``costs=False`` goes by: nobody's machine, but the same for everybody."""

# ------------------------------------------------------------------------------------ measuring


def calibrate(*, refresh: bool = False, cores: int | None = None) -> Costs:
    """Measure this machine, or read from the user's cache what was measured before.

    Takes less than 5 s the first time. The cache is a file in ``XDG_CACHE_HOME``, or else
    ``~/.cache`` (on macOS ``~/Library/Caches``, on Windows ``%LOCALAPPDATA%``), in the folder
    ``omp_mlp``; it is written nowhere else, and if it cannot be, nothing is kept.

    Parameters
    ----------
    refresh : bool, default False
        Measure again, and replace what is in the cache.
    cores : int, optional
        To measure on. Default: those that this process may use.

    Returns
    -------
    Costs
    """
    cores = available_cores() if cores is None else _validate.integer("cores", cores, 1)
    path = _cache_file(cores)
    if not refresh:
        try:
            return Costs.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # there is none, or it is damaged or of another version
    costs = _measure(cores)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all, also with other processes at it.
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps(costs.as_dict(), indent=1), encoding="utf-8")
        draft.replace(path)
    except OSError:
        pass
    return costs


def _cache_file(cores: int) -> Path:
    home = Path.home()
    if sys.platform == "darwin":
        folder = home / "Library" / "Caches"
    elif sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        folder = home / ".cache"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or folder)
    version = _core.build_config()["version"]
    name = f"costs-{version}-{_core.kernels_in_use()}-{platform.node()}-{cores}.json"
    return folder / "omp_mlp" / name


def _measure(cores: int) -> Costs:
    rates: dict[str, list[list[float]]] = {}
    setups: dict[str, float] = {}
    for who in ("replica", "one"):
        for kind in ("dense", "sparse"):
            rows = []
            for network in _NETWORKS:
                seconds, setup = _row(who, kind, network)
                flop = _measured_work(network, kind).flop
                rows.append([flop / one for one in seconds])
                if network == _NETWORKS[-2]:
                    setups[who] = setup / _measured_work(network, kind).size
            rates[f"{who} {kind}"] = rows
    for kind in ("dense", "sparse"):
        rates[f"hogwild {kind}"] = [[_hogwild_rate(kind, network, cores)] for network in _NETWORKS]
        rates[f"hogwild {kind}"] = [rate * len(_BATCHES) for rate in rates[f"hogwild {kind}"]]
    crowding = [[1.0] * len(_BATCHES) for _ in _NETWORKS]
    if cores > 1:
        for k, network in enumerate(_NETWORKS):
            alone = rates["replica dense"][k]
            flop = _measured_work(network, "dense").flop
            seconds, _ = _row("replica", "dense", network, cores)
            crowding[k] = [max(1.0, s * r / flop) for s, r in zip(seconds, alone, strict=True)]
    # One core too may be asked what two threads take.
    counts = sorted({2, *(2**k for k in range(1, cores.bit_length())), max(cores, 2)})
    barriers = {count: _barrier(count) for count in counts}
    merges = {count: _merge(count, (16, 16)) for count in [1, *counts]}
    measured = Costs(
        machine=f"{cores} of {os.cpu_count()} cores, kernels {_core.kernels_in_use()}",
        cores=cores,
        sizes=tuple(_measured_work(network, "dense").size for network in _NETWORKS),
        batches=_BATCHES,
        rates={kind: tuple(map(tuple, rows)) for kind, rows in rates.items()},
        crowding=tuple(map(tuple, crowding)),
        barriers=barriers,
        merges=merges,
        bandwidth=_merge_bandwidth(cores, merges[cores]),
        setup_replica=setups["replica"],
        setup_one=setups["one"],
    )
    return replace(measured, sharing=_sharing(measured))


def _measured_work(network: tuple[int, int], kind: str) -> Work:
    return work((*network, 10), density=_DENSITY if kind == "sparse" else None)


def _row(
    who: str, kind: str, network: tuple[int, int], threads: int = 1
) -> tuple[list[float], float]:
    """Return the seconds a sample at each batch size, and those of getting ready."""
    found: dict[int, float] = {}
    setup = math.inf
    flop = _measured_work(network, kind).flop
    is_large = network[0] * network[1] > _LARGE
    for batch in _BATCHES:
        if is_large and 1 < batch < _BATCHES[-1]:
            continue
        # About a millisecond an epoch at 10 Gflop/s, as often as it fits into 8 ms. Replicas read
        # small batches together, so that a few samples would not be typical.
        least = 64 if who == "replica" else 2
        n = batch * -(-max(least, min(4096, round(1e7 / flop))) // batch)
        epochs = int(min(max(8e7 / (n * flop), 2), 40))
        strategy = "replica" if who == "replica" else "synchronous"
        run = _train((network[0], network[1], 10), kind, strategy, n, epochs, batch, threads)
        seconds = run[1:, 4].min() if len(run) > 1 else run[0, 4]
        found[batch] = float(seconds) / n
        setup = min(setup, max(float(run[0, 2] - run[0, 4]), 0.0))
    if is_large and who == "replica":
        found |= {
            batch: float(np.interp(np.log(batch), np.log(list(found)), list(found.values())))
            for batch in _BATCHES
            if batch not in found
        }
    elif is_large:
        # Where the weights are in no cache, a batch takes one way through them and the work of its
        # samples: a / batch + c for each sample.
        a = (found[_BATCHES[0]] - found[_BATCHES[-1]]) / (1 / _BATCHES[0] - 1 / _BATCHES[-1])
        c = found[_BATCHES[-1]] - a / _BATCHES[-1]
        found |= {batch: a / batch + c for batch in _BATCHES if batch not in found}
    return [found[batch] for batch in _BATCHES], setup


def _hogwild_rate(kind: str, network: tuple[int, int], threads: int) -> float:
    """Return the flop/s of one of so many threads; it is the same for any batch size."""
    if network[0] * network[1] > _LARGE:
        network = (2048, 1024)
    flop = _measured_work(network, kind).flop
    n = 16 * max(1, min(256, round(1e6 / flop)) // 16)
    run = _train((*network, 10), kind, "hogwild", n * threads, 3, 16, threads)
    return flop * n / float(run[1:, 4].min())


def _train(
    layers: tuple[int, int, int],
    kind: str,
    strategy: str,
    n: int,
    epochs: int,
    batch: int,
    threads: int = 1,
    merge_every: int | None = None,
) -> npt.NDArray[np.float64]:
    """Train on noise and return the history's rows; for replicas, n samples each."""
    rng = np.random.default_rng(0)
    total = n * threads if strategy == "replica" else n
    rows = min(total, 1024)
    X = rng.random((rows, layers[0]), dtype=np.float32)
    if kind == "sparse":
        X *= rng.random(X.shape, dtype=np.float32) < _DENSITY
    X = np.resize(X, (total, layers[0]))
    samples = _core.Samples.dense_float32(X=X)
    y = (np.arange(total) % layers[-1]).astype(np.int32)
    # Millions of random weights take longer than what is measured with them.
    size = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(layers))
    is_large = size > _LARGE
    network = _core.Network(
        layer_sizes=list(layers),
        activation="relu",
        output="softmax",
        parameters=np.zeros(size, dtype=np.float32) if is_large else None,
    )
    period = n if merge_every is None else merge_every
    _, _, columns, _ = _core.train(
        network=network,
        samples=samples,
        classes=y,
        values=None,
        sample_weight=None,
        strategy=strategy,
        threads=threads,
        workers=min(threads, available_cores()),
        epochs=epochs,
        batch_size=batch,
        first_layer=kind,
        bfloat16_forward=False,
        skip_confident=0.0,
        center_inputs=False,
        warmup_samples=0,
        merge_every=(period, period),
        merge="gradient_diversity",
        merge_options=[],
        last_merge=None,
        outer_learning_rate=1.0,
        outer_momentum=0.0,
        outer_nesterov=False,
        momentum_follows_rate=False,
        skip_nonfinite=False,
        learning_rate=1e-3,
        learning_rate_schedule="constant",
        shuffle="global",
        init_rule="glorot",
        init_scale=0.0,
        init="given" if is_large else "shared",
        seed=0,
        keep_replicas=False,
        after_round=None,
        during_round=None,
    )
    return columns


def _barrier(threads: int) -> float:
    """Return what a batch takes longer for two barriers: one sample and 16 inputs a thread."""
    layers = (16, 16, 16)
    n = 64 * threads
    together = _train(layers, "dense", "synchronous", n, 40, threads, threads)
    alone = _train(layers, "dense", "synchronous", n, 40, 1)
    batches = n / threads
    return max(1e-8, float(together[:, 2].min() / batches - alone[:, 2].min() / n) / 2)


def _merge(threads: int, network: tuple[int, int]) -> float:
    """Return what a round of one sample a replica takes, its merge included, without the sample."""
    run = _train((*network, 16), "dense", "replica", 1, 200, 1, threads, merge_every=1)
    return float(np.median(run[1:, 2] + run[1:, 3] - run[1:, 4]))


def _sharing(known: Costs) -> float:
    """Return the bytes/s that explain what a batch on two threads takes besides the rest."""
    network, batch = (512, 128, 10), 8
    n = 32 * batch
    seconds = float(_train(network, "dense", "synchronous", n, 12, batch, 2)[1:, 2].min())
    expected = predict(
        network, n, 1, 2, "synchronous", batch_size=batch,
        costs=replace(known, sharing=math.inf, setup_one=0.0),
    ).total  # fmt: skip
    moved = n / batch * work(network).size / 2
    # Between a slow memory and what would not be noticed.
    return float(np.clip(moved / max(seconds - expected, 1e-9), 1e9, 1e12))


def _merge_bandwidth(threads: int, nothing: float) -> float:
    """Return the bytes/s of rounds in which replicas of half a megabyte are merged."""
    network = (1024, 128)
    size = work((*network, 16)).size
    run = _train((*network, 16), "dense", "replica", 1, 20, 1, threads, merge_every=1)
    seconds = float(np.median(run[1:, 2] + run[1:, 3] - run[1:, 4])) - nothing
    return (threads + 1) * size / max(seconds, 1e-7)
