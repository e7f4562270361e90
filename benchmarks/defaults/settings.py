"""Settings that are searched: what a user would find who tries a few on rows of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

import omp_mlp

from .problems import Problem

_ADAM = {"optimizer": "adam", "batch_size": 64, "hidden_layer_sizes": (256, 256)}
# One or two changes each, from what is small and quick to what is large and slow. Those with an
# optimiser of their own have numbers for all that "auto" would decide.
CANDIDATES: list[dict[str, Any]] = [
    {"epochs": 20},
    {"epochs": 80},
    {"epochs": 20, "hidden_layer_sizes": (64, 64)},
    {"epochs": 20, "dropout": 0.2},
    {**_ADAM, "epochs": 10, "learning_rate": 0.001},
    {**_ADAM, "epochs": 40, "learning_rate": 0.001},
    {**_ADAM, "epochs": 40, "learning_rate": 0.003, "dropout": 0.2},
    {"preset": "tabular"},
]
_SHARE = 5  # a fifth of the rows is held out


def searched(problem: Problem, replicas: int, seed: int) -> omp_mlp.Model:
    """Return a network with the candidate settings that score best on a fifth of the rows.

    It trains on all rows, and is a new one: nothing is chosen by the rows that are held out of the
    whole problem.
    """
    rows = np.random.default_rng(seed).permutation(len(problem.y))
    held, kept = np.split(rows, [len(rows) // _SHARE])

    def score(settings: dict[str, Any]) -> float:
        try:
            model = _train(problem.X[kept], problem.y[kept], replicas, seed, settings)
        except omp_mlp.TrainingDivergedError:
            return -np.inf
        return float(model.score(problem.X[held], problem.y[held]))

    best = max((c for c in CANDIDATES if problem.is_table or "preset" not in c), key=score)
    return _train(problem.X, problem.y, replicas, seed, best)


def _train(X: Any, y: Any, replicas: int, seed: int, settings: dict[str, Any]) -> Any:  # noqa: ANN401
    return omp_mlp.train_parallel(X, y, replicas, seed=seed, workers=1, **settings)
