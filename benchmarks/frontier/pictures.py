"""The pictures: accuracy against n, speed-up at equal accuracy, one merge, the other problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..common.machine import stamp
from ..common.pictures import COLOURS, DASHES, REFERENCE, band, caption, log2_axis
from .lines import ONCE, PERIODIC, SINGLE, Line, named
from .measure import DIVERSITY, TIMED_PROBLEM
from .tables import all_threads

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of equal shards the weighted average is the average; it is in the tables.
HIDDEN = ("weighted_average",)
# Points below the best that the closer look shows.
CLOSE = 1.6
# Points below the best that are shown of the other problems: a regression may be anywhere.
MOST = 25.0


def _replica_axis(ax: Axes, threads: Sequence[int]) -> None:
    log2_axis(ax, "x", threads)
    ax.set_xlabel("replicas n")


def _look(line: Line, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - Matplotlib's
    thick = line.name == DIVERSITY.name
    edge = {} if line.marker in "+x1234" else {"markeredgecolor": "white", "markeredgewidth": 0.6}
    return {
        "color": COLOURS[line.colour],
        "marker": line.marker,
        "linestyle": DASHES[line.dash],
        "linewidth": 2.6 if thick else 1.6,
        "markersize": 7 if thick else 6,
        "label": line.label,
        "zorder": 3 if thick else 2,
        **edge,
        **more,
    }


def _draw(ax: Axes, line: Line, curve: Mapping[str, Any]) -> None:
    mean = np.array(curve["mean"], dtype=np.float64)
    if any(sd is not None for sd in curve["sd"]):
        sd = np.array(curve["sd"], dtype=np.float64)
        band(ax, curve["threads"], list(mean - sd), list(mean + sd), COLOURS[line.colour])
    ax.plot(curve["threads"], mean, **_look(line))


def _panel(
    ax: Axes,
    result: Mapping[str, Any],
    lines: Sequence[Line],
    family: str,
    title: str,
) -> None:
    """Draw the periodic lines among these, and those of one merge of this family."""
    for line in lines:
        curves = result["periodic" if line.periodic else family]
        if line.name in curves and line.name not in HIDDEN:
            _draw(ax, line, curves[line.name])
    ax.axhline(
        result["sequential"]["mean"][0],
        color=COLOURS["black"],
        linestyle=DASHES["dotted"],
        linewidth=1.1,
        zorder=1,
        label="sequential, the same number of samples",
    )
    shown = result["periodic"] if any(line.periodic for line in lines) else result[family]
    _replica_axis(ax, all_threads(shown))
    ax.set_title(title, loc="left", fontsize=10)
    measure = result["problem"]["measure"]
    ax.set_ylabel(f"test {measure} (%)")


def _means(curve: Mapping[str, Any]) -> np.ndarray:
    """Means of a curve, without those of trainings that diverged."""
    mean = np.array(curve["mean"], dtype=np.float64)
    return mean[np.isfinite(mean)]


def _spread_note(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"One seed ({seeds[0]}): no spread."
    return f"Mean over {len(seeds)} seeds; bands: one standard deviation."


def draw_scores(result: Mapping[str, Any], notes: Sequence[str]) -> Figure:
    """Draw the test accuracy of every line against n, and a closer look at the top."""
    fig = Figure(figsize=(9.8, 8.4))
    panels = fig.subplots(1, 2)
    for ax, title in zip(panels, ("all", "a closer look at the top"), strict=True):
        _panel(ax, result, (*PERIODIC, *ONCE), "once", title)
        ax.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
    best = max(_means(curve).max() for curve in result["periodic"].values())
    panels[1].set_ylim(best - CLOSE, best + 0.12 * CLOSE)
    panels[1].set_ylabel("")
    title = "Accuracy against the number of replicas"
    caption(fig, title, result["line"], [_spread_note(result["seeds"]), *notes], panels[0])
    return fig


def draw_once(result: Mapping[str, Any], notes: Sequence[str]) -> Figure:
    """Draw the methods of one merge side by side, for shared and for independent starts."""
    fig = Figure(figsize=(9.8, 6.9))
    panels = fig.subplots(1, 2)
    titles = ("all replicas from one start", "every replica from a start of its own")
    for ax, family, title in zip(panels, ("once", "once_independent"), titles, strict=True):
        _panel(ax, result, (*ONCE, SINGLE), family, title)
    panels[1].set_ylabel("")
    title = "One merge at the end"
    caption(fig, title, result["line"], [_spread_note(result["seeds"]), *notes], panels[0])
    return fig


def draw_others(results: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> Figure:
    """Draw the score against n for the problems that settings were not first made for."""
    fig = Figure(figsize=(10.2, 6.2))
    panels = np.atleast_1d(fig.subplots(1, len(results)))
    once = [named(name) for name in ("average", "sum")]
    for ax, result in zip(panels, results, strict=True):
        _panel(ax, result, (*PERIODIC, *once), "once", result["problem"]["name"])
        # The sum, and many replicas on few samples, may be far below.
        periodic = [_means(curve) for curve in result["periodic"].values()]
        averages = [_means(result["once"][name]) for name in ("average",) if name in result["once"]]
        best = max(result["sequential"]["mean"][0], *(means.max() for means in periodic))
        low = max(min(means.min() for means in (*periodic, *averages)), best - MOST)
        ax.set_ylim(low - 0.06 * (best - low), best + 0.08 * (best - low))
    about = "; ".join(result["line"] for result in results)
    seeds = ", ".join(str(len(result["seeds"])) for result in results)
    spread = f"Means over {seeds} seeds; bands: one standard deviation."
    caption(
        fig,
        "Other data: score against the number of replicas",
        "Settings chosen on a validation split of each",
        [about + ".", spread, *notes],
        panels[0],
    )
    return fig


def draw_speed_ups(result: Mapping[str, Any], notes: Sequence[str]) -> Figure:
    """Draw the speed-up at equal accuracy against n: modelled for n cores, and measured."""
    fig = Figure(figsize=(10.2, 6.0))
    panels = fig.subplots(1, len(result["targets"]), sharey=True)
    threads = sorted({entry["threads"] for entry in result["entries"]})
    kinds: dict[str, dict[str, Any]] = {
        "modelled": {"markersize": 6.5, "linewidth": 2.0},
        "measured": {"markersize": 4.0, "linewidth": 1.3, "linestyle": DASHES["dashed"]},
    }
    for ax, target in zip(panels, result["targets"], strict=True):
        ends = [1, threads[-1]]
        ax.plot(ends, ends, label="ideal: n times as fast", **REFERENCE)
        for line in (line for line in PERIODIC if line.timed):
            for kind, look in kinds.items():
                speeds = {
                    entry["threads"]: entry["reach"][str(target)][f"{kind}_speed_up"]
                    for entry in result["entries"]
                    if entry["line"] == line.name
                }
                points = [(n, speed) for n, speed in speeds.items() if speed is not None]
                points = [(1, 1.0), *points] if points else []
                x, y = ([point[k] for point in points] for k in (0, 1))
                ax.plot(x, y, **_look(line, label=f"{line.label}, {kind}", **look))
        log2_axis(ax, "y", [0.25, 0.5, *threads])
        _replica_axis(ax, threads)
        ax.set_title(f"to {target:g} %", loc="left", fontsize=10)
    panels[0].set_ylim(0.4, threads[-1] * 1.25)
    panels[0].set_ylabel("speed-up over one replica (times)")
    caption(fig, "Speed-up at equal test accuracy", result["line"], notes, panels[0])
    return fig


def _notes(content: Mapping[str, Any]) -> list[str]:
    """Return the small print of every picture."""
    settings = ", ".join(f"{key}={value}" for key, value in content["common_options"].items())
    untuned = "; ".join(
        f"{name}: {', '.join(result['not_tuned'])}"
        for name, result in content["pieces"].items()
        if result.get("not_tuned")
    )
    return [
        "Settings of each line chosen by n on a validation split of the training samples"
        + (f" (not yet: {untuned})" if untuned else "")
        + f"; all: {settings}.",
        stamp(content),
    ]


def all_pictures(content: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw what the results allow, by the names of the files."""
    notes, pieces = _notes(content), content["pieces"]
    made = {}
    main = f"score/{TIMED_PROBLEM}"
    others = [
        result for name, result in pieces.items() if name.startswith("score/") and name != main
    ]
    if main in pieces:
        made["frontier-accuracy"] = draw_scores(pieces[main], notes)
        made["frontier-once"] = draw_once(pieces[main], notes)
    if others:
        made["frontier-others"] = draw_others(others, notes)
    if "time" in pieces:
        cores = content["machine"]["cores_available"]
        how = (
            "Epochs to the accuracy from trainings of several lengths, means over seeds. Modelled: "
            "CPU time of the slowest replica, with a core to itself, and the measured time of one "
            "core's share of each merge; no machine with n cores was measured. Measured: wall "
            f"clock, {cores} cores."
        )
        made["frontier-speedup"] = draw_speed_ups(pieces["time"], [how, *notes])
    return made
