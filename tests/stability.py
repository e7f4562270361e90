"""Learning rates at which no training runs away, whatever network and data were drawn.

Two implementations that round differently stay together only where a training does not amplify what
they differ by. With parameters of 1e26, no tolerance holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import oracle

# The most that the rates of a training add up to, in units of 1 / curvature. What two trainings
# differ by grows by at most the exponential of that.
RATES_IN_ALL = 4.0


def stable_rate(
    X: NDArray[np.float32],
    y: NDArray[Any],
    starts: Iterable[oracle.Parameters],
    *,
    activation: str,
    output_activation: str,
    steps: int,
    gain: float = 1.0,
) -> float:
    """Return a rate for so many steps from any of the starts.

    A step multiplies what two networks differ by by at most 1 + rate * curvature. The curvature of
    the loss in the weights of a layer is at most (|a|^2 + 1) times the squared spectral norms of
    the layers above, where a is what the layer is given; the slopes of the units and the curvature
    of the loss in its outputs are at most 1. Norms below 1 count as 1, so that the squared targets
    bound what pairs of layers add. ``gain``: how often a merge or an outer optimiser may repeat a
    step.
    """
    targets = float((y**2).sum(axis=-1).max()) if y.ndim > 1 else 1.0
    curvature = 0.0
    for parameters in starts:
        passed = oracle.forward(parameters, X, activation, output_activation)
        found, above = max(1.0, targets), 1.0
        for (W, _), a in zip(parameters[::-1], passed.a[-2::-1], strict=True):
            found += (float((a**2).sum(axis=1).max()) + 1) * above
            above *= max(1.0, float(np.linalg.norm(W, 2))) ** 2
        curvature = max(curvature, found)
    return min(1.0, RATES_IN_ALL / max(steps, 1)) / (gain * curvature)
