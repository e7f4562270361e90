"""The numbers that describe a machine, and the formulas that predict a training from them.

The formulas are our own derivation. We could read only the abstracts of Pethick et al. (2003), who
chose between exemplar and node parallelism by cost equations, and of Dahl et al. (2008), who
counted the cost of communication on a cluster. There are P threads on C cores, N samples, E epochs,
batches of B, W floats of weights of b = 4 bytes, and M merges. A sample takes F_1 flop in the first
layer and F_upper above it. On one thread, it takes

    t(F, W, B) = sample + batch/B + F_1/s_kind(bW, B) + F_upper/s_dense(bW, B)

seconds. A training takes::

    replica       ceil(P/C) (E ceil(N/P) (t(F, W, B) + read) + ready)
                    + M (round(P) + (P + 1) b W / memory)
    pattern       replica with M = E
    section       ceil(P/C) (E N (t(F', W', B) + read/P) + ready)
                    + E ceil(N/B) (2 hidden layers - 1) alpha(P)
                    + E (round(1) + N (P-1)/P b x / sharing)
    synchronous   ceil(P/C) (E N/B (ceil(B/P) (t(F_pass, W, ceil(B/P)) + read) + B/P F_step/s(W, B))
                    + ready)
                    + E ceil(N/B) (2 alpha(P) + (P-1)/P b (W'' + B (x + 2 units)) / sharing)
                    + E round(1)
    hogwild       ceil(P/C) (E ceil(N/P) F/s + ready)

- s are the flop/s that were measured for these kernels, for sparse or dense reading in the first
  layer, at this size of the weights and of the batch. Replicas and sections read small batches
  together and synchronous does not, so each has its own rates. While all cores are busy, rates are
  divided by the crowding that was measured.
- "sample" and "batch" are the seconds that a sample and a batch take besides: reading, losses, the
  loops. Sections do not share them. Synchronous shares "sample".
- ready are the seconds until the first sample, by the bytes of the weights. read are the seconds by
  which a sample takes longer when X is not in a cache. X is taken to be float32.
- alpha is the time of a barrier. round is the time of a round in which there is nothing to do.
  memory are the bytes/s at which a round visits weights of this size: copies of the master, the
  merge.
- F' and W' belong to the largest section, in whole cache lines of 16 hidden units. F_pass is
  forward and back, F_step is the update. W'' are the weights that a batch changes.
- x are the floats of a sample that a thread reads for all threads: a dense row, or the nonzeros.
  Units are those of all layers.

A cluster (:class:`Cluster`) has P nodes of one core. With L = ceil(log2 P), messages of alpha +
bytes beta seconds, and gamma seconds to add a weight, a training takes::

    replica       E ceil(N/P) t + L (alpha + b W beta) + M L (2 alpha + 2 b W beta + W gamma)
    section       E N t' + E ceil(N/B) 2 hidden layers L alpha + E N bytes beta, of which each
                    sample has 2 (P-1)/P b for each unit of the hidden layers but the last, and
                    2 L b for each output
    synchronous   E N/B ceil(B/P) t + E ceil(N/B) L (2 alpha + 2 b W beta + W gamma)

With c cores a node, there are R = ceil(P / c) nodes, and L = ceil(log2 R). In each of the M merges,
a node merges its replicas as one machine does. Every K-th merge, the nodes merge. The tree can give
way to recursive halving and doubling (Thakur, Rabenseifner & Gropp 2005), by which MPI adds up long
messages::

    tree          L (2 alpha + 2 b W beta + W gamma)
    halving       2 L alpha + (R-1)/R (2 b W beta + W gamma)

With overlap, the nodes train on while they merge. Let there be N merges of nodes of S seconds each.
From one to the next, a node trains for T seconds, with the merges of its own replicas. The nodes
wait for what remains of each merge after that, and for all of the last one::

    overlap       (N-1) max(S - T, 0) + S in place of N S
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import cadence, checks
from omp_mlp.model import Model

_BYTES = 4  # of a weight
_LINE = 16  # floats of a cache line
_FORMAT = 2  # of Costs as plain numbers
STRATEGIES = ("replica", "section", "synchronous", "hogwild", "pattern")
_BY_REPLICAS = ("replica", "pattern")

Table = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Costs:
    """The costs of work on one machine, made by :func:`omp_mlp.costs.calibrate` or by hand.

    Attributes
    ----------
    machine : str
        What was measured.
    cores : int
        Cores that the measurement could use.
    sizes : tuple of float
        Bytes of weights for which rates are known, ascending.
    batches : tuple of int
        Batch sizes for which rates are known, ascending.
    rates : mapping of str to tuple of tuples
        Flop/s of one thread, ``rates[kind][size][batch]``. Kinds: "replica dense", "replica
        sparse" (also of sections; small batches are read together), "synchronous dense",
        "synchronous sparse", "hogwild dense", "hogwild sparse" (while all cores are busy). "sparse"
        is the rate of a sparse first layer alone.
    crowding : tuple of tuples of float
        ``crowding[size][batch]``: the factor by which a thread is slower while all cores are busy,
        at least 1.
    barriers : mapping of int to float
        Seconds of a barrier by number of threads.
    rounds : mapping of int to float
        Seconds of a round and merge of a tiny network by number of threads.
    memory : tuple of tuples of float
        ``memory[k][size]``: bytes/s at which a round visits the weights, with one replica (k = 0)
        and with a replica on every core (k = 1).
    memory_sizes : tuple of float
        Bytes of weights for which ``memory`` is known, ascending.
    sharing : tuple of float
        Bytes/s at which a thread reads what another thread has written, by the bytes of the
        weights.
    sharing_sizes : tuple of float
        Bytes of weights for which ``sharing`` is known, ascending.
    sample, batch : float
        Seconds that a sample and a batch take besides their multiply-adds.
    ready : mapping of str to tuple of float
        Seconds to get ready, by the bytes of the weights; proportional beyond the largest known
        size. Kinds: "replica", "one" (one network for all threads).
    ready_sizes : tuple of float
        Bytes of weights for which ``ready`` is known, ascending.
    reading : tuple of float
        Extra seconds a byte of X compared with an X in a cache, by the bytes of X.
    reading_sizes : tuple of float
        Bytes of X for which ``reading`` is known, ascending.
    """

    machine: str
    cores: int
    sizes: tuple[float, ...]
    batches: tuple[int, ...]
    rates: Mapping[str, Table]
    crowding: Table
    barriers: Mapping[int, float]
    rounds: Mapping[int, float]
    memory: Table
    memory_sizes: tuple[float, ...] = (1.0,)
    sharing: tuple[float, ...] = (math.inf,)
    sharing_sizes: tuple[float, ...] = (1.0,)
    sample: float = 0.0
    batch: float = 0.0
    ready: Mapping[str, tuple[float, ...]] | None = None
    ready_sizes: tuple[float, ...] = (1.0,)
    reading: tuple[float, ...] = (0.0,)
    reading_sizes: tuple[float, ...] = (1.0,)

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
                for who in ("replica", "synchronous", "hogwild")
                for how in ("dense", "sparse")
            },
            crowding=((1.0,),),
            barriers={2: barrier},
            rounds={1: 0.0, 2: merge},
            memory=((bandwidth,), (bandwidth,)),
            sharing=(bandwidth,),
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

    def round(self, threads: int) -> float:
        """Return the seconds of a round and merge in which there is nothing to do."""
        return _by_threads(self.rounds, threads)

    def merge(self, threads: int, size: float, *, crowd: float = 0.0) -> float:
        """Return the seconds that a round of so many replicas takes besides the training."""
        alone, crowded = (_in_logarithms(size, self.memory_sizes, row) for row in self.memory)
        speed = alone if crowd == 0 else alone * math.pow(crowded / alone, crowd)
        return self.round(threads) + (threads + 1) * size / speed

    def share(self, moved: float, size: float) -> float:
        """Return the seconds to read bytes that another thread has written."""
        return moved / _in_logarithms(size, self.sharing_sizes, self.sharing)

    def getting_ready(self, who: str, size: float) -> float:
        """Return the seconds until the first sample."""
        if self.ready is None:
            return 0.0
        beyond = max(size / self.ready_sizes[-1], 1.0)
        return beyond * _in_logarithms(size, self.ready_sizes, self.ready[who])

    def read(self, total: float) -> float:
        """Return the extra seconds a byte of an X with so many bytes."""
        return _in_logarithms(total, self.reading_sizes, self.reading)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers, for JSON."""
        return {"format": _FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Costs:
        """Undo :meth:`as_dict`, also after JSON; raise ValueError if these are no costs."""
        try:
            costs = cls._from_plain(dict(values))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"damaged costs: {type(error).__name__}: {error}") from error
        costs._check()
        return costs

    @classmethod
    def _from_plain(cls, values: dict[str, Any]) -> Costs:
        if values.pop("format", None) != _FORMAT:
            raise ValueError("these costs were written by another version")
        for name in ("sizes", "batches", "memory_sizes", "sharing", "sharing_sizes",
                     "ready_sizes", "reading", "reading_sizes"):  # fmt: skip
            values[name] = tuple(values[name])
        for name in ("crowding", "memory"):
            values[name] = tuple(map(tuple, values[name]))
        values["rates"] = {k: tuple(map(tuple, rows)) for k, rows in values["rates"].items()}
        for name in ("barriers", "rounds"):
            values[name] = {int(k): float(v) for k, v in values[name].items()}
        if values["ready"] is not None:
            values["ready"] = {who: tuple(pair) for who, pair in values["ready"].items()}
        return cls(**values)

    def _check(self) -> None:
        """Check that every table has the numbers that the formulas will look for."""
        machine: object = self.machine
        if not isinstance(machine, str):
            raise ValueError(f"damaged costs: machine must be a str; got {machine!r}")
        try:
            checks.integer("cores", self.cores, 1)
        except TypeError as error:
            raise ValueError(f"damaged costs: {error}") from error
        if not self.rates or not set(self.rates) <= KINDS:
            raise ValueError(
                f"damaged costs: rates of {sorted(self.rates)}, and not of {sorted(KINDS)}"
            )
        if self.ready is not None and set(self.ready) != _READY_KINDS:
            raise ValueError(f"damaged costs: ready of {sorted(self.ready)}")
        for name in ("sizes", "batches", "memory_sizes", "sharing_sizes", "ready_sizes",
                     "reading_sizes"):  # fmt: skip
            _check_ascending(name, getattr(self, name))
        sizes, batches = len(self.sizes), len(self.batches)
        for kind, table in self.rates.items():
            _check_numbers(f"rates of {kind!r}", table, (sizes, batches), least=_TINY)
        _check_numbers("crowding", self.crowding, (sizes, batches), least=1.0)
        _check_numbers("memory", self.memory, (2, len(self.memory_sizes)), least=_TINY)
        _check_numbers("sharing", self.sharing, (len(self.sharing_sizes),), least=_TINY)
        _check_numbers("sample and batch", (self.sample, self.batch), (2,))
        for kind, row in (self.ready or {}).items():
            _check_numbers(f"ready of {kind!r}", row, (len(self.ready_sizes),), least=_TINY)
        _check_numbers("reading", self.reading, (len(self.reading_sizes),))
        if not self.barriers or min(self.barriers) < 1 or not {1, 2} <= set(self.rounds):
            raise ValueError("damaged costs: barriers or rounds of too few threads")
        for name in ("barriers", "rounds"):
            seconds = tuple(getattr(self, name).values())
            _check_numbers(name, seconds, (len(seconds),))

    def _interpolated(self, table: Table, size: float, batch: float) -> float:
        by_size = [_in_logarithms(batch, self.batches, row) for row in table]
        return _in_logarithms(size, self.sizes, by_size)


_TINY = float(np.finfo(np.float64).tiny)
KINDS = {
    f"{who} {how}" for who in ("replica", "synchronous", "hogwild") for how in ("dense", "sparse")
}
"""The kinds of rates that a measurement finds."""
_READY_KINDS = {"replica", "one"}


def _check_numbers(name: str, values: object, shape: tuple[int, ...], least: float = 0.0) -> None:
    """Check that there are so many numbers, each of at least ``least``."""
    try:
        numbers = np.array(values)
    except ValueError as error:  # rows of several lengths
        raise ValueError(f"damaged costs: {name} are no table of numbers") from error
    if numbers.dtype.kind not in "iuf":
        raise ValueError(f"damaged costs: {name} are no numbers, but of dtype {numbers.dtype}")
    if numbers.shape != shape:
        raise ValueError(f"damaged costs: {name} must have shape {shape}; got {numbers.shape}")
    if not (numbers >= least).all():
        raise ValueError(f"damaged costs: {name} must be at least {least:g}; got {numbers.min():g}")


def _check_ascending(name: str, values: Sequence[float]) -> None:
    _check_numbers(name, values, (len(values),), least=_TINY)
    if len(values) == 0 or (np.diff(values) <= 0).any():
        raise ValueError(f"damaged costs: {name} must ascend; got {values}")


def _in_logarithms(x: float, known: Sequence[float], values: Sequence[float]) -> float:
    """Interpolate in the logarithms of both; beyond what is known, keep the value of the edge."""
    if len(known) == 1:
        return values[0]
    logs: npt.NDArray[np.float64] = np.log(values)
    return float(np.exp(np.interp(math.log(x), np.log(known), logs)))


@dataclass(frozen=True)
class Cluster:
    """Nodes that are joined by a network.

    Attributes
    ----------
    latency : float
        Seconds until the shortest message arrives.
    bandwidth : float
        Bytes/s of a link.
    cores : int
        Cores of a node. More than one goes with replicas alone.
    all_reduce : {"tree", "halving"}
        How the nodes add up their weights: up and down a binary tree, or by recursive halving and
        doubling, as MPI does with long messages.
    """

    latency: float
    bandwidth: float
    cores: int = 1
    all_reduce: str = "tree"

    def __post_init__(self) -> None:
        """Check what no type says."""
        checks.integer("cores", self.cores, 1)
        checks.choice("all_reduce", self.all_reduce, ("tree", "halving"))

    @classmethod
    def ethernet(
        cls, gigabits: float, latency: float = 50e-6, *, cores: int = 1, all_reduce: str = "tree"
    ) -> Cluster:
        """Return a cluster with links of ``gigabits`` Gbit/s."""
        return cls(latency, gigabits * 1e9 / 8, cores, all_reduce)

    def nodes(self, threads: int) -> int:
        """Return how many nodes so many threads are on."""
        return -(-threads // self.cores)

    def add_up(self, size: float, threads: int, adds: float) -> float:
        """Return the seconds to add up ``size`` bytes of each node; to add once takes ``adds``."""
        nodes = self.nodes(threads)
        levels = (nodes - 1).bit_length()
        if self.all_reduce == "tree":
            return levels * (2 * (self.latency + size / self.bandwidth) + adds)
        others = (nodes - 1) / nodes
        return 2 * levels * self.latency + others * (2 * size / self.bandwidth + adds)


@dataclass(frozen=True)
class Prediction:
    """The seconds of a training, split by what takes them, and what was assumed.

    ``compute`` includes the time to get ready.
    """

    strategy: str
    threads: int
    compute: float
    synchronise: float
    merge: float
    assumptions: tuple[str, ...]

    @property
    def total(self) -> float:
        """All three together, in seconds."""
        return self.compute + self.synchronise + self.merge


@dataclass(frozen=True)
class Work:
    """The work of a network for one sample, on one thread or in one section."""

    forward: float  # flop, and so on
    backward: float
    update: float
    size: float  # bytes of weights
    first: float  # of forward, and as much of update: what the first layer has

    @property
    def flop(self) -> float:
        """The flop of all three."""
        return self.forward + self.backward + self.update


def work(
    network: Model | Sequence[int], *, density: float | None = None, sections: int = 1
) -> Work:
    """Count the flop of a sample; multiply and add are two. Rows fill cache lines of 16 floats.

    Parameters
    ----------
    network : Model or sequence of int
        A network, or its layer sizes: features, hidden units of each layer, outputs.
    density : float, optional
        Share of nonzeros in X, if the first layer reads X sparse. None: it reads X dense.
    sections : int, default 1
        Number of sections of the hidden units. The work is that of the largest section.
    """
    sizes = list(network.layer_sizes if isinstance(network, Model) else network)
    if len(sizes) < 2:
        raise ValueError(f"network must have at least features and outputs; got {sizes}")
    sizes = [checks.integer(f"network[{k}]", size, 1) for k, size in enumerate(sizes)]
    last = len(sizes) - 2
    forward = backward = update = size = first = 0.0
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
        first += flop if layer == 0 else 0.0
        size += _BYTES * rows * width
    return Work(forward, backward, update, size, first)


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
    costs: Costs,
    cores: int | None = None,
    cluster: Cluster | None = None,
    merge_ranks_every: int = 1,
    overlap: bool = False,
) -> Prediction:
    """Predict how long a training takes; :func:`omp_mlp.costs.predict` has the parameters."""
    n_samples = checks.integer("n_samples", n_samples, 1)
    epochs = checks.integer("epochs", epochs, 0)
    threads = checks.integer("threads", threads, 1)
    batch = min(checks.integer("batch_size", batch_size, 1), n_samples)
    checks.choice("strategy", strategy, STRATEGIES)
    if density is not None:
        density = checks.real("density", density, 0.0)
    cores = costs.cores if cores is None else checks.integer("cores", cores, 1)
    every = checks.integer("merge_ranks_every", merge_ranks_every, 1)
    checks.choice("overlap", overlap, (False, True))
    if overlap and cluster is None:
        raise ValueError("overlap must be False without a cluster; got True")
    if overlap and strategy not in _BY_REPLICAS:
        raise ValueError(f"overlap must be False with strategy={strategy!r}; got True")
    if cluster is not None:
        cores = threads
        if cluster.cores > 1 and strategy not in _BY_REPLICAS:
            raise ValueError(
                f"strategy={strategy!r} is predicted for nodes of one core; got {cluster.cores}"
            )
    busy = min(threads, cluster.cores if cluster else cores) - 1
    task = _Task(
        whole=work(network, density=density),
        section=work(network, density=density, sections=threads),
        layers=(network.layer_sizes if isinstance(network, Model) else tuple(network)),
        samples=n_samples,
        epochs=epochs,
        threads=threads,
        batch=batch,
        density=density,
        costs=costs,
        cores=cores,
        crowd=busy / max((cluster.cores if cluster else cores) - 1, 1),
    )
    if strategy == "replica":
        count = merges(
            network, n_samples, epochs, threads, merge_every, batch_size=batch, density=density
        )
        parts = _replica(task, count, cluster, every, overlap)
    elif strategy == "pattern":
        parts = _replica(task, epochs, cluster, every, overlap)
    elif strategy == "hogwild":
        if cluster is not None:
            raise ValueError("strategy='hogwild' needs one memory; got a cluster")
        parts = _hogwild(task)
    elif strategy == "section" and len(task.layers) > 2:
        parts = _section(task, cluster)
    else:  # without hidden units there are no sections, and rows are split instead
        parts = _synchronous(task, cluster)
    assumptions = _assumptions(costs, cores, threads, cluster, overlap)
    return Prediction(strategy, threads, *parts, assumptions)


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
    density: float | None
    costs: Costs
    cores: int
    crowd: float

    @property
    def batches(self) -> int:
        return self.epochs * -(-self.samples // self.batch)

    @property
    def turns(self) -> int:
        """How many threads a core runs one after another."""
        return -(-self.threads // self.cores)

    @property
    def levels(self) -> int:
        return (self.threads - 1).bit_length()

    @property
    def others(self) -> float:
        """Share of the threads that are not this one."""
        return (self.threads - 1) / self.threads

    @property
    def inputs(self) -> float:
        """Floats of a sample that the first layer reads."""
        return self.layers[0] * (1.0 if self.density is None else self.density)

    def seconds(self, who: str, first: float, upper: float, size: float, batch: float) -> float:
        """Return the seconds of so many flop, in the first layer and above it."""
        batch = max(batch, 1)

        def rate(kind: str) -> float:
            return self.costs.rate(f"{who} {kind}", size, batch, crowd=self.crowd)

        return first / rate("dense" if self.density is None else "sparse") + upper / rate("dense")

    def sample(self, who: str, one: Work, batch: float) -> float:
        """Return the seconds of a sample on one thread."""
        flop = self.seconds(who, 2 * one.first, one.flop - 2 * one.first, one.size, batch)
        return self.costs.sample + self.costs.batch / batch + flop

    def ready(self, who: str, size: float) -> float:
        """Return the seconds to get ready."""
        return self.costs.getting_ready(who, size) if self.epochs > 0 else 0.0

    @property
    def reading(self) -> float:
        """Extra seconds to read a sample that is in no cache."""
        row = _BYTES * self.layers[0]
        return row * self.costs.read(self.samples * row)


def merges(
    network: Model | Sequence[int],
    n_samples: int,
    epochs: int,
    threads: int,
    merge_every: int | tuple[int, int] | str | None = None,
    *,
    batch_size: int = 8,
    density: float | None = None,
) -> int:
    """Count the merges of a training by replicas; the parameters are those of :func:`predict`."""
    stream = epochs * -(-n_samples // threads)
    if merge_every is None:
        return min(stream, 1)
    if isinstance(merge_every, str):
        checks.choice("merge_every", merge_every, ("auto",), "an integer")
        if threads == 1:
            return epochs
        sizes = tuple(network.layer_sizes if isinstance(network, Model) else network)
        adds = cadence.work_a_sample((1.0 if density is None else density) * sizes[0], sizes)
        period = cadence.growing_period(threads, batch_size, max(stream, 1), sizes, adds)
    else:
        first, last = merge_every if isinstance(merge_every, tuple) else (merge_every, merge_every)
        period = (
            checks.integer("merge_every", first, 1),
            checks.integer("merge_every", last, 1),
        )
    whole = max(stream, 1)
    if period[0] == period[1]:
        period = (min(period[0], whole), min(period[0], whole))
    return cadence.count_merges(stream, period, batch_size)


def _hogwild(task: _Task) -> tuple[float, float, float]:
    shard = -(-task.samples // task.threads)
    kind = "dense" if task.density is None else "sparse"
    # Its rates were measured with all cores at it.
    rate = task.costs.rate(f"hogwild {kind}", task.whole.size, task.batch)
    compute = task.epochs * shard * task.whole.flop / rate + task.ready("one", task.whole.size)
    return task.turns * compute, 0.0, 0.0


def _replica(
    task: _Task, count: int, cluster: Cluster | None, every: int, overlap: bool
) -> tuple[float, float, float]:
    costs, size = task.costs, task.whole.size
    shard = -(-task.samples // task.threads)
    sample = task.sample("replica", task.whole, min(task.batch, shard))
    sample += task.reading
    training = task.turns * task.epochs * shard * sample
    compute = training + task.turns * task.ready("replica", size)
    if cluster is None:
        return compute, 0.0, count * costs.merge(task.threads, size, crowd=task.crowd)
    message = cluster.latency + size / cluster.bandwidth
    levels = (cluster.nodes(task.threads) - 1).bit_length()
    within = 0.0
    if cluster.cores > 1:
        within = count * costs.merge(min(task.threads, cluster.cores), size, crowd=task.crowd)
    rounds = -(-count // every)
    once = cluster.add_up(size, task.threads, size / costs.memory[0][-1])
    waits = rounds * once
    if overlap and rounds > 0:
        waits = (rounds - 1) * max(once - (training + within) / rounds, 0.0) + once
    return compute, levels * message, within + waits


def _section(task: _Task, cluster: Cluster | None) -> tuple[float, float, float]:
    costs = task.costs
    samples = task.epochs * task.samples
    # Whoever reads a sample reads it for all.
    sample = task.sample("replica", task.section, task.batch) + task.reading / task.threads
    compute = task.turns * (samples * sample + task.ready("one", task.section.size))
    if task.threads == 1:
        return compute, 0.0, 0.0
    barriers = 2 * (len(task.layers) - 2) - 1
    if cluster is None:
        moved = samples * task.others * _BYTES * task.inputs
        waiting = task.batches * barriers * costs.barrier(task.threads)
        waiting += costs.share(moved, task.whole.size)
        return compute, waiting + task.epochs * costs.round(1), 0.0
    # Of each sample, the activations of the hidden layers below the last, and as many deltas, reach
    # every node, and the outputs' sums go up and down a tree.
    inner = 2 * sum(task.layers[1:-2]) * _BYTES * task.others
    outputs = 2 * task.levels * task.layers[-1] * _BYTES
    latency = task.batches * (barriers + 1) * task.levels * cluster.latency
    traffic = task.epochs * task.samples * (inner + outputs) / cluster.bandwidth
    return compute, latency + traffic, 0.0


def _synchronous(task: _Task, cluster: Cluster | None) -> tuple[float, float, float]:
    costs, whole = task.costs, task.whole
    part = -(-task.batch // task.threads)
    # A last, smaller batch counts as what it is of a whole one.
    steps = task.epochs * task.samples / task.batch
    upper = whole.forward - whole.first
    passes = part * (
        costs.sample
        + task.reading
        + task.seconds("synchronous", whole.first, upper + whole.backward, whole.size, part)
    )
    if cluster is None:
        share = task.batch / task.threads
        updates = share * task.seconds("synchronous", whole.first, upper, whole.size, task.batch)
    else:  # every node sums up the gradient of its own samples
        updates = part * task.seconds("synchronous", whole.first, upper, whole.size, part)
    compute = task.turns * (
        steps * (passes + updates + costs.batch) + task.ready("one", whole.size)
    )
    if task.threads == 1:
        return compute, 0.0, 0.0
    if cluster is None:
        rows = task.batch * _BYTES * (task.inputs + 2 * sum(task.layers[1:]))
        moved = task.others * (_changed(task, task.batch) + rows)
        waiting = task.batches * 2 * costs.barrier(task.threads)
        waiting += steps * costs.share(moved, whole.size)
        return compute, waiting + task.epochs * costs.round(1), 0.0
    message = cluster.latency + whole.size / cluster.bandwidth
    adds = whole.size / costs.memory[0][-1]
    return compute, task.batches * task.levels * (2 * message + adds), 0.0


def _changed(task: _Task, batch: int) -> float:
    """Return the bytes of weights that a step changes: those of inputs that are all zero stay."""
    first = _BYTES * task.layers[0] * _padded(task.layers[1])
    untouched = 0.0 if task.density is None else (1 - min(task.density, 1.0)) ** batch
    return task.whole.size - first * untouched


def _assumptions(
    costs: Costs, cores: int, threads: int, cluster: Cluster | None, overlap: bool
) -> tuple[str, ...]:
    found = [f"cores as measured: {costs.machine}"]
    if cluster is not None:
        a_node = "one core" if cluster.cores == 1 else f"{cluster.cores} cores"
        sums = {
            "tree": "sums go up and down a binary tree of nodes",
            "halving": "sums are made by recursive halving and doubling",
        }
        found += [
            f"{a_node} a node; messages of {cluster.latency * 1e6:g} us at "
            f"{cluster.bandwidth * 8e-9:g} Gbit/s, which do not get in each other's way",
            f"{sums[cluster.all_reduce]}; nothing is sent while work is done",
        ]
        if overlap:
            found[-1] = (
                f"{sums[cluster.all_reduce]} while the nodes train on, which takes nothing of "
                "their cores; all rounds take the same time"
            )
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


_HOGWILD = _gigaflops(*[(4.5,) * 5] * 5)

# Rounded from a core with AVX-512 at 3.6 GHz; what several cores do is set, not measured.
TYPICAL = Costs(
    machine="a typical machine of 8 cores with AVX-512",
    cores=8,
    sizes=(5e3, 7e4, 4e5, 4.3e6, 3.8e7),
    batches=(1, 4, 16, 64, 256),
    rates={
        "replica dense": _gigaflops(
            (70, 70, 70, 70, 70), (85, 90, 95, 100, 100), (95, 100, 100, 105, 105),
            (95, 95, 100, 105, 105), (45, 45, 50, 75, 95),
        ),
        "replica sparse": _gigaflops(
            (20, 20, 20, 20, 20), (30, 35, 40, 45, 45), (45, 50, 55, 60, 60),
            (40, 40, 40, 45, 45), (16, 16, 18, 20, 20),
        ),
        "synchronous dense": _gigaflops(
            (40, 60, 70, 75, 75), (40, 75, 90, 100, 100), (42, 85, 100, 105, 105),
            (15, 70, 100, 105, 105), (6, 20, 50, 75, 95),
        ),
        "synchronous sparse": _gigaflops(
            (15, 15, 20, 20, 20), (30, 25, 40, 45, 45), (40, 30, 55, 65, 65),
            (35, 35, 40, 45, 45), (21, 21, 21, 21, 21),
        ),
        "hogwild dense": _HOGWILD,
        "hogwild sparse": _HOGWILD,
    },
    crowding=((1.0,) * 5,) * 4 + ((1.5,) * 5,),
    barriers={2: 2e-7, 4: 5e-7, 8: 1.2e-6},
    rounds={1: 1.5e-6, 2: 3e-6, 4: 6e-6, 8: 1.2e-5},
    memory=((8e9, 1e10, 7e9, 4.5e9), (1e10, 1.2e10, 9e9, 5.5e9)),
    memory_sizes=(7e4, 5e5, 4.3e6, 1.7e7),
    sharing=(1e10, 1e10),
    sharing_sizes=(2.7e5, 4.3e6),
    sample=5e-8,
    batch=1.5e-7,
    ready={"replica": (6e-6, 2e-4, 4e-3), "one": (1e-5, 4e-5, 6e-4)},
    ready_sizes=(2e3, 4e5, 4.3e6),
    reading=(1e-13, 1e-10, 2e-10),
    reading_sizes=(5e5, 8e6, 6.4e7),
)  # fmt: skip
"""What ``costs=False`` goes by: nobody's machine, but the same for everybody."""
