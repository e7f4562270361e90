"""Two weights, two replicas: where Eq. 1, Eq. 2 and gradient diversity lead.

    python -m benchmarks.merging.draw    docs/figures/merges.png

Two replicas of a linear model with two weights start at one point and go down the gradient of the
squared error on their own samples. On the left both see the same kind of samples, and each learns
both weights; on the right each sees one of the two inputs vary, and learns one weight. The points
that they reach are merged by ``omp_mlp.merge`` itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

import omp_mlp

from ..common.files import DOCS
from ..common.pictures import COLOURS, caption, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

TITLE = "Two weights, two replicas, one merge"
START = np.array([0.5, 0.35])
TRUTH = np.array([2.1, 1.75])  # the weights that made the targets
STEPS, RATE = 60, 0.05
# Standard deviations of the two inputs, for each replica's samples.
CASES = {
    "both see the same kind of samples": [(1.0, 0.8), (0.8, 1.0)],
    "each sees one input vary": [(1.0, 0.1), (0.1, 1.0)],
}
# Method: label, colour, marker, its size, where its label stands in each case (in points from it).
MERGES = {
    "average": ("average (Eq. 1)", COLOURS["blue"], "s", 13, [(4, 26), (10, -12)]),
    "sum": ("sum (Eq. 2)", COLOURS["green"], "^", 10, [(9, -4), (9, -2)]),
    "gradient_diversity": ("gradient diversity", COLOURS["red"], "o", 8, [(14, -24), (10, -16)]),
}
# Where the labels of the two replicas stand, likewise.
REPLICAS = [[(11, -3), (-17, 3)], [(8, -3), (-5, 8)]]


def train(deviations: tuple[float, float], seed: int) -> NDArray[np.float64]:
    """Return the way of a replica down its own gradient, a row a step."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(200, 2)) * deviations
    y = X @ TRUTH
    way = [START]
    for _ in range(STEPS):
        way.append(way[-1] - RATE * X.T @ (X @ way[-1] - y) / len(X))
    return np.array(way)


def merged(ends: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    """Return what each method makes of linear models with these weights, a row a replica."""
    base, *models = (omp_mlp.Model([w[:, None]], [np.zeros(1)]) for w in (START, *ends))
    return {name: omp_mlp.merge(models, name, base=base).weights[0][:, 0] for name in MERGES}


def draw_case(axes: Axes, case: int, title: str, deviations: list[tuple[float, float]]) -> None:
    """Draw the replicas' ways and what the merges make of their ends."""
    ways = [train(deviation, seed) for seed, deviation in enumerate(deviations)]
    grid = np.linspace(-0.2, 5.2, 200)
    w1, w2 = np.meshgrid(grid, grid)
    loss = (w1 - TRUTH[0]) ** 2 + (w2 - TRUTH[1]) ** 2
    axes.contour(w1, w2, loss, levels=np.arange(1, 9) ** 2 * 0.16, colors="#DDDDDD", linewidths=0.9)
    grey = {"color": COLOURS["grey"]}
    axes.plot(*TRUTH, marker="+", markersize=13, markeredgewidth=1.6, **grey)
    near = {"textcoords": "offset points"}
    for number, way in enumerate(ways):
        axes.plot(*way.T, linewidth=1.6, **grey)
        axes.plot(*way[-1], marker="o", markersize=5, **grey)
        place = REPLICAS[case][number]
        axes.annotate(f"$w_{number + 1}$", way[-1], xytext=place, **near, **grey)
    axes.plot(*START, marker="o", color=COLOURS["black"], markersize=6)
    axes.annotate("base", START, xytext=(-7, -12), color=COLOURS["black"], ha="right", **near)
    ends = np.array([way[-1] for way in ways])
    total = (ends - START).sum(axis=0)
    for name, point in merged(ends).items():
        label, colour, marker, size, places = MERGES[name]
        axes.plot(*point, marker=marker, color=colour, markersize=size)
        if name == "gradient_diversity":
            c = (point - START) @ total / (total @ total)
            label = f"{label}, c = {c:.2f}"
        axes.annotate(label, point, xytext=places[case], color=colour, **near)
    axes.set_title(title, fontsize=11, loc="left")
    axes.set(xlabel="first weight", ylabel="second weight", aspect="equal")
    axes.set(xlim=(-0.2, 5.1), ylim=(-0.2, 3.9))
    axes.grid(False)


def draw() -> Figure:
    """Return the picture."""
    fig = Figure(figsize=(10, 5.3))
    for case, (axes, title) in enumerate(zip(fig.subplots(1, 2), CASES, strict=True)):
        draw_case(axes, case, title, CASES[title])
    caption(
        fig,
        TITLE,
        "rings: equal loss over all samples, least at +; grey: the replicas' ways",
        [
            "Eq. 1 takes half of what each has learned; Eq. 2 adds the weights, with the start "
            "counted twice. Gradient diversity adds c times the updates, with c from their "
            "lengths: near 1/2 where they agree, near 1 where they are orthogonal.",
            "",
        ],
    )
    return fig


def main() -> None:
    with style():
        print(save(draw(), DOCS / "figures" / "merges.png"))


if __name__ == "__main__":
    main()
