"""The tables of the comparison, for the terminal and the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from ..common.tables import as_text
from . import row
from .judge import JUDGED
from .settings import TARGETS

Result = Mapping[str, Any]
Write = Callable[[Result], str]


def _k(value: float) -> str:
    return f"{value / 1e3:,.0f}k" if value >= 99_500 else f"{value / 1e3:,.1f}k"


def _range(write: Callable[[float], str], key: str) -> Write:
    """Return what writes the median of an entry's key, and its range below."""

    def text(entry: Result) -> str:
        found = entry[key]
        return f"{write(found['median'])}\n{write(found['min'])}..{write(found['max'])}"

    return text


_RATES = _range(_k, "samples_per_second")
_RATIOS = _range("{:.2f}".format, "ratio")


def _label(peer: str) -> str:
    return row(peer).label


def _batch(size: int) -> str:
    return f"B = {size}"


def _cores(count: int) -> str:
    return f"{count} core" + ("s" if count > 1 else "")


def _known(value: float | None, write: Callable[[float], str]) -> str:
    return "unknown" if value is None else write(value)


def _grid(
    title: str,
    entries: Sequence[Result],
    line: str,
    column: str,
    write: Write,
    *,
    name: Callable[[Any], str] = str,
    head: Callable[[Any], str] = _batch,
) -> str:
    """Lay entries out in lines and columns by two of their keys; a dash where there is none."""
    cells = {(entry[line], entry[column]): write(entry) for entry in entries}
    columns = list(dict.fromkeys(entry[column] for entry in entries))
    lines = list(dict.fromkeys(entry[line] for entry in entries))
    rows = [[name(key), *(cells.get((key, place), "-") for place in columns)] for key in lines]
    return f"{title}\n{as_text(['', *map(head, columns)], rows, numeric=True)}"


_by_peer = partial(_grid, line="peer", name=_label)


def _by_cores(part: Result, key: str = "entries") -> Iterable[tuple[int, list[Result]]]:
    for cores in sorted({entry["cores"] for entry in part["entries"]}):
        yield cores, [entry for entry in part[key] if entry["cores"] == cores]


def _speed(part: Result) -> Iterable[str]:
    def accuracy(entry: Result) -> str:
        return (
            f"{entry['samples']:,}\n{entry['accuracy_percent']:.1f} "
            f"({entry['omp_mlp_accuracy_percent']:.1f})"
            + (" !" if entry["accuracy_agrees"] is False else "")
        )

    ratios = dict(_by_cores(part, "ratios"))
    for cores, entries in _by_cores(part):
        on = _cores(cores)
        title = f"Samples a second, {on}: median and range"
        yield _by_peer(title, entries, column="batch_size", write=_RATES)
        judged = [entry for entry in ratios[cores] if entry["ours"] == JUDGED]
        if judged:
            title = f"omp_mlp (float32) is so many times as fast, {on}: median, range within rounds"
            yield _by_peer(title, judged, column="batch_size", write=_RATIOS)
        title = f"Samples trained on in a turn and test accuracy after them (omp_mlp's), {on}"
        yield _by_peer(title, entries, column="batch_size", write=accuracy)


def _accuracy(part: Result) -> Iterable[str]:
    seconds = _range("{:.3f}".format, "seconds")

    def write(entry: Result) -> str:
        setting = entry["setting"]
        missed = "" if entry["reached"] else " MISSED"
        return (
            f"{seconds(entry)} s\n{entry['accuracy_percent']['mean']:.2f} %{missed}\n"
            f"{setting['solver']}, B {setting['batch_size']}, {setting['learning_rate']:g}, "
            f"{setting['epochs']} ep."
        )

    entries = part["entries"]
    if not entries:
        return
    yield _by_peer(
        f"Seconds to test accuracy, one core, {part['seeds']} seed(s): median, range, "
        "mean accuracy, settings",
        entries,
        column="target_percent",
        write=write,
        head="{:.1f} %".format,
    )
    last = {entry["peer"] for entry in entries if entry["target_percent"] == TARGETS[-1]}
    absent = [_label(entry["peer"]) for entry in entries if entry["peer"] not in last]
    if last and absent:
        names = ", ".join(dict.fromkeys(absent))
        yield f"{TARGETS[-1]:.1f} % was not reached in the grid of: {names}"


def _predict(part: Result) -> Iterable[str]:
    for cores, entries in _by_cores(part):
        yield _by_peer(
            f"Predicting, {_cores(cores)}: microseconds a call, median and range",
            entries,
            column="rows",
            write=_range(lambda seconds: f"{1e6 * seconds:,.1f}", "seconds"),
            head=lambda rows: f"{rows:,} row" + ("s" if rows > 1 else ""),
        )


def _memory(part: Result) -> Iterable[str]:
    yield _by_peer(
        "Growth of peak memory in training, MB",
        part["entries"],
        column="cores",
        write=lambda entry: f"{entry['growth_bytes']['median'] / 1e6:.1f}",
        head=_cores,
    )


_BOUNDS = {
    "dense_fma": "multiply-adds, zeros too",
    "fma": "multiply-adds",
    "weights_from_l2": "weights from L2",
    "loads_from_l1": "loads from L1",
    None: "unknown",
}


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
        *("", "inputs", "B", "samples/s", "GFLOP/s\ndense equiv.", "of peak\n%", "GFLOP/s\ndone"),
        *("of peak\n%", "weights\nbytes/cycle", "bound\nsamples/s", "of bound\n%", "which bound"),
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
            _BOUNDS[entry["tightest_bound"]],
        ]
        for entry in part["entries"]
    ]
    yield f"How near omp_mlp is to them, one core\n{as_text(header, rows, numeric=True)}"


def _dense(part: Result) -> Iterable[str]:
    title = "Dense random inputs of the same shape, one core: samples a second, median and range"
    yield _by_peer(title, part["entries"], column="batch_size", write=_RATES)


_SOLVERS = {"sgd": "plain", "momentum": "Nesterov's momentum", "adam": "Adam"}


def _optimizers(part: Result) -> Iterable[str]:
    def named(entry: Result, *peers: str) -> Result:
        return {**entry, "line": ", ".join([_SOLVERS[entry["solver"]], *map(_label, peers)])}

    yield _grid(
        "Optimisers, one core: samples a second, median and range, accuracy",
        [named(entry, entry["peer"]) for entry in part["entries"]],
        "line",
        "batch_size",
        lambda entry: f"{_RATES(entry)}\n{entry['accuracy_percent']:.1f} %",
    )
    for title, ratios in (
        (
            "omp_mlp is so many times as fast as others: median, range within rounds",
            [named(entry, entry["ours"], entry["peer"]) for entry in part["ratios"]],
        ),
        (
            "So many times as fast as plain descent: median, range within rounds",
            [named(entry, entry["peer"]) for entry in part["plain_ratios"]],
        ),
    ):
        if ratios:
            yield _grid(title, ratios, "line", "batch_size", _RATIOS)


def _threads(part: Result) -> Iterable[str]:
    yield _grid(
        "Two threads against one: samples a second, median and range, accuracy",
        part["entries"],
        "merging",
        "batch_size",
        lambda entry: f"{_RATES(entry)}\n{entry['accuracy_percent']:.1f} %",
        name=lambda merging: "one thread" if merging == "none" else f"two, {merging}",
    )
    title = "Two threads are so many times as fast as one: median, range within rounds"
    yield _grid(title, part["ratios"], "merging", "batch_size", _RATIOS)


def _widths(part: Result) -> Iterable[str]:
    def write(entry: Result) -> str:
        rate = entry["samples_per_second"]["median"]
        return f"{_k(rate)} ({rate * entry['weights'] / 1e9:5.1f})"

    title = "Samples a second (and times weights, 10^9) over hidden units"
    yield _grid(title, part["entries"], "hidden", "batch_size", write)


def _density(part: Result) -> Iterable[str]:
    yield _grid(
        "Lists of nonzeros are so many times as fast as dense loops, over the share of nonzeros",
        part["ratios"],
        "density",
        "batch_size",
        lambda entry: f"{entry['ratio']['median']:.2f}",
    )
    places = [
        f"B = {size}: {'none' if share is None else f'{100 * share:.0f} %'}"
        for size, share in part["crossover_shares"].items()
    ]
    yield f"Equally fast at: {', '.join(places)}"


def _kernels(part: Result) -> Iterable[str]:
    title = "Kernel sets, one core: samples a second, median and range"
    yield _grid(title, part["entries"], "kernels", "batch_size", _RATES)


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
    return f"Floors\n{as_text(header, rows)}"


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
    "optimizers": _optimizers,
    "overhead": _overhead,
}


# The blocks of docs/benchmarks.md, and the parts whose tables they hold.
BLOCKS = {
    "speed": ("speed",),
    "accuracy": ("accuracy",),
    "rest": ("predict", "memory", "overhead", "threads", "dense", "optimizers", "kernels"),
    "density": ("density",),
    "limits": ("limits",),
    "widths": ("widths",),
}


def part_tables(name: str, part: Result) -> list[str]:
    """Return the tables of a part; why there are none, if it could not be measured."""
    if "skipped" in part:
        return [f"{name}: skipped, {part['skipped']}"]
    return list(_TABLES[name](part))


def blocks(results: Result) -> dict[str, str]:
    """Return the tables for the documentation, by the name of their block."""

    def fenced(texts: Iterable[str]) -> str:
        return "\n\n".join(f"```text\n{text}\n```" for text in texts)

    parts = results["pieces"]
    filled = {
        block: fenced(
            text for name in names if name in parts for text in part_tables(name, parts[name])
        )
        for block, names in BLOCKS.items()
        if parts.keys() & set(names)
    }
    return {**filled, "floors": fenced([floors(results["floors"])])}
