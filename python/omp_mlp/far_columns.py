"""Columns of X with values that are too far from all others, and the limits these are brought to.

One value that is a million times the rest decides the scale of its column alone, and the others can
no longer be told apart. The rule is that for outliers of y.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp.outliers import FEWEST, SHARES, ends_of_lines, some_rows, times_of_far

Doubles = npt.NDArray[np.float64]

# Rows and entries of X that the ranks are found in: a small part of what scaling looks at. Fewer
# rows than 256 find outliers in columns with honest long tails.
_MOST_ROWS, _FEWEST_ROWS, _ENTRIES = 2**14, 2**8, 2**19
_SHOWN = 3  # columns


def rows_to_look_at(n_own: int, n_rows: int, n_columns: int) -> slice | npt.NDArray[np.int64]:
    """Return those of a process's rows of X that tell the ranks in its columns."""
    most = max(_FEWEST_ROWS, min(_MOST_ROWS, _ENTRIES // n_columns))
    return some_rows(n_own, n_rows, most)


def find_column_limits(
    looked_at: npt.NDArray[Any], smallest: Doubles, largest: Doubles, n_rows: int
) -> tuple[Doubles, Doubles] | None:
    """Return limits below and above of columns with outliers, and infinite ones of the others.

    None if no column has outliers. The rule is that of :func:`omp_mlp.outliers.find_limits`. But
    where D_0.8 is 0, as of counts that are mostly zero, the values that are not the median are
    looked at alone, if they are 20 at least.

    ``looked_at``: the rows that tell the ranks. ``smallest``, ``largest``: of each column, in all
    ``n_rows`` rows.
    """
    k = len(looked_at)
    if n_rows < FEWEST or k < FEWEST:
        return None
    ordered = np.sort(np.ascontiguousarray(looked_at.T), axis=1)
    median = (ordered[:, (k - 1) // 2].astype(np.float64) + ordered[:, k // 2]) / 2
    reach = np.full(len(median), np.inf)
    distance = np.maximum(largest - median, median - smallest)
    suspects = np.flatnonzero(distance > _least_distance(ordered, median, n_rows))
    if len(suspects):
        distances = np.abs(ordered[suspects].astype(np.float64) - median[suspects, None])
        distances.sort(axis=1)
        ends, far = _lines(distances, n_rows)
        reach[suspects] = np.where(distance[suspects] > far, ends, np.inf)
    return (median - reach, median + reach) if np.isfinite(reach).any() else None


def _least_distance(ordered: npt.NDArray[Any], median: Doubles, n_rows: int) -> Doubles:
    """Return distances from the median below which no value is an outlier.

    As many values are beyond the later of two quantiles as are beyond D_0.95, on one side alone.
    The lines are at least as steep as the normal distribution. Where D_0.8 is 0, the quartiles are
    the same, and the distance is 0: what is looked at alone is not known yet.
    """
    k = ordered.shape[1]
    place = int(SHARES[1] * (k - 1))
    above = ordered[:, place].astype(np.float64) - median
    below = median - ordered[:, k - 1 - place].astype(np.float64)
    _, growth = ends_of_lines(np.ones(1), np.ones(1), [n_rows])
    least = np.maximum(above, below) * growth * times_of_far(n_rows)
    return np.where(ordered[:, (k - 1) // 4] == ordered[:, 3 * k // 4], 0.0, least)


def _lines(distances: Doubles, n_rows: int) -> tuple[Doubles, Doubles]:
    """Return, for rows of sorted distances, the near end, and what outliers are farther than."""
    columns, k = np.arange(len(distances)), distances.shape[1]
    zeros = np.count_nonzero(distances == 0, axis=1)
    first = np.where(distances[:, int(SHARES[0] * (k - 1))] == 0, zeros, 0)
    known = k - first
    near, far = (
        distances[columns, np.minimum(first + (share * (known - 1)).astype(np.int64), k - 1)]
        for share in SHARES
    )
    near = np.where(known >= FEWEST, near, 0.0)  # too few to tell
    rows = np.maximum(n_rows * known / k, FEWEST)
    log_normal, power = ends_of_lines(near, far, rows.tolist())
    seen = np.minimum(rows, np.maximum(known, FEWEST))
    times = np.array([times_of_far(one) for one in seen.tolist()])
    return log_normal, times * power


def warning_of_columns(
    beyond: npt.NDArray[np.int64],
    n_rows: int,
    limits: tuple[Doubles, Doubles],
    names: Sequence[str],
) -> str:
    """Return what a user should know of columns with outliers: the values beyond the limits.

    ``names``: what messages call each of these columns.
    """
    order = np.argsort(-beyond, kind="stable")[:_SHOWN]
    lower, upper = limits
    shown = ", ".join(
        f"{beyond[j]} of {n_rows} in {names[j]} (to {lower[j]:.6g} or {upper[j]:.6g})"
        for j in order
    )
    others = len(beyond) - len(order)
    return (
        "values of X are too far from the others of their column to be learned from, and the "
        f"network brings such values nearer: {shown}"
        + (f", and those of {others} other column(s)" if others else "")
        + "; scale_inputs=False keeps them, for X that is scaled by hand"
    )
