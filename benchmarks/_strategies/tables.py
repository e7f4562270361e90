"""The tables of the comparison, in Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from . import judge

Entry = Mapping[str, Any]
BEGIN = "<!-- measured: begin -->"
END = "<!-- measured: end -->"
SHORT = {
    "replica": "replica",
    "section": "section",
    "synchronous": "sync.",
    "hogwild": "hogwild",
    "pattern": "pattern",
}


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table, all columns but the first to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def way(entry: Entry) -> str:
    """Name a strategy and its threads."""
    return "one thread" if judge.is_one_thread(entry) else SHORT[entry["strategy"]]


def seconds(value: float) -> str:
    """Write a time with two or three digits and its unit."""
    for unit, factor in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1 or unit == "µs":
            return f"{value * factor:.3g} {unit}"
    raise AssertionError


def winners(entries: Sequence[Entry]) -> str:
    """Name the quickest in each cell, by how much, and what the model said."""
    rows = []
    for (name, n_samples, batch), group in judge.cells(entries).items():
        best = judge.fastest(judge.candidates(group))
        predicted = judge.fastest(judge.candidates(group), "predicted")
        chosen = next(entry for entry in group if entry["chosen"])
        rows.append(
            [
                name,
                f"{n_samples:,}",
                str(batch),
                seconds(next(e for e in group if judge.is_one_thread(e))["seconds"]),
                way(best),
                f"{judge.speedup(group, best):.2f}",
                way(predicted),
                way(chosen),
                f"{judge.speedup(group, chosen):.2f}",
            ]
        )
    header = ["network", "N", "B", "one thread", "quickest", "x", "predicted", "chosen", "x"]
    return markdown(header, rows)


def node_or_exemplar(entries: Sequence[Entry]) -> str:
    """Set the speed-ups of sections and of replicas beside each other, medians over the data."""
    threads = max(entry["threads"] for entry in entries)
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for (name, _, batch), group in judge.cells(entries).items():
        for entry in group:
            if entry["threads"] == threads and entry["strategy"] in ("section", "replica"):
                of_cell = found.setdefault((name, batch), {})
                of_cell.setdefault(entry["strategy"], []).append(judge.speedup(group, entry))
    batches = sorted({batch for _, batch in found})
    rows = []
    for name in dict.fromkeys(name for name, _ in found):
        row = [name]
        for batch in batches:
            speedups = found.get((name, batch))
            if speedups is None:
                row.append("-")
                continue
            node, exemplar = (median(speedups[strategy]) for strategy in ("section", "replica"))
            row.append(
                f"**{node:.2f}** / {exemplar:.2f}" if node > exemplar
                else f"{node:.2f} / **{exemplar:.2f}**"
            )  # fmt: skip
        rows.append(row)
    return markdown(["node / exemplar", *(f"B = {batch}" for batch in batches)], rows)


def node_wins(entries: Sequence[Entry]) -> tuple[int, int]:
    """Count the cells in which sections are quicker than replicas, and all cells."""
    threads = max(entry["threads"] for entry in entries)
    wins = []
    for group in judge.cells(entries).values():
        times = {e["strategy"]: e["seconds"] for e in group if e["threads"] == threads}
        wins.append(times["section"] < times["replica"])
    return sum(wins), len(wins)


def times(entries: Sequence[Entry], n_samples: int) -> str:
    """Measured and predicted times of every strategy at one size of the data."""
    rows = []
    threads = max(entry["threads"] for entry in entries)
    shown = ["replica", "section", "synchronous", "hogwild", "pattern"]
    for (name, n, batch), group in judge.cells(entries).items():
        if n != n_samples:
            continue
        alone = next(entry for entry in group if judge.is_one_thread(entry))
        row = [name, str(batch), f"{seconds(alone['seconds'])} ({seconds(alone['predicted'])})"]
        for strategy in shown:
            found = [e for e in group if e["strategy"] == strategy and e["threads"] == threads > 1]
            row += [f"{seconds(e['seconds'])} ({seconds(e['predicted'])})" for e in found] or ["-"]
        rows.append(row)
    return markdown(["network", "B", "one thread", *shown], rows)


def accuracies(entries: Sequence[Entry]) -> str:
    """Median accuracy over the cells in which every strategy trained on all samples."""
    by_way: dict[tuple[str, int], dict[int, list[float]]] = {}
    for group in judge.cells(entries).values():
        if any(entry["accuracy"] is None for entry in group):
            continue
        for entry in group:
            scores = by_way.setdefault((entry["strategy"], entry["threads"]), {})
            scores.setdefault(entry["n_samples"], []).append(entry["accuracy"])
    sizes = sorted({n for scores in by_way.values() for n in scores})
    rows = [
        [
            "one thread" if threads == 1 else f"{strategy}, {threads} threads",
            *(
                f"{100 * sum(scores[n]) / len(scores[n]):.1f} %" if n in scores else "-"
                for n in sizes
            ),
        ]
        for (strategy, threads), scores in by_way.items()
    ]
    return markdown(["mean accuracy", *(f"N = {n:,}" for n in sizes)], rows)


def errors(summary: Mapping[str, Any]) -> str:
    """Tell how far predictions are from what was measured."""
    rows = [
        [name, str(e["entries"]), f"{100 * e['median']:.0f} %", f"{100 * e['p90']:.0f} %"]
        for name, e in [
            *summary["errors"].items(),
            ("what is chosen from", summary["errors_of_choices"]),
            ("all", summary["errors_of_all"]),
        ]
    ]
    return markdown(["strategy, threads", "entries", "median error", "90th percentile"], rows)


def targets(rows: Sequence[Mapping[str, Any]]) -> str:
    """Set what was found beside what was aimed at."""
    verdicts = {True: "reached", False: "**missed**", None: "not measured"}
    return markdown(
        ["aim", "bound", "found", ""],
        [
            [
                row["target"],
                row["bound"],
                "-" if row["found"] is None else f"{row['found']:.3g}",
                verdicts[row["reached"]],
            ]
            for row in rows
        ],
    )


def document(text: str, block: str) -> str:
    """Put a block between the marks of a document, in the place of what was there."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"the document must have {BEGIN} and {END} once each")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{block.strip()}\n\n{END}{after}"
