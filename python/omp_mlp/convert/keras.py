"""The weights of networks in Keras's order: those of ``keras.Sequential`` of ``Dense`` layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import checks
from omp_mlp.checks import FloatArray
from omp_mlp.convert.parts import Parts


def to_keras(parts: Parts) -> list[FloatArray]:
    """Return kernel and bias of each Dense layer, copied."""
    for name in ("input_scaling", "target_scaling"):
        if getattr(parts, name) is not None:
            raise ValueError(
                "Keras computes in float32, and from weights alone, which have neither the digits "
                f"nor bends nor the limits of this network's {name} beside its weights; to_onnx "
                "and to_torch keep it"
            )
    return [part.copy() for layer in parts.layers for part in layer]


def from_keras(
    weights: Sequence[npt.ArrayLike],
    *,
    activation: str,
    output_activation: str,
    classes: npt.NDArray[Any] | None,
    multilabel: bool,
) -> Parts:
    """Return the parts of a network from its weights in Keras's order."""
    given = checks.sequence("weights", weights, "arrays")
    arrays = [
        checks.float32(checks.numeric(array, f"weights[{k}]")) for k, array in enumerate(given)
    ]
    if (
        not arrays
        or len(arrays) % 2
        or any(array.ndim != 2 - k % 2 for k, array in enumerate(arrays))
    ):
        raise ValueError(
            "weights must be kernel and bias of each Dense layer in turn, as "
            "keras.Model.get_weights gives them; got arrays of shapes "
            f"{checks.shown([np.shape(array) for array in arrays])}"
        )
    return Parts(arrays[::2], arrays[1::2], activation, output_activation, classes, multilabel)
