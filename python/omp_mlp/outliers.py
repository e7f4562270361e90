"""Values of y that are too far from all others to be learned from, and the limits they go to.

One value that is a million times the rest decides a squared error alone. The limits follow from
ranks, which a few such values do not move.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp.gathering import Gather, alone, total

Doubles = npt.NDArray[np.float64]

SHARES = (0.8, 0.95)
"""The shares of the distances from the median that tell how fast they grow. A twentieth of the rows
may be outliers."""

# So many times the largest distance of a power's tail, at least, makes an outlier. Few rows tell
# less well how fast the tail grows.
_FAR = 10.0
_FAR_OF_ONE_ROW = 1000.0
FEWEST = 20
"""Rows; of fewer, one outlier is more than a twentieth."""

_MOST_LOOKED_AT = 2**20  # rows that the ranks are found in


@dataclass(frozen=True, eq=False, repr=False)
class Limits:
    """What values of y are brought to if they are beyond it, for each column.

    Attributes
    ----------
    lower, upper : ndarray of float64, shape (n_columns,)
        Infinite in columns without outliers.
    beyond : ndarray of int64, shape (n_columns,)
        The number of values beyond the limits.
    n_rows : int
        The number of rows that they were counted in.
    """

    lower: Doubles
    upper: Doubles
    beyond: npt.NDArray[np.int64]
    n_rows: int

    def bring(self, values: npt.NDArray[np.generic]) -> Doubles:
        """Return values none of which is beyond the limits."""
        return np.clip(values.astype(np.float64), self.lower, self.upper)

    def warning(self) -> str:
        """Return what a user should know: how many values there are beyond which limits."""
        columns = np.flatnonzero(self.beyond)
        first = columns[0]
        where = "y" if len(self.beyond) == 1 else f"column {first} of y"
        others = f", and so are values of {len(columns) - 1} other column(s)"
        return (
            f"{self.beyond[first]} of {self.n_rows} values of {where} are too far from the others "
            f"for a squared error to learn from, and are brought to {self.lower[first]:.6g} or "
            f"{self.upper[first]:.6g} for the training{others if len(columns) > 1 else ''}; "
            "loss='huber' keeps them, and so does scale_targets=False for y that is scaled by hand"
        )


def find_limits(
    given: npt.NDArray[np.generic],
    gather: Gather = alone,
    *,
    beside: npt.NDArray[np.generic] | None = None,
) -> Limits | None:
    """Return limits of finite values with outliers; None if there are no outliers.

    D_p are the quantiles of the distances from the median. The limits are where log D ends for the
    largest of n distances, continued in a straight line over the quantiles z of the normal
    distribution, from p = 0.8 and 0.95. That is exact for log-normal tails. Long tails that are
    honest may reach farther, as a power does. So outliers are values far beyond the end of the line
    over -log(1 - p), which is exact for powers. Both lines are at least as steep as the normal
    distribution between these quantiles. Where D_0.8 is 0, as of values that are mostly zero,
    nothing is an outlier.

    ``gather``: from all processes that have rows of y. ``beside``: other values, which may be the
    outliers, and do not change the limits.
    """
    values = given.astype(np.float64)
    n_rows = total(gather, len(values))
    if n_rows < FEWEST:
        return None
    looked_at = np.concatenate(gather(values[some_rows(len(values), n_rows, _MOST_LOOKED_AT)]))
    median = np.median(looked_at, axis=0)
    reach, longest = _reaches(np.abs(looked_at - median), n_rows)
    seen = values if beside is None else np.concatenate([values, beside.astype(np.float64)])
    far = np.abs(seen - median) > times_of_far(n_rows) * longest
    has_outliers = total(gather, far.sum(axis=0)) > 0
    if not has_outliers.any():
        return None
    reach = np.where(has_outliers, reach, np.inf)
    lower, upper = median - reach, median + reach
    beyond = total(gather, ((values < lower) | (values > upper)).sum(axis=0))
    return Limits(lower, upper, beyond, n_rows)


def some_rows(n_own: int, n_rows: int, most: int) -> slice | npt.NDArray[np.int64]:
    """Return those of a process's rows that the ranks are found in: all, if they are not too many.

    Rows at equal distances could all be of one kind, where kinds of rows take turns. Multiples of
    the golden ratio modulo 1 are spread evenly, and have no period.
    """
    step = -(-n_rows // most)
    if step == 1:
        return slice(None)
    places = np.arange(-(-n_own // step)) * ((math.sqrt(5.0) - 1.0) / 2.0) % 1.0
    return (places * n_own).astype(np.int64)


def times_of_far(n_rows: float) -> float:
    """Return how many times as far as the end of a power's tail outliers are at least."""
    return _FAR + _FAR_OF_ONE_ROW / n_rows


def _reaches(distances: Doubles, n_rows: int) -> tuple[Doubles, Doubles]:
    """Return the largest of so many distances, with a log-normal tail and with that of a power."""
    places = [int(share * (len(distances) - 1)) for share in SHARES]
    near, far = np.partition(distances, places, axis=0)[places]
    return ends_of_lines(near, far, [n_rows])


def ends_of_lines(near: Doubles, far: Doubles, n_rows: Sequence[float]) -> tuple[Doubles, Doubles]:
    """Return the ends of both lines for each column: over z, and over u = -log(1 - p).

    ``n_rows``: for each column, or one for all.
    """
    is_known = near > 0
    last = [1 - 1 / n for n in n_rows]
    z: list[Any] = [NormalDist().inv_cdf((1 + share) / 2) for share in SHARES]
    u: list[Any] = [-math.log(1 - share) for share in SHARES]
    z.append(np.array([NormalDist().inv_cdf((1 + share) / 2) for share in last]))
    u.append(np.array([-math.log(1 - share) for share in last]))
    with np.errstate(over="ignore"):
        ratio = np.where(is_known, far, 1.0) / np.where(is_known, near, 1.0)
        growth = np.log(np.maximum(ratio, z[1] / z[0]))
        log_normal, power = (
            np.where(is_known, far * np.exp(growth * (end - second) / (second - first)), np.inf)
            for first, second, end in (z, u)
        )
    return log_normal, power
