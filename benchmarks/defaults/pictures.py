"""What was found, in pictures."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..common.pictures import COLOURS, caption
from .contestants import MLP, OURS, TREES
from .measure import mean_score

LOOKS = {1: ("blue", "o"), 8: ("orange", "s"), 32: ("red", "^")}
_FLOOR = -0.1  # differences below it are drawn at it


def all_pictures(found: Mapping[str, Mapping[str, Any]], machine: str) -> dict[str, Figure]:
    """Return each picture by the name of its file."""
    return {"defaults": _differences(found, machine), "defaults-time": _times(found, machine)}


def _differences(found: Mapping[str, Mapping[str, Any]], machine: str) -> Figure:
    """Draw the distance to scikit-learn's scaled MLP, a line a problem."""
    fig = Figure(figsize=(8, 2.6 + 0.22 * len(found)))
    ax = fig.subplots()
    names = sorted(found, key=lambda name: -_difference(found[name], OURS[0].name))
    place = np.arange(len(names))
    ax.axvline(0, color=COLOURS["grey"], linewidth=1.2)
    for ours in OURS:
        colour, marker = LOOKS[ours.replicas]
        x = [max(_difference(found[name], ours.name), _FLOOR) for name in names]
        ax.plot(x, place, marker, color=COLOURS[colour], label=f"{ours.replicas} replicas", ms=5.5)
    ax.set_yticks(place, names)
    ax.set_xlabel("accuracy or R², minus that of scikit-learn's MLP on scaled data")
    caption(
        fig,
        "No option set: distance to scikit-learn's MLP",
        "To the right of the line omp_mlp is better. Means over the seeds, on held-out rows.",
        [f"Differences below {_FLOOR:g} and diverged trainings stand at {_FLOOR:g}. {machine}"],
        ax,
    )
    return fig


def _difference(problem: Mapping[str, Any], name: str) -> float:
    score, base = mean_score(problem[name]), mean_score(problem[MLP.name])
    return float("-inf") if score is None or base is None else score - base


def _times(found: Mapping[str, Mapping[str, Any]], machine: str) -> Figure:
    """Draw the mean score against the CPU time of all problems together."""
    fig = Figure(figsize=(7, 4.2))
    ax = fig.subplots()
    common = {name: p for name, p in found.items() if TREES.name in p}
    for contestant, colour, marker in (
        *((ours, *LOOKS[ours.replicas]) for ours in OURS),
        (MLP, "green", "D"),
        (TREES, "purple", "v"),
    ):
        took = sum(fmean(p[contestant.name]["seconds"]) for p in common.values())
        score = fmean(mean_score(p[contestant.name]) or 0.0 for p in common.values())
        ax.plot([took], [score], marker, color=COLOURS[colour], label=contestant.label, ms=9)
    ax.set_xscale("log")
    ax.set_xlabel("CPU seconds for all data together, one core")
    ax.set_ylabel("mean score")
    caption(
        fig,
        "Score against time",
        f"Mean accuracy or R² over {len(common)} sets of data. Up and to the left is better.",
        [machine],
        ax,
    )
    return fig
