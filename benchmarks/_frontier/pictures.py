"""The pictures: accuracy against n, speed-up at equal accuracy, one merge, the other problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

import _report as report

from .lines import DOTTED, Line, once_lines, periodic_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = report.COLOURS
SINGLE = Line("single_replica", "a replica by itself", "average", "grey", ".", DOTTED)
# Of equal shards the weighted average is the average; it is in the tables.
HIDDEN = ("weighted_average",)
# Points below the best that the closer look shows.
CLOSE = 1.6
# Points below the best that are shown of the other problems: a regression may be anywhere.
MOST = 25.0


def _log_axis(axis: Any, values: Sequence[float]) -> None:  # noqa: ANN401 - XAxis or YAxis
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _replica_axis(ax: Axes, threads: Sequence[int]) -> None:
    ax.set_xscale("log", base=2)
    _log_axis(ax.xaxis, threads)
    ax.set_xlabel("replicas n")


def _draw(ax: Axes, line: Line, curve: Mapping[str, Any], *, thick: bool = False) -> None:
    colour = COLOURS[line.colour]
    mean = np.array(curve["mean"], dtype=np.float64)
    if any(sd is not None for sd in curve["sd"]):
        sd = np.array(curve["sd"], dtype=np.float64)
        ax.fill_between(
            curve["threads"], mean - sd, mean + sd, color=colour, alpha=0.13, linewidth=0
        )
    ax.plot(
        curve["threads"],
        mean,
        color=colour,
        marker=line.marker,
        linestyle=line.dash,
        linewidth=2.6 if thick else 1.6,
        markersize=7 if thick else 5.5,
        markeredgecolor="white",
        markeredgewidth=0.6,
        label=line.label,
        zorder=3 if thick else 2,
    )


def _means(curve: Mapping[str, Any]) -> np.ndarray:
    """Means of a curve, without those of trainings that diverged."""
    mean = np.array(curve["mean"], dtype=np.float64)
    return mean[np.isfinite(mean)]


def _all_threads(curves: Mapping[str, Mapping[str, Any]]) -> list[int]:
    return sorted({n for curve in curves.values() for n in curve["threads"]})


def _spread_note(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"One seed ({seeds[0]}): no spread."
    return f"Mean over {len(seeds)} seeds; bands: one standard deviation."


def draw_scores(result: Mapping[str, Any], notes: Sequence[str]) -> Figure:
    """Draw the test accuracy of every line against n, and a closer look at the top."""
    fig = Figure(figsize=(9.8, 8.4))
    whole, close = fig.subplots(1, 2)
    threads = _all_threads(result["periodic"])
    top = result["sequential"]["mean"][0]
    for line in periodic_lines():
        if line.name in result["periodic"]:
            for ax in (whole, close):
                _draw(
                    ax,
                    line,
                    result["periodic"][line.name],
                    thick=line.name == "gradient_diversity",
                )
    for line in once_lines():
        if line.name in result["once"] and line.name not in HIDDEN:
            for ax in (whole, close):
                _draw(ax, line, result["once"][line.name])
    best = max(_means(curve).max() for curve in result["periodic"].values())
    close.set_ylim(best - CLOSE, best + 0.12 * CLOSE)
    for ax in (whole, close):
        ax.axhline(
            top,
            color=COLOURS["black"],
            linestyle=DOTTED,
            linewidth=1.1,
            zorder=1,
            label="sequential, the same number of samples",
        )
        _replica_axis(ax, threads)
        ax.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
    whole.set_ylabel("test accuracy (%)")
    whole.set_title("all", loc="left", fontsize=10)
    close.set_title("a closer look at the top", loc="left", fontsize=10)
    title = "Accuracy against the number of replicas"
    report.caption(fig, title, result["line"], [_spread_note(result["seeds"]), *notes], whole)
    return fig


def draw_speed_ups(result: Mapping[str, Any], notes: Sequence[str]) -> Figure:
    """Draw the speed-up at equal accuracy against n: modelled for n cores, and measured."""
    targets = result["targets"]
    fig = Figure(figsize=(10.2, 6.0))
    panels = fig.subplots(1, len(targets), sharey=True)
    threads = sorted({entry["threads"] for entry in result["entries"]})
    lines = {line.name: line for line in periodic_lines() if line.timed}
    for ax, target in zip(panels, targets, strict=True):
        ends = [1, threads[-1]]
        ax.plot(
            ends,
            ends,
            color=COLOURS["grey"],
            linestyle=(0, (1, 2)),
            linewidth=1.3,
            zorder=1,
            label="ideal: n times as fast",
        )
        for name, line in lines.items():
            for kind, dash, size in (("modelled", "solid", 6.5), ("measured", (0, (4, 1.6)), 4.0)):
                points = [(1, 1.0)] + [
                    (entry["threads"], speed)
                    for entry in result["entries"]
                    if entry["line"] == name
                    and (speed := entry["reach"][str(target)][f"{kind}_speed_up"]) is not None
                ]
                if len(points) == 1:
                    points = []
                colour = COLOURS[line.colour]
                ax.plot(
                    [n for n, _ in points],
                    [s for _, s in points],
                    color=colour,
                    marker=line.marker,
                    linestyle=dash,
                    markersize=size,
                    markeredgecolor="white",
                    markeredgewidth=0.6,
                    linewidth=2.0 if kind == "modelled" else 1.3,
                    label=f"{line.label}, {kind}",
                )
        ax.set_yscale("log", base=2)
        _replica_axis(ax, threads)
        ax.set_title(f"to {target:g} %", loc="left", fontsize=10)
    _log_axis(panels[0].yaxis, [0.25, 0.5, *threads])
    panels[0].set_ylim(0.4, threads[-1] * 1.25)
    panels[0].set_ylabel("speed-up over one replica (times)")
    title = "Speed-up at equal test accuracy"
    report.caption(fig, title, result["line"], notes, panels[0])
    return fig


def draw_once(result: Mapping[str, Any], notes: Sequence[str]) -> Figure:
    """Draw the methods of one merge side by side, for shared and for independent starts."""
    fig = Figure(figsize=(9.8, 6.9))
    panels = fig.subplots(1, 2)
    for ax, key, title in zip(
        panels,
        ("once", "once_independent"),
        ("all replicas from one start", "every replica from a start of its own"),
        strict=True,
    ):
        curves = result[key]
        for line in (*once_lines(), SINGLE):
            if line.name in curves and line.name not in HIDDEN:
                _draw(ax, line, curves[line.name])
        ax.axhline(
            result["sequential"]["mean"][0],
            color=COLOURS["black"],
            linestyle=DOTTED,
            linewidth=1.1,
            zorder=1,
            label="sequential, the same number of samples",
        )
        _replica_axis(ax, _all_threads(curves))
        ax.set_title(title, loc="left", fontsize=10)
    panels[0].set_ylabel(f"test {_measure(result)}")
    title = "One merge at the end"
    report.caption(fig, title, result["line"], [_spread_note(result["seeds"]), *notes], panels[0])
    return fig


def _measure(result: Mapping[str, Any]) -> str:
    measure = result["problem"]["measure"]
    return "accuracy (%)" if measure == "accuracy" else f"{measure} (%)"


def draw_others(results: Mapping[str, Mapping[str, Any]], notes: Sequence[str]) -> Figure:
    """Draw the score against n for the problems that settings were not first made for."""
    fig = Figure(figsize=(10.2, 6.2))
    panels = np.atleast_1d(fig.subplots(1, len(results)))
    for ax, result in zip(panels, results.values(), strict=True):
        for line in periodic_lines():
            if line.name in result["periodic"]:
                curve = result["periodic"][line.name]
                _draw(ax, line, curve, thick=line.name == "gradient_diversity")
        for line in once_lines():
            if line.name in result["once"] and line.name in ("average", "sum"):
                _draw(ax, line, result["once"][line.name])
        top = result["sequential"]["mean"][0]
        ax.axhline(
            top,
            color=COLOURS["black"],
            linestyle=DOTTED,
            linewidth=1.1,
            zorder=1,
            label="sequential, the same number of samples",
        )
        # The sum, and many replicas on few samples, may be far below.
        low = min(
            _means(curve).min()
            for curve in (*result["periodic"].values(), result["once"].get("average"))
            if curve is not None
        )
        best = max(top, *(_means(curve).max() for curve in result["periodic"].values()))
        low = max(low, best - MOST)
        ax.set_ylim(low - 0.06 * (best - low), best + 0.08 * (best - low))
        _replica_axis(ax, _all_threads(result["periodic"]))
        ax.set_title(result["problem"]["name"], loc="left", fontsize=10)
        ax.set_ylabel(f"test {_measure(result)}")
    title = "Other data: score against the number of replicas"
    about = "; ".join(result["line"] for result in results.values())
    seeds = ", ".join(str(len(result["seeds"])) for result in results.values())
    spread = f"Means over {seeds} seeds; bands: one standard deviation."
    report.caption(
        fig,
        title,
        "Settings chosen on a validation split of each",
        [about + ".", spread, *notes],
        panels[0],
    )
    return fig
