"""What was found, in tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from ..common.tables import as_markdown
from . import outliers, peers, states
from .ablation import PARTS, WHOLE
from .contestants import ALL, MLP, OURS, PRESETS
from .measure import ALLOWED, mean_ranks, mean_score, spread


def scores(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out a line for each problem: scores, with the spread over the seeds."""
    header = ["data", "rows x inputs", "trivial", *(c.label for c in ALL)]
    rows = []
    for name, problem in found.items():
        cells = [_cell(problem, c.name) for c in ALL]
        size = f"{problem['rows']:,} x {problem['inputs']:,}"
        rows.append([name, size, f"{problem['trivial']:.3f}", *cells])
    rows.append(["**mean**", "", "", *(_mean(found, c.name) for c in ALL)])
    rows.append(
        ["**mean where all were asked**", "", "", *(_mean(_common(found), c.name) for c in ALL)]
    )
    return as_markdown(header, rows, numeric=True)


def _common(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {name: p for name, p in found.items() if all(c.name in p for c in ALL)}


def _mean(found: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """Return the mean score over all problems; "" if it was not asked for all of them."""
    if not found or any(name not in problem for problem in found.values()):
        return ""
    return f"{fmean(mean_score(problem[name]) or 0.0 for problem in found.values()):.4f}"


def _cell(problem: Mapping[str, Any], name: str) -> str:
    if name not in problem:
        return "-"
    score = mean_score(problem[name])
    if score is None:
        return "diverges"
    text = _with_spread(problem[name])
    base = mean_score(problem[MLP.name])
    allowed = next((ALLOWED[c.replicas] for c in OURS if c.name == name), None)
    lost = allowed is not None and base is not None and score < base - allowed
    return f"**{text}**" if lost else text


def seconds(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out the CPU seconds of all problems together, and of the slowest."""
    rows = []
    for contestant in ALL:
        asked = {name: p for name, p in found.items() if contestant.name in p}
        if not asked:
            continue
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
                _loss(about),
            ]
        )
    header = [
        "n",
        "mean difference",
        "lost by more than is allowed",
        "diverged",
        "as good as trivial",
        "changed by scales",
        "loss against searched settings: mean, largest",
    ]
    return as_markdown(header, rows)


def _loss(about: Mapping[str, Any]) -> str:
    if about["mean_loss"] is None:
        return "-"
    largest = f"{about['largest_loss']:+.3f} ({about['largest_loss_on']})"
    return f"{about['mean_loss']:+.4f}, {largest}"


def against_peers(
    found: Mapping[str, Mapping[str, Any]], kept: Mapping[str, Mapping[str, Any]]
) -> str:
    """Lay out a line for each contestant on the first rows of the tables: score, rank, seconds.

    Only tables and peers that were asked for all of them count.
    """
    labels = {OURS[0].name: OURS[0].label, WHOLE: PRESETS[0].label, **peers.LABELS}
    answers = {name: {**kept[name], **of} for name, of in found.items() if name in kept}
    asked = [key for key in labels if answers and all(key in of for of in answers.values())]
    scores = {
        name: {key: mean_score(of[key]) or 0.0 for key in asked} for name, of in answers.items()
    }
    ranks = mean_ranks(scores)
    rows = [
        [
            labels[key],
            f"{fmean(of[key] for of in scores.values()):.4f}",
            f"{ranks[key]:.2f}",
            f"{sum(fmean(of[key]['seconds']) for of in answers.values()):.1f} s",
            str(min(len(of[key]["score"]) for of in answers.values())),
        ]
        for key in asked
    ]
    header = [f"{len(answers)} tables", "mean score", "mean rank", "CPU seconds", "seeds"]
    return as_markdown(header, rows, numeric=True)


def parts(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out a line for each part of the preset: mean score, how it changes, and seconds."""
    header = [f"{len(found)} tables", "mean score", "change", "at best", "at worst", "CPU seconds"]
    rows = []
    for part in PARTS:
        scores = [mean_score(of[part]) or 0.0 for of in found.values()]
        whole = [mean_score(of[WHOLE]) or 0.0 for of in found.values()]
        changes = [score - base for score, base in zip(scores, whole, strict=True)]
        shown = [f"{fmean(changes):+.4f}", f"{max(changes):+.3f}", f"{min(changes):+.3f}"]
        took = sum(fmean(of[part]["seconds"]) for of in found.values())
        rows.append(
            [
                part,
                f"{fmean(scores):.4f}",
                *(["", "", ""] if part == WHOLE else shown),
                f"{took:.1f} s",
            ]
        )
    return as_markdown(header, rows, numeric=True)


def of_states(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out a line for each problem and number of replicas: scores by optimiser and state."""
    pairs = [(optimizer, state) for optimizer in states.OPTIMIZERS for state in states.STATES]
    header = ["data", "n", *(f"{optimizer}, {state}" for optimizer, state in pairs)]
    rows = []
    for replicas in states.REPLICAS:
        keys = [states.key(optimizer, replicas, state) for optimizer, state in pairs]
        for name, of in found.items():
            rows.append([name, f"{replicas}", *(_with_spread(of[key]) for key in keys)])
        means = [fmean(mean_score(of[key]) or 0.0 for of in found.values()) for key in keys]
        rows.append(["**mean**", f"{replicas}", *(f"{mean:.4f}" for mean in means)])
    return as_markdown(header, rows, numeric=True)


def of_outliers(
    found: Mapping[str, Mapping[str, Any]],
    spoils: Sequence[str] = outliers.SPOILS,
    ways: Sequence[str] = outliers.WAYS,
) -> str:
    """Lay out a line for each problem: scores by outliers and by the way to train beside them."""
    pairs = [(spoil, way) for spoil in spoils for way in ways]
    header = ["data", *(f"{spoil}: {way}" for spoil, way in pairs)]
    rows = [
        [name, *(_rounded(of[outliers.key(spoil, way)]) for spoil, way in pairs)]
        for name, of in found.items()
    ]
    return as_markdown(header, rows, numeric=True)


def _rounded(answers: Mapping[str, Any]) -> str:
    score = mean_score(answers)
    if score is None or score > -10:
        return _with_spread(answers)
    return f"{score:.0e}"


def _with_spread(answers: Mapping[str, Any]) -> str:
    score = mean_score(answers)
    return "diverges" if score is None else f"{score:.3f} ± {spread(answers):.3f}"
