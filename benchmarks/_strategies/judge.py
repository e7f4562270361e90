"""What the measurements say: errors of the model, winners, and whether the targets are reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from omp_mlp.costs import CHOICES

Entry = Mapping[str, Any]
CELL = ("name", "n_samples", "batch_size")


def cells(entries: Iterable[Entry]) -> dict[tuple[Any, ...], list[Entry]]:
    """Group the entries of each training."""
    found: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        found.setdefault(tuple(entry[key] for key in CELL), []).append(entry)
    return found


def is_one_thread(entry: Entry) -> bool:
    """Tell the training that the others are compared with."""
    return bool(entry["threads"] == 1)


def candidates(cell: Iterable[Entry]) -> list[Entry]:
    """Return what strategy="auto" chooses from."""
    return [entry for entry in cell if entry["strategy"] in CHOICES]


def fastest(entries: Iterable[Entry], key: str = "seconds") -> Entry:
    """Return the entry with the least time, measured or predicted."""
    return min(entries, key=lambda entry: float(entry[key]))


def speedup(cell: Iterable[Entry], entry: Entry, key: str = "seconds") -> float:
    """Return how many times as fast as one thread an entry is."""
    alone = next(other for other in cell if is_one_thread(other))
    return float(alone[key]) / float(entry[key])


def prediction_errors(entries: Iterable[Entry]) -> np.ndarray:
    """Return |predicted / measured - 1| of each entry."""
    return np.array([abs(entry["predicted"] / entry["seconds"] - 1) for entry in entries])


def summarise(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the figures that the targets are about."""
    threads = max(entry["threads"] for entry in entries)
    grouped = cells(entries)
    ratios = []  # of the chosen one's time to the best one's
    against_one = []  # ... and to one thread's
    for group in grouped.values():
        chosen = next(entry for entry in group if entry["chosen"])
        ratios.append(chosen["seconds"] / fastest(candidates(group))["seconds"])
        against_one.append(1 / speedup(group, chosen))

    def errors(part: Sequence[Entry]) -> dict[str, float]:
        found = prediction_errors(part)
        return {
            "entries": len(part),
            "median": float(np.median(found)),
            "p90": float(np.quantile(found, 0.9)),
        }

    kinds = dict.fromkeys((e["strategy"], e["threads"]) for e in entries)
    return {
        "cells": len(grouped),
        "threads": threads,
        "errors": {
            f"{strategy}, {count}": errors(
                [e for e in entries if (e["strategy"], e["threads"]) == (strategy, count)]
            )
            for strategy, count in kinds
        },
        "errors_of_all": errors(entries),
        "errors_of_choices": errors(candidates(entries)),
        "choice_best": float(np.mean([ratio <= 1 for ratio in ratios])),
        "choice_within_10_percent": float(np.mean([ratio <= 1.1 for ratio in ratios])),
        "choice_median_ratio": median(ratios),
        "choice_worst_ratio": max(ratios),
        "worst_against_one_thread": max(against_one),
    }


def targets(entries: Sequence[Entry], summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Judge what was aimed at; where the grid does not have it, there is no verdict."""
    threads = summary["threads"]

    def best_speedup(name: str, batch_size: int, strategy: str) -> float | None:
        found = [
            speedup(group, entry)
            for (cell_name, _, batch), group in cells(entries).items()
            if (cell_name, batch) == (name, batch_size)
            for entry in group
            if (entry["strategy"], entry["threads"]) == (strategy, 2)
        ]
        return median(found) if found else None

    rows: list[tuple[str, float | None, str, float]] = [
        (
            f"median error of the predictions on {threads} threads",
            summary["errors_of_all"]["median"],
            "at most",
            0.20,
        ),
        (
            "share of cells in which the choice is the best or within 10 %",
            summary["choice_within_10_percent"],
            "at least",
            0.90,
        ),
        (
            "section on 2 threads, 4096-4096-10 at B = 32: times as fast as one (median over N)",
            best_speedup("4096-4096-10", 32, "section"),
            "at least",
            1.5,
        ),
        (
            "synchronous on 2 threads, 784-1024-10 at B = 256: times as fast as one",
            best_speedup("784-1024-10", 256, "synchronous"),
            "at least",
            1.7,
        ),
        (
            "the choice's time over that of one thread, at worst",
            summary["worst_against_one_thread"],
            "at most",
            1.05,
        ),
    ]
    return [
        {
            "target": text,
            "bound": f"{word} {bound:g}",
            "found": value,
            "reached": None
            if value is None
            else (value <= bound if word == "at most" else value >= bound),
        }
        for text, value, word, bound in rows
    ]
