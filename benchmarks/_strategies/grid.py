"""The grid of trainings, and how each is measured and predicted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
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

    Where that is not all of them, the time but that of getting ready is scaled up, and there is no
    accuracy.
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
    rounds = model.history.train_seconds + model.history.merge_seconds
    # Getting ready is part of the first round.
    ready = max(0.0, float(rounds[0] - np.median(rounds[1:]))) if len(rounds) > 1 else 0.0
    share = n_samples / cell.n_samples
    return {
        "seconds": ready + (float(rounds.sum()) - ready) / share,
        "share": share,
        "accuracy": model.score(X_test, y_test) if share == 1 else None,
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
        batch_size=cell.batch_size,
        density=cell.density if cell.density < 0.5 else None,
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
        batch_size=cell.batch_size,
        density=cell.density if cell.density < 0.5 else None,
        costs=known,
    )
    return Way(best.strategy, best.threads)


def measure(
    cells: Sequence[Cell],
    thread_counts: Sequence[int],
    known: costs.Costs,
    *,
    passes: int,
    longest: float,
) -> Iterator[dict[str, Any]]:
    """Yield an entry for each cell and way, with everything measured and predicted.

    In each cell the ways take turns, pass after pass, every second pass backwards. ``longest``: the
    seconds that a training may be expected to take; those that would take longer train on fewer
    samples, of the same data, and are scaled up.
    """
    data: tuple[np.ndarray, ...] = ()
    made_for: tuple[int, float, int] | None = None
    for cell in cells:
        wanted = (cell.network[0], cell.density, cell.n_samples)
        if made_for != wanted:
            data = ()  # the old one goes before the new one comes
            data, made_for = make_data(*wanted), wanted
        everything = ways(thread_counts)
        runs: dict[Way, list[dict[str, Any]]] = {way: [] for way in everything}
        for number in range(passes):
            for way in everything[:: -1 if number % 2 else 1]:
                n_samples = _samples_that_fit(cell, way, known, longest)
                begin = time.perf_counter()
                while True:
                    runs[way].append(train(cell, way, data, n_samples))
                    # Short ones are repeated, for the clock's sake.
                    if time.perf_counter() - begin > 0.02 or len(runs[way]) >= 20 * passes:
                        break
        chosen = choose(cell, max(thread_counts), known)
        for way in everything:
            predicted = predict(cell, way, known)
            seconds = [run["seconds"] for run in runs[way]]
            scores = [run["accuracy"] for run in runs[way] if run["accuracy"] is not None]
            yield {
                **asdict(cell),
                "name": cell.name,
                **asdict(way),
                "seconds": median(seconds),
                "fastest": min(seconds),
                "slowest": max(seconds),
                "runs": len(seconds),
                "share": min(run["share"] for run in runs[way]),
                "accuracy": median(scores) if scores else None,
                "predicted": predicted.total,
                "compute": predicted.compute,
                "synchronise": predicted.synchronise,
                "merge": predicted.merge,
                "chosen": way == chosen,
            }


def _samples_that_fit(cell: Cell, way: Way, known: costs.Costs, longest: float) -> int:
    """Return how many samples may be expected to be trained in the time, within reason."""
    expected = predict(cell, way, known).total
    # Four batches for every thread, so that there is something to wait for.
    least = 4 * max(cell.batch_size, 16) * way.threads
    return min(cell.n_samples, max(int(cell.n_samples * longest / expected), least))
