"""A minimum along a line, by trying: the same trials every time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

_GOLDEN = (math.sqrt(5) - 1) / 2
_STEPS = 20  # each narrows the interval to 0.618 of it: to 7e-5 of a step of the grid


def line_search(loss: Callable[[float], float], grid: npt.ArrayLike) -> float:
    """Return the position of the least loss that was seen.

    Parameters
    ----------
    loss : callable
        Of one positive number; what is not a number counts as infinite.
    grid : array-like of positive numbers
        Tried first, in ascending order; then the neighbourhood of the best of them is narrowed by
        the golden section, on a logarithmic scale. Of equal losses the first seen is taken.
    """
    seen: list[tuple[float, float]] = []

    def at(log: float) -> float:
        value = loss(math.exp(log))
        seen.append((math.inf if math.isnan(value) else value, math.exp(log)))
        return seen[-1][0]

    logs = np.log(np.unique(np.asarray(grid, dtype=np.float64))).tolist()
    best = int(np.argmin([at(log) for log in logs]))
    low, high = logs[max(best - 1, 0)], logs[min(best + 1, len(logs) - 1)]
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = at(left), at(right)
    for _ in range(_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = at(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = at(right)
    return min(seen, key=lambda pair: pair[0])[1]
