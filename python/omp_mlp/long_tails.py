"""Columns of X with long tails, as of amounts and counts, and how they are compressed.

A column is standardised by its farthest value where that is more than ten standard deviations from
the mean: else this value would make steps too long. Most values then hardly differ. Compressed to
b arsinh(z / b), they differ as before, and far values count by their order of magnitude.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from omp_mlp.checks import FloatArray, float32

Doubles = npt.NDArray[np.float64]

MOST_DISTANCE = 10.0
"""A column's largest distance from its mean, in units of its scale, if it is not compressed."""


def has_long_tails(scaled: npt.NDArray[np.floating]) -> bool:
    """Tell whether a matrix that was scaled has columns whose farthest values gave their scale."""
    farthest = np.maximum(scaled.max(axis=0), -scaled.min(axis=0))
    return bool((farthest > 0.999 * MOST_DISTANCE).any())


def middles_and_units(values: Doubles) -> tuple[Doubles, Doubles]:
    """Return the median of each column, and the median distance from it.

    Values that are the median have no part in the distance: it would be 0 for counts that are
    mostly zero. It is 0 for a column of one value.
    """
    middles = np.median(values, axis=0)
    distances = np.abs(values - middles)
    units = [np.median(d[d > 0]) if d.any() else 0.0 for d in distances.T]
    return middles, np.array(units, dtype=np.float64)


def compress(z: FloatArray, bend: Doubles) -> FloatArray:
    """Return b arsinh(z / b) of the columns whose b is finite, and z of the others."""
    bends = bend < np.inf
    b = np.where(bends, bend, 1.0)
    return float32(np.where(bends, b * np.arcsinh(z.astype(np.float64) / b), z))
