"""Ask all contestants for all problems."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from .contestants import ALL, MLP, OURS, ask, trivial
from .problems import Problem

# How far below scikit-learn's scaled MLP the score of n replicas may be.
ALLOWED = {1: 0.01, 8: 0.01, 32: 0.015}
ALLOWED_WHEN_RESCALED = 0.005


def measure(problem: Problem, seeds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Return scores and seconds of each contestant, a list over the seeds."""
    found: dict[str, Any] = {
        "rows": problem.X.shape[0],
        "inputs": problem.X.shape[1],
        "is_regression": problem.is_regression,
        "trivial": trivial(problem),
    }
    for contestant in ALL:
        if contestant.takes(problem):
            say(f"{problem.name}: {contestant.label}")
            found[contestant.name] = _over_seeds(contestant, problem, seeds)
    rescaled = problem.rescaled()
    if rescaled is not None:
        for contestant in OURS:
            say(f"{rescaled.name}: {contestant.label}")
            found[f"{contestant.name}_rescaled"] = _over_seeds(contestant, rescaled, seeds)
    return found


def _over_seeds(contestant: Any, problem: Problem, seeds: int) -> dict[str, Any]:  # noqa: ANN401
    answers = [ask(contestant, problem, seed) for seed in range(seeds)]
    return {key: [answer[key] for answer in answers] for key in ("score", "seconds")}


def mean_score(answers: Mapping[str, Any]) -> float | None:
    """Return the mean over the seeds; None if a training diverged."""
    scores: Sequence[float | None] = answers["score"]
    return None if None in scores else fmean(s for s in scores if s is not None)


def spread(answers: Mapping[str, Any]) -> float:
    """Return the standard deviation over the seeds."""
    scores = [s for s in answers["score"] if s is not None]
    return stdev(scores) if len(scores) > 1 else 0.0


def judge(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Say how many problems each number of replicas loses, and by how much."""
    verdict: dict[str, Any] = {}
    for ours in OURS:
        differences = {}
        changes = {}
        for name, problem in found.items():
            score = mean_score(problem[ours.name])
            base = mean_score(problem[MLP.name])
            assert base is not None
            differences[name] = None if score is None else score - base
            if f"{ours.name}_rescaled" in problem:
                other = mean_score(problem[f"{ours.name}_rescaled"])
                changes[name] = None if other is None or score is None else other - score
        known = [d for d in differences.values() if d is not None]
        verdict[ours.name] = {
            "mean_difference": fmean(known),
            "diverged": [name for name, d in differences.items() if d is None],
            "below": {
                name: d
                for name, d in differences.items()
                if d is not None and d < -ALLOWED[ours.replicas]
            },
            "trivial": [
                name
                for name, problem in found.items()
                if (mean_score(problem[ours.name]) or 0) <= problem["trivial"] + 1e-9
                and (mean_score(problem[MLP.name]) or 0) > problem["trivial"] + 0.02
            ],
            "changed_by_scales": {
                name: change
                for name, change in changes.items()
                if change is None or abs(change) > ALLOWED_WHEN_RESCALED
            },
        }
    return verdict
