"""The tables of the terminal and of docs/frontier.md, from the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import _report as report

from .lines import SEQUENTIAL, once_lines, periodic_lines

Table = tuple[list[str], list[list[str]]]


def _labels() -> dict[str, str]:
    lines = (SEQUENTIAL, *periodic_lines())
    return {line.name: line.label for line in lines}


def _cell(mean: float | None, sd: float | None) -> str:
    if mean is None:
        return "diverged"
    if mean < -100:
        # R2 of networks that are n times too large.
        return "below -100"
    return f"{mean:.2f}" if sd is None else f"{mean:.2f} ± {sd:.2f}"


def _row(label: str, curve: Mapping[str, Any], threads: Sequence[int]) -> list[str]:
    cells = {
        n: _cell(mean, sd)
        for n, mean, sd in zip(curve["threads"], curve["mean"], curve["sd"], strict=True)
    }
    return [label, *(cells.get(n, "-") for n in threads)]


def score_table(result: Mapping[str, Any]) -> Table:
    """Lay out the scores of all lines against n."""
    threads = sorted({n for curve in result["periodic"].values() for n in curve["threads"]})
    rows = [
        _row(line.label, result["periodic"][line.name], threads)
        for line in periodic_lines()
        if line.name in result["periodic"]
    ]
    rows += [
        _row(line.label, result["once"][line.name], threads)
        for line in once_lines()
        if line.name in result["once"]
    ]
    return ["%", *(f"n = {n}" for n in threads)], rows


def once_table(result: Mapping[str, Any]) -> Table:
    """Lay out the methods of one merge, for shared and for independent starts."""
    rows = []
    for key, start in (("once", "shared"), ("once_independent", "independent")):
        curves = result[key]
        threads = sorted({n for curve in curves.values() for n in curve["threads"]})
        names = [(line.name, line.label) for line in once_lines()]
        for name, label in [*names, ("single_replica", "a replica by itself")]:
            if name in curves:
                rows.append([start, *_row(label, curves[name], threads)])
    return ["start", "%", *(f"n = {n}" for n in threads)], rows


def time_table(result: Mapping[str, Any]) -> Table:
    """Lay out epochs, times and speed-ups for the targets."""
    labels = _labels()
    header = ["", "n", "merged every", "merges' share"]
    for target in result["targets"]:
        header += [f"epochs to {target:g} %", "modelled", "speed-up", "taking turns", "measured"]
    rows = []
    for entry in result["entries"]:
        every = entry["settings"].get("merge_every")
        cells = [
            labels[entry["line"]],
            str(entry["threads"]),
            _period(every),
            f"{entry['cost']['merge_share']:.0%}",
        ]
        for target in result["targets"]:
            reach = entry["reach"][str(target)]
            if reach["epochs"] is None:
                cells += ["-"] * 5
                continue
            cells += [
                f"{reach['epochs']:.2f}",
                f"{1e3 * reach['modelled_seconds']:.1f} ms",
                _times(reach["modelled_speed_up"]),
                _times(reach["turns_speed_up"]),
                _times(reach["measured_speed_up"]),
            ]
        rows.append(cells)
    return header, rows


def _period(value: object) -> str:
    if isinstance(value, list | tuple):
        return " to ".join(str(part) for part in value)
    return "-" if value is None else str(value)


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}x"


def change_table(result: Mapping[str, Any]) -> Table:
    """Lay out one change at a time."""
    rows = [
        [row["change"], _cell(row["mean"], row["sd"]), f"{row['difference']:+.2f}"]
        for row in result["rows"]
    ]
    return [f"n = {result['threads']}, validation split", "accuracy %", "points"], rows


def period_table(trials: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """Lay out the search for the least time: periods and momenta against epochs, for each n.

    Parameters
    ----------
    trials : mapping
        By number of replicas, as settings.json has them.
    """
    counts = sorted(int(n) for n in trials)
    columns: list[tuple[int, float]] = sorted(
        {(n, trial["epochs"]) for n in counts for trial in trials[str(n)]}
    )
    means: dict[tuple[str, str], dict[tuple[int, float], str]] = {}
    for n in counts:
        for trial in trials[str(n)]:
            row = (_period(trial["merge_every"]), str(trial["outer_momentum"]))
            scores = trial["scores"]
            mean = None if None in scores else sum(scores) / len(scores)
            means.setdefault(row, {})[n, trial["epochs"]] = _cell(mean, None)
    header = ["merged every", "outer momentum"]
    header += [f"n = {n}, {epochs:g} epochs" for n, epochs in columns]
    return header, [[*row, *(cells.get(c, "-") for c in columns)] for row, cells in means.items()]


def settings_table(result: Mapping[str, Any]) -> Table:
    """Lay out the settings that the lines were given."""
    labels = {**_labels(), "once": "one merge at the end"}
    names = {
        "learning_rate": "rate",
        "batch_size": "batch",
        "merge_every": "merged every",
        "outer_momentum": "outer momentum",
        "outer_learning_rate": "outer rate",
        "warmup_samples": "warm-up samples",
    }
    rows = []
    for line, by_threads in result["settings"].items():
        for n, options in by_threads.items():
            cells = [_period(options.get(key)) for key in names]
            source = "not tuned" if line in result["not_tuned"] else "validation split"
            rows.append([labels.get(line, line), str(n), *cells, source])
    return ["", "n", *names.values(), "chosen on"], rows


def floor_table(floors: Sequence[Mapping[str, Any]]) -> Table:
    """Lay out what was to be reached."""
    rows = []
    for floor in floors:
        measured = floor["measured"]
        verdict = {True: "reached", False: "not reached", None: "not measured"}[floor["reached"]]
        rows.append(
            [
                floor["what"],
                f"{floor['floor']:g} {floor['unit']}",
                "-" if measured is None else f"{measured:.2f}",
                verdict,
            ]
        )
    return ["to reach", "at least", "measured", ""], rows


def as_text(table: Table) -> str:
    """Render for the terminal."""
    return report.text_table(*table, numeric=True)


def as_markdown(table: Table) -> str:
    """Render for a document."""
    header, rows = table
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def all_tables(results: Mapping[str, Any]) -> dict[str, tuple[str, Table]]:
    """Return every table that the results allow: by name, with its heading."""
    parts = results["parts"]
    tables: dict[str, tuple[str, Table]] = {}
    for slug, result in parts.get("score", {}).items():
        tables[f"score-{slug}"] = (result["line"], score_table(result))
        if result["once"]:
            tables[f"once-{slug}"] = (f"One merge: {result['line']}", once_table(result))
        tables[f"settings-{slug}"] = (f"Settings: {result['line']}", settings_table(result))
    if "time" in parts:
        tables["time"] = (
            f"Time to an accuracy: {parts['time']['line']}",
            time_table(parts["time"]),
        )
    if "ablation" in parts:
        tables["ablation"] = ("One change at a time", change_table(parts["ablation"]))
    if results.get("searched"):
        heading = "The search for the least time: gradient diversity, validation accuracy"
        tables["periods"] = (heading, period_table(results["searched"]))
    tables["floors"] = ("What was to be reached", floor_table(results["floors"]))
    return tables
