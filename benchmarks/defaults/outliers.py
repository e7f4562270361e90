"""What is learned beside values of y that are far too large, judged on clean rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import omp_mlp

from .contestants import timed
from .problems import Problem

PROBLEMS = ("abalone", "california", "diamonds", "winequality_white", "diabetes", "friedman1")
ROWS = 3_000  # to train on
SPOILS = ("clean", "one value is 1e9", "1 % times 1e4")
WAYS = ("mean and std", "auto", "huber")
_REPLICAS = 2


def key(spoil: str, way: str) -> str:
    """Return the name of a training in the results."""
    return f"{spoil}, {way}"


def spoiled(y: np.ndarray, spoil: str, seed: int) -> np.ndarray:
    """Return the values with outliers."""
    y = y.copy()
    if spoil == "one value is 1e9":
        y[seed] = 1e9
    elif spoil == "1 % times 1e4":
        y[np.random.default_rng(seed).random(len(y)) < 0.01] *= 1e4
    return y


def measure(problem: Problem, seeds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Return scores and seconds of each kind of outliers and each way to train beside them."""
    return measure_ways(problem, seeds, say, SPOILS, WAYS, _ask)


def measure_ways(
    problem: Problem,
    seeds: int,
    say: Callable[[str], None],
    spoils: Sequence[str],
    ways: Sequence[str],
    ask: Callable[[Problem, str, str, int], dict[str, float | None]],
) -> dict[str, Any]:
    """Return scores and seconds by kind of outliers and way to train, on the first rows."""
    few = problem.limited(ROWS)
    found: dict[str, Any] = {"rows": len(few.y), "is_regression": few.is_regression}
    for spoil in spoils:
        say(f"{few.name}: {spoil}")
        for way in ways:
            answers = [ask(few, spoil, way, seed) for seed in range(seeds)]
            found[key(spoil, way)] = {
                part: [answer[part] for answer in answers] for part in ("score", "seconds")
            }
    return found


def _ask(few: Problem, spoil: str, way: str, seed: int) -> dict[str, float | None]:
    options: dict[str, Any] = {"loss": "huber"} if way == "huber" else {}
    y, y_test = spoiled(few.y, spoil, seed), few.y_test
    if way == "mean and std":
        options["scale_targets"] = False
        y, y_test = (y - y.mean()) / y.std(), (y_test - y.mean()) / y.std()

    def score() -> float:
        model = omp_mlp.train_parallel(
            few.X, y, _REPLICAS, task="values", seed=seed, workers=1, **options
        )
        return float(model.score(few.X_test, y_test))

    return timed(score)
