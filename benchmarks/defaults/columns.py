"""What is learned from X with values that are far too large, judged on clean rows and on such."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import omp_mlp

from . import outliers
from .contestants import MLP, estimator, timed
from .problems import Problem

PROBLEMS = (
    "abalone", "california", "diamonds", "german", "magic", "phoneme", "satimage", "weightlifting",
    "winequality_white", "diabetes", "friedman1",
)  # fmt: skip
SPOILS = (
    "clean",
    "one value of each column is 1e9",
    "0.5 % times 1e4, held-out rows too",
)
WAYS = ("mean and std", "auto", "limits in training alone", "scikit-learn's MLP")
_SHARE = 0.005
_REPLICAS = 2


def spoiled(X: np.ndarray, spoil: str, seed: int) -> np.ndarray:
    """Return X with far values in columns that have more than two kinds of values."""
    X, rng = X.astype(np.float64), np.random.default_rng(seed)
    columns = [j for j in range(X.shape[1]) if len(np.unique(X[:, j])) > 2]
    if spoil.startswith("one value"):
        X[rng.integers(len(X), size=len(columns)), columns] = 1e9
    elif spoil != "clean":
        is_far = np.zeros(X.shape, dtype=bool)
        is_far[:, columns] = rng.random((len(X), len(columns))) < _SHARE
        X[is_far] *= 1e4
    return X


def measure(problem: Problem, seeds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Return scores and seconds of each kind of far values and each way to train beside them."""
    return outliers.measure_ways(problem, seeds, say, SPOILS, WAYS, _ask)


def _ask(few: Problem, spoil: str, way: str, seed: int) -> dict[str, float | None]:
    X, X_test = spoiled(few.X, spoil, seed), few.X_test
    if spoil == SPOILS[-1]:
        X_test = spoiled(X_test, spoil, seed + 1000)
    given = Problem(few.name, X, few.y, X_test, few.y_test)
    return timed(lambda: _score(given, way, seed))


def _score(given: Problem, way: str, seed: int) -> float:
    X, y, X_test, y_test = given.X, given.y, given.X_test, given.y_test
    if way == "scikit-learn's MLP":
        return float(estimator(MLP, given, seed).fit(X, y).score(X_test, y_test))
    options: dict[str, Any] = {}
    if way == "mean and std":
        options["scale_inputs"] = False
        mean, std = X.mean(axis=0), X.std(axis=0)
        std[std == 0] = 1.0
        X, X_test = (X - mean) / std, (X_test - mean) / std
    elif way == "limits in training alone":
        # A training without epochs only finds the scaling.
        scaling = omp_mlp.train_parallel(X, y, 1, epochs=0).input_scaling
        if scaling is not None and scaling.limits is not None:
            X = np.clip(X, *scaling.limits)
    model = omp_mlp.train_parallel(X, y, _REPLICAS, seed=seed, workers=1, **options)
    return float(model.score(X_test, y_test))
