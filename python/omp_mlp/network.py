"""The kind of network that a training makes, and its parameters in the units of X or the core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import _core
from omp_mlp.checks import FloatArray
from omp_mlp.inputs import Inputs
from omp_mlp.model import Model
from omp_mlp.options import OUTPUTS_OF_LOSS, Options
from omp_mlp.targets import Targets, same_labels


@dataclass(frozen=True)
class NetworkKind:
    """A network without its parameters.

    ``scale``: the training reads ``scale`` times X. A network of the core applies to that, and a
    Model applies to X. Their first layers differ by the scale. It is a power of two, so the
    conversion is exact.
    """

    layer_sizes: tuple[int, ...]
    activation: str
    output: str
    labels: npt.NDArray[Any] | None
    scale: float

    def model(self, packed: FloatArray) -> Model:
        """Return a Model with parameters of the core, which it takes over."""
        self._first_weights(packed)[...] *= np.float32(self.scale)
        return Model._of(self.layer_sizes, packed, self.activation, self.output, self.labels)

    def core(self, parameters: FloatArray | None) -> _core.Network:
        """Return the core's network, with parameters of the core or without."""
        return _core.Network(
            layer_sizes=list(self.layer_sizes),
            activation=self.activation,
            output=self.output,
            parameters=parameters,
        )

    def start(self, init: str | Model) -> FloatArray | None:
        """Return the core's parameters to start from; None if they are drawn."""
        if not isinstance(init, Model):
            return None
        for name, got, expected in (
            ("layer_sizes", init.layer_sizes, self.layer_sizes),
            ("activation", init.activation, self.activation),
            ("output_activation", init.output_activation, self.output),
        ):
            if got != expected:
                raise ValueError(
                    f"init must be a Model of {name} {expected!r}, as this training has; "
                    f"got {got!r}"
                )
        if not same_labels(init.classes, self.labels):
            raise ValueError(
                f"init must be a Model of the classes in y, {self.labels}; got {init.classes}"
            )
        packed = init._packed.copy()
        self._first_weights(packed)[...] /= np.float32(self.scale)
        return packed

    def _first_weights(self, packed: FloatArray) -> FloatArray:
        return packed[: self.layer_sizes[0] * self.layer_sizes[1]]


def network_kind(options: Options, inputs: Inputs, targets: Targets) -> NetworkKind:
    """Return the kind of network for these options and data."""
    output = _output_function(options, targets)
    if options.skip_confident > 0 and output != "softmax":
        raise ValueError(
            "skip_confident goes with loss='cross_entropy' on softmax outputs; "
            f"got output_activation={output!r}"
        )
    layer_sizes = (inputs.n_features, *options.hidden_layer_sizes, targets.n_outputs)
    return NetworkKind(layer_sizes, options.activation, output, targets.labels, inputs.scale)


def _output_function(options: Options, targets: Targets) -> str:
    """Resolve "auto" in loss and output_activation, and check that the two go together."""
    loss, output = options.loss, options.output_activation
    is_classification = targets.labels is not None
    if loss == "auto":
        loss = "cross_entropy" if is_classification else "squared_error"
    if loss == "cross_entropy" and not is_classification:
        raise ValueError(
            "loss='cross_entropy' needs y of integers, strings or booleans; got floats, which are "
            "the values of a regression (loss='squared_error')"
        )
    if output == "auto":
        if loss == "cross_entropy":
            return "softmax"
        return "logistic" if is_classification else "identity"
    if output not in OUTPUTS_OF_LOSS[loss]:
        raise ValueError(
            f"loss={loss!r} goes with output_activation "
            + " or ".join(repr(name) for name in OUTPUTS_OF_LOSS[loss])
            + f"; got {output!r}"
        )
    return output
