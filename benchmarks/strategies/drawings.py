"""Drawings of the four designs: what is whose, what is shared, and what is sent when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from ..common.pictures import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ONE, TWO, SHARED = COLOURS["blue"], COLOURS["orange"], COLOURS["green"]
INK, GREY = COLOURS["black"], COLOURS["grey"]


def _canvas(title: str, subtitle: str, height: float) -> tuple[Figure, Axes]:
    fig = Figure(figsize=(8.4, height))
    ax = fig.add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set(xlim=(0, 84), ylim=(-2, 10 * height))
    ax.axis("off")
    ax.text(2, 10 * height - 2, title, fontsize=13, weight="bold", va="top")
    ax.text(2, 10 * height - 5.2, subtitle, fontsize=9.5, color=GREY, va="top")
    return fig, ax


def _text(ax: Axes, x: float, y: float, text: str, **look: Any) -> None:  # noqa: ANN401
    ax.text(x, y, text, **{"ha": "center", "va": "center", "fontsize": 8.5, **look})


def _box(
    ax: Axes,
    corner: tuple[float, float],
    size: tuple[float, float],
    text: str,
    colour: str,
    *,
    filled: bool = True,
) -> None:
    look = {"facecolor": colour, "alpha": 0.9} if filled else {"facecolor": "white"}
    shape = "round,pad=0,rounding_size=0.8"
    box = FancyBboxPatch(corner, *size, boxstyle=shape, edgecolor=colour, linewidth=1.4, **look)
    ax.add_patch(box)
    x, y = (begin + length / 2 for begin, length in zip(corner, size, strict=True))
    ink = "white" if filled and colour != TWO else INK
    _text(ax, x, y, text, fontsize=9, color=ink, linespacing=1.3)


def _arrow(ax: Axes, begin: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    look = {"arrowstyle": "-|>", "mutation_scale": 11, "linewidth": 1.3, "shrinkA": 1, "shrinkB": 1}
    ax.add_patch(FancyArrowPatch(begin, end, color=colour, **look))


def _barrier(ax: Axes, y: float, text: str) -> None:
    ax.plot([16, 82], [y, y], color=GREY, linewidth=1.2, linestyle=(0, (4, 2)))
    _text(ax, 15, y, text, ha="right", color=GREY)


def replica() -> Figure:
    """Draw replicas and their merge."""
    fig, ax = _canvas(
        "replica: a network for each thread",
        "exemplar or pattern parallelism, data parallelism; Figure 2 of the note",
        4.4,
    )
    _box(ax, (36, 32), (24, 4.5), "master", SHARED)
    for x, colour, name in ((16, ONE, "thread 1"), (56, TWO, "thread 2")):
        text = f"{name}: all weights\nits own samples, step by step"
        _box(ax, (x, 16), (24, 9), text, colour)
        _arrow(ax, (48, 32), (x + 12, 25), SHARED)
        _arrow(ax, (x + 12, 16), (48, 7.7), colour)
    _barrier(ax, 28.7, "copies")
    _barrier(ax, 12, "one barrier\na round")
    _box(ax, (36, 3), (24, 4.5), "merge: next master", SHARED)
    _text(ax, 48, 20.5, "nothing\nis shared", color=GREY)
    _text(ax, 82, 5.2, "sent: all weights,\nonce a round", ha="right")
    return fig


def _cut(
    title: str, subtitle: str, shared: str, middle: str, texts: tuple[tuple[str, str], ...]
) -> tuple[Figure, Axes]:
    """Draw one network that two threads train: what each does before and after they meet."""
    fig, ax = _canvas(title, subtitle, 5.2)
    _box(ax, (16, 39), (66, 4.5), shared, SHARED)
    for x, colour, (before, after) in zip((16, 52), (ONE, TWO), texts, strict=True):
        _arrow(ax, (x + 15, 39), (x + 15, 35.7), SHARED)
        _box(ax, (x, 27), (30, 8.5), before, colour)
        _arrow(ax, (x + 15, 27), (x + 15, 24.7), colour)
        _box(ax, (x, 19.5), (30, 5), middle, colour, filled=False)
        for other in (31, 67):
            _arrow(ax, (x + 15, 19.5), (other, 11.7), colour)
        _box(ax, (x, 3.5), (30, 8), after, colour)
    return fig, ax


def section() -> Figure:
    """Draw sections of the hidden units."""
    work = "weights into its hidden units\nactivations = phi(x W[:, own])"
    step = "sum of the parts, loss, deltas\nown deltas; step of the own weights"
    fig, ax = _cut(
        "section: one network, cut through its hidden units",
        "node parallelism, tensor parallelism; Figure 1 of the note",
        "the batch, read by all",
        "own part of the outputs' z",
        ((f"thread 1: {work}", step), (f"thread 2: {work}", step)),
    )
    _barrier(ax, 16, "one barrier\na batch")
    sent = "B numbers an output and thread (a further hidden layer: its activations and deltas)"
    _text(ax, 49, 0.9, f"sent: {sent}")
    return fig


def synchronous() -> Figure:
    """Draw batches that are split, and steps that are split by rows."""
    work, step = "half of the batch\nforward, loss, back", "step over the whole batch"
    fig, ax = _cut(
        "synchronous: one network, the batch is cut",
        "synchronous data parallelism, without buffers for gradients",
        "weights, read by all",
        "its activations and deltas",
        (
            (f"thread 1: first {work}", f"thread 1: upper rows of all weights\n{step}"),
            (f"thread 2: second {work}", f"thread 2: lower rows of all weights\n{step}"),
        ),
    )
    _barrier(ax, 16.6, "barrier")
    _barrier(ax, 2.2, "barrier")
    sent = "activations and deltas of the batch, and the weights that were changed"
    _text(ax, 49, 0.6, f"sent: {sent}")
    return fig


def hogwild() -> Figure:
    """Draw threads that share everything and wait for nobody."""
    fig, ax = _canvas(
        "hogwild: one network, no order",
        "asynchronous, lock-free data parallelism (Niu et al. 2011)",
        3.6,
    )
    memory = "all weights, in one memory: read and written one by one"
    _box(ax, (16, 20), (66, 5), memory, SHARED)
    for x, colour, name in ((16, ONE, "thread 1"), (52, TWO, "thread 2")):
        _box(ax, (x, 6), (30, 7), f"{name}: its own samples\nforward, back, step", colour)
        _arrow(ax, (x + 11, 20), (x + 11, 13.2), SHARED)
        _arrow(ax, (x + 19, 13), (x + 19, 19.8), colour)
        _text(ax, x + 10, 16.5, "reads", ha="right")
        _text(ax, x + 20, 16.5, "adds", ha="left")
    lost = "a step may get lost, and what was read may be half old, half new"
    _text(ax, 49, 3, f"no barrier; {lost}")
    return fig


def all_drawings() -> dict[str, Figure]:
    """Draw them all, by the names of their files."""
    return {
        f"strategy-{draw.__name__}": draw() for draw in (replica, section, synchronous, hogwild)
    }
