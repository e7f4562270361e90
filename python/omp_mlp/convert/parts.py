"""A network as other libraries see it: layers and scalings, without a history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp.checks import FloatArray
from omp_mlp.encoding import Columns
from omp_mlp.scaling import Doubles, Layers, Scaling, change_inputs, change_outputs


@dataclass(frozen=True, eq=False, repr=False)
class Parts:
    """What predictions of a network depend on; the attributes of :class:`omp_mlp.Model`."""

    weights: Sequence[FloatArray]
    biases: Sequence[FloatArray]
    activation: str
    output_activation: str
    classes: npt.NDArray[Any] | None = None
    multilabel: bool = False
    input_scaling: Scaling | None = None
    target_scaling: Scaling | None = None
    columns: Columns | None = None

    @property
    def encodes(self) -> bool:
        """Whether text, categories or missing numbers are encoded."""
        return self.columns is not None and self.columns.encodings is not None

    def of_numbers(self) -> Parts:
        """Return the parts for a library whose networks know no columns."""
        if self.encodes:
            raise ValueError(
                "this network encodes columns of text, categories or missing numbers, which "
                "to_onnx alone converts; expected a network of numbers"
            )
        return replace(self, columns=None)

    @property
    def layers(self) -> list[tuple[FloatArray, FloatArray]]:
        """The pairs (W, b), with W of shape (fan_in, fan_out)."""
        return list(zip(self.weights, self.biases, strict=True))

    def with_classes(self, classes: npt.NDArray[Any]) -> Parts:
        """Return the parts with other labels."""
        return replace(self, classes=classes)


def from_layers(
    layers: Layers,
    activation: str,
    output_activation: str,
    *,
    classes: npt.NDArray[Any] | None = None,
    multilabel: bool = False,
    input_scaling: Scaling | None = None,
    target_scaling: Scaling | None = None,
) -> Parts:
    """Return the parts of a network whose scalings are folded into the weights where they can be.

    Like a training, it folds in double precision, and leaves a scaling beside the weights where
    float32 weights that take it up would lose digits.
    """
    layers = list(layers)
    if input_scaling is not None and input_scaling.folds:
        change_inputs(layers, input_scaling, None)
        input_scaling = None
    if target_scaling is not None and target_scaling.folds:
        change_outputs(layers, target_scaling, None)
        target_scaling = None
    with np.errstate(over="ignore"):  # what is too large for float32 is reported by the Model
        weights = [W.astype(np.float32) for W, _ in layers]
        biases = [b.astype(np.float32) for _, b in layers]
    return Parts(
        weights,
        biases,
        activation,
        output_activation,
        classes,
        multilabel,
        input_scaling,
        target_scaling,
    )


def scaling_of(offset: npt.ArrayLike, scale: npt.ArrayLike, n_columns: int) -> Scaling | None:
    """Return the scaling of columns; None if it changes nothing."""
    columns: list[Doubles] = [
        np.broadcast_to(np.asarray(part, dtype=np.float64), n_columns).copy()
        for part in (offset, scale)
    ]
    if not columns[0].any() and (columns[1] == 1).all():
        return None
    return Scaling(*columns)


def only_activation(names: Sequence[str], library: str) -> str:
    """Return the activation of all hidden layers; a Model has a single one."""
    different = sorted(set(names))
    if len(different) > 1:
        raise ValueError(
            f"a Model has one activation for all hidden layers; the {library} network has "
            + " and ".join(map(repr, different))
        )
    # Without hidden layers, any activation makes the same network.
    return different[0] if different else "relu"


def name_in(library: str, names: Mapping[str, str], what: str, ours: str) -> str:
    """Return what another library calls an activation, or say that it has none like it."""
    if ours not in names:
        raise ValueError(
            f"{library} has no {what} {ours!r}; it has {', '.join(map(repr, sorted(names)))}"
        )
    return names[ours]
