"""What a merge had best make of the state of an optimiser: kept, averaged, or begun anew.

The number of epochs and the rate are left to the search, but for MNIST.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import omp_mlp

from .contestants import timed
from .problems import Problem

TABLES = ("abalone", "california", "magic", "pendigits", "satimage", "spambase")
PROBLEMS = (*TABLES, "mnist")
OPTIMIZERS = ("momentum", "adam")
STATES = ("keep", "average", "reset")
REPLICAS = (8, 32)
_EPOCHS_OF_IMAGES = 3


def key(optimizer: str, replicas: int, state: str) -> str:
    """Return the name of a training in the results."""
    return f"{optimizer}, n = {replicas}, {state}"


def measure(problem: Problem, seeds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Return scores and seconds of each optimiser, number of replicas and state."""
    found: dict[str, Any] = {"rows": problem.X.shape[0], "is_regression": problem.is_regression}
    for optimizer in OPTIMIZERS:
        for replicas in REPLICAS:
            say(f"{problem.name}: {optimizer}, n = {replicas}")
            for state in STATES:
                answers = [_ask(problem, optimizer, replicas, state, s) for s in range(seeds)]
                found[key(optimizer, replicas, state)] = {
                    part: [answer[part] for answer in answers] for part in ("score", "seconds")
                }
    return found


def _ask(
    problem: Problem, optimizer: str, replicas: int, state: str, seed: int
) -> dict[str, float | None]:
    epochs = {} if problem.is_table else {"epochs": _EPOCHS_OF_IMAGES}

    def score() -> float:
        model = omp_mlp.train_parallel(
            problem.X, problem.y, replicas,
            optimizer=optimizer, state_at_merge=state, seed=seed, workers=1, **epochs,
        )  # fmt: skip
        return float(model.score(problem.X_test, problem.y_test))

    return timed(score)
