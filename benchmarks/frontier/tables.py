"""The tables of docs/frontier.md and of the terminal, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..common.tables import as_markdown
from .lines import ONCE, PERIODIC, SEQUENTIAL, SINGLE
from .settings import unpacked


def _cell(mean: float | None, sd: float | None) -> str:
    if mean is None:
        return "diverged"
    if mean < -100:
        # R2 of networks that are n times too large.
        return "below -100"
    return f"{mean:.2f}" if sd is None else f"{mean:.2f} ± {sd:.2f}"


def _row(label: str, curve: Mapping[str, Any], threads: Sequence[int]) -> list[str]:
    pairs = zip(curve["mean"], curve["sd"], strict=True)
    cells = dict(zip(curve["threads"], (_cell(*pair) for pair in pairs), strict=True))
    return [label, *(cells.get(n, "-") for n in threads)]


def all_threads(curves: Mapping[str, Mapping[str, Any]]) -> list[int]:
    """Return the numbers of replicas of all curves."""
    return sorted({n for curve in curves.values() for n in curve["threads"]})


def scores(result: Mapping[str, Any]) -> str:
    """Lay out the scores of all lines against n."""
    threads = all_threads(result["periodic"])
    rows = [
        _row(line.label, result[family][line.name], threads)
        for family, lines in (("periodic", PERIODIC), ("once", ONCE))
        for line in lines
        if line.name in result[family]
    ]
    return as_markdown(["%", *(f"n = {n}" for n in threads)], rows)


def once(result: Mapping[str, Any]) -> str:
    """Lay out the methods of one merge, for shared and for independent starts."""
    threads = all_threads(result["once"])
    rows = [
        [start, *_row(line.label, result[family][line.name], threads)]
        for family, start in (("once", "shared"), ("once_independent", "independent"))
        for line in (*ONCE, SINGLE)
        if line.name in result[family]
    ]
    header = ["start", "%", *(f"n = {n}" for n in threads)]
    return as_markdown(header, rows)


def times(result: Mapping[str, Any]) -> str:
    """Lay out epochs, times and speed-ups for the targets."""
    labels = {line.name: line.label for line in (SEQUENTIAL, *PERIODIC)}
    header = ["", "n", "merged every", "merges' share"]
    for target in result["targets"]:
        header += [f"epochs to {target:g} %", "modelled", "speed-up", "taking turns", "measured"]
    rows = []
    for entry in result["entries"]:
        cells = [
            labels[entry["line"]],
            str(entry["threads"]),
            _period(entry["settings"].get("merge_every")),
            f"{entry['cost']['merge_share']:.0%}",
        ]
        for target in result["targets"]:
            reach = entry["reach"][str(target)]
            if reach["epochs"] is None:
                cells += ["-"] * 5
                continue
            cells += [f"{reach['epochs']:.2f}", f"{1e3 * reach['modelled_seconds']:.1f} ms"]
            cells += [
                "-" if (speed := reach[f"{kind}_speed_up"]) is None else f"{speed:.1f}x"
                for kind in ("modelled", "turns", "measured")
            ]
        rows.append(cells)
    return as_markdown(header, rows)


def rounds(found: Mapping[str, Mapping[str, float]]) -> str:
    """Lay out where the time of a round goes."""
    columns = {
        "samples": ("samples of a replica", 1),
        "sequential_seconds": ("sequential, as many samples (µs)", 1e6),
        "replica_seconds": ("slowest replica (µs)", 1e6),
        "slowest_above_mean_percent": ("slowest above mean (%)", 1),
        "merge_seconds": ("merge (µs)", 1e6),
        "taking_turns_seconds": ("slowest, taking turns (µs)", 1e6),
        "epochs_allow_times": ("the epochs allow (times)", 1),
        "left_percent": ("left of that (%)", 1),
    }
    rows = [
        [
            n,
            *(
                f"{row[key] * unit:.3g}" if key in row else "-"
                for key, (_, unit) in columns.items()
            ),
        ]
        for n, row in found.items()
    ]
    header = ["n", *(title for title, _ in columns.values())]
    return as_markdown(header, rows)


def merges(seconds: Mapping[str, Mapping[str, float]]) -> str:
    """Lay out what a merge costs a worker, by method, below a sentence that says so."""
    threads = list(next(iter(seconds.values())))
    rows = [
        [method.replace("_", " "), *(f"{1e6 * by_threads[n]:.0f}" for n in threads)]
        for method, by_threads in seconds.items()
    ]
    header = ["µs of one worker", *(f"n = {n}" for n in threads)]
    about = (
        "What a merge costs one worker when gradient diversity merges as often as it does for the "
        "least time:"
    )
    return f"{about}\n\n{as_markdown(header, rows)}"


def _period(value: object) -> str:
    if isinstance(value, list | tuple):
        return " to ".join(str(part) for part in value)
    return "-" if value is None else str(value)


def changes(about: str, result: Mapping[str, Any]) -> str:
    """Lay out one change at a time."""
    rows = [
        [row["change"], _cell(row["mean"], row["sd"]), f"{row['points']:+.2f}"]
        for row in result["rows"]
    ]
    return as_markdown([f"n = {result['threads']}, {about}", "accuracy %", "points"], rows)


def periods(searched: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out the search for the least time: periods and momenta against epochs, for each n."""
    columns = [(n, epochs) for n in searched for epochs in searched[n]["epochs"]]
    means: dict[tuple[str, str], dict[tuple[str, float], str]] = {}
    for n, table in searched.items():
        for options, by_epochs in unpacked(table):
            row = (_period(options["merge_every"]), str(options["outer_momentum"]))
            for epochs, runs in by_epochs.items():
                finite = [run for run in runs if run is not None]
                mean = sum(finite) / len(runs) if len(finite) == len(runs) else None
                means.setdefault(row, {})[n, epochs or 0.0] = _cell(mean, None)
    return as_markdown(
        ["merged every", "outer momentum", *(f"n = {n}, {e:g} epochs" for n, e in columns)],
        [[*row, *(cells.get(c, "-") for c in columns)] for row, cells in means.items()],
    )


def settings(result: Mapping[str, Any]) -> str:
    """Lay out the settings that the lines were given."""
    lines = (SEQUENTIAL, *PERIODIC)
    labels = {line.name: line.label for line in lines} | {"once": "one merge at the end"}
    names = {
        "learning_rate": "rate",
        "batch_size": "batch",
        "merge_every": "merged every",
        "outer_momentum": "outer momentum",
        "outer_learning_rate": "outer rate",
        "warmup_samples": "warm-up samples",
    }
    rows = [
        [
            labels.get(line, line),
            n,
            *(_period(options.get(key)) for key in names),
            "not tuned" if line in result["not_tuned"] else "validation split",
        ]
        for line, by_threads in result["settings"].items()
        for n, options in by_threads.items()
    ]
    header = ["", "n", *names.values(), "chosen on"]
    return as_markdown(header, rows)


def floors(found: Sequence[Mapping[str, Any]]) -> str:
    """Lay out what was to be reached."""
    verdicts = {True: "reached", False: "not reached", None: "not measured"}
    rows = [
        [
            floor["what"],
            f"{floor['floor']:g} {floor['unit']}",
            "-" if floor["measured"] is None else f"{floor['measured']:.2f}",
            verdicts[floor["reached"]],
        ]
        for floor in found
    ]
    return as_markdown(["to reach", "at least", "measured", ""], rows)


def all_tables(content: Mapping[str, Any]) -> dict[str, str]:
    """Return every block of docs/frontier.md that the results allow, by name."""
    pieces = content["pieces"]
    made: dict[str, str] = {}
    for name, result in pieces.items():
        if name.startswith("score/"):
            made[name.replace("/", "-")] = scores(result)
    if "score/mnist" in pieces:
        made["once-mnist"] = once(pieces["score/mnist"])
        made["settings-mnist"] = settings(pieces["score/mnist"])
    if "time" in pieces:
        made["time"] = times(pieces["time"])
        made["rounds"] = rounds(content["rounds"])
        made["merges"] = merges(pieces["time"]["merge_seconds"])
    if "changes" in pieces:
        made["changes"] = changes("validation split", pieces["changes"])
    if "rules" in pieces:
        about = f"{pieces['rules']['epochs']:g} epochs, validation split"
        made["rules"] = changes(about, pieces["rules"])
    if content["searched"]:
        made["periods"] = periods(content["searched"])
    return {**made, "floors": floors(content["floors"])}
