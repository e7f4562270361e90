"""What was found, in tables."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from ..common.tables import as_markdown
from .contestants import ALL, MLP, OURS, TREES
from .measure import ALLOWED, mean_score, spread


def scores(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out a line for each problem: scores, with the spread over the seeds."""
    header = ["data", "rows x inputs", "trivial", *(c.label for c in ALL)]
    rows = []
    for name, problem in found.items():
        cells = [_cell(problem, c.name) for c in ALL]
        size = f"{problem['rows']:,} x {problem['inputs']:,}"
        rows.append([name, size, f"{problem['trivial']:.3f}", *cells])
    mean = [
        f"{fmean(mean_score(p[c.name]) or 0.0 for p in found.values()):.4f}" for c in (*OURS, MLP)
    ]
    rows.append(["**mean**", "", "", *mean, ""])
    return as_markdown(header, rows, numeric=True)


def _cell(problem: Mapping[str, Any], name: str) -> str:
    if name not in problem:
        return "-"
    score = mean_score(problem[name])
    if score is None:
        return "diverges"
    text = f"{score:.3f} ± {spread(problem[name]):.3f}"
    base = mean_score(problem[MLP.name])
    allowed = next((ALLOWED[c.replicas] for c in OURS if c.name == name), None)
    lost = allowed is not None and base is not None and score < base - allowed
    return f"**{text}**" if lost else text


def seconds(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out the CPU seconds of all problems together, and of the slowest."""
    rows = []
    for contestant in (*OURS, MLP, TREES):
        asked = {name: p for name, p in found.items() if contestant.name in p}
        took = {name: fmean(p[contestant.name]["seconds"]) for name, p in asked.items()}
        slowest = max(took, key=lambda name: took[name])
        rows.append(
            [contestant.label, f"{sum(took.values()):.0f} s", f"{took[slowest]:.1f} s, {slowest}"]
        )
    return as_markdown(["", "all data, one seed", "the slowest"], rows, numeric=True)


def verdict(judged: Mapping[str, Any]) -> str:
    """Lay out which aims are reached."""
    rows = []
    for ours in OURS:
        about = judged[ours.name]
        below = ", ".join(f"{name} ({d:+.3f})" for name, d in about["below"].items())
        changed = ", ".join(
            f"{name} ({'diverges' if d is None else format(d, '+.3f')})"
            for name, d in about["changed_by_scales"].items()
        )
        rows.append(
            [
                str(ours.replicas),
                f"{about['mean_difference']:+.4f}",
                below or "none",
                ", ".join(about["diverged"]) or "none",
                ", ".join(about["trivial"]) or "none",
                changed or "none",
            ]
        )
    header = [
        "n",
        "mean difference",
        "lost by more than is allowed",
        "diverged",
        "as good as trivial",
        "changed by scales",
    ]
    return as_markdown(header, rows)
