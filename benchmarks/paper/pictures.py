"""Figures 3, 4 and 5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..common import data, pictures
from ..common.machine import stamp
from ..common.pictures import COLOURS, REFERENCE, curve_look
from . import ANSWERS, TIMES
from .judge import ABOUT_TEN, QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Entries = Sequence[Mapping[str, Any]]

# The two measured curves of Figure 3 can lie on top of each other, so the lower one is drawn wider.
_TIME_LOOKS = {
    "system_threads": curve_look("blue", "o", markersize=9.0, linewidth=3.2),
    "core_workers": curve_look("red", "s", "dashed", markersize=5.0, linewidth=1.6),
    "modelled": {
        **curve_look("purple", "D", markersize=6.0, linewidth=1.8),
        "linestyle": (0, (6, 1.4, 1.2, 1.4)),
    },
}
_ANSWER_LOOKS = {
    "logit_ensemble": curve_look("purple", "D", "dotted"),
    "single_replica": curve_look("orange", "s", "dashed"),
    "sum": curve_look("green", "^"),
    "average": curve_look("blue", "o"),
}


def _thread_axis(ax: Axes, entries: Entries) -> list[int]:
    """Label the axis of the numbers of threads, and return them."""
    threads = [entry["threads"] for entry in entries]
    ax.set_xticks(threads)
    ax.set_xlabel("threads (= replicas)")
    return threads


def draw_time(time: Mapping[str, Any], subtitle: str, notes: Sequence[str]) -> Figure:
    """Draw Figure 3: training time, and the speed-up over one thread, against threads."""
    fig = Figure(figsize=(9.6, 5.5))
    left, right = fig.subplots(1, 2)
    panels = [(left, time["seconds"], 1e3), (right, time["speedup"] or [], 1.0)]
    for ax, entries, scale in panels:
        threads = _thread_axis(ax, time["seconds"])
        for curve, label in TIMES.items():
            look = _TIME_LOOKS[curve]
            low, middle, high = (
                [scale * entry[curve][key] for entry in entries] for key in ("min", "median", "max")
            )
            if entries:
                pictures.band(ax, threads, low, high, look["color"])
                ax.plot(threads, middle, label=label, **look)
    if threads[0] == 1:
        n = np.linspace(1, threads[-1], 200)
        one = 1e3 * time["seconds"][0]["system_threads"]["median"]
        left.plot(n, one / n, label="ideal: time of one thread / n", **REFERENCE)
        right.plot(n, n, **REFERENCE)
        right.axhline(1, color=COLOURS["grey"], linewidth=0.8, zorder=1)
    for ax in (left, right):
        ax.set_ylim(bottom=0)  # after all is drawn: it keeps the upper end that there is
    left.set_ylabel("training time (ms)")
    right.set_ylabel("speed-up over one thread (times)")
    pictures.caption(fig, "Figure 3. Training time against threads", subtitle, notes, legend=left)
    return fig


def _label_ends(ax: Axes, last: Mapping[str, Any], names: Sequence[str]) -> None:
    """Write the names of curves at their right ends, pushed apart where they would overlap."""
    low, high = ax.get_ylim()
    gap = 0.062 * (high - low)
    place = -np.inf
    for name in sorted(names, key=lambda name: last[name]["mean"]):
        place = max(last[name]["mean"], place + gap)
        ax.annotate(
            ANSWERS[name],
            (last["threads"], place),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            # Darker than the line: thin letters need more contrast.
            color=[0.78 * part for part in to_rgb(_ANSWER_LOOKS[name]["color"])],
            fontsize=9.5,
            weight="bold",
            annotation_clip=False,
        )


def _draw_answers(ax: Axes, accuracy: Entries, names: Sequence[str]) -> None:
    """Draw means, bands of one standard deviation and single seeds, with labels at the ends."""
    threads = [entry["threads"] for entry in accuracy]
    for name in names:
        look = _ANSWER_LOOKS[name]
        mean = np.array([entry[name]["mean"] for entry in accuracy])
        if accuracy[0][name]["sd"] is not None:
            sd = np.array([entry[name]["sd"] for entry in accuracy])
            pictures.band(ax, threads, mean - sd, mean + sd, look["color"])
        for n, entry in zip(threads, accuracy, strict=True):
            runs = entry[name]["runs"]
            ax.plot([n] * len(runs), runs, ".", color=look["color"], alpha=0.45, markersize=4)
        ax.plot(threads, mean, **look)
    # The same limits for Figures 4 and 5: those that fit all curves.
    # A band may go further than its runs, of which there may be two.
    edges = [
        edge
        for entry in accuracy
        for name in ANSWERS
        for mean, sd in [(entry[name]["mean"], entry[name]["sd"] or 0.0)]
        for edge in (*entry[name]["runs"], mean - sd, mean + sd)
    ]
    room = max(1.0, 0.05 * (max(edges) - min(edges)))
    ax.set_ylim(max(0.0, min(edges) - room), min(100.0, max(edges) + room))
    _label_ends(ax, accuracy[-1], names)
    ax.set_ylabel("test accuracy (%)")


def draw_average(accuracy: Entries, subtitle: str, notes: Sequence[str]) -> Figure:
    """Draw Figure 4: accuracy of `average` against threads, with what the replicas know apart."""
    fig = Figure(figsize=(7.6, 5.0))
    ax = fig.subplots()
    _draw_answers(ax, accuracy, ["logit_ensemble", "single_replica", "average"])
    _thread_axis(ax, accuracy)
    pictures.caption(fig, "Figure 4. Accuracy against threads, merged by average", subtitle, notes)
    return fig


def draw_sum(accuracy: Entries, subtitle: str, notes: Sequence[str]) -> Figure:
    """Draw Figure 5: `sum` in green beside `average`, and the gain for each number of threads."""
    fig = Figure(figsize=(7.6, 6.6))
    top, bottom = fig.subplots(2, 1, sharex=True, height_ratios=(2.1, 1))
    _draw_answers(top, accuracy, ["average", "sum"])
    threads = _thread_axis(bottom, accuracy)
    bottom.axhline(0, color=COLOURS["grey"], linewidth=0.8, zorder=1)
    bottom.axhline(10, color=COLOURS["grey"], linestyle=(0, (5, 3)), linewidth=1.1, zorder=1)
    low, high = ABOUT_TEN
    bottom.axhspan(low, high, color=COLOURS["grey"], alpha=0.12, linewidth=0, zorder=0)
    bottom.annotate(
        f"the note: about ten\n({low:g} to {high:g} pass)",
        (1.0, 10),
        xycoords=("axes fraction", "data"),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        color=COLOURS["grey"],
        fontsize=9,
        annotation_clip=False,
    )
    green = COLOURS["green"]
    mean = [entry["gain"]["mean"] for entry in accuracy]
    bottom.bar(threads, mean, width=0.62, color=green, alpha=0.45)
    for n, entry in zip(threads, accuracy, strict=True):
        runs = entry["gain"]["runs"]
        bottom.plot([n] * len(runs), runs, ".", color=green, markersize=5)
    bottom.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    bottom.set_ylabel("sum minus\naverage (points)")
    pictures.caption(
        fig, "Figure 5. Accuracy against threads, merged by sum and by average", subtitle, notes
    )
    return fig


def all_pictures(content: Mapping[str, Any], suffix: str, share: float) -> dict[str, Figure]:
    """Draw the figures, by the names of their files."""
    options, accuracy, time = (
        content["options"], content["pieces"]["accuracy"], content["pieces"]["time"]
    )  # fmt: skip
    training = ", ".join(f"{key}={value}" for key, value in options["training"].items())
    about = [f"Preset {options['preset']}: {training}.", stamp(content)]
    passes = len(time["seconds"][0]["modelled"]["runs"])
    time_note = (
        f"Median and range of {passes} interleaved passes; training and merge, without loading. "
        "Modelled: CPU time of the slowest replica plus the merge, from the runs with as many "
        "workers as cores; no such machine was measured."
    )
    spread_note = (
        f"Mean over {options['seeds']} seeds; bands: one standard deviation; dots: single seeds."
        if options["seeds"] > 1
        else "One seed: no spread."
    )
    subtitle = f"{data.line(content['data'])}. Preset “{options['preset']}”."
    of_times = subtitle
    if share < QUIET:
        of_times += f" Other work left training only {share:.0%} of its cores: measure again."
    return {
        f"figure3{suffix}": draw_time(time, of_times, [time_note, *about]),
        f"figure4{suffix}": draw_average(accuracy, subtitle, [spread_note, *about]),
        f"figure5{suffix}": draw_sum(accuracy, subtitle, [spread_note, *about]),
    }
