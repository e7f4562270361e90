"""Take turns in every cell of the map, and find the best peer of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..common.timing import ratios
from ..peers import Training, row
from ..peers.bench import Bench, Entry, Result
from ..peers.data import random_inputs
from .grid import Panel

# By what products are rounded to. Of the peers, PyTorch alone rounds factors.
OURS = {"float32": "omp_mlp", "bfloat16": "omp_mlp-bf16"}
_BY_SOLVER = {
    "sgd": ("torch-nn", "torch-manual", "numpy", "numpy-blas"),
    "adam": ("torch-nn",),
}
_ROUNDING = ("torch-bf16",)
PEERS = (*_BY_SOLVER["sgd"], *_ROUNDING)
# So small that no training diverges, whatever its size. The time of a step does not depend on it.
LEARNING_RATE = 1e-5


def compare(bench: Bench, panels: Iterable[Panel]) -> list[Result]:
    """Measure every cell; return the rates of all, and the ratio of ours to the best peer's."""
    found = []
    features = 0
    for panel in panels:
        if not {peer.name for peer in bench.rows} & set(peers_of(panel)):
            bench.say(f"{panel.name}: left out, for no peer of it is there")
            continue
        if panel.features != features:
            bench.end_processes()
            features = panel.features
        found += [cell(bench, panel, width, size) for width, size in panel.cells()]
    bench.end_processes()
    return found


def peers_of(panel: Panel) -> tuple[str, ...]:
    """Return the peers that train as the panel does."""
    return _BY_SOLVER[panel.solver] if panel.products == "float32" else _ROUNDING


def cell(bench: Bench, panel: Panel, width: int, size: int) -> Result:
    """Measure one training with omp_mlp and all its peers."""
    training = Training(size, LEARNING_RATE, solver=panel.solver, hidden=width, layers=panel.layers)
    installed = {peer.name for peer in bench.rows}
    ours = OURS[panel.products]
    names = [ours, *(name for name in peers_of(panel) if name in installed)]
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
        "ours": ours,
        **to_the_best(ours, rates),
    }


def to_the_best(ours: str, rates: dict[str, Sequence[float]]) -> Result:
    """Return the peer that is the nearest to us or ahead, and the ratio of ours to its rate."""
    theirs = {name: ratios(rates[ours], runs) for name, runs in rates.items() if name != ours}
    best = min(theirs, key=lambda name: theirs[name]["median"])
    return {"best_peer": best, "ratio": {k: theirs[best][k] for k in ("median", "min", "max")}}
