"""The grid of trainings, and how each is measured and predicted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

import omp_mlp
from omp_mlp import costs

from ..common.data import AS_GIVEN

EPOCHS = 3
CLASSES = 10
HELD_OUT = 1000

NETWORKS = ((64, 16, 10), (256, 64, 10), (784, 128, 10), (784, 1024, 10), (4096, 4096, 10))
SPARSE = ((784, 128, 10), (784, 1024, 10))
DENSITY = 0.2  # of their inputs
SAMPLES = (100, 1_000, 10_000, 100_000)
BATCHES = (1, 8, 32, 256)


@dataclass(frozen=True)
class Cell:
    """A training that every strategy does: (features, hidden, outputs), data and batch size."""

    network: tuple[int, int, int]
    density: float  # share of nonzeros in X; 1: dense
    n_samples: int
    batch_size: int

    @property
    def name(self) -> str:
        """Of the network and its inputs."""
        return "-".join(map(str, self.network)) + (", sparse" if self.density < 1 else "")

    @property
    def is_large(self) -> bool:
        """Whether getting ready takes longer than most trainings here."""
        return self.network[0] * self.network[1] > 2**23

    @property
    def inputs(self) -> dict[str, Any]:
        """What the cost model asks of the data."""
        density = self.density if self.density < 0.5 else None
        return {"batch_size": self.batch_size, "density": density}


@dataclass(frozen=True)
class Way:
    """A strategy on so many threads; ("replica", 1) is one thread."""

    strategy: str
    threads: int


def grid(*, quick: bool) -> list[Cell]:
    """Return all cells; those on the same data stand together."""
    inputs = [(network, 1.0) for network in NETWORKS] + [(network, DENSITY) for network in SPARSE]
    samples, batches = (SAMPLES[:3:2], BATCHES[::2]) if quick else (SAMPLES, BATCHES)
    return [
        Cell(network, density, n, batch)
        for network, density in inputs
        for n in samples
        for batch in batches
        # The largest network takes longer to get ready than a quick run has.
        if not (quick and network == NETWORKS[-1] and (n > samples[0] or batch == 1))
    ]


def ways(thread_counts: Sequence[int]) -> list[Way]:
    """Return one thread, and every strategy on every larger number of them."""
    return [
        Way("replica", 1),
        *(Way(name, count) for count in thread_counts if count > 1 for name in costs.STRATEGIES),
    ]


def make_data(
    features: int, density: float, n_samples: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Make ten classes of noise around a middle each, of norm about 10, and 1,000 samples apart."""
    rng = np.random.default_rng(features)
    distinct = min(n_samples, 5000) + HELD_OUT  # more are repeated: noise takes long to make
    y = np.arange(distinct) % CLASSES
    middles = rng.normal(size=(CLASSES, features)).astype(np.float32)
    X = middles[y] + 2 * rng.standard_normal((distinct, features), dtype=np.float32)
    X *= np.float32(10 / np.sqrt(5 * features * density))
    if density < 1:
        X *= rng.random(X.shape, dtype=np.float32) < density
    rows = HELD_OUT + np.arange(n_samples) % (distinct - HELD_OUT)
    return X[rows], y[rows], X[:HELD_OUT], y[:HELD_OUT]


def train(cell: Cell, way: Way, data: Sequence[np.ndarray], n_samples: int) -> dict[str, Any]:
    """Train on the first ``n_samples``; return the seconds that all would take, and the accuracy.

    Where that is not all of them, there is no accuracy, and the time is put together from its
    parts: getting ready as it was, training in proportion to the samples, and merges as many as the
    whole training has.
    """
    X, y, X_test, y_test = data
    model = omp_mlp.train_parallel(
        X[:n_samples],
        y[:n_samples],
        way.threads,
        hidden_layer_sizes=cell.network[1:2],
        epochs=EPOCHS,
        batch_size=cell.batch_size,
        learning_rate=0.05,
        strategy=way.strategy,
        workers=way.threads,
        **AS_GIVEN,
    )
    history = model.history
    share = n_samples / cell.n_samples
    if share < 1:
        return {"seconds": _of_all(cell, way, history, share), "share": share, "accuracy": None}
    seconds = float((history.train_seconds + history.merge_seconds).sum())
    return {"seconds": seconds, "share": share, "accuracy": model.score(X_test, y_test)}


def _of_all(cell: Cell, way: Way, history: omp_mlp.History, share: float) -> float:
    rounds, merging = history.train_seconds, history.merge_seconds
    # Getting ready is part of the first round, as far as that takes longer than its samples and
    # what every round has.
    if way.strategy in ("section", "synchronous", "hogwild"):
        ready = max(0.0, float(rounds[0] - np.median(rounds[1:]))) if len(rounds) > 1 else 0.0
        return ready + (float(rounds.sum()) - ready) / share + float(merging.sum())
    training = history.slowest_replica_seconds
    besides = rounds - training
    copies = float(np.median(besides[1:])) if len(rounds) > 1 else 0.0
    ready = max(0.0, float(besides[0]) - copies)
    merges = EPOCHS
    if way.strategy != "pattern":
        work = (cell.network, cell.n_samples, EPOCHS, way.threads, "auto")
        merges = costs.merges(*work, **cell.inputs)
    return ready + float(training.sum()) / share + merges * (copies + float(np.median(merging)))


def predict(cell: Cell, way: Way, known: costs.Costs) -> costs.Prediction:
    """Predict what :func:`train` measures."""
    work = (cell.network, cell.n_samples, EPOCHS, way.threads, way.strategy, "auto")
    return costs.predict(*work, **cell.inputs, costs=known)


def choose(cell: Cell, threads: int, known: costs.Costs) -> Way:
    """Return what strategy="auto" would do."""
    work = (cell.network, cell.n_samples, EPOCHS, threads, "auto")
    best = costs.choose(*work, **cell.inputs, costs=known)
    return Way(best.strategy, best.threads)


def samples_that_fit(cell: Cell, way: Way, known: costs.Costs, longest: float) -> int:
    """Return how many samples may be expected to be trained in the time, within reason."""
    if way.strategy == "hogwild":  # batches are nothing to it, and it is slow
        least = 16 * way.threads
    else:  # three batches, or two for every replica
        rows = max(cell.batch_size, 16)
        least = rows * (3 if way.strategy in ("section", "synchronous") else 2 * way.threads)
    expected = predict(cell, way, known).total
    return min(cell.n_samples, max(int(cell.n_samples * longest / expected), least))


def take(
    cells: Sequence[Cell],
    thread_counts: Sequence[int],
    passes: int,
    known: costs.Costs,
    longest: float,
) -> Iterator[list[dict[str, Any]]]:
    """Measure every cell, pass after pass; yield all entries that there are so far.

    In each cell the ways take turns, in every second pass backwards; the network that takes longest
    to get ready has one pass less. Trainings that are expected to take longer than ``longest``
    seconds are done on fewer samples, of the same data, and their time is scaled up.
    """
    # Of each pass, the runs of each training.
    found: dict[tuple[Cell, Way], list[list[dict[str, Any]]]] = {}
    for number in range(passes):
        data: tuple[np.ndarray, ...] = ()
        made_for: tuple[int, float, int] | None = None
        for cell in cells:
            if number > 0 and number == passes - 1 and cell.is_large:
                continue
            wanted = (cell.network[0], cell.density, cell.n_samples)
            if made_for != wanted:
                data = ()  # the old one goes before the new one comes
                data, made_for = make_data(*wanted), wanted
            for way in ways(thread_counts)[:: -1 if number % 2 else 1]:
                n_samples = samples_that_fit(cell, way, known, longest)
                runs: list[dict[str, Any]] = []
                begin = time.perf_counter()
                # Short ones are repeated, for the clock's sake.
                while not runs or (time.perf_counter() - begin < 0.02 and len(runs) < 20):
                    runs.append(train(cell, way, data, n_samples))
                found.setdefault((cell, way), []).append(runs)
            yield entries(found, max(thread_counts), known)


def entries(
    found: Mapping[tuple[Cell, Way], Sequence[Sequence[Mapping[str, Any]]]],
    threads: int,
    known: costs.Costs,
) -> list[dict[str, Any]]:
    """Return an entry for each cell and way: times are medians over the passes, of medians."""
    chosen = {cell: choose(cell, threads, known) for cell, _ in found}
    return [
        _entry(cell, way, takes, known, is_chosen=way == chosen[cell])
        for (cell, way), takes in found.items()
    ]


def _entry(
    cell: Cell,
    way: Way,
    takes: Sequence[Sequence[Mapping[str, Any]]],
    known: costs.Costs,
    *,
    is_chosen: bool,
) -> dict[str, Any]:
    predicted = predict(cell, way, known)
    runs = [run for runs in takes for run in runs]
    scores = [run["accuracy"] for run in runs if run["accuracy"] is not None]
    return {
        "name": cell.name,
        "n_samples": cell.n_samples,
        "batch_size": cell.batch_size,
        **asdict(way),
        "seconds": median(median(run["seconds"] for run in runs) for runs in takes),
        "fastest": min(run["seconds"] for run in runs),
        "slowest": max(run["seconds"] for run in runs),
        "runs": len(runs),
        "share": min(run["share"] for run in runs),
        "accuracy": median(scores) if scores else None,
        "predicted": predicted.total,
        "compute": predicted.compute,
        "synchronise": predicted.synchronise,
        "merge": predicted.merge,
        "chosen": is_chosen,
    }
