"""Few rows and a small network, which ranks train together, cut as one process would deal them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import oracle

ROWS, REPLICAS = 101, 4
OPTIONS: dict[str, Any] = {
    "hidden_layer_sizes": (5,), "activation": "tanh", "epochs": 3, "batch_size": 2,
    "learning_rate": 0.1, "merge_every": 4, "seed": 11, "center_inputs": False,
    "scale_inputs": False, "workers": 1, "last_merge": None,
}  # fmt: skip
BY_SUMS = ("average", "sum", "weighted_average", "delta_sum", "gradient_diversity")


def samples() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    X = np.random.default_rng(3).uniform(-1, 1, (ROWS, 7)).astype(np.float32)
    return X, np.arange(ROWS) % 3


def cut(ranks: int, replicas: int = REPLICAS) -> list[tuple[Any, Any]]:
    """Return the rows of each rank."""
    X, y = samples()
    ends = [oracle.block(ROWS, replicas, r * replicas // ranks)[0] for r in range(1, ranks)]
    return list(zip(np.split(X, ends), np.split(y, ends), strict=True))


def where_the_last_replica_diverges() -> tuple[list[tuple[Any, Any]], list[dict[str, Any]]]:
    """Return the rows and the options of two ranks with two replicas each."""
    X, _ = samples()
    y = X[:, 0] * 10
    weight = np.ones(ROWS)
    weight[-1] = 3e38
    both = {**OPTIONS, "threads": 2, "merge": "average", "learning_rate": 0.01}
    shards = [(X[:51], y[:51]), (X[51:], y[51:])]
    return shards, [{**both, "sample_weight": weight[:51]}, {**both, "sample_weight": weight[51:]}]
