"""The look of pictures, and saving them.

Pictures are drawn from ``matplotlib.figure.Figure``, within :func:`style`.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

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


def band(
    ax: Axes, x: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str
) -> None:
    """Draw the range of a curve behind it."""
    ax.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)


def caption(
    fig: Figure, title: str, subtitle: str, notes: Sequence[str], legend: Axes | None = None
) -> None:
    """Put title, subtitle and legend above, and small notes below, and make room for them.

    Call it when the axes are complete: it lays the figure out. ``legend`` is the axes whose labels
    make up a legend of two columns; above the axes no curve can run into it.
    """
    width, height = fig.get_size_inches()
    characters = int(width * 20)
    lines = [line for note in notes for line in textwrap.wrap(note, characters)]
    foot = 0.04 + 0.135 * len(lines)
    head = 0.55
    if legend is not None:
        handles, labels = legend.get_legend_handles_labels()
        fig.legend(
            handles,
            labels,
            ncols=2,
            loc="upper left",
            bbox_to_anchor=(0.06 / width, 1 - 0.60 / height),
            columnspacing=2.5,
            handlelength=3.2,  # dashes are told apart
        )
        head += 0.14 + 0.21 * ((len(labels) + 1) // 2)
    fig.tight_layout(rect=(0, foot / height, 1, 1 - head / height))
    margin = 0.14 / width
    text = {"ha": "left", "color": COLOURS["grey"]}
    fig.text(margin, 1 - 0.12 / height, title, ha="left", va="top", fontsize=13, weight="bold")
    fig.text(margin, 1 - 0.40 / height, subtitle, va="top", fontsize=9.5, **text)
    fig.text(
        margin,
        0.08 / height,
        "\n".join(lines),
        va="bottom",
        fontsize=6.5,
        linespacing=1.35,
        **text,
    )


def save(fig: Figure, stem: Path, title: str) -> Path:
    """Save a figure as PNG, with a title inside the file; return its path."""
    # A name may hold a dot, so the ending is added rather than swapped in.
    path = stem.with_name(f"{stem.name}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, metadata={"Title": title})
    return path
