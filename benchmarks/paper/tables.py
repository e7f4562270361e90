"""The blocks of docs/paper.md: numbers and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..common.tables import as_markdown
from . import TIMES

Entry = Mapping[str, Any]


def _spread(summary: Entry, sign: str = "") -> str:
    sd = "" if summary["sd"] is None else f" ± {summary['sd']:.1f}"
    return f"{summary['mean']:{sign}.1f}{sd}"


def numbers(results: Entry) -> str:
    """Lay out times and accuracies for each number of threads."""
    header = [
        "threads n",
        *("ms, n system threads", "ms, workers = cores", "ms, modelled for n cores"),
        *("average (Eq. 1), %", "sum (Eq. 2), %", "sum - average, points"),
        *("mean single replica, %", "logit ensemble, %"),
    ]
    pieces = results["pieces"]
    rows = [
        [
            str(scores["threads"]),
            *(f"{1e3 * seconds[curve]['median']:.1f}" for curve in TIMES),
            *(_spread(scores[name]) for name in ("average", "sum")),
            _spread(scores["gain"], "+"),
            *(_spread(scores[name]) for name in ("single_replica", "logit_ensemble")),
        ]
        for scores, seconds in zip(pieces["accuracy"], pieces["time"]["seconds"], strict=True)
    ]
    return as_markdown(header, rows, numeric=True)


def claims(results: Entry) -> str:
    """Lay out the note's claims, what was measured, and the verdicts."""
    header = ["the note says", f"measured here, {results['data']['name']}", "verdict"]
    return as_markdown(
        header, [[c["claim"], c["measured"], c["verdict"]] for c in results["claims"]]
    )


def shared_start(results: Entry) -> str:
    """Lay out merges of replicas that started from the same weights."""
    rows = [
        [entry["setting"], str(entry["threads"]), _spread(entry["average"]), _spread(entry["sum"])]
        for entry in results["pieces"]["shared_start"]
    ]
    return as_markdown(["one start for all threads", "n", "average, %", "sum, %"], rows)


def blocks(results: Entry) -> dict[str, str]:
    """Return the blocks of docs/paper.md."""
    return {
        "claims": claims(results),
        "shared-start": shared_start(results),
        "numbers": numbers(results),
    }
