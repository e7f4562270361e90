"""What is learned beside values of y that are far too large, judged on clean rows."""

from __future__ import annotations

from collections.abc import Callable
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
    few = problem.limited(ROWS)
    found: dict[str, Any] = {"rows": len(few.y), "is_regression": few.is_regression}
    for spoil in SPOILS:
        say(f"{few.name}: {spoil}")
        for way in WAYS:
            answers = [_ask(few, spoiled(few.y, spoil, seed), way, seed) for seed in range(seeds)]
            found[key(spoil, way)] = {
                part: [answer[part] for answer in answers] for part in ("score", "seconds")
            }
    return found


def _ask(few: Problem, y: np.ndarray, way: str, seed: int) -> dict[str, float | None]:
    options: dict[str, Any] = {"loss": "huber"} if way == "huber" else {}
    y_test = few.y_test
    if way == "mean and std":
        options["scale_targets"] = False
        y, y_test = (y - y.mean()) / y.std(), (y_test - y.mean()) / y.std()

    def score() -> float:
        model = omp_mlp.train_parallel(
            few.X, y, _REPLICAS, task="values", seed=seed, workers=1, **options
        )
        return float(model.score(few.X_test, y_test))

    return timed(score)
