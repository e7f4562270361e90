"""Numbers of 16 bits: the upper halves of float32, rounded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
    with np.errstate(invalid="ignore", over="ignore"):
        left += values
        bits = left.view(np.uint32)
        upper = bits >> 16
        to_even = (bits + (np.uint32(0x7FFF) + (upper & 1))) >> 16
        # Rounding could make a NaN infinite.
        halves = np.where(np.isnan(left), upper | 0x40, to_even).astype(np.uint16)
        left -= as_floats(halves)
    left[~np.isfinite(left)] = 0
    return halves


def as_floats(halves: Halves) -> Floats:
    """Return bfloat16 numbers as float32."""
    return (halves.astype(np.uint32) << 16).view(np.float32)
