"""The estimators with no parameter but ``random_state``, in place of scikit-learn's by name alone.

    make defaults ARGS=--estimators

X is as it is: nobody scales it, neither for omp_mlp nor for scikit-learn.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from statistics import fmean, median
from typing import Any

from sklearn.neural_network import MLPClassifier, MLPRegressor

import omp_mlp

from ..common.tables import as_markdown
from .contestants import timed
from .problems import Problem

OURS, THEIRS = "omp_mlp", "scikit_learn"
_MANY_ROWS = 5_000  # from here on scikit-learn takes minutes, and is asked once
_TIMED = "mnist"  # but for the data whose times are quoted
CLASSES: Mapping[str, tuple[type, type]] = {
    OURS: (omp_mlp.OmpMLPClassifier, omp_mlp.OmpMLPRegressor),
    THEIRS: (MLPClassifier, MLPRegressor),
}


def measure(problem: Problem, seeds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Return scores and CPU seconds of both, which are asked in turn, a list over the seeds."""
    rows = problem.X.shape[0]
    count = 1 if rows >= _MANY_ROWS and problem.name != _TIMED else seeds
    found: dict[str, Any] = {name: {"score": [], "seconds": []} for name in CLASSES}
    for seed in range(count):
        for name, kinds in CLASSES.items():
            kind = kinds[problem.is_regression]
            say(f"{problem.name}: {kind.__name__}(random_state={seed})")
            answer = timed(functools.partial(_score, kind, problem, seed))
            for key, value in answer.items():
                found[name][key].append(value)
    return {
        "rows": rows,
        "inputs": problem.X.shape[1],
        "is_regression": problem.is_regression,
        **found,
        "times_as_fast": median(found[THEIRS]["seconds"]) / median(found[OURS]["seconds"]),
    }


def _score(kind: type, problem: Problem, seed: int) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 200 epochs were not enough
        estimator = kind(random_state=seed).fit(problem.X, problem.y)
    return float(estimator.score(problem.X_test, problem.y_test))


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out a line for each problem: scores, their difference, and the ratio of the times."""
    rows = []
    for name, problem in found.items():
        ours, theirs = (fmean(problem[of]["score"]) for of in (OURS, THEIRS))
        rows.append(
            [
                name,
                "R²" if problem["is_regression"] else "accuracy",
                f"{ours:.3f}",
                f"{theirs:.3f}",
                f"{ours - theirs:+.3f}",
                f"{median(problem[OURS]['seconds']):.2f} s",
                f"{median(problem[THEIRS]['seconds']):.2f} s",
                f"{problem['times_as_fast']:.1f}",
                str(len(problem[OURS]["score"])),
            ]
        )
    header = ["data", "score", "omp_mlp", "scikit-learn", "difference", "omp_mlp, CPU"]
    return as_markdown([*header, "scikit-learn, CPU", "times as fast", "seeds"], rows, numeric=True)


def verdict(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Say over how many problems the score is at least as good, and how much is lost at most."""
    lost = {
        name: fmean(problem[OURS]["score"]) - fmean(problem[THEIRS]["score"])
        for name, problem in found.items()
    }
    better = sum(difference >= 0 for difference in lost.values())
    classes = [lost[name] for name, problem in found.items() if not problem["is_regression"]]
    worse = ", ".join(
        f"{name} ({difference:+.3f})"
        for name, difference in sorted(lost.items(), key=lambda one: one[1])
        if difference < 0
    )
    return (
        f"At least as good on {better} of {len(lost)} sets; the mean difference in accuracy is "
        f"{fmean(classes):+.3f} over {len(classes)} sets with classes. Less good on: "
        f"{worse or 'none'}."
    )
