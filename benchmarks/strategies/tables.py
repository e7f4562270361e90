"""The tables of the comparison, in Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

from omp_mlp.costs import STRATEGIES

from ..common.tables import as_markdown
from .judge import Entry, groups, is_one_thread, node_or_exemplar, way

SHOWN_SAMPLES = 10_000  # of the table of times
markdown = partial(as_markdown, numeric=True)


def short(entry: Entry) -> str:
    """Name a strategy, or one thread, in few letters."""
    return way(entry).replace("synchronous", "sync.")


def seconds(value: float) -> str:
    """Write a time with three digits and its unit."""
    for unit, factor in (("s", 1), ("ms", 1e3)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{1e6 * value:.3g} µs"


def winners(entries: Sequence[Entry]) -> str:
    """Name the quickest in each cell, by how much, and what the model said."""
    rows = [
        [
            group.name,
            f"{group.n_samples:,}",
            str(group.batch_size),
            seconds(group.alone["seconds"]),
            short(group.fastest()),
            f"{group.speed_up(group.fastest()):.2f}",
            short(group.fastest("predicted")),
            short(group.chosen),
            f"{group.speed_up(group.chosen):.2f}",
        ]
        for group in groups(entries)
    ]
    header = ["network", "N", "B", "one thread", "quickest", "x", "predicted", "chosen", "x"]
    return markdown(header, rows)


def sides(entries: Sequence[Entry]) -> str:
    """Set the speed-ups of sections and of replicas beside each other, medians over the data."""
    found = node_or_exemplar(entries)
    batches = sorted({batch for _, batch in found})

    def cell(side: Mapping[str, Sequence[float]] | None) -> str:
        if side is None:
            return "-"
        node, exemplar = (median(side[strategy]) for strategy in ("section", "replica"))
        shown = [f"{node:.2f}", f"{exemplar:.2f}"]
        winner = 0 if node > exemplar else 1
        shown[winner] = f"**{shown[winner]}**"
        return " / ".join(shown)

    rows = [
        [name, *(cell(found.get((name, batch))) for batch in batches)]
        for name in dict.fromkeys(name for name, _ in found)
    ]
    return markdown(["node / exemplar", *(f"B = {batch}" for batch in batches)], rows)


def times(entries: Sequence[Entry]) -> str:
    """Measured and predicted times of every strategy at one size of the data."""
    threads = max(entry["threads"] for entry in entries)

    def both(entry: Entry | None) -> str:
        if entry is None:
            return "-"
        return f"{seconds(entry['seconds'])} ({seconds(entry['predicted'])})"

    rows = [
        [
            group.name,
            str(group.batch_size),
            both(group.alone),
            *(both(group.of(strategy, threads)) for strategy in STRATEGIES),
        ]
        for group in groups(entries)
        if group.n_samples == SHOWN_SAMPLES
    ]
    return markdown(["network", "B", "one thread", *STRATEGIES], rows)


def accuracies(entries: Sequence[Entry]) -> str:
    """Mean accuracy over the cells in which every strategy trained on all samples."""
    by_way: dict[str, dict[int, list[float]]] = {}
    for group in groups(entries):
        if any(entry["accuracy"] is None for entry in group.entries):
            continue
        for entry in group.entries:
            threads = "" if is_one_thread(entry) else f", {entry['threads']} threads"
            scores = by_way.setdefault(way(entry) + threads, {})
            scores.setdefault(group.n_samples, []).append(entry["accuracy"])
    sizes = sorted({n for scores in by_way.values() for n in scores})
    rows = [
        [
            name,
            *(
                f"{100 * sum(scores[n]) / len(scores[n]):.1f} %" if n in scores else "-"
                for n in sizes
            ),
        ]
        for name, scores in by_way.items()
    ]
    return markdown(["mean accuracy", *(f"N = {n:,}" for n in sizes)], rows)


def errors(summary: Mapping[str, Any]) -> str:
    """Tell how far predictions are from what was measured."""
    named = {
        **summary["errors"],
        "what is chosen from": summary["errors_of_choices"],
        "all": summary["errors_of_all"],
    }
    rows = [
        [
            name,
            str(e["entries"]),
            f"{100 * e['median_error']:.0f} %",
            f"{100 * e['p90_error']:.0f} %",
        ]
        for name, e in named.items()
    ]
    return markdown(["strategy, threads", "entries", "median error", "90th percentile"], rows)


def targets(rows: Sequence[Mapping[str, Any]]) -> str:
    """Set what was found beside what was aimed at."""
    verdicts = {True: "reached", False: "**missed**", None: "not measured"}
    found = [
        [
            row["target"],
            row["bound"],
            "-" if row["found"] is None else f"{row['found']:.3g}",
            verdicts[row["reached"]],
        ]
        for row in rows
    ]
    return markdown(["aim", "bound", "found", ""], found)


def all_tables(content: Mapping[str, Any], entries: Sequence[Entry]) -> dict[str, str]:
    """Return every block of docs/strategies.md, by name."""
    return {
        "targets": targets(content["targets"]),
        "winners": winners(entries),
        "times": times(entries),
        "accuracies": accuracies(entries),
        "errors": errors(content["summary"]),
        "node-or-exemplar": sides(entries),
    }
