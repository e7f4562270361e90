"""The map as a picture: the ratio to the best peer over width and batch, losses in red."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure

from ..common.pictures import COLOURS, caption
from .tables import lines_of, panels

# The darkest of each colour.
MOST = 8.0
_MAP = LinearSegmentedColormap.from_list("ratio", [COLOURS["red"], "#FFFFFF", COLOURS["blue"]])
_COLUMNS = 3


def draw(cells: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> Figure:
    """Draw a panel for each part of the map."""
    parts = panels(cells)
    lines = -(-len(parts) // _COLUMNS)
    fig = Figure(figsize=(4.1 * _COLUMNS, 2.6 * lines + 0.9))
    axes = fig.subplots(lines, _COLUMNS, squeeze=False).ravel()
    for ax, (name, mine) in zip(axes, parts.items(), strict=False):
        widths, sizes = lines_of(mine)
        for cell in mine:
            ratio = cell["ratio"]["median"]
            x, y = sizes.index(cell["batch_size"]), widths.index(cell["hidden"])
            # A loss is never as pale as a tie.
            shade = _MAP(LogNorm(1 / MOST, MOST)(min(ratio, 0.8) if ratio < 1 else ratio))
            ax.fill([x, x + 1, x + 1, x], [y, y, y + 1, y + 1], color=shade)
            dark = not 1 / 3 < ratio < 3.5
            ax.text(
                *(x + 0.5, y + 0.5, f"{ratio:.2g}" if ratio >= 10 else f"{ratio:.2f}"),
                ha="center",
                va="center",
                fontsize=9,
                color="white" if dark else COLOURS["black"],
            )
        ax.set_xlim(0, len(sizes))
        ax.set_ylim(0, len(widths))
        ax.set_xticks([k + 0.5 for k in range(len(sizes))], [str(size) for size in sizes])
        ax.set_yticks([k + 0.5 for k in range(len(widths))], [f"{width:,}" for width in widths])
        ax.set_title(name, fontsize=9.5)
        ax.set_xlabel("batch size", fontsize=9)
        ax.set_ylabel("hidden units", fontsize=9)
        ax.grid(visible=False)
    for ax in axes[len(parts) :]:
        ax.set_axis_off()
    subtitle = "Samples a second, one core, dense inputs: omp_mlp over the best peer. Red: slower."
    caption(fig, "The map of sizes", subtitle, notes)
    return fig
