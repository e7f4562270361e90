"""What the measurements say: errors of the model, winners, and whether the targets are reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from omp_mlp.costs import CHOICES

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """The entries of one training, by every strategy."""

    name: str  # of the network and its inputs
    n_samples: int
    batch_size: int
    entries: list[Entry]

    @property
    def alone(self) -> Entry:
        """One thread, which the others are compared with."""
        return next(filter(is_one_thread, self.entries))

    @property
    def chosen(self) -> Entry:
        """What strategy="auto" would do."""
        return next(entry for entry in self.entries if entry["chosen"])

    def of(self, strategy: str, threads: int) -> Entry | None:
        """Return the entry of a strategy; None if it was not measured."""
        wanted = (strategy, threads)
        return next((e for e in self.entries if (e["strategy"], e["threads"]) == wanted), None)

    def fastest(self, key: str = "seconds") -> Entry:
        """Return the least time, measured or predicted, of what strategy="auto" chooses from."""
        return min(candidates(self.entries), key=lambda entry: float(entry[key]))

    def speed_up(self, entry: Entry, key: str = "seconds") -> float:
        """Return how many times as fast as one thread an entry is."""
        return float(self.alone[key]) / float(entry[key])


def groups(entries: Iterable[Entry]) -> list[Group]:
    """Group the entries of each training."""
    found: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        cell = (entry["name"], entry["n_samples"], entry["batch_size"])
        found.setdefault(cell, []).append(entry)
    return [Group(*cell, part) for cell, part in found.items()]


def is_one_thread(entry: Entry) -> bool:
    """Tell the training that the others are compared with."""
    return bool(entry["threads"] == 1)


def way(entry: Entry) -> str:
    """Name the strategy, or the training that the others are compared with."""
    return "one thread" if is_one_thread(entry) else str(entry["strategy"])


def candidates(entries: Iterable[Entry]) -> list[Entry]:
    """Return what strategy="auto" chooses from."""
    return [entry for entry in entries if entry["strategy"] in CHOICES]


def _errors(part: Sequence[Entry]) -> dict[str, float]:
    """Summarise |predicted / measured - 1|."""
    found = np.array([abs(entry["predicted"] / entry["seconds"] - 1) for entry in part])
    return {
        "entries": len(part),
        "median_error": float(np.median(found)),
        "p90_error": float(np.quantile(found, 0.9)),
    }


def summarise(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the figures that the document quotes."""
    threads = max(entry["threads"] for entry in entries)
    grouped = groups(entries)
    # Times of what is chosen, over those of the best and of one thread.
    ratios = [group.chosen["seconds"] / group.fastest()["seconds"] for group in grouped]
    against_one = [1 / group.speed_up(group.chosen) for group in grouped]
    kinds = dict.fromkeys((entry["strategy"], entry["threads"]) for entry in entries)
    sides = node_or_exemplar(entries)
    return {
        "cells": len(grouped),
        "threads": threads,
        "entries": len(entries),
        "scaled_entries": sum(entry["share"] < 1 for entry in entries),
        "errors": {
            f"{strategy}, {count}": _errors(
                [e for e in entries if (e["strategy"], e["threads"]) == (strategy, count)]
            )
            for strategy, count in kinds
        },
        "errors_of_all": _errors(entries),
        "errors_of_choices": _errors(candidates(entries)),
        "choice_best_share": float(np.mean([ratio <= 1 for ratio in ratios])),
        "choice_within_10_percent_share": float(np.mean([ratio <= 1.1 for ratio in ratios])),
        "choice_median_ratio": median(ratios),
        "choice_worst_ratio": max(ratios),
        "worst_against_one_thread_ratio": max(against_one),
        "node_wins": sum(
            node > exemplar
            for side in sides.values()
            for node, exemplar in zip(side["section"], side["replica"], strict=True)
        ),
        # Medians over the sizes of the data.
        "node_or_exemplar_speed_ups": {
            f"{name}, B = {batch}": {s: median(speeds) for s, speeds in side.items()}
            for (name, batch), side in sides.items()
        },
    }


def node_or_exemplar(
    entries: Sequence[Entry], key: str = "seconds"
) -> dict[tuple[str, int], dict[str, list[float]]]:
    """Return the speed-ups of sections and of replicas, by network and batch size.

    There is one for each size of the data.
    """
    threads = max(entry["threads"] for entry in entries)
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for group in groups(entries):
        side = found.setdefault((group.name, group.batch_size), {"section": [], "replica": []})
        for strategy, speeds in side.items():
            if (entry := group.of(strategy, threads)) is not None:
                speeds.append(group.speed_up(entry, key))
    return found


def targets(entries: Sequence[Entry], summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Judge what was aimed at; where the grid does not have it, there is no verdict."""

    def speed_up(name: str, batch_size: int, strategy: str) -> float | None:
        found = [
            group.speed_up(entry)
            for group in groups(entries)
            if (group.name, group.batch_size) == (name, batch_size)
            and (entry := group.of(strategy, 2)) is not None
        ]
        return median(found) if found else None

    aims: dict[str, tuple[float | None, str, float]] = {
        f"median error of the predictions on {summary['threads']} threads": (
            summary["errors_of_all"]["median_error"], "at most", 0.20,
        ),
        "share of cells in which the choice is the best or within 10 %": (
            summary["choice_within_10_percent_share"], "at least", 0.90,
        ),
        "section on 2 threads, 4096-4096-10 at B = 32: times as fast as one (median over N)": (
            speed_up("4096-4096-10", 32, "section"), "at least", 1.5,
        ),
        "synchronous on 2 threads, 784-1024-10 at B = 256: times as fast as one": (
            speed_up("784-1024-10", 256, "synchronous"), "at least", 1.7,
        ),
        "the choice's time over that of one thread, at worst": (
            summary["worst_against_one_thread_ratio"], "at most", 1.05,
        ),
    }  # fmt: skip
    rows = []
    for text, (found, word, bound) in aims.items():
        reached = None
        if found is not None:
            reached = found <= bound if word == "at most" else found >= bound
        rows.append(
            {"target": text, "bound": f"{word} {bound:g}", "found": found, "reached": reached}
        )
    return rows
