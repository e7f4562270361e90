"""scikit-learn's MLPClassifier."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from .. import Training
from . import Inputs, Start


class Peer:
    """``MLPClassifier.fit``, which stays in float32 for float32 inputs."""

    def __init__(self, cores: int, options: Mapping[str, Any]) -> None:
        del cores, options  # BLAS has read its thread count from the environment

    def train(self, training: Training, X: Inputs, y: np.ndarray, _: Start) -> MLPClassifier:
        """Train."""
        training.only("sgd", "momentum", "adam")
        classifier = MLPClassifier(
            hidden_layer_sizes=(training.hidden,) * training.layers,
            solver="adam" if training.solver == "adam" else "sgd",
            alpha=0.0,
            batch_size=training.batch_size,
            learning_rate=training.schedule,
            learning_rate_init=training.learning_rate,
            momentum=0.9 if training.solver == "momentum" else 0.0,
            max_iter=training.epochs,
            # So that it goes through all epochs.
            tol=0.0,
            n_iter_no_change=training.epochs + 1,
            random_state=training.seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return classifier.fit(X, y)

    def predict(self, network: MLPClassifier, X: Inputs) -> np.ndarray:
        """Return labels."""
        return network.predict(X)
