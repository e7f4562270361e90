"""What each part of ``preset="tabular"`` is worth: the preset with one part changed.

The parts are those of RealMLP-TD-S (Holzmueller et al. 2024), those too that the preset left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import omp_mlp

from .contestants import timed
from .problems import Problem

_LABELS_ONLY = ("label_smoothing",)

WHOLE = "the preset"
PARTS: Mapping[str, Mapping[str, Any]] = {
    WHOLE: {},
    "no factors of the inputs": {"input_gain_rate": 0.0},
    "standard parametrisation": {"parametrization": "standard", "batch_size": 256},
    "no weight decay": {"weight_decay": 0.0},
    "linear schedule": {"learning_rate_schedule": "linear"},
    "beta_2 of 0.999": {"beta_2": 0.999},
    "best epoch, no search": {
        "early_stopping": True,
        "validation_fraction": 0.2,
        "patience": 1_000_000,
    },
    "SELU": {"activation": "selu"},
    "Mish": {"activation": "mish"},
    "label smoothing of 0.1": {"label_smoothing": 0.1},
    "dropout of 0.15": {"dropout": 0.15},
    "robust scales": {"scale_inputs": "robust"},
    "robust scales, smoothly clipped": {"scale_inputs": "clipped"},
}


def ask_part(part: str, problem: Problem, seed: int) -> dict[str, float | None]:
    """Train with a part changed; return the score on held-out rows, and CPU seconds."""
    changes = dict(PARTS[part])
    if problem.is_regression:
        changes = {name: value for name, value in changes.items() if name not in _LABELS_ONLY}
    X, X_test = problem.X, problem.X_test
    if isinstance(changes.get("scale_inputs"), str):
        scaled = robust(X, clips=changes["scale_inputs"] == "clipped")
        X, X_test, changes["scale_inputs"] = scaled(X), scaled(X_test), False

    def score() -> float:
        model = omp_mlp.train_parallel(
            X, problem.y, 1, preset="tabular", seed=seed, workers=1, **changes
        )
        return float(model.score(X_test, problem.y_test))

    return timed(score)


def robust(X: np.ndarray, *, clips: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Return RealMLP's scaling: by median and quartiles, and x / sqrt(1 + (x / 3)^2) if it clips.

    Columns whose quartiles are equal have half their range instead, and constant ones become 0.
    """
    low, median, high = np.quantile(X, [0.25, 0.5, 0.75], axis=0)
    scale = np.where(high > low, high - low, (X.max(axis=0) - X.min(axis=0)) / 2)
    factor = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1), 0.0)

    def scaled(given: np.ndarray) -> np.ndarray:
        x = (given - median) * factor
        return (x / np.sqrt(1 + (x / 3) ** 2) if clips else x).astype(np.float32)

    return scaled
