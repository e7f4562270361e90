"""Take turns in every cell of the map, and find the best peer of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..common.timing import ratios
from ..peers import Training, row
from ..peers.bench import Bench, Entry, Result
from ..peers.data import random_inputs
from .grid import Panel

OURS = "omp_mlp"
PEERS = {
    "sgd": ("torch-nn", "torch-manual", "numpy", "numpy-blas"),
    "adam": ("torch-nn",),
}
# So small that no training diverges, whatever its size. The time of a step does not depend on it.
LEARNING_RATE = 1e-5


def compare(bench: Bench, panels: Iterable[Panel]) -> list[Result]:
    """Measure every cell; return the rates of all, and the ratio of ours to the best peer's."""
    found = []
    features = 0
    for panel in panels:
        if not {peer.name for peer in bench.rows} & set(PEERS[panel.solver]):
            bench.say(f"{panel.name}: left out, for no peer of it is there")
            continue
        if panel.features != features:
            bench.end_processes()
            features = panel.features
        found += [cell(bench, panel, width, size) for width, size in panel.cells()]
    bench.end_processes()
    return found


def cell(bench: Bench, panel: Panel, width: int, size: int) -> Result:
    """Measure one training with omp_mlp and all its peers."""
    training = Training(size, LEARNING_RATE, solver=panel.solver, hidden=width, layers=panel.layers)
    installed = {peer.name for peer in bench.rows}
    names = [OURS, *(name for name in PEERS[panel.solver] if name in installed)]
    data = random_inputs(panel.rows, panel.features)
    entries = bench.measure([Entry(row(name), training, data=data) for name in names], score=False)
    rates = {entry["peer"]: entry["samples_per_second"]["runs"] for entry in entries}
    return {
        "panel": panel.name,
        "features": panel.features,
        "layers": panel.layers,
        "solver": panel.solver,
        "hidden": width,
        "batch_size": size,
        "samples_per_second": {
            entry["peer"]: entry["samples_per_second"]["median"] for entry in entries
        },
        **to_the_best(rates),
    }


def to_the_best(rates: dict[str, Sequence[float]]) -> Result:
    """Return the peer that is the nearest to us or ahead, and the ratio of ours to its rate."""
    theirs = {name: ratios(rates[OURS], runs) for name, runs in rates.items() if name != OURS}
    best = min(theirs, key=lambda name: theirs[name]["median"])
    return {"best_peer": best, "ratio": {k: theirs[best][k] for k in ("median", "min", "max")}}
