"""The pictures of the comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator, StrMethodFormatter

from ..common.data import line
from ..common.pictures import COLOURS, caption, curve_look, log2_axis
from . import row
from .settings import TARGETS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.ticker import Formatter

Result = Mapping[str, Any]

# Of every row: a colour a library, a line a way to use it.
LOOKS = {
    "omp_mlp": curve_look("blue", "o"),
    "omp_mlp-bytes": curve_look("blue", "s", "dashed"),
    "omp_mlp-csr": curve_look("blue", "^", "dotted"),
    "omp_mlp-periodic": curve_look("sky", "D"),
    "omp_mlp-bf16": curve_look("sky", "o", "dashed"),
    "omp_mlp-skip": curve_look("black", "o", "dotted"),
    "torch-nn": curve_look("red", "o"),
    "torch-manual": curve_look("red", "s", "dashed"),
    "torch-bf16": curve_look("red", "^", "dotted"),
    "sklearn": curve_look("orange", "o"),
    "sklearn-csr": curve_look("orange", "^", "dotted"),
    "numpy": curve_look("green", "o"),
    "numpy-blas": curve_look("green", "s", "dashed"),
    "jax": curve_look("purple", "o"),
}
# A row that is new in the table and has no look yet.
_NO_LOOK = curve_look("grey", "P")
_SERIES = [
    curve_look(*look) for look in (("blue", "o"), ("orange", "s"), ("green", "^"), ("purple", "D"))
]


def _log_ticks(axis: Axis, formatter: Formatter) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(formatter)


def _curve(
    ax: Axes, xs: Sequence[float], ranges: Sequence[Result], label: str, look: Mapping[str, Any]
) -> None:
    """Draw medians as a line, and ranges as bars."""
    ax.plot(xs, [found["median"] for found in ranges], label=label, **look)
    low, high = ([found[end] for found in ranges] for end in ("min", "max"))
    ax.vlines(xs, low, high, color=look["color"], linewidth=1)


def _curves_by_size(
    ax: Axes, entries: Sequence[Result], x: Callable[[Result], float], y: Callable[[Result], Result]
) -> None:
    """Draw a curve for each batch size."""
    for number, size in enumerate(dict.fromkeys(entry["batch_size"] for entry in entries)):
        mine = [entry for entry in entries if entry["batch_size"] == size]
        label = f"batch size {size}"
        _curve(ax, [x(e) for e in mine], [y(e) for e in mine], label, _SERIES[number])


def speed(result: Result, data: str, notes: Sequence[str]) -> Figure:
    """Draw samples a second over the batch size, a panel for each number of cores."""
    entries = result["entries"]
    cores = sorted({entry["cores"] for entry in entries})
    # A legend of two columns is wider than one panel.
    fig = Figure(figsize=(max(7.6, 5.2 * len(cores) + 0.6), 6.6))
    panels = fig.subplots(1, len(cores), sharey=True, squeeze=False)[0]
    for ax, count in zip(panels, cores, strict=True):
        here = [entry for entry in entries if entry["cores"] == count]
        for peer in dict.fromkeys(entry["peer"] for entry in here):
            mine = [entry for entry in here if entry["peer"] == peer]
            sizes = [entry["batch_size"] for entry in mine]
            rates, look = [e["samples_per_second"] for e in mine], LOOKS.get(peer, _NO_LOOK)
            _curve(ax, sizes, rates, row(peer).label, look)
        log2_axis(ax, "x", sorted({entry["batch_size"] for entry in here}))
        ax.set_yscale("log")
        _log_ticks(ax.yaxis, EngFormatter(sep=""))
        ax.set_xlabel("batch size")
        ax.set_title(f"{count} core" + ("s" if count > 1 else ""), fontsize=10.5)
    panels[0].set_ylabel("samples a second")
    subtitle = f"{data}. 784-128-10, plain SGD, the same for all. Medians and ranges."
    caption(fig, "Training speed", subtitle, notes, legend=panels[-1])
    return fig


def accuracy(result: Result, data: str, notes: Sequence[str]) -> Figure:
    """Draw seconds to each accuracy as bars; a hatched bar did not reach it."""
    entries = result["entries"]
    peers = list(dict.fromkeys(entry["peer"] for entry in entries))
    fig = Figure(figsize=(8.6, 1.9 + 0.62 * max(1, len(peers))))
    ax = fig.subplots()
    height = 0.8 / len(TARGETS)
    for number, target in enumerate(TARGETS):
        here = [entry for entry in entries if entry["target_percent"] == target]
        if not here:
            continue
        places = [peers.index(entry["peer"]) + (number - 1) * height for entry in here]
        middle = [entry["seconds"]["median"] for entry in here]
        bars = ax.barh(
            places, middle, height * 0.92, color=_SERIES[number]["color"], label=f"{target:.1f} %"
        )
        for bar, entry, place in zip(bars, here, places, strict=True):
            seconds = entry["seconds"]
            ax.plot([seconds["min"], seconds["max"]], [place] * 2, color=COLOURS["black"], lw=1)
            words = f" {seconds['median']:.2g} s"
            if not entry["reached"]:
                bar.set_hatch("///")
                bar.set_alpha(0.45)
                words += f" ({entry['accuracy_percent']['mean']:.2f} %)"
            ax.text(seconds["max"], place, words, va="center", fontsize=8)
    ax.set_yticks(range(len(peers)), [row(peer).label for peer in peers])
    ax.invert_yaxis()
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.set_xlim(low, high * 2)
    _log_ticks(ax.xaxis, StrMethodFormatter("{x:g}"))
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("seconds of training, one core")
    title = "Time to test accuracy, each peer's best settings"
    subtitle = f"{data}. 784-128-10. {result['seeds']} seed(s): median and range."
    caption(fig, title, subtitle, notes, legend=ax)
    return fig


def widths(result: Result, data: str, notes: Sequence[str]) -> Figure:
    """Draw samples a second times weights over the number of hidden units."""
    fig = Figure(figsize=(7.6, 5.2))
    ax = fig.subplots()
    # At equal distances: 127, 128 and 129 are what the picture is about.
    hidden = sorted({entry["hidden"] for entry in result["entries"]})

    def scaled(entry: Result) -> Result:
        rates = entry["samples_per_second"]
        return {key: rates[key] * entry["weights"] / 1e9 for key in ("median", "min", "max")}

    _curves_by_size(ax, result["entries"], lambda entry: hidden.index(entry["hidden"]), scaled)
    ax.set_xticks(range(len(hidden)), [str(units) for units in hidden])
    ax.set_ylim(bottom=0)
    ax.set_xlabel("hidden units")
    ax.set_ylabel("samples a second x weights (10⁹)")
    subtitle = f"{data}. omp_mlp, 784-h-10, one core. Medians and ranges."
    caption(fig, "Speed over the width of the hidden layer", subtitle, notes, legend=ax)
    return fig


def density(result: Result, data: str, notes: Sequence[str]) -> Figure:
    """Draw how much faster lists of nonzeros are than dense loops, over the share of nonzeros."""
    del data
    fig = Figure(figsize=(7.6, 5.2))
    ax = fig.subplots()
    _curves_by_size(
        *(ax, result["ratios"]), lambda entry: 100 * entry["density"], lambda entry: entry["ratio"]
    )
    sizes = dict.fromkeys(str(entry["batch_size"]) for entry in result["ratios"])
    for curve, size in zip(ax.lines, sizes, strict=True):
        share = result["crossover_shares"][size]
        where = "lists always faster" if share is None else f"equal at {100 * share:.0f} %"
        curve.set_label(f"{curve.get_label()}: {where}")
    ax.axhline(1, color=COLOURS["grey"], linewidth=1)
    ax.set_yscale("log", base=2)
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.set_xlim(0, 102)
    ax.set_xlabel("nonzero inputs (%)")
    ax.set_ylabel("speed, lists of nonzeros / dense loops")
    subtitle = "Random inputs, 784-128-10, one core. Medians and ranges of the ratio in a round."
    caption(fig, "First layer: lists or dense loops", subtitle, notes, legend=ax)
    return fig


DRAWN = {"speed": speed, "accuracy": accuracy, "widths": widths, "density": density}


def all_pictures(content: Mapping[str, Any], notes: Sequence[str]) -> dict[str, Figure]:
    """Draw the parts that have a picture, by the names of their files."""
    return {
        f"peers-{name}-{content['data']['slug']}": draw(part, line(content["data"]), notes)
        for name, draw in DRAWN.items()
        if (part := content["pieces"].get(name, {})).get("entries")
    }
