"""Numbers of 16 bits: the upper halves of float32, rounded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from omp_mlp import _core

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.uint16]


def rounded(values: Floats, left: Floats) -> Halves:
    """Round values with what was left of earlier ones, and keep what is left of them now.

    Parameters
    ----------
    values : (size,) array of float32
    left : (size,) array of float32
        It is added to the values, and then replaced by what the rounding takes off them.

    Returns
    -------
    (size,) array of uint16
        The bits of bfloat16 numbers: to nearest, ties to even. NaN stays NaN.

    Notes
    -----
    Nothing is left of what is not finite: it would stay in all sums to come.
    """
    halves = np.empty(len(values), np.uint16)
    _core.round_to_bfloat16(values, left, halves)
    return halves


def as_floats(halves: Halves, out: Floats | None = None) -> Floats:
    """Return bfloat16 numbers as float32, in a new array or in ``out``."""
    if out is None:
        out = np.empty(len(halves), np.float32)
    _core.widen_bfloat16(halves, out)
    return out
