"""omp_mlp."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

import omp_mlp

from .. import Training
from . import Inputs, Start

# Options that leave X and y as they are. An older version may not know them all.
_KNOWN = inspect.signature(omp_mlp.train_parallel).parameters
_AS_GIVEN = {
    name: False for name in ("center_inputs", "scale_inputs", "scale_targets") if name in _KNOWN
}


class Peer:
    """``omp_mlp.train_parallel``, one replica and one worker a core."""

    about: Mapping[str, Any] = {
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "build": dict(omp_mlp.build_config()),
    }

    def __init__(self, cores: int, options: Mapping[str, Any]) -> None:
        self.options = {
            "threads": cores,
            "merge": "average",
            "merge_every": None,
            "workers": cores,
            # As the others start. They are given their weights; here drawing them is timed.
            "init_scale": "glorot",
            **_AS_GIVEN,
            **options,
        }

    def train(self, training: Training, X: Inputs, y: np.ndarray, _: Start) -> omp_mlp.Model:
        """Train."""
        training.only("sgd", "adam")
        return omp_mlp.train_parallel(
            X,
            y,
            hidden_layer_sizes=(training.hidden,) * training.layers,
            optimizer=training.solver,
            epochs=training.epochs,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            learning_rate_schedule=training.schedule,
            seed=training.seed,
            **{**self.options, **training.options},
        )

    def predict(self, network: omp_mlp.Model, X: Inputs) -> np.ndarray:
        """Return labels."""
        return network.predict(X)
