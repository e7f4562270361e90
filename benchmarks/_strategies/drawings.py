"""Drawings of the four designs: what is whose, what is shared, and what is sent when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

import _report as report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ONE, TWO, SHARED = report.COLOURS["blue"], report.COLOURS["orange"], report.COLOURS["green"]
INK, GREY = report.COLOURS["black"], report.COLOURS["grey"]


def _canvas(title: str, subtitle: str, height: float = 4.4) -> tuple[Figure, Axes]:
    fig = Figure(figsize=(8.4, height))
    ax = fig.add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set(xlim=(0, 84), ylim=(-2, 10 * height))
    ax.axis("off")
    ax.text(2, 10 * height - 2, title, fontsize=13, weight="bold", va="top")
    ax.text(2, 10 * height - 5.2, subtitle, fontsize=9.5, color=GREY, va="top")
    return fig, ax


def _box(
    ax: Axes, x: float, y: float, width: float, height: float, text: str, colour: str,
    *, filled: bool = True,
) -> None:  # fmt: skip
    ax.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.8",
            facecolor=colour if filled else "white",
            edgecolor=colour,
            alpha=0.9 if filled else 1,
            linewidth=1.4,
        )
    )
    ax.text(
        x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=9,
        color="white" if filled and colour != TWO else INK, linespacing=1.3,
    )  # fmt: skip


def _arrow(
    ax: Axes, begin: tuple[float, float], end: tuple[float, float], colour: str = INK,
    *, both: bool = False,
) -> None:  # fmt: skip
    ax.add_patch(
        FancyArrowPatch(
            begin,
            end,
            arrowstyle="<|-|>" if both else "-|>",
            mutation_scale=11,
            color=colour,
            linewidth=1.3,
            shrinkA=1,
            shrinkB=1,
        )
    )


def _barrier(ax: Axes, y: float, text: str, left: float = 16, right: float = 82) -> None:
    ax.plot([left, right], [y, y], color=GREY, linewidth=1.2, linestyle=(0, (4, 2)))
    ax.text(left - 1, y, text, ha="right", va="center", fontsize=8.5, color=GREY)


def replica() -> Figure:
    """Draw replicas and their merge."""
    fig, ax = _canvas(
        "replica: a network for each thread",
        "exemplar or pattern parallelism, data parallelism; Figure 2 of the note",
    )
    _box(ax, 36, 32, 24, 4.5, "master", SHARED)
    for x, colour, name in ((16, ONE, "thread 1"), (56, TWO, "thread 2")):
        _box(ax, x, 16, 24, 9, f"{name}: all weights\nits own samples, step by step", colour)
        _arrow(ax, (48, 32), (x + 12, 25), SHARED)
        _arrow(ax, (x + 12, 16), (48, 7.7), colour)
    _barrier(ax, 28.7, "copies")
    _barrier(ax, 12, "one barrier\na round")
    _box(ax, 36, 3, 24, 4.5, "merge: next master", SHARED)
    ax.text(48, 20.5, "nothing\nis shared", ha="center", va="center", fontsize=8.5, color=GREY)
    ax.text(82, 5.2, "sent: all weights,\nonce a round", ha="right", va="center", fontsize=8.5)
    return fig


def section() -> Figure:
    """Draw sections of the hidden units."""
    fig, ax = _canvas(
        "section: one network, cut through its hidden units",
        "node parallelism, tensor parallelism; Figure 1 of the note",
        5.2,
    )
    _box(ax, 16, 39, 66, 4.5, "the batch, read by all", SHARED)
    for x, colour, number in ((16, ONE, 1), (52, TWO, 2)):
        _arrow(ax, (x + 15, 39), (x + 15, 35.7), SHARED)
        _box(
            ax, x, 27, 30, 8.5,
            f"thread {number}: weights into its hidden units\nactivations = phi(x W[:, own])",
            colour,
        )  # fmt: skip
        _arrow(ax, (x + 15, 27), (x + 15, 24.7), colour)
        _box(ax, x, 19.5, 30, 5, "own part of the outputs' z", colour, filled=False)
        _arrow(ax, (x + 15, 19.5), (x + 15, 12.2), colour)
        _box(
            ax, x, 3, 30, 9,
            "sum of the parts, loss, deltas\nown deltas; step of the own weights", colour,
        )  # fmt: skip
    _arrow(ax, (31, 19.5), (67, 12.2), ONE)
    _arrow(ax, (67, 19.5), (31, 12.2), TWO)
    _barrier(ax, 16, "one barrier\na batch")
    ax.text(
        49, 0.9,
        "sent: B numbers an output and thread (a further hidden layer: its activations and deltas)",
        ha="center", va="center", fontsize=8.5,
    )  # fmt: skip
    return fig


def synchronous() -> Figure:
    """Draw batches that are split, and steps that are split by rows."""
    fig, ax = _canvas(
        "synchronous: one network, the batch is cut",
        "synchronous data parallelism, without buffers for gradients",
        5.2,
    )
    _box(ax, 16, 39, 66, 4.5, "weights, read by all", SHARED)
    for x, colour, name in ((16, ONE, "thread 1: first half"), (52, TWO, "thread 2: second half")):
        _arrow(ax, (x + 15, 39), (x + 15, 35.7), SHARED)
        _box(ax, x, 27, 30, 8.5, f"{name} of the batch\nforward, loss, back", colour)
        _arrow(ax, (x + 15, 27), (x + 15, 24.7), colour)
        _box(ax, x, 19.5, 30, 5, "its activations and deltas", colour, filled=False)
    _barrier(ax, 16.6, "barrier")
    _barrier(ax, 2.2, "barrier")
    for x, colour, text in (
        (16, ONE, "thread 1: upper rows of all weights"),
        (52, TWO, "thread 2: lower rows of all weights"),
    ):
        _box(ax, x, 4, 30, 7, f"{text}\nstep over the whole batch", colour)
        _arrow(ax, (x + 15, 19.5), (x + 15, 11.2), colour)
    _arrow(ax, (31, 19.5), (67, 11.2), ONE)
    _arrow(ax, (67, 19.5), (31, 11.2), TWO)
    ax.text(
        49, 0.6, "sent: activations and deltas of the batch, and the weights that were changed",
        ha="center", va="center", fontsize=8.5,
    )  # fmt: skip
    return fig


def hogwild() -> Figure:
    """Draw threads that share everything and wait for nobody."""
    fig, ax = _canvas(
        "hogwild: one network, no order",
        "asynchronous, lock-free data parallelism (Niu et al. 2011)",
        3.6,
    )
    _box(ax, 16, 20, 66, 5, "all weights, in one memory: read and written one by one", SHARED)
    for x, colour, name in ((16, ONE, "thread 1"), (52, TWO, "thread 2")):
        _box(ax, x, 6, 30, 7, f"{name}: its own samples\nforward, back, step", colour)
        _arrow(ax, (x + 11, 20), (x + 11, 13.2), SHARED)
        _arrow(ax, (x + 19, 13), (x + 19, 19.8), colour)
        ax.text(x + 10, 16.5, "reads", ha="right", va="center", fontsize=8.5)
        ax.text(x + 20, 16.5, "adds", ha="left", va="center", fontsize=8.5)
    ax.text(
        49, 3, "no barrier; a step may get lost, and what was read may be half old, half new",
        ha="center", va="center", fontsize=8.5,
    )  # fmt: skip
    return fig


def all_drawings() -> dict[str, Figure]:
    """Draw them all, by the names of their files."""
    return {
        "strategy-replica": replica(),
        "strategy-section": section(),
        "strategy-synchronous": synchronous(),
        "strategy-hogwild": hogwild(),
    }
