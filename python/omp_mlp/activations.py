"""The activations of hidden units: the rows of the core's table, and the functions in double."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from omp_mlp import _core

# Their names, properties and sources, in the order in which errors and docs list them.
ACTIVATIONS: dict[str, _core.Activation] = {row.name: row for row in _core.activations()}


def activate(name: str, z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return phi(z), entry by entry, in double precision."""
    return _core.activation_values(activation=name, z=np.ascontiguousarray(z, dtype=np.float64))
