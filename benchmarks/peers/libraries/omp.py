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

# The other libraries' "momentum" is Nesterov's.
_OPTIMIZERS = {"momentum": "nesterov"}

# What versions do that do not know the option yet.
_EARLIER = {
    "optimizer": "sgd", "center_inputs": False, "scale_inputs": False, "scale_targets": False,
}  # fmt: skip
_KNOWN = inspect.signature(omp_mlp.train_parallel).parameters


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
            "center_inputs": False,
            "scale_inputs": False,
            "scale_targets": False,
            **options,
        }

    def train(self, training: Training, X: Inputs, y: np.ndarray, _: Start) -> omp_mlp.Model:
        """Train."""
        training.only("sgd", "momentum", "adam")
        options = {
            **self.options,
            "hidden_layer_sizes": (training.hidden,) * training.layers,
            "optimizer": _OPTIMIZERS.get(training.solver, training.solver),
            "epochs": training.epochs,
            "batch_size": training.batch_size,
            "learning_rate": training.learning_rate,
            "learning_rate_schedule": training.schedule,
            "seed": training.seed,
            **training.options,
        }
        return omp_mlp.train_parallel(
            X,
            y,
            **{
                name: value
                for name, value in options.items()
                if name in _KNOWN or value != _EARLIER.get(name)
            },
        )

    def predict(self, network: omp_mlp.Model, X: Inputs) -> np.ndarray:
        """Return labels."""
        return network.predict(X)
