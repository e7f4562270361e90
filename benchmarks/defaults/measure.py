"""Ask all contestants for all problems."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from . import peers
from .ablation import PARTS, ask_part
from .contestants import ALL, MLP, OURS, SEARCHED, ask, trivial
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
            # Searched settings are many trainings.
            count = 1 if contestant.searches else seeds
            found[contestant.name] = _over_seeds(contestant, problem, count)
    rescaled = problem.rescaled()
    if rescaled is not None:
        for contestant in OURS:
            say(f"{rescaled.name}: {contestant.label}")
            found[f"{contestant.name}_rescaled"] = _over_seeds(contestant, rescaled, seeds)
    return found


def _over_seeds(contestant: Any, problem: Problem, seeds: int) -> dict[str, Any]:  # noqa: ANN401
    return _listed([ask(contestant, problem, seed) for seed in range(seeds)])


def _listed(answers: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    return {key: [answer[key] for answer in answers] for key in ("score", "seconds")}


def measure_parts(problem: Problem, seeds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the same of no option and of each part of the preset, on the first rows of a table."""
    few = problem.limited(peers.ROWS)
    found: dict[str, Any] = {"rows": few.X.shape[0], "is_regression": problem.is_regression}
    say(f"{problem.name}, {peers.ROWS:,} rows: {OURS[0].label}")
    found[OURS[0].name] = _over_seeds(OURS[0], few, seeds)
    for part in PARTS:
        say(f"{problem.name}, {peers.ROWS:,} rows: {part}")
        found[part] = _listed([ask_part(part, few, seed) for seed in range(seeds)])
    return found


def measure_peer(
    peer: str, problem: Problem, seeds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Return scores and seconds of a peer on the first rows, a list over the seeds."""
    say(f"{problem.name}, {peers.ROWS:,} rows: {peers.LABELS[peer]}")
    few = problem.limited(peers.ROWS)
    return _listed([peers.ask(peer, few, seed) for seed in range(seeds)])


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
            **_against_searched(ours.replicas, found),
            "changed_by_scales": {
                name: change
                for name, change in changes.items()
                if change is None or abs(change) > ALLOWED_WHEN_RESCALED
            },
        }
    return verdict


def _against_searched(
    replicas: int, found: Mapping[str, Mapping[str, Any]]
) -> dict[str, float | str | None]:
    """Return the mean loss and the largest against the settings that were searched."""
    searched = next(one.name for one in SEARCHED if one.replicas == replicas)
    ours = next(one.name for one in OURS if one.replicas == replicas)
    losses = {}
    for name, problem in found.items():
        if searched in problem:
            best, score = mean_score(problem[searched]), mean_score(problem[ours])
            losses[name] = None if best is None or score is None else best - score
    known = {name: loss for name, loss in losses.items() if loss is not None}
    if not known:
        return {"mean_loss": None, "largest_loss": None, "largest_loss_on": None}
    worst = max(known, key=lambda name: known[name])
    return {
        "mean_loss": fmean(known.values()),
        "largest_loss": known[worst],
        "largest_loss_on": worst,
    }


def mean_ranks(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the mean rank of each contestant, 1 for the best, from scores by problem and name.

    Those that are equal share the mean of their places.
    """
    places: dict[str, list[float]] = {}
    for of_problem in scores.values():
        for name, score in of_problem.items():
            better = sum(other > score for other in of_problem.values())
            equal = sum(other == score for other in of_problem.values())
            places.setdefault(name, []).append(better + (equal + 1) / 2)
    return {name: fmean(of_name) for name, of_name in places.items()}
