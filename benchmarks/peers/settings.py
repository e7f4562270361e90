"""Learning rates, and each peer's best settings for a wanted accuracy.

``python -m benchmarks.peers --tune`` chooses them (tune.py) and writes settings.json: trained on
the first 50,000 images of MNIST's training file, scored on its last 10,000. The test set is not
looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ..common.files import read_json, write_json
from . import Training

FILE = Path(__file__).with_name("settings.json")
BATCH_SIZES = (1, 8, 32, 64, 128, 256)

# For samples a second, where all peers train alike, one epoch at a constant rate: what trains well
# there in plain SGD.
LEARNING_RATES = {1: 0.01, 8: 0.1, 32: 0.2, 64: 0.3, 128: 0.4, 256: 0.5}

TARGETS = (97.0, 97.5, 98.0)


def alike(batch_size: int, **more: Any) -> Training:  # noqa: ANN401 - fields of many types
    """Return the training in which samples a second are compared, with other fields if given."""
    return Training(batch_size, LEARNING_RATES[batch_size], **more)


@dataclass(frozen=True)
class Grid:
    """What ``--tune`` tries: every combination, and omp_mlp with each of ``options``."""

    solvers: dict[str, tuple[float, ...]]
    batch_sizes: tuple[int, ...]
    schedules: tuple[str, ...] = ("linear",)
    epochs: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10)
    options: tuple[Mapping[str, Any], ...] = ({},)

    def candidates(self) -> list[Training]:
        """Return the settings, with one epoch."""
        return [
            Training(size, rate, schedule=schedule, solver=solver, options=options)
            for solver, rates in self.solvers.items()
            for rate, size, schedule, options in product(
                rates, self.batch_sizes, self.schedules, self.options
            )
        ]


_OURS = Grid({"sgd": (0.03, 0.1, 0.2, 0.3)}, (1, 8, 16, 32), options=({}, {"center_inputs": True}))
_BY_HAND = Grid({"sgd": (0.1, 0.2, 0.3, 0.4)}, (8, 16, 32))
GRIDS = {
    "omp_mlp": _OURS,
    "omp_mlp-bf16": _OURS,
    "omp_mlp-skip": _OURS,
    "torch-nn": Grid(
        {"sgd": (0.2, 0.4), "momentum": (0.02, 0.05, 0.1), "adam": (0.002, 0.004)}, (32, 64, 128)
    ),
    "torch-manual": _BY_HAND,
    # It cannot let the rate fall to 0; its own schedules for SGD end where they end.
    "sklearn": Grid(
        {"sgd": (0.2,), "momentum": (0.02, 0.05), "adam": (0.001, 0.002)},
        (32, 64, 128),
        ("constant",),
    ),
    "numpy": _BY_HAND,
    "numpy-blas": _BY_HAND,
    "jax": Grid({"sgd": (0.02, 0.1, 0.2, 0.3)}, (1, 8, 16, 32)),
}


def load(path: Path = FILE) -> dict[str, dict[float, Training]]:
    """Return the settings of each peer for each target.

    They are the quickest of its grid on the validation split. A target that is not there was not
    reached in the grid.
    """
    return {
        peer: {float(target): Training(**setting) for target, setting in chosen.items()}
        for peer, chosen in read_json(path).items()
    }


def store(found: Mapping[str, Mapping[str, Any]], path: Path = FILE) -> Path:
    """Put what ``--tune`` found for some peers in the place of what was there; return the path."""
    chosen = {
        peer: {target: trial["setting"] for target, trial in result["chosen"].items()}
        for peer, result in found.items()
    }
    return write_json(path, {**read_json(path), **chosen})
