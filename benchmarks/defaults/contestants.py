"""Who is asked: omp_mlp with and without options, and scikit-learn."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import omp_mlp

from .problems import Problem
from .settings import searched

REPLICAS = (1, 8, 32)
_MOST_ENTRIES = 20_000_000  # that trees look at, and that settings are searched on
_MANY_ROWS = 10_000  # from here on scikit-learn's MLP stops early, or it would take minutes


@dataclass(frozen=True)
class Contestant:
    """Someone who trains on a problem, and answers.

    ``replicas``: of omp_mlp; 0 for scikit-learn's estimators. ``searches``: whether the settings
    are searched on rows of their own.
    """

    name: str
    label: str
    replicas: int = 0
    preset: str | None = None
    searches: bool = False

    @property
    def is_default(self) -> bool:
        """Whether it is omp_mlp with no option set but the number of replicas."""
        return self.replicas > 0 and self.preset is None and not self.searches

    def takes(self, problem: Problem) -> bool:
        """Whether it can be asked, and answers within minutes."""
        if self.preset is not None:
            return problem.is_table
        if not self.searches and self.name != "trees":
            return True
        return not scipy.sparse.issparse(problem.X) and problem.X.size <= _MOST_ENTRIES


OURS = [Contestant(f"omp_{n}", f"omp_mlp, n = {n}", n) for n in REPLICAS]
PRESETS = [
    Contestant(f"tabular_{n}", f'preset="tabular", n = {n}', n, preset="tabular") for n in REPLICAS
]
SEARCHED = [
    Contestant(f"searched_{n}", f"searched settings, n = {n}", n, searches=True) for n in REPLICAS
]
MLP = Contestant("mlp", "scikit-learn's MLP, scaled")
TREES = Contestant("trees", "scikit-learn's boosted trees")
ALL = [*OURS, *PRESETS, *SEARCHED, MLP, TREES]


def ask(contestant: Contestant, problem: Problem, seed: int) -> dict[str, float | None]:
    """Train on one core; return the score on held-out rows, and CPU seconds.

    The score is None if the training diverged.
    """
    return timed(lambda: _score(contestant, problem, seed))


def timed(score: Callable[[], float]) -> dict[str, float | None]:
    """Return a score, or None if the training diverged, and the CPU seconds that it took."""
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn's MLP, that it did not converge
        try:
            found: float | None = score()
        except omp_mlp.TrainingDivergedError:
            found = None
    return {"score": found, "seconds": time.process_time() - begin}


def _score(contestant: Contestant, problem: Problem, seed: int) -> float:
    if contestant.searches:
        model: Any = searched(problem, contestant.replicas, seed)
    elif contestant.replicas:
        model = omp_mlp.train_parallel(
            problem.X, problem.y, contestant.replicas,
            preset=contestant.preset, seed=seed, workers=1,
        )  # fmt: skip
    else:
        model = estimator(contestant, problem, seed).fit(problem.X, problem.y)
    return float(model.score(problem.X_test, problem.y_test))


def estimator(contestant: Contestant, problem: Problem, seed: int) -> Any:  # noqa: ANN401
    """Return scikit-learn's estimator for a problem, which is not fitted yet."""
    regresses = problem.is_regression
    if contestant is TREES:
        trees = HistGradientBoostingRegressor if regresses else HistGradientBoostingClassifier
        return trees(random_state=seed)
    mlp = MLPRegressor if regresses else MLPClassifier
    network = mlp(random_state=seed, early_stopping=problem.X.shape[0] >= _MANY_ROWS)
    scaler = StandardScaler(with_mean=not scipy.sparse.issparse(problem.X))
    scaled = make_pipeline(scaler, network)
    return TransformedTargetRegressor(scaled, transformer=StandardScaler()) if regresses else scaled


def trivial(problem: Problem) -> float:
    """Return the score of the commonest class, or of the mean."""
    if problem.is_regression:
        return 0.0
    return float(np.mean(problem.y_test == np.bincount(problem.y).argmax()))
