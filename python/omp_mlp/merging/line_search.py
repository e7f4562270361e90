"""Find a minimum along a line by trying; the trials are the same every time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from omp_mlp.model import Model

_GOLDEN = (math.sqrt(5) - 1) / 2
_STEPS = 20  # each narrows the interval to 0.618 of it: to 7e-5 of a step of the grid


def line_search(loss: Callable[[float], float], grid: npt.ArrayLike) -> float:
    """Return the position of the least loss that was seen.

    Parameters
    ----------
    loss : callable
        A function of one positive number. A loss that is not a number counts as infinite.
    grid : array-like of positive numbers
        Positions that are tried first, in ascending order. The golden section then narrows the
        neighbourhood of the best position, on a logarithmic scale. Of equal losses, the first one
        counts.
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


def best_alpha(models: Sequence[Model], base: Model, loss: Callable[[Model], float]) -> float:
    """Return the alpha for which base + alpha sum_i (w_i - base) has the least loss.

    The search goes from 1/(2 n) to 2. It first tries a grid, with the average of the updates (1/n),
    their sum (1) and 1/sqrt(n) in it.
    """
    n = len(models)
    start = base._packed.astype(np.float64)
    total = np.zeros_like(start)
    for model in models:
        total += model._packed - start
    grid = [*np.geomspace(0.5 / n, 2.0, 17), 1 / n, 1 / math.sqrt(n), 1.0]
    return line_search(
        lambda alpha: loss(base._like((start + alpha * total).astype(np.float32))), grid
    )
