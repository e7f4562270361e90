"""The packed form of a network's parameters: W_1 row by row, b_1, W_2, b_2, ... in one array."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp.checks import FloatArray


def layer_sizes_of(layers: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[int, ...]:
    """Check that the shapes fit each other, and return features, hidden units, outputs."""
    if not layers:
        raise ValueError("a network needs at least one layer; got no weights")
    sizes: list[int] = []
    for k, (W, b) in enumerate(layers):
        if W.ndim != 2 or 0 in W.shape or (sizes and W.shape[0] != sizes[-1]):
            fan_in = sizes[-1] if sizes else "n_features"
            raise ValueError(f"weights[{k}] must have shape ({fan_in}, fan_out); got {W.shape}")
        if b.shape != W.shape[1:]:
            raise ValueError(f"biases[{k}] must have shape {W.shape[1:]}; got {b.shape}")
        sizes += [W.shape[1]] if sizes else [*W.shape]
    return tuple(sizes)


def pack(layers: Iterable[tuple[npt.NDArray[Any], npt.NDArray[Any]]]) -> npt.NDArray[Any]:
    """Return the packed form of weights and biases."""
    return np.concatenate([part.ravel() for layer in layers for part in layer])


def layer_ends(layer_sizes: tuple[int, ...]) -> list[int]:
    """Return where each layer ends in the packed form: its weights row by row, then its biases."""
    return list(accumulate((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(layer_sizes)))


def views(
    layer_sizes: tuple[int, ...], packed: npt.NDArray[Any]
) -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
    """Return the weights and the biases of each layer, as views of the packed form."""
    weights, biases = [], []
    begin = 0
    for end, fan_out in zip(layer_ends(layer_sizes), layer_sizes[1:], strict=True):
        layer = packed[begin:end].reshape(-1, fan_out)
        weights.append(layer[:-1])
        biases.append(layer[-1])
        begin = end
    return weights, biases
