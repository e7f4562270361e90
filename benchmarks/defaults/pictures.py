"""What was found, in pictures."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from ..common.pictures import COLOURS, caption
from .contestants import MLP, OURS, PRESETS, SEARCHED, TREES
from .measure import mean_score

LOOKS = {1: ("blue", "o"), 8: ("orange", "s"), 32: ("red", "^")}
_FLOOR = -0.1  # differences below it are drawn at it


def all_pictures(found: Mapping[str, Mapping[str, Any]], machine: str) -> dict[str, Figure]:
    """Return each picture by the name of its file."""
    drawn = {
        "defaults": _differences(found, machine, MLP.name, "scikit-learn's MLP on scaled data")
    }
    settings = SEARCHED[0].name
    if searched := {name: p for name, p in found.items() if settings in p}:
        best = "one replica with the best settings"
        drawn["defaults-searched"] = _differences(searched, machine, settings, best)
    return {**drawn, "defaults-time": _times(found, machine)}


def _differences(
    found: Mapping[str, Mapping[str, Any]], machine: str, base: str, called: str
) -> Figure:
    """Draw the distance to the scores of ``base``, a line a problem."""
    fig = Figure(figsize=(8, 2.6 + 0.22 * len(found)))
    ax = fig.subplots()
    names = sorted(found, key=lambda name: -_difference(found[name], OURS[0].name, base))
    place = np.arange(len(names))
    ax.axvline(0, color=COLOURS["grey"], linewidth=1.2)
    looks = [(ours, *LOOKS[ours.replicas], ours.label) for ours in OURS]
    looks.append((PRESETS[0], "green", "D", PRESETS[0].label))
    for ours, colour, marker, label in looks:
        shown = [k for k, name in enumerate(names) if ours.name in found[name]]
        x = [max(_difference(found[names[k]], ours.name, base), _FLOOR) for k in shown]
        ax.plot(x, place[shown], marker, color=COLOURS[colour], label=label, ms=5.5)
    ax.set_yticks(place, names)
    ax.set_xlabel(f"accuracy or R², minus that of {called}")
    caption(
        fig,
        f"Distance to {called}",
        f"To the right of the line, the score is above that of {called}. Means over the seeds.",
        [f"Differences below {_FLOOR:g} and diverged trainings stand at {_FLOOR:g}. {machine}"],
        ax,
    )
    return fig


def _difference(problem: Mapping[str, Any], name: str, base: str) -> float:
    score, other = mean_score(problem[name]), mean_score(problem[base])
    return float("-inf") if score is None or other is None else score - other


def _times(found: Mapping[str, Mapping[str, Any]], machine: str) -> Figure:
    """Draw the mean score against the CPU time of all problems together."""
    fig = Figure(figsize=(7, 4.2))
    ax = fig.subplots()
    shown = [
        *((ours, *LOOKS[ours.replicas]) for ours in OURS),
        (PRESETS[0], "sky", "P"),
        (SEARCHED[0], "black", "*"),
        (MLP, "green", "D"),
        (TREES, "purple", "v"),
    ]
    asked = {contestant.name for contestant, _, _ in shown}
    asked &= {name for problem in found.values() for name in problem}
    common = {name: p for name, p in found.items() if asked <= set(p)}
    for contestant, colour, marker in shown if common else []:
        if contestant.name not in asked:
            continue
        took = sum(fmean(p[contestant.name]["seconds"]) for p in common.values())
        score = fmean(mean_score(p[contestant.name]) or 0.0 for p in common.values())
        ax.plot([took], [score], marker, color=COLOURS[colour], label=contestant.label, ms=9)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.margins(y=0.12)
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
