"""Numbers and verdicts, for the terminal and docs/paper.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..common import tables
from . import TIMES

Entry = Mapping[str, Any]


def _spread(summary: Entry, sign: str = "") -> str:
    sd = "" if summary["sd"] is None else f" ± {summary['sd']:.1f}"
    return f"{summary['mean']:{sign}.1f}{sd}"


def numbers(results: Entry) -> tuple[list[str], list[list[str]]]:
    """Return header and rows: times and accuracies for each number of threads."""
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
    return header, rows


def claims(results: Entry) -> tuple[list[str], list[list[str]]]:
    """Return header and rows: the note's claims, what was measured, and the verdicts."""
    header = ["the note says", f"measured here, {results['data']['name']}", "verdict"]
    rows = [[c["claim"], c["measured"], c["verdict"]] for c in results["claims"]]
    return header, rows


def shared_start(results: Entry) -> tuple[list[str], list[list[str]]]:
    """Return header and rows: merges of replicas that started from the same weights."""
    header = ["one start for all threads", "n", "average, %", "sum, %"]
    rows = [
        [entry["setting"], str(entry["threads"]), _spread(entry["average"]), _spread(entry["sum"])]
        for entry in results["pieces"]["shared_start"]
    ]
    return header, rows


def identity(accuracy: Sequence[Entry], test_samples: int) -> str:
    """Say whether the sum answers as the average with amplified hidden layers."""
    worst = max(max(entry["differing_answers"]) for entry in accuracy)
    return (
        f"sum = average with the hidden layers times n: {worst} of {test_samples:,} answers differ "
        "at most."
    )


def blocks(results: Entry) -> dict[str, str]:
    """Return the blocks of docs/paper.md."""
    return {
        "claims": tables.as_markdown(*claims(results)),
        "shared-start": tables.as_markdown(*shared_start(results)),
        "numbers": tables.as_markdown(*numbers(results), numeric=True),
    }
