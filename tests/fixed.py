"""Trainings with every setting given, as the oracle needs them: it decides nothing by itself."""

from typing import Any

import omp_mlp

SETTINGS = {
    "epochs": 10,
    "batch_size": 8,
    "learning_rate": 0.05,
    "center_inputs": False,
    "scale_inputs": False,
    "scale_targets": False,
}


def train_parallel(
    X: Any, y: Any, threads: int, merge: str = "gradient_diversity", **options: Any
) -> Any:
    """Train with these settings, or others that are given."""
    return omp_mlp.train_parallel(X, y, threads, merge, **{**SETTINGS, **options})
