"""Fit the output layer again, by least squares, to what the hidden layers of a merge give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from omp_mlp.inputs import Inputs
from omp_mlp.losses import OUTPUT_FUNCTIONS
from omp_mlp.merging.layers import (
    BLOCK,
    Array,
    layer_inputs,
    layers_of,
    pseudo_inverse,
    with_layers,
)
from omp_mlp.model import Model
from omp_mlp.targets import Targets

# The derivative of the loss by the pre-activations z, from the outputs o and the targets t; and a
# bound k of the second derivative: the loss is at most its parabola of that curvature.
# Softmax with cross-entropy: the Hessian is at most 1/2 (Boehning 1992). Logistic with squared
# error: the largest of s^2 (2 - 3 s) (1 - s), for targets in [0, 1]. Identity: the loss itself.
# Logistic with binary cross-entropy: the largest of s (1 - s).
_DERIVATIVES: dict[str, tuple[Callable[[Array, Array], Array], float]] = {
    "softmax": (lambda o, t: o - t, 0.5),
    "logistic": (lambda o, t: (o - t) * o * (1 - o), 0.0771),
    "identity": (lambda o, t: o - t, 1.0),
}
_OF_MULTILABEL: tuple[Callable[[Array, Array], Array], float] = (lambda o, t: o - t, 0.25)


def refit_output(model: Model, inputs: Inputs, targets: Targets, ridge: float, steps: int) -> Model:
    """Fit the last layer anew to the data, by least squares; the hidden layers stay as they are.

    Steps of least squares decrease the network's own loss (Boehning 1992). Let a be the inputs of
    the last layer for a sample, and g the derivative of the sample's loss by z = W^T a + b. A step
    adds to (W, b) the (D, d) that minimises

        sum |D^T a + d + g / k|^2 + r |D|^2,    r = ridge * mean over the units of sum a^2,

    over the samples. k is the largest curvature of the loss, so no step makes the loss larger. With
    identity outputs k = 1, and the first step ends at the least squares solution itself. Directions
    that the data do not determine stay as they are.
    """
    if model.output_activation not in _DERIVATIVES:
        raise ValueError(
            "merge method 'refit_output' needs outputs with a bounded curvature of the loss, which "
            f"are {', '.join(_DERIVATIVES)}; got {model.output_activation} outputs"
        )
    derivative, curvature = (
        _OF_MULTILABEL if model.multilabel else _DERIVATIVES[model.output_activation]
    )
    output = OUTPUT_FUNCTIONS[model.output_activation]
    layers = layers_of(model)
    last = np.vstack(layers[-1])
    if targets.indices is not None:
        wanted = np.eye(last.shape[1])[targets.indices]
    else:
        assert targets.values is not None
        wanted = targets.values.astype(np.float64)

    # Kept, not computed anew for every step: 4 bytes for each sample and unit.
    blocks = [
        (place, _last_inputs(model, block).astype(np.float32))
        for place, block in inputs.blocks(BLOCK)
    ]
    gram = np.zeros((len(last), len(last)))
    for _, last_inputs in blocks:
        a = last_inputs.astype(np.float64)
        gram += a.T @ a
    units = np.arange(len(last) - 1)
    gram[units, units] += ridge * gram[units, units].mean()
    inverse = pseudo_inverse(gram)
    for _ in range(1 if model.output_activation == "identity" else steps):
        slope = np.zeros_like(last)
        for place, last_inputs in blocks:
            a = last_inputs.astype(np.float64)
            slope += a.T @ derivative(output(a @ last), wanted[place])
        last = last - inverse @ slope / curvature
    return with_layers(model, [*layers[:-1], (last[:-1], last[-1])])


def _last_inputs(model: Model, inputs: Inputs) -> Array:
    """Return what the last layer gets, with a column of ones for its bias."""
    if len(model.weights) > 1:
        return layer_inputs(model, inputs)[-1]
    dense = inputs.dense()
    return np.column_stack([dense, np.ones(len(dense))])
