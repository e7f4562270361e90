"""The losses: the rows of the core's table, and their values in double precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import _core
from omp_mlp.scaling import Scaling
from omp_mlp.targets import TargetKind, Targets

Doubles = npt.NDArray[np.float64]

LOSSES: Mapping[str, _core.Loss] = MappingProxyType({row.name: row for row in _core.losses()})

OF_VALUES = ("huber", "absolute", "quantile", "poisson")
"""The losses that say by themselves that y is values."""

# A loss in units of y is one in units of the scaled y times its scale to this power.
_POWER = {"squared_error": 2, "huber": 2, "absolute": 1, "quantile": 1}


@dataclass(frozen=True)
class LossKind:
    """A loss and its settings."""

    name: str
    huber_delta: float = 1.0
    quantile: float = 0.5
    label_smoothing: float = 0.0

    def core(self) -> _core.LossOptions:
        """Return the loss as the core takes it."""
        return _core.LossOptions(
            loss=LOSSES[self.name],
            huber_delta=self.huber_delta,
            quantile=self.quantile,
            label_smoothing=self.label_smoothing,
        )

    def unit(self, scaling: Scaling | None) -> Doubles | float:
        """Return what a loss of 1 of each scaled output is in the units of y."""
        return 1.0 if scaling is None else scaling.scale ** _POWER[self.name]

    def mean(
        self,
        output_activation: str,
        z: Doubles,
        targets: Targets,
        weight: npt.NDArray[Any] | None = None,
    ) -> float:
        """Return the (weighted) mean loss of samples, from the pre-activations z, in units of y."""
        if self.name == "cross_entropy":
            assert targets.indices is not None
            losses = _cross_entropy(z, targets.indices, self.label_smoothing)
            return float(np.average(losses, weights=weight))
        if targets.indices is None:
            wanted = targets.compared
        else:
            wanted = np.eye(z.shape[1])[targets.indices]
        losses = self._of_values(output_activation, z, wanted, targets.scaling)
        return float(np.average(np.sum(losses, axis=1), weights=weight))

    def _of_values(
        self,
        output_activation: str,
        z: Doubles,
        wanted: Doubles,
        scaling: Scaling | None,
    ) -> Doubles:
        """Return the losses of the outputs, of the shape of z."""
        if self.name == "poisson":
            return OUTPUT_FUNCTIONS["exponential"](z) - wanted * z
        if self.name == "binary_cross_entropy":
            return np.logaddexp(0, z) - wanted * z
        scale = 1.0 if scaling is None else scaling.scale
        return self._of_errors(
            scale * (OUTPUT_FUNCTIONS[output_activation](z) - wanted), self.huber_delta * scale
        )

    def _of_errors(self, error: Doubles, huber_delta: Doubles | float) -> Doubles:
        if self.name == "squared_error":
            return 0.5 * error**2
        size = np.abs(error)
        if self.name == "huber":
            near = np.minimum(size, huber_delta)
            return near * (size - 0.5 * near)
        if self.name == "absolute":
            return size
        return np.where(error > 0, 1 - self.quantile, self.quantile) * size


def own_loss(output_activation: str, kind: TargetKind) -> LossKind:
    """Return the loss that a network is scored by when nothing else is known of its training."""
    if output_activation == "softmax" and kind.labels is not None:
        return LossKind("cross_entropy")
    if output_activation == "exponential":
        return LossKind("poisson")
    return LossKind("binary_cross_entropy" if kind.is_multilabel else "squared_error")


def _cross_entropy(z: Doubles, correct: npt.NDArray[np.int32], smoothing: float) -> Doubles:
    losses: Doubles = _log_sum_exp(z)[:, 0] - (1 - smoothing) * z[np.arange(len(z)), correct]
    return losses - smoothing * z.mean(axis=1) if smoothing > 0 else losses


def log_softmax(z: Doubles) -> Doubles:
    """Return the logarithms of the probabilities of softmax outputs."""
    return z - _log_sum_exp(z)


def _log_sum_exp(z: Doubles) -> Doubles:
    largest = z.max(axis=1, keepdims=True)
    result: Doubles = largest + np.log(np.exp(z - largest).sum(axis=1, keepdims=True))
    return result


def _exponential(z: Doubles) -> Doubles:
    with np.errstate(over="ignore"):  # of an absurd network
        return np.exp(z)


OUTPUT_FUNCTIONS: dict[str, Callable[[Doubles], Doubles]] = {
    "softmax": lambda z: np.exp(log_softmax(z)),
    "identity": lambda z: z,
    "logistic": lambda z: 0.5 + 0.5 * np.tanh(0.5 * z),
    "exponential": _exponential,
}
