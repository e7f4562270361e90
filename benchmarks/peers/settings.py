"""Learning rates, and each peer's best settings for a wanted accuracy.

``python -m benchmarks.peers --tune`` chooses ``SETTINGS`` (tune.py): trained on the first 50,000
images of MNIST's training file, scored on its last 10,000. The test set is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from . import Training

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

# The quickest of each grid on the validation split, as printed by --tune. A target that is not
# there was not reached in the grid.
SETTINGS: dict[str, dict[float, Training]] = {
    "omp_mlp": {
        97.0: Training(16, 0.3, schedule="linear"),
        97.5: Training(1, 0.03, schedule="linear", options={"center_inputs": True}),
        98.0: Training(8, 0.3, epochs=3, schedule="linear", options={"center_inputs": True}),
    },
    "omp_mlp-bf16": {
        97.0: Training(16, 0.3, schedule="linear"),
        97.5: Training(8, 0.3, schedule="linear", options={"center_inputs": True}),
        98.0: Training(8, 0.3, epochs=3, schedule="linear", options={"center_inputs": True}),
    },
    "omp_mlp-skip": {
        97.0: Training(16, 0.3, schedule="linear"),
        97.5: Training(8, 0.3, schedule="linear", options={"center_inputs": True}),
        98.0: Training(8, 0.3, epochs=3, schedule="linear", options={"center_inputs": True}),
    },
    "torch-nn": {
        97.0: Training(32, 0.1, schedule="linear", solver="momentum"),
        97.5: Training(128, 0.004, epochs=4, schedule="linear", solver="adam"),
        98.0: Training(32, 0.004, epochs=5, schedule="linear", solver="adam"),
    },
    "numpy": {
        97.0: Training(16, 0.4, schedule="linear"),
        97.5: Training(16, 0.3, epochs=2, schedule="linear"),
        98.0: Training(16, 0.4, epochs=5, schedule="linear"),
    },
    "numpy-blas": {
        97.0: Training(16, 0.4, schedule="linear"),
        97.5: Training(8, 0.2, epochs=2, schedule="linear"),
        98.0: Training(16, 0.4, epochs=5, schedule="linear"),
    },
    "jax": {
        97.0: Training(16, 0.3, schedule="linear"),
        97.5: Training(16, 0.3, epochs=2, schedule="linear"),
        98.0: Training(8, 0.1, epochs=6, schedule="linear"),
    },
    "torch-manual": {
        97.0: Training(8, 0.2, schedule="linear"),
        97.5: Training(16, 0.3, epochs=2, schedule="linear"),
        98.0: Training(32, 0.4, epochs=8, schedule="linear"),
    },
    "sklearn": {
        97.0: Training(128, 0.05, epochs=3, solver="momentum"),
        97.5: Training(64, 0.05, epochs=5, solver="momentum"),
    },
}
