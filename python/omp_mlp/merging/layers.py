"""A network as matrices, for the merge methods that look at more than single weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt

from omp_mlp.activations import activate
from omp_mlp.inputs import Inputs
from omp_mlp.model import Model
from omp_mlp.packed import layer_ends, pack

Array = npt.NDArray[np.float64]
Layers = list[tuple[Array, Array]]  # (W, b) of each layer, in double

BLOCK = 4096
"""Samples at a time: what is kept of a block is small, whatever the length of X."""

# Of a Gram matrix: the square of what float32 inputs tell apart, with some room.
_RANK = 1e-10


def layers_of(model: Model) -> Layers:
    """Return the parameters in double precision, as arrays of their own."""
    return [
        (W.astype(np.float64), b.astype(np.float64))
        for W, b in zip(model.weights, model.biases, strict=True)
    ]


def with_layers(model: Model, layers: Layers) -> Model:
    """Build a model that differs in its parameters only, rounded to float32 once."""
    return model._like(pack(layers).astype(np.float32))


def combine(one: Layers, other: Layers, factor: float) -> Layers:
    """Return one + factor * other."""
    return [(W + factor * V, b + factor * c) for (W, b), (V, c) in zip(one, other, strict=True)]


def average(networks: Sequence[Layers]) -> Layers:
    """Return the mean of every parameter, summed in the order of the networks."""
    total = reduce(lambda one, other: combine(one, other, 1.0), networks)
    return [(W / len(networks), b / len(networks)) for W, b in total]


def layer_inputs(model: Model, inputs: Inputs) -> list[Array]:
    """Return what each layer but the first one gets, with a column of ones for its bias.

    The first layer is the core's, which knows how to read every kind of X.
    """
    sizes = model.layer_sizes[:2]
    first = Model._of(sizes, model._packed[: layer_ends(sizes)[0]], "identity", "identity", None)
    found = []
    z = first._run(inputs, raw=True).astype(np.float64)
    for W, b in zip(model.weights[1:], model.biases[1:], strict=True):
        a = activate(model.activation, z)
        found.append(np.column_stack([a, np.ones(len(a))]))
        z = a @ W + b
    return found


def pseudo_inverse(gram: Array) -> Array:
    """Return what solves normal equations; of several solutions, the smallest."""
    return np.asarray(np.linalg.pinv(gram, rcond=_RANK, hermitian=True), dtype=np.float64)
