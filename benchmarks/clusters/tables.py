"""What the workers of a cluster did, in a table, and whether the goals are met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..common import tables
from .measure import WAYS

LEAST_SPEEDUP = 1.5
MOST_LOSS = 0.2  # points


def table(found: Mapping[str, Any]) -> str:
    """Lay out a line for each way of training."""
    header = ["", "seconds", "times one worker", "test accuracy, %", "merges"]
    rows = [
        [
            way,
            f"{of['seconds']['median']:.2f}",
            f"{of['speedup']['median']:.2f} ({of['speedup']['min']:.2f} to "
            f"{of['speedup']['max']:.2f})",
            f"{100 * of['score']['mean']:.2f}",
            f"{of['merges']['min']:.0f} to {of['merges']['max']:.0f}",
        ]
        for way, of in found.items()
    ]
    return tables.as_markdown(header, rows)


def disturbance(passes: Sequence[Mapping[str, Any]]) -> str:
    """Say in a sentence what other programs took of the cores, where the system tells it."""
    taken = [found.get("others") for found in passes]
    if None in taken:
        return "Whether other programs took the cores is not known."
    return f"Other programs took {max(taken):.2f} of a core at most, on the mean of a pass."


def verdict(found: Mapping[str, Any]) -> str:
    """Say in a sentence whether two workers are soon and accurate enough."""
    one, two = (found[way] for way in WAYS[:2])
    speedup = two["speedup"]["median"]
    loss = 100 * (one["score"]["mean"] - two["score"]["mean"])
    is_met = speedup >= LEAST_SPEEDUP and loss <= MOST_LOSS
    return (
        f"The goal of {LEAST_SPEEDUP:g} times one worker and at most {MOST_LOSS:g} points less is "
        f"{'met' if is_met else 'missed'}: two workers are {speedup:.2f} times as fast, and "
        f"{abs(loss):.2f} points {'less' if loss > 0 else 'more'} accurate."
    )
