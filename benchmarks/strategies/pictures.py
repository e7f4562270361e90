"""The pictures of the comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from omp_mlp import costs

from ..common import pictures as common
from ..common.machine import stamp
from .judge import Entry, Group, groups, node_or_exemplar, way

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "one thread": common.COLOURS["grey"],
    "replica": common.COLOURS["blue"],
    "section": common.COLOURS["orange"],
    "synchronous": common.COLOURS["green"],
    "hogwild": common.COLOURS["red"],
    "pattern": common.COLOURS["purple"],
}
MARKERS = dict(zip(COLOURS, "os^Dx+", strict=True))
BLACK = common.COLOURS["black"]
# From 2 to 1024 cores, and three networks between nodes.
CORES = tuple(2**k for k in range(11))
GIGABITS = {1: "dotted", 10: "dashed", 100: "solid"}
EXTRAPOLATED = ((784, 1024, 10), 50_000, 10)  # network, samples, epochs
BATCH = 256


def winners(entries: Sequence[Entry], notes: Sequence[str]) -> Figure:
    """Draw which strategy wins where: a panel a batch size, network by size of the data."""
    grouped = groups(entries)
    names = list(dict.fromkeys(group.name for group in grouped))
    sizes = sorted({group.n_samples for group in grouped})
    batches = sorted({group.batch_size for group in grouped})
    fig = Figure(figsize=(3.1 * len(batches) + 1.6, 0.62 * len(names) + 2.6))
    panels = fig.subplots(1, len(batches), sharey=True, squeeze=False)[0]
    for ax, batch in zip(panels, batches, strict=True):
        ax.set_title(f"B = {batch}", fontsize=10.5)
        for group in grouped:
            if group.batch_size == batch:
                place = (sizes.index(group.n_samples), names.index(group.name))
                _winner(ax, *place, group)
        ax.set_xlim(-0.5, len(sizes) - 0.5)
        ax.set_ylim(len(names) - 0.5, -0.5)
        counts = [f"{n / 1000:g}k" if n >= 1000 else f"{n:g}" for n in sizes]
        ax.set_xticks(range(len(sizes)), counts)
        ax.set_yticks(range(len(names)), names)
        ax.set_xlabel("samples")
        ax.grid(visible=False)
        ax.tick_params(length=0)
    handles = [Patch(color=COLOURS[name], label=name) for name in ("one thread", *costs.CHOICES)]
    panels[-1].legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    threads = max(entry["threads"] for entry in entries)
    common.caption(
        fig,
        f"Which strategy is the quickest on {threads} threads",
        "large: measured, with its speed-up over one thread; small: what the cost model chooses",
        notes,
    )
    return fig


def _winner(ax: Axes, x: float, y: float, group: Group) -> None:
    best = group.fastest()
    for entry, middle, half in ((best, y, 0.48), (group.chosen, y + 0.34, 0.09)):
        corner = (x - half, middle - half)
        look = {"facecolor": COLOURS[way(entry)], "edgecolor": "white"}
        ax.add_patch(Rectangle(corner, 2 * half, 2 * half, **look))
    ink = BLACK if way(best) == "section" else "white"
    text = f"{group.speed_up(best):.2f}"
    ax.text(x, y - 0.06, text, ha="center", va="center", fontsize=8, color=ink)


def predicted(entries: Sequence[Entry], summary: Mapping[str, Any], notes: Sequence[str]) -> Figure:
    """Draw measured against predicted times."""
    fig = Figure(figsize=(7.2, 7.2))
    ax = fig.subplots()
    for name, colour in COLOURS.items():
        part = [entry for entry in entries if way(entry) == name]
        x, y = ([entry[key] for entry in part] for key in ("seconds", "predicted"))
        ax.scatter(x, y, s=16, color=colour, marker=MARKERS[name], lw=1, alpha=0.75, label=name)
    both = [entry[key] for entry in entries for key in ("seconds", "predicted")]
    ends = np.array([min(both) / 1.5, max(both) * 1.5])
    ax.plot(ends, ends, color=BLACK, linewidth=1)
    ax.fill_between(ends, ends / 1.2, ends * 1.2, color=BLACK, alpha=0.08)
    ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    ax.set(xlabel="measured, seconds", ylabel="predicted, seconds")
    errors = summary["errors_of_all"]
    common.caption(
        fig,
        "Measured and predicted time of training",
        f"median error {100 * errors['median_error']:.0f} %, 90th percentile "
        f"{100 * errors['p90_error']:.0f} %; the band is 20 % to either side",
        notes,
        legend=ax,
    )
    return fig


def sides(entries: Sequence[Entry], notes: Sequence[str]) -> Figure:
    """Draw Pethick's question: which is the quicker one, node or exemplar parallelism."""
    measured, modelled = (node_or_exemplar(entries, key) for key in ("seconds", "predicted"))
    batches = sorted({batch for _, batch in measured})
    names = list(dict.fromkeys(name for name, _ in measured if "sparse" not in name))
    threads = max(entry["threads"] for entry in entries)
    fig = Figure(figsize=(3.3 * len(batches) + 0.6, 4.9))
    panels = fig.subplots(1, len(batches), sharey=True, squeeze=False)[0]
    for ax, batch in zip(panels, batches, strict=True):
        ax.set_title(f"B = {batch}", fontsize=10.5)
        keys = [(name, batch) for name in names if (name, batch) in measured]
        rows = [names.index(name) for name, _ in keys]
        for strategy, label in (("replica", "exemplar"), ("section", "node")):
            colour = COLOURS[strategy]
            speeds = [measured[key][strategy] for key in keys]
            ax.plot(rows, [np.median(s) for s in speeds], "o-", color=colour, label=label)
            expected = [np.median(modelled[key][strategy]) for key in keys]
            ax.plot(rows, expected, "--", color=colour, linewidth=1.2)
            ax.vlines(rows, [min(s) for s in speeds], [max(s) for s in speeds], color=colour, lw=1)
        ax.axhline(1, color=BLACK, linewidth=0.8)
        ax.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8.5)
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel(f"speed-up of {threads} threads over one")
    common.caption(
        fig,
        "Node or exemplar parallelism? Pethick's question, on this machine",
        "circles: measured, median and range over the sizes of the data; dashed: predicted",
        notes,
        legend=panels[0],
    )
    return fig


def extrapolation(known: costs.Costs, notes: Sequence[str]) -> Figure:
    """Draw the model's speed-ups on machines that are not here."""
    fig = Figure(figsize=(12.4, 5.4))
    panels = fig.subplots(1, 3)
    options: dict[str, Any] = {"batch_size": BATCH, "costs": known}

    def draw(ax: Axes, curve: costs.Curve, strategy: str, label: str, dash: str) -> None:
        times = [prediction.total for prediction in curve.predictions]
        speeds = [times[0] / seconds for seconds in times]
        line = common.DASHES[dash]
        ax.plot(CORES, speeds, color=COLOURS[strategy], linestyle=line, label=label)

    panels[0].set_title("one machine, one memory", fontsize=10.5)
    for strategy in costs.CHOICES:
        curve = costs.extrapolate(*EXTRAPOLATED, CORES, strategy, "auto", **options)
        draw(panels[0], curve, strategy, strategy, "solid")
    # Merging after every epoch, as on Dahl's cluster; synchronous has no choice.
    clusters = {
        "replica": ("a merge an epoch", "pattern"),
        "synchronous": ("gradients of every batch", "synchronous"),
    }
    for ax, (strategy, (title, trained)) in zip(panels[1:], clusters.items(), strict=True):
        ax.set_title(f"cluster: {title}", fontsize=10.5)
        for gigabits, dash in GIGABITS.items():
            cluster = costs.Cluster.ethernet(gigabits)
            curve = costs.extrapolate(*EXTRAPOLATED, CORES, trained, cluster=cluster, **options)
            draw(ax, curve, strategy, f"{gigabits} Gbit/s", dash)
    for ax in panels:
        ax.plot(CORES, CORES, label="linear", **common.REFERENCE)
        common.log2_axis(ax, "x", CORES[::2])
        common.log2_axis(ax, "y", [2.0**k for k in range(-6, 11, 2)])
        ax.set_ylim(2**-6, 2**10.5)
        ax.set_xlabel("cores" if ax is panels[0] else "nodes")
        ax.legend(loc="upper left", fontsize=8.5)
    panels[0].set_ylabel("modelled speed-up over one core")
    machine = costs.predict(*EXTRAPOLATED, CORES[-1], cores=CORES[-1], **options)
    cluster = costs.Cluster.ethernet(10)
    nodes = costs.predict(*EXTRAPOLATED, CORES[-1], cluster=cluster, **options)
    assumed = dict.fromkeys([*machine.assumptions, *nodes.assumptions])
    network, n_samples, epochs = EXTRAPOLATED
    common.caption(
        fig,
        "Modelled, not measured: more cores, and clusters",
        f"{'-'.join(map(str, network))}, {n_samples:,} dense samples, {epochs} epochs, B = {BATCH}",
        [*notes, f"Assumed: {'; '.join(assumed)}."],
    )
    return fig


def all_pictures(content: Mapping[str, Any], entries: Sequence[Entry]) -> dict[str, Figure]:
    """Draw them all, by the names of their files."""
    notes = [stamp(content)]
    known = costs.Costs.from_dict(content["costs"])
    return {
        "strategies-winners": winners(entries, notes),
        "strategies-predicted": predicted(entries, content["summary"], notes),
        "strategies-node-or-exemplar": sides(entries, notes),
        "strategies-extrapolation": extrapolation(known, notes),
    }
