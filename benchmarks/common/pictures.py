"""The look of pictures, and saving them.

Pictures are drawn from ``matplotlib.figure.Figure``, within :func:`style`.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which readers with any common colour blindness can tell apart. `sum` is
# green because it is green in the note that the figures reproduce.
COLOURS = {
    "blue": "#0072B2",
    "green": "#009E73",
    "orange": "#E69F00",
    "purple": "#CC79A7",
    "red": "#D55E00",
    "sky": "#56B4E9",
    "black": "#1A1A1A",
    "grey": "#6E6E6E",
}
DASHES: Mapping[str, Any] = {"solid": "solid", "dashed": (0, (4, 1.6)), "dotted": (0, (1, 1.2))}
# A reference that curves are compared with, such as "as fast as ever possible".
REFERENCE: Mapping[str, Any] = {
    "color": COLOURS["grey"],
    "linestyle": (0, (1, 2)),
    "linewidth": 1.3,
    "zorder": 1,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Apply the look that all pictures of the benchmarks share."""
    look: dict[Any, Any] = {
        "axes.axisbelow": True,
        "axes.edgecolor": COLOURS["grey"],
        "axes.grid": True,
        "axes.labelcolor": COLOURS["black"],
        "axes.labelsize": 10.5,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.facecolor": "white",
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "grid.color": "#E3E3E3",
        "grid.linewidth": 0.8,
        "legend.fontsize": 9.5,
        "legend.frameon": False,
        "lines.linewidth": 2.0,
        "lines.markersize": 6.5,
        "savefig.dpi": 200,
        "xtick.color": COLOURS["grey"],
        "xtick.labelcolor": COLOURS["black"],
        "ytick.color": COLOURS["grey"],
        "ytick.labelcolor": COLOURS["black"],
    }
    with mpl.rc_context(look):
        yield


def curve_look(colour: str, marker: str, dash: str = "solid", **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return what a curve is plotted with, by names in ``COLOURS`` and ``DASHES``."""
    look = {"color": COLOURS[colour], "marker": marker, "linestyle": DASHES[dash]}
    return {**look, "markeredgecolor": "white", **more}


def band(
    ax: Axes, x: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str
) -> None:
    """Draw the range of a curve behind it."""
    ax.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)


def log2_axis(ax: Axes, which: Literal["x", "y"], ticks: Sequence[float]) -> None:
    """Make an axis logarithmic, with these ticks and no others."""
    axis, set_scale = {"x": (ax.xaxis, ax.set_xscale), "y": (ax.yaxis, ax.set_yscale)}[which]
    set_scale("log", base=2)
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def caption(
    fig: Figure, title: str, subtitle: str, notes: Sequence[str], legend: Axes | None = None
) -> None:
    """Put title, subtitle and legend above, and small notes below, and make room for them.

    Call it when the axes are complete: it lays the figure out. ``legend`` is the axes whose labels
    make up a legend of two columns; above the axes no curve can run into it.
    """
    width, height = fig.get_size_inches()
    above = textwrap.wrap(subtitle, int(width * 13.5))
    below = [line for note in notes for line in textwrap.wrap(note, int(width * 20))]
    foot = 0.04 + 0.135 * len(below)
    head = 0.37 + 0.18 * len(above)
    if legend is not None:
        handles, labels = legend.get_legend_handles_labels()
        place = (0.06 / width, 1 - (head + 0.05) / height)
        fig.legend(
            handles, labels, ncols=2, loc="upper left", bbox_to_anchor=place, columnspacing=2.5
        )
        head += 0.14 + 0.21 * ((len(labels) + 1) // 2)
    fig.tight_layout(rect=(0, foot / height, 1, 1 - head / height))
    margin = 0.14 / width
    fig.text(margin, 1 - 0.12 / height, title, va="top", fontsize=13, weight="bold")
    grey = {"color": COLOURS["grey"], "linespacing": 1.35}
    fig.text(margin, 1 - 0.40 / height, "\n".join(above), va="top", fontsize=9.5, **grey)
    fig.text(margin, 0.08 / height, "\n".join(below), va="bottom", fontsize=6.5, **grey)


def save(fig: Figure, path: Path) -> Path:
    """Save a figure as PNG, with its name inside the file; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, metadata={"Title": path.stem})
    return path
