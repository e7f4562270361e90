"""The tables of the comparison, for the terminal and the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import _report as report

from . import row
from .floors import JUDGED
from .settings import TARGETS

Result = Mapping[str, Any]


def _k(value: float) -> str:
    return f"{value / 1e3:,.0f}k" if value >= 99_500 else f"{value / 1e3:,.1f}k"


def _with_range(spread: Result, write: Callable[[float], str]) -> str:
    return f"{write(spread['median'])}\n{write(spread['min'])}..{write(spread['max'])}"


def _cells(
    entries: Iterable[Result], columns: Sequence[Any], column: str, write: Callable[[Result], str]
) -> list[str]:
    """Write one entry a column; a dash where there is none."""
    by_column = {entry[column]: entry for entry in entries}
    return [write(by_column[c]) if c in by_column else "-" for c in columns]


def _grid(
    title: str,
    entries: Sequence[Result],
    line: str,
    column: str,
    write: Callable[[Result], str],
    *,
    name: Callable[[Any], str] = str,
    head: Callable[[Any], str] = str,
) -> str:
    """Lay entries out in lines and columns by two of their keys."""
    columns = list(dict.fromkeys(entry[column] for entry in entries))
    lines = list(dict.fromkeys(entry[line] for entry in entries))
    rows = [
        [name(key), *_cells([e for e in entries if e[line] == key], columns, column, write)]
        for key in lines
    ]
    header = ["", *(head(c) for c in columns)]
    return f"{title}\n{report.text_table(header, rows, numeric=True)}"


def _label(peer: str) -> str:
    return row(peer).label


def _batch(size: int) -> str:
    return f"B = {size}"


def _speed(part: Result) -> Iterable[str]:
    for cores in sorted({entry["cores"] for entry in part["entries"]}):
        on = f"{cores} core" + ("s" if cores > 1 else "")
        entries = [entry for entry in part["entries"] if entry["cores"] == cores]
        ratios = [
            entry for entry in part["ratios"] if entry["cores"] == cores and entry["ours"] == JUDGED
        ]

        def grid(title: str, found: Sequence[Result], write: Callable[[Result], str]) -> str:
            return _grid(title, found, "peer", "batch_size", write, name=_label, head=_batch)

        yield grid(
            f"Samples a second, {on}: median and range",
            entries,
            lambda entry: _with_range(entry["samples_per_second"], _k),
        )
        if ratios:
            yield grid(
                f"omp_mlp (float32) is so many times as fast, {on}: medians, range within rounds",
                ratios,
                lambda entry: (
                    f"{entry['of_medians']:.2f}\n{entry['paired']['min']:.2f}.."
                    f"{entry['paired']['max']:.2f}"
                ),
            )
        yield grid(
            f"Samples trained on in a turn and test accuracy after them (omp_mlp's), {on}",
            entries,
            lambda entry: (
                f"{entry['samples']:,}\n{entry['accuracy_percent']:.1f} "
                f"({entry['omp_mlp_accuracy_percent']:.1f})"
                + ("" if entry["accuracy_agrees"] is not False else " !")
            ),
        )


def _accuracy(part: Result) -> Iterable[str]:
    def write(entry: Result) -> str:
        setting = entry["setting"]
        words = f"{setting['solver']}, B {setting['batch_size']}, {setting['learning_rate']:g}, "
        words += f"{setting['epochs']} ep."
        accuracy = entry["accuracy_percent"]
        missed = "" if entry["reached"] else " MISSED"
        return (
            f"{_with_range(entry['seconds'], lambda s: f'{s:.3f}')} s\n"
            f"{accuracy['mean']:.2f} %{missed}\n{words}"
        )

    if part["entries"]:
        yield _grid(
            f"Seconds to test accuracy, one core, {len(part['seeds'])} seed(s): median, range, "
            "mean accuracy, settings",
            part["entries"],
            "peer",
            "target_percent",
            write,
            name=_label,
            head=lambda target: f"{target:.1f} %",
        )
    absent = [
        _label(peer)
        for peer in dict.fromkeys(entry["peer"] for entry in part["entries"])
        if TARGETS[-1] not in {e["target_percent"] for e in part["entries"] if e["peer"] == peer}
    ]
    if absent and any(entry["target_percent"] == TARGETS[-1] for entry in part["entries"]):
        yield f"{TARGETS[-1]:.1f} % was not reached in the grid of: {', '.join(absent)}"


def _predict(part: Result) -> Iterable[str]:
    for cores in sorted({entry["cores"] for entry in part["entries"]}):
        yield _grid(
            f"Predicting, {cores} core(s): microseconds a call, median and range",
            [entry for entry in part["entries"] if entry["cores"] == cores],
            "peer",
            "rows",
            lambda entry: _with_range(entry["seconds"], lambda s: f"{1e6 * s:,.1f}"),
            name=_label,
            head=lambda rows: f"{rows:,} row" + ("s" if rows > 1 else ""),
        )


def _memory(part: Result) -> Iterable[str]:
    yield _grid(
        "Growth of peak memory in training, MB",
        part["entries"],
        "peer",
        "cores",
        lambda entry: f"{entry['growth_bytes']['median'] / 1e6:.1f}",
        name=_label,
        head=lambda cores: f"{cores} core(s)",
    )


_BOUNDS = {
    "dense_fma": "multiply-adds, zeros too",
    "fma": "multiply-adds",
    "weights_from_l2": "weights from L2",
    "loads_from_l1": "loads from L1",
}


def _known(value: float | None, write: Callable[[float], str]) -> str:
    return "unknown" if value is None else write(value)


def _limits(part: Result) -> Iterable[str]:
    limits = {key: value and value["median"] for key, value in part["limits"].items()}
    cycles, peak = limits["cycles_per_second"], limits["flop_per_second"]

    def a_cycle(name: str) -> str:
        rate = limits[f"{name}_bytes_per_second"]
        return _known(rate and cycles and rate / cycles, "{:.1f}".format)

    yield (
        f"The core: {_known(cycles and cycles / 1e9, '{:.2f}'.format)} GHz, "
        f"{_known(peak and peak / 1e9, '{:.1f}'.format)} GFLOP/s; bytes a "
        f"cycle: {a_cycle('l1_read')} from L1; over an array of the size of W1 "
        f"{a_cycle('w1_read')} read, {a_cycle('w1_update')} read and written"
    )
    header = [
        "",
        "inputs",
        "B",
        "samples/s",
        "GFLOP/s\ndense equiv.",
        "of peak\n%",
        "GFLOP/s\ndone",
        "of peak\n%",
        "weights\nbytes/cycle",
        "bound\nsamples/s",
        "of bound\n%",
        "which bound",
    ]
    rows = [
        [
            _label(entry["peer"]),
            entry["inputs"],
            str(entry["batch_size"]),
            _k(entry["samples_per_second"]["median"]),
            f"{entry['gflops_dense_equivalent']:.0f}",
            _known(entry["percent_of_peak_dense_equivalent"], "{:.0f}".format),
            f"{entry['gflops_done']:.1f}",
            _known(entry["percent_of_peak_done"], "{:.0f}".format),
            _known(entry["weight_bytes_a_cycle"], "{:.1f}".format),
            _known(entry["bounds_samples_per_second"].get(entry["tightest_bound"]), _k),
            _known(entry["percent_of_bound"], "{:.0f}".format),
            _BOUNDS.get(entry["tightest_bound"], "unknown"),
        ]
        for entry in part["entries"]
    ]
    yield f"How near omp_mlp is to them, one core\n{report.text_table(header, rows, numeric=True)}"


def _dense(part: Result) -> Iterable[str]:
    yield _grid(
        "Dense random inputs of the same shape, one core: samples a second, median and range",
        part["entries"],
        "peer",
        "batch_size",
        lambda entry: _with_range(entry["samples_per_second"], _k),
        name=_label,
        head=_batch,
    )


def _threads(part: Result) -> Iterable[str]:
    yield _grid(
        "Two threads against one: samples a second, median and range, accuracy",
        part["entries"],
        "merging",
        "batch_size",
        lambda entry: (
            _with_range(entry["samples_per_second"], _k) + f"\n{entry['accuracy_percent']:.1f} %"
        ),
        name=lambda merging: "one thread" if merging == "none" else f"two, {merging}",
        head=_batch,
    )
    yield _grid(
        "Two threads are so many times as fast as one: of medians, range within rounds",
        part["ratios"],
        "merging",
        "batch_size",
        lambda entry: (
            f"{entry['of_medians']:.2f}\n{entry['paired']['min']:.2f}..{entry['paired']['max']:.2f}"
        ),
        head=_batch,
    )


def _widths(part: Result) -> Iterable[str]:
    yield _grid(
        "Samples a second (and times weights, 10^9) over hidden units",
        part["entries"],
        "hidden",
        "batch_size",
        lambda entry: (
            f"{_k(entry['samples_per_second']['median'])} "
            f"({entry['samples_per_second']['median'] * entry['weights'] / 1e9:5.1f})"
        ),
        head=_batch,
    )


def _density(part: Result) -> Iterable[str]:
    yield _grid(
        "Lists of nonzeros are so many times as fast as dense loops, over the share of nonzeros",
        part["sparse_to_dense"],
        "density",
        "batch_size",
        lambda entry: f"{entry['of_medians']:.2f}",
        head=_batch,
    )
    places = [
        f"B = {size}: {'none' if place is None else f'{100 * place:.0f} %'}"
        for size, place in part["crossovers"].items()
    ]
    yield f"Equally fast at: {', '.join(places)}"


def _kernels(part: Result) -> Iterable[str]:
    yield _grid(
        "Kernel sets, one core: samples a second, median and range",
        part["entries"],
        "kernels",
        "batch_size",
        lambda entry: _with_range(entry["samples_per_second"], _k),
        head=_batch,
    )


def _overhead(part: Result) -> Iterable[str]:
    samples, features = part["shape"]
    calls = [
        f"{entry['threads']} thread(s) {1e6 * entry['seconds']['median']:,.0f} µs"
        for entry in part["entries"]
    ]
    yield f"A call of train_parallel, {samples} samples x {features} features: {', '.join(calls)}"


def floors(judged: Sequence[Result]) -> str:
    """Lay out every floor with what was measured and the verdict."""

    def number(value: float, unit: str) -> str:
        return f"{value:,.0f} {unit}" if unit != "x" else f"{value:.2f}"

    rows = []
    for floor in judged:
        sign, unit = "at most" if floor["at_most"] else "at least", floor["unit"]
        measured = "-" if floor["measured"] is None else number(floor["measured"], unit)
        if floor["low"] is not None:
            measured += f" ({number(floor['low'], unit)}..{number(floor['high'], unit)})"
        bound = f"{sign} {floor['bound']:,g}" + ("" if unit == "x" else f" {unit}")
        others = [
            f"{peer.removeprefix('omp_mlp-')} {number(value, unit)}"
            for peer, value in floor["others"].items()
        ]
        against = floor["against"] or "-"
        rows.append([floor["floor"], bound, measured, ", ".join(others), against, floor["verdict"]])
    header = ["floor", "to reach", "measured (range)", "other rows", "against", "verdict"]
    return f"Floors\n{report.text_table(header, rows)}"


_TABLES: dict[str, Callable[[Result], Iterable[str]]] = {
    "speed": _speed,
    "accuracy": _accuracy,
    "predict": _predict,
    "limits": _limits,
    "memory": _memory,
    "dense": _dense,
    "threads": _threads,
    "widths": _widths,
    "density": _density,
    "kernels": _kernels,
    "overhead": _overhead,
}


# The blocks of docs/benchmarks.md, and the parts whose tables they hold.
BLOCKS = {
    "speed": ("speed",),
    "accuracy": ("accuracy",),
    "rest": ("predict", "memory", "overhead", "threads", "dense", "kernels"),
    "density": ("density",),
    "limits": ("limits",),
    "widths": ("widths",),
}


def blocks(results: Result) -> dict[str, str]:
    """Return the tables for the documentation, by the name of their block."""

    def fenced(texts: Iterable[str]) -> str:
        return "\n\n".join(f"```text\n{text}\n```" for text in texts)

    measured = {
        name: list(_TABLES[name](part))
        for name, part in results["parts"].items()
        if "skipped" not in part
    }
    filled = {
        block: fenced(text for part in parts for text in measured.get(part, ()))
        for block, parts in BLOCKS.items()
    }
    filled["floors"] = fenced([floors(results["floors"])])
    return {name: text for name, text in filled.items() if text}


def all_tables(results: Result) -> Iterable[str]:
    """Yield the tables of all parts that were measured, and that of the floors."""
    for name, part in results["parts"].items():
        if "skipped" in part:
            yield f"{name}: skipped, {part['skipped']}"
        else:
            yield from _TABLES[name](part)
    yield floors(results["floors"])
