"""Changes of gradient diversity that were tried, for docs/frontier.md: which keep the accuracy.

The library trains the replicas, a round at a time; the merge is done here in NumPy, where a change
of it takes a line. On MNIST's validation split, at equal settings, so that a row differs from the
first one by what it names and by nothing else. What each would gain in time is in the document.

    python benchmarks/merge_trials.py           # some minutes
    python benchmarks/merge_trials.py --docs    # and puts the table into docs/frontier.md

Inputs are centred beforehand, as dense floats: means of a round's samples would differ.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import omp_mlp

sys.path.insert(0, str(Path(__file__).resolve().parent))
import _report as report
from _frontier.problems import Problem, load
from _frontier.tables import as_markdown, as_text

Array = npt.NDArray[np.float32]
# The updates of all replicas, in one layer: replicas x inputs (with the bias) x units.
Updates = Array

THREADS, PERIOD, RATE, EPOCHS = 64, 32, 0.04, 3
SEEDS = (1_000, 1_001, 1_002)


def diversity(updates: Updates, axes: tuple[int, ...] = (1, 2)) -> npt.NDArray[np.float64]:
    """Return c = sum |d_i|^2 / |sum d_i|^2, clipped to [1/n, 1], with sums over the ``axes``."""
    total = updates.sum(axis=0, dtype=np.float64)
    squares = np.einsum("ijk,ijk->jk", updates, updates, dtype=np.float64)
    over = tuple(axis - 1 for axis in axes)
    below = (total**2).sum(axis=over, keepdims=True)
    ratio = squares.sum(axis=over, keepdims=True) / np.maximum(below, 1e-300)
    return np.clip(ratio, 1 / len(updates), 1.0)


def by_layer(updates: Updates) -> Array:
    """Merge by gradient diversity, as the library does."""
    return (diversity(updates) * updates.sum(axis=0)).astype(np.float32)


def by_unit(updates: Updates) -> Array:
    """Take a factor for each unit's incoming weights."""
    return (diversity(updates, (1,)) * updates.sum(axis=0)).astype(np.float32)


def by_input(updates: Updates) -> Array:
    """Take a factor for each input's outgoing weights."""
    return (diversity(updates, (2,)) * updates.sum(axis=0)).astype(np.float32)


def by_inverse_variance(updates: Updates) -> Array:
    """Weigh replicas by 1 / |d_i|^2, with a mean of 1: those that moved far count less."""
    weights = 1 / np.maximum(
        (updates.astype(np.float64) ** 2).sum(axis=(1, 2), keepdims=True), 1e-300
    )
    return by_layer((updates * (weights / weights.mean())).astype(np.float32))


def in_bfloat16(updates: Updates) -> Array:
    """Round the updates to bfloat16 (half the bytes), to nearest."""
    bits = updates.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return by_layer(rounded.view(np.float32))


def in_float16(updates: Updates) -> Array:
    """Round the updates to float16 (half the bytes), scaled so that the largest is about 1."""
    scale = np.float32(2.0 ** -np.ceil(np.log2(max(float(np.abs(updates).max()), 1e-30))))
    return by_layer((updates * scale).astype(np.float16).astype(np.float32) / scale)


def signs(updates: Updates) -> Array:
    """Send one bit for a weight: its sign, times the mean size of the replica's updates."""
    size = np.abs(updates).mean(axis=(1, 2), keepdims=True)
    return by_layer((np.sign(updates) * size).astype(np.float32))


@dataclass(frozen=True)
class Trial:
    """A row: what is changed, the rule for a layer, the outer momentum, rounds of delay."""

    about: str
    rule: Callable[[Updates], Array] = by_layer
    momentum: float = 0.3
    delay: int = 0


TRIALS = (
    Trial("gradient diversity, as it is"),
    Trial("updates rounded to bfloat16", in_bfloat16),
    Trial("updates rounded to float16", in_float16),
    Trial("updates as signs and one size", signs),
    Trial("merged while the next round is trained (a round late)", delay=1),
    Trial("the same without momentum", momentum=0.0, delay=1),
    Trial("replicas weighed by the inverse of their variance", by_inverse_variance),
    Trial("a factor for each hidden unit", by_unit),
    Trial("a factor for each input", by_input),
)


def layers_of(model: omp_mlp.Model) -> list[Array]:
    """Return each layer's weights, with the biases as the last row."""
    return [np.vstack([W, b]) for W, b in zip(model.weights, model.biases, strict=True)]


def train(problem: Problem, trial: Trial, seed: int) -> float:
    """Train in rounds, merged by the trial's rule; return the validation accuracy in percent."""
    options: dict[str, Any] = {
        "hidden_layer_sizes": problem.hidden,
        "activation": "relu",
        "batch_size": 1,
        "learning_rate_schedule": "constant",
        "shuffle": False,
        "merge_every": None,
        "epochs": 1,
    }
    model = omp_mlp.train_parallel(
        problem.X, problem.y, 1, "average", seed=seed, **{**options, "epochs": 0}
    )
    master = layers_of(model)
    velocity = [np.zeros_like(layer) for layer in master]
    late: list[list[Array]] = []
    order = np.concatenate(
        [
            np.random.default_rng((seed, epoch)).permutation(len(problem.X))
            for epoch in range(EPOCHS)
        ]
    )
    round_size = THREADS * PERIOD
    for begin in range(0, len(order) - round_size + 1, round_size):
        rows = order[begin : begin + round_size]
        start = omp_mlp.Model(
            [layer[:-1] for layer in master], [layer[-1] for layer in master], classes=model.classes
        )
        trained = omp_mlp.train_parallel(
            problem.X[rows],
            problem.y[rows],
            THREADS,
            "average",
            init=start,
            keep_replicas=True,
            learning_rate=RATE * (1 - begin / len(order)),
            **options,
        )
        replicas = [layers_of(replica) for replica in trained.replicas]
        late.append(
            [
                trial.rule(np.stack([replica[k] for replica in replicas]) - layer)
                for k, layer in enumerate(master)
            ]
        )
        if len(late) > trial.delay:
            for layer, moved, update in zip(master, velocity, late.pop(0), strict=True):
                moved *= trial.momentum
                moved += update
                layer += moved
    merged = omp_mlp.Model(
        [layer[:-1] for layer in master], [layer[-1] for layer in master], classes=model.classes
    )
    return 100 * merged.score(problem.X_test, problem.y_test)


def centred(problem: Problem) -> Problem:
    """Return the validation split, as floats with the mean of the training part taken off."""
    split = problem.held_out()
    X, X_test = (np.float32(split.X) / 256, np.float32(split.X_test) / 256)
    mean = X.mean(axis=0)
    return replace(split, X=X - mean, X_test=X_test - mean)


def touched_rows(problem: Problem, samples: int) -> float:
    """Return the share of the first layer's rows that so many samples touch."""
    X = problem.X[np.random.default_rng(0).permutation(len(problem.X))]
    blocks = X[: len(X) // samples * samples].reshape(-1, samples, X.shape[1])[:500]
    return float((blocks != 0).any(axis=1).mean())


def main(argv: Sequence[str] | None = None) -> None:
    """Run all trials, print the table, and put it into the document if asked."""
    parser = argparse.ArgumentParser(description="Try changes of gradient diversity.")
    parser.add_argument("--data", default="auto", metavar="auto|FOLDER")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/frontier.md")
    arguments = parser.parse_args(argv)
    problem = load("mnist", arguments.data)
    split = centred(problem)
    rows: list[list[str]] = []
    first = 0.0
    for trial in TRIALS:
        scores = [train(split, trial, seed) for seed in SEEDS]
        mean, sd = float(np.mean(scores)), float(np.std(scores, ddof=1))
        first = first or mean
        rows.append([trial.about, f"{mean:.2f} ± {sd:.2f}", f"{mean - first:+.2f}"])
        print(*rows[-1], sep=" | ", flush=True)
    table = ([f"n = {THREADS}, {EPOCHS} epochs, validation split", "accuracy %", "points"], rows)
    print(as_text(table))
    for samples in (8, 32, 128):
        print(f"rows touched in {samples} samples: {touched_rows(problem, samples):.0%}")
    if arguments.docs:
        report.fill_blocks(
            report.PROJECT_ROOT / "docs" / "frontier.md", {"tried": as_markdown(table)}
        )


if __name__ == "__main__":
    main()
