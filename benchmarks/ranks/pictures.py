"""The modelled curves of docs/distributed.md. Nothing in them is measured."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from omp_mlp import costs

from ..common import pictures as common

NODES = tuple(2**k for k in range(8))
CORES = 8  # of a node, as of costs.TYPICAL
EVERY = 2048  # samples of a replica between merges
GIGABITS = {1: "orange", 10: "blue", 100: "green"}
PERIODS = {1: "solid", 8: "dashed"}
EPOCHS = 5
PROBLEMS: dict[str, dict[str, Any]] = {
    "MNIST, 784-128-10": {
        "network": (784, 128, 10), "n_samples": 60_000, "density": 0.19, "batch_size": 8
    },
    "2 million dense rows, 784-1024-1024-10": {
        "network": (784, 1024, 1024, 10), "n_samples": 2_000_000, "density": None,
        "batch_size": 32,
    },
}  # fmt: skip


def predicted(
    problem: dict[str, Any], nodes: int, gigabits: float, period: int
) -> costs.Prediction:
    """Predict a training on nodes of eight cores."""
    cluster = costs.Cluster.ethernet(gigabits, cores=CORES, all_reduce="halving")
    return costs.predict(
        **problem,
        epochs=EPOCHS,
        threads=nodes * CORES,
        merge_every=EVERY,
        costs=costs.TYPICAL,
        cluster=cluster,
        merge_ranks_every=period,
    )


def curves() -> Figure:
    """Draw the speed-up of more nodes, for three networks of links."""
    fig = Figure(figsize=(10.5, 5.6))
    panels = fig.subplots(1, 2, sharey=True)
    for ax, (title, problem) in zip(panels, PROBLEMS.items(), strict=True):
        ax.set_title(title, fontsize=10.5)
        ax.plot(NODES, NODES, label="linear", **common.REFERENCE)
        for period, dash in PERIODS.items():
            for gigabits, colour in GIGABITS.items():
                alone = predicted(problem, 1, gigabits, 1).total
                speeds = [alone / predicted(problem, n, gigabits, period).total for n in NODES]
                label = f"{gigabits} Gbit/s, nodes merge every {period * EVERY:,} samples"
                look = common.curve_look(colour, "o", dash, markersize=4)
                ax.plot(NODES, speeds, label=label, **look)
        common.log2_axis(ax, "x", NODES)
        common.log2_axis(ax, "y", NODES)
        ax.set_ylim(2**-0.5, 2**7.2)
        ax.set_xlabel(f"nodes of {CORES} cores")
    panels[0].set_ylabel("modelled speed-up over one node")
    example = predicted(PROBLEMS["MNIST, 784-128-10"], 2, 10, 1)
    common.caption(
        fig,
        "Modelled, not measured: when more nodes help",
        f"{EPOCHS} epochs; the replicas of a node merge every {EVERY:,} samples of each; links "
        "have a latency of 50 µs",
        [
            f"Assumed: {'; '.join(example.assumptions)}.".replace(
                "10 Gbit/s", "1 to 100 Gbit/s"
            ).replace(" us ", " µs "),
            f"From 32 nodes on, MNIST leaves a replica fewer than {EVERY:,} samples: one merge.",
        ],
        panels[0],
    )
    return fig
