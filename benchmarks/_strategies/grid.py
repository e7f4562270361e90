"""The grid of trainings, and how each is measured and predicted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import numpy as np

import omp_mlp
from omp_mlp import costs

EPOCHS = 3
CLASSES = 10
HELD_OUT = 1000


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


@dataclass(frozen=True)
class Way:
    """A strategy on so many threads; ("replica", 1) is one thread."""

    strategy: str
    threads: int


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
    )
    history = model.history
    share = n_samples / cell.n_samples
    seconds = float((history.train_seconds + history.merge_seconds).sum())
    if share < 1:
        seconds = _of_all(cell, way, history, share)
    return {
        "seconds": seconds,
        "share": share,
        "accuracy": model.score(X_test, y_test) if share == 1 else None,
    }


def _of_all(cell: Cell, way: Way, history: omp_mlp.History, share: float) -> float:
    rounds = history.train_seconds
    # Getting ready is part of the first round, as far as that takes longer than its samples and
    # what every round has.
    if way.strategy in ("section", "synchronous", "hogwild"):
        ready = max(0.0, float(rounds[0] - np.median(rounds[1:]))) if len(rounds) > 1 else 0.0
        return ready + (float(rounds.sum()) - ready) / share + float(history.merge_seconds.sum())
    training = history.slowest_replica_seconds
    besides = rounds - training
    copies = float(np.median(besides[1:])) if len(rounds) > 1 else 0.0
    ready = max(0.0, float(besides[0]) - copies)
    merges = (
        EPOCHS
        if way.strategy == "pattern"
        else costs.merges(
            cell.network, cell.n_samples, EPOCHS, way.threads, "auto", **_inputs(cell)
        )
    )
    return (
        ready
        + float(training.sum()) / share
        + merges * (copies + float(np.median(history.merge_seconds)))
    )


def _inputs(cell: Cell) -> dict[str, Any]:
    """Return what the cost model asks of the data."""
    return {
        "batch_size": cell.batch_size,
        "density": cell.density if cell.density < 0.5 else None,
    }


def predict(cell: Cell, way: Way, known: costs.Costs) -> costs.Prediction:
    """Predict what :func:`train` measures."""
    return costs.predict(
        cell.network,
        cell.n_samples,
        EPOCHS,
        way.threads,
        way.strategy,
        "auto",
        **_inputs(cell),
        costs=known,
    )


def choose(cell: Cell, threads: int, known: costs.Costs) -> Way:
    """Return what strategy="auto" would do."""
    best = costs.choose(
        cell.network,
        cell.n_samples,
        EPOCHS,
        threads,
        "auto",
        **_inputs(cell),
        costs=known,
    )
    return Way(best.strategy, best.threads)


@dataclass
class Measurements:
    """What was measured so far, and what the model says to it."""

    known: costs.Costs
    thread_counts: Sequence[int]
    longest: float  # seconds that a training may be expected to take
    # Of each pass, the runs of each training.
    runs: dict[tuple[Cell, Way], list[list[dict[str, Any]]]] = field(default_factory=dict)

    def take(self, cells: Sequence[Cell], passes: int) -> Iterator[int]:
        """Measure every cell, pass after pass; yield the trainings done after each cell.

        In each cell the ways take turns, in every second pass backwards; the network that takes
        longest to get ready has one pass less. Trainings that would take longer than ``longest``
        are done on fewer samples, of the same data, and their time is scaled up.
        """
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
                everything = ways(self.thread_counts)
                for way in everything[:: -1 if number % 2 else 1]:
                    self._take(cell, way, data)
                yield len(everything)

    def _take(self, cell: Cell, way: Way, data: Sequence[np.ndarray]) -> None:
        n_samples = _samples_that_fit(cell, way, self.known, self.longest)
        runs: list[dict[str, Any]] = []
        self.runs.setdefault((cell, way), []).append(runs)
        begin = time.perf_counter()
        # Short ones are repeated, for the clock's sake.
        while not runs or (time.perf_counter() - begin < 0.02 and len(runs) < 20):
            runs.append(train(cell, way, data, n_samples))

    def entries(self) -> list[dict[str, Any]]:
        """Return an entry for each cell and way: times are medians over the passes, of medians."""
        chosen = {cell: choose(cell, max(self.thread_counts), self.known) for cell, _ in self.runs}
        return [
            self._entry(cell, way, takes, way == chosen[cell])
            for (cell, way), takes in self.runs.items()
        ]

    def _entry(
        self, cell: Cell, way: Way, takes: Sequence[Sequence[dict[str, Any]]], is_chosen: bool
    ) -> dict[str, Any]:
        predicted = predict(cell, way, self.known)
        runs = [run for take in takes for run in take]
        scores = [run["accuracy"] for run in runs if run["accuracy"] is not None]
        return {
            **asdict(cell),
            "name": cell.name,
            **asdict(way),
            "seconds": median(median(run["seconds"] for run in take) for take in takes),
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


def _samples_that_fit(cell: Cell, way: Way, known: costs.Costs, longest: float) -> int:
    """Return how many samples may be expected to be trained in the time, within reason."""
    if way.strategy == "hogwild":  # batches are nothing to it, and it is slow
        least = 16 * way.threads
    else:  # three batches, or two for every replica
        rows = max(cell.batch_size, 16)
        least = rows * (3 if way.strategy in ("section", "synchronous") else 2 * way.threads)
    expected = predict(cell, way, known).total
    return min(cell.n_samples, max(int(cell.n_samples * longest / expected), least))
