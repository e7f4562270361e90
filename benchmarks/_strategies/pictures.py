"""The pictures of the comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

import _report as report
from omp_mlp import costs

from . import judge

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Entry = Mapping[str, Any]
COLOURS = {
    "one thread": report.COLOURS["grey"],
    "replica": report.COLOURS["blue"],
    "section": report.COLOURS["orange"],
    "synchronous": report.COLOURS["green"],
    "hogwild": report.COLOURS["red"],
    "pattern": report.COLOURS["purple"],
}
# From 2 to 1024 cores, and three networks between nodes.
CORES = tuple(2**k for k in range(11))
GIGABITS = (1, 10, 100)


def _colour(entry: Entry) -> str:
    return COLOURS["one thread" if judge.is_one_thread(entry) else entry["strategy"]]


def _counts(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def winners(entries: Sequence[Entry], notes: Sequence[str]) -> Figure:
    """Draw which strategy wins where: a panel a batch size, network by size of the data."""
    grouped = judge.cells(entries)
    names = list(dict.fromkeys(key[0] for key in grouped))
    sizes = sorted({key[1] for key in grouped})
    batches = sorted({key[2] for key in grouped})
    fig = Figure(figsize=(3.1 * len(batches) + 1.6, 0.62 * len(names) + 2.6))
    panels = fig.subplots(1, len(batches), sharey=True, squeeze=False)[0]
    for ax, batch in zip(panels, batches, strict=True):
        ax.set_title(f"B = {batch}", fontsize=10.5)
        for row, name in enumerate(names):
            for column, n in enumerate(sizes):
                group = grouped.get((name, n, batch))
                if group is None:
                    continue
                best = judge.fastest(judge.candidates(group))
                chosen = next(entry for entry in group if entry["chosen"])
                ax.add_patch(_square(column, row, 0.48, facecolor=_colour(best), edgecolor="white"))
                ax.text(
                    column,
                    row - 0.06,
                    f"{judge.speedup(group, best):.2f}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color=report.COLOURS["black"]
                    if _colour(best) == COLOURS["section"]
                    else "white",
                )
                ax.add_patch(
                    _square(column, row + 0.34, 0.09, facecolor=_colour(chosen), edgecolor="white")
                )
        ax.set_xlim(-0.5, len(sizes) - 0.5)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_xticks(range(len(sizes)), [_counts(n) for n in sizes])
        ax.set_yticks(range(len(names)), names)
        ax.set_xlabel("samples")
        ax.grid(visible=False)
        ax.tick_params(length=0)
    shown = ["one thread", *costs.CHOICES]
    handles = [Patch(color=COLOURS[name], label=name) for name in shown]
    panels[-1].legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    threads = max(entry["threads"] for entry in entries)
    report.caption(
        fig,
        f"Which strategy is the quickest on {threads} threads",
        "large: measured, with its speed-up over one thread; small: what the cost model chooses",
        notes,
    )
    return fig


def _square(x: float, y: float, half: float, **look: Any) -> Any:  # noqa: ANN401 - Matplotlib's
    from matplotlib.patches import Rectangle

    return Rectangle((x - half, y - half), 2 * half, 2 * half, **look)


def predicted(entries: Sequence[Entry], summary: Mapping[str, Any], notes: Sequence[str]) -> Figure:
    """Draw measured against predicted times."""
    fig = Figure(figsize=(7.2, 7.2))
    ax = fig.subplots()
    for name, colour in COLOURS.items():
        part = [
            entry
            for entry in entries
            if (name == "one thread") == judge.is_one_thread(entry)
            and name in ("one thread", entry["strategy"])
        ]
        if part:
            ax.scatter(
                [entry["seconds"] for entry in part],
                [entry["predicted"] for entry in part],
                s=14,
                color=colour,
                alpha=0.75,
                linewidths=0,
                label=name,
            )
    low = min(min(entry["seconds"], entry["predicted"]) for entry in entries) / 1.5
    high = max(max(entry["seconds"], entry["predicted"]) for entry in entries) * 1.5
    line = np.array([low, high])
    ax.plot(line, line, color=report.COLOURS["black"], linewidth=1)
    ax.fill_between(line, line / 1.2, line * 1.2, color=report.COLOURS["black"], alpha=0.08)
    ax.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    ax.set(xlabel="measured, seconds", ylabel="predicted, seconds")
    errors = summary["errors_of_all"]
    report.caption(
        fig,
        "Measured and predicted time of training",
        f"median error {100 * errors['median']:.0f} %, 90th percentile "
        f"{100 * errors['p90']:.0f} %; the band is 20 % to either side",
        notes,
        legend=ax,
    )
    return fig


def node_or_exemplar(entries: Sequence[Entry], notes: Sequence[str]) -> Figure:
    """Draw Pethick's question: which is the quicker one, node or exemplar parallelism."""
    grouped = judge.cells(entries)
    batches = sorted({key[2] for key in grouped})
    names = list(dict.fromkeys(key[0] for key in grouped if "sparse" not in key[0]))
    threads = max(entry["threads"] for entry in entries)
    fig = Figure(figsize=(3.3 * len(batches) + 0.6, 4.9))
    panels = fig.subplots(1, len(batches), sharey=True, squeeze=False)[0]
    for ax, batch in zip(panels, batches, strict=True):
        ax.set_title(f"B = {batch}", fontsize=10.5)
        for strategy, label in (("replica", "exemplar"), ("section", "node")):
            points: dict[int, list[tuple[float, float]]] = {}
            for row, name in enumerate(names):
                for key, group in grouped.items():
                    if (key[0], key[2]) != (name, batch):
                        continue
                    for entry in group:
                        if (entry["strategy"], entry["threads"]) == (strategy, threads):
                            points.setdefault(row, []).append(
                                (
                                    judge.speedup(group, entry),
                                    judge.speedup(group, entry, "predicted"),
                                )
                            )
            rows = sorted(points)
            middle = [np.median(points[row], axis=0) for row in rows]
            colour = COLOURS[strategy]
            ax.plot(rows, [m[0] for m in middle], "o-", color=colour, label=label)
            ax.plot(rows, [m[1] for m in middle], "--", color=colour, linewidth=1.2)
            ax.vlines(
                rows,
                [min(p[0] for p in points[row]) for row in rows],
                [max(p[0] for p in points[row]) for row in rows],
                color=colour,
                linewidth=1,
            )
        ax.axhline(1, color=report.COLOURS["black"], linewidth=0.8)
        ax.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8.5)
    highest = max(
        judge.speedup(group, entry)
        for group in grouped.values()
        for entry in group
        if entry["strategy"] in ("replica", "section")
    )
    panels[0].set_ylim(0, 1.05 * highest)
    panels[0].set_ylabel(f"speed-up of {threads} threads over one")
    report.caption(
        fig,
        "Node or exemplar parallelism? Pethick's question, on this machine",
        "circles: measured, median and range over the sizes of the data; dashed: predicted",
        notes,
        legend=panels[0],
    )
    return fig


def extrapolation(known: costs.Costs, notes: Sequence[str]) -> Figure:
    """Draw the model's speed-ups on machines that are not here."""
    network, n_samples, batch = (784, 1024, 10), 50_000, 256
    fig = Figure(figsize=(12.4, 5.4))
    panels = fig.subplots(1, 3)
    options: dict[str, Any] = {"batch_size": batch, "costs": known}
    for strategy in ("replica", "section", "synchronous"):
        curve = costs.extrapolate(network, n_samples, 10, CORES, strategy, "auto", **options)
        _draw(panels[0], curve, COLOURS[strategy], strategy)
    panels[0].set_title("one machine, one memory", fontsize=10.5)
    dashes: list[Any] = [(0, (1, 1.2)), (0, (4, 1.6)), "solid"]
    for ax, strategy in ((panels[1], "replica"), (panels[2], "synchronous")):
        for gigabits, dash in zip(GIGABITS, dashes, strict=True):
            cluster = costs.Cluster.ethernet(gigabits)
            # Merging after every epoch, as on Dahl's cluster; synchronous has no choice.
            curve = costs.extrapolate(
                network,
                n_samples,
                10,
                CORES,
                "pattern" if strategy == "replica" else strategy,
                cluster=cluster,
                **options,
            )
            _draw(ax, curve, COLOURS[strategy], f"{gigabits} Gbit/s", dash)
        title = "a merge an epoch" if strategy == "replica" else "gradients of every batch"
        ax.set_title(f"cluster: {title}", fontsize=10.5)
    for ax in panels:
        ax.plot(CORES, CORES, color=report.COLOURS["grey"], linewidth=0.8, label="linear")
        ax.set_xscale("log", base=2)
        ax.set_yscale("log", base=2)
        ax.set_ylim(2**-6, 2**10.5)
        ax.set_xticks(list(CORES[::2]), [str(count) for count in CORES[::2]])
        ax.set_yticks([2.0**k for k in range(-6, 11, 2)], [f"{2.0**k:g}" for k in range(-6, 11, 2)])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlabel("cores" if ax is panels[0] else "nodes")
        ax.legend(loc="upper left", fontsize=8.5)
    panels[0].set_ylabel("modelled speed-up over one core")
    report.caption(
        fig,
        "Modelled, not measured: more cores, and clusters",
        "784-1024-10, 50,000 dense samples, 10 epochs, B = 256",
        [
            *notes,
            "Assumed: " + "; ".join(_assumptions(network, n_samples, options)) + ".",
        ],
    )
    return fig


def _assumptions(
    network: tuple[int, int, int], n_samples: int, options: Mapping[str, Any]
) -> list[str]:
    machine = costs.predict(network, n_samples, 10, 1024, cores=1024, **options)
    cluster = costs.predict(
        network, n_samples, 10, 1024, cluster=costs.Cluster.ethernet(10), **options
    )
    return list(dict.fromkeys([*machine.assumptions, *cluster.assumptions]))


def _draw(
    ax: Axes, curve: costs.Curve, colour: str, label: str, dash: object = "solid"
) -> list[Line2D]:
    alone = curve.predictions[0].total
    return ax.plot(
        [p.threads for p in curve.predictions],
        [alone / p.total for p in curve.predictions],
        color=colour,
        linestyle=dash,
        label=label,
    )


def all_pictures(
    entries: Sequence[Entry],
    summary: Mapping[str, Any],
    known: costs.Costs,
    notes: Sequence[str],
) -> dict[str, Figure]:
    """Draw them all, by the names of their files."""
    return {
        "strategies-winners": winners(entries, notes),
        "strategies-predicted": predicted(entries, summary, notes),
        "strategies-node-or-exemplar": node_or_exemplar(entries, notes),
        "strategies-extrapolation": extrapolation(known, notes),
    }
