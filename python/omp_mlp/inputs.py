"""X as the core reads it: the only place that looks into the samples that users pass in."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import _core
from omp_mlp.checks import Matrix, float32, numeric
from omp_mlp.encoding import Columns
from omp_mlp.gathering import Gather, alone
from omp_mlp.long_tails import has_long_tails
from omp_mlp.scaling import (
    MOST_MAGNITUDE,
    Scaling,
    dense_scaling,
    sparse_scaling,
    with_limits,
)
from omp_mlp.sparse import Csr, is_sparse, read_csr

Rows = npt.NDArray[Any] | Csr
"""What the core reads in place: float32 or bytes in C order, or compressed sparse rows."""

FIRST = 256
"""Samples that tell how many nonzeros a sample has."""
_LOOKED_AT = 4096  # samples that tell how large a sample is
ENTRIES_TOGETHER = 2**17
"""Entries of X that are looked at, at once, within the caches."""


def step_of_moments(n_samples: int) -> int:
    """Return the distance between the samples that ``Inputs.moments`` looks at."""
    return -(-n_samples // _LOOKED_AT)


@dataclass(frozen=True)
class Moments:
    """Sums over some samples, in the units of their rows."""

    n_samples: int
    sums: npt.NDArray[np.float64]  # of each column
    squares: float  # of all entries

    def __add__(self, other: Moments) -> Moments:
        """Return the sums over the samples of both."""
        return Moments(
            self.n_samples + other.n_samples,
            self.sums + other.sums,
            self.squares + other.squares,
        )

    def mean_square_norm(self, *, centered: bool) -> float:
        """Return the mean squared norm of a sample, or of a sample minus the mean of all."""
        square = self.squares / self.n_samples
        return square - float(np.sum((self.sums / self.n_samples) ** 2)) if centered else square


@dataclass(frozen=True, eq=False, repr=False)
class Inputs:
    """X as the core reads it: ``scale`` times the rows.

    The rows are the values that the user gave; or, with a ``scaling``, those values in its units.
    """

    rows: Rows
    core: _core.Samples
    n_samples: int
    n_features: int
    scale: float
    scaling: Scaling | None = None
    is_image: bool = False  # all columns are brightnesses: bytes, or what "auto" took for an image

    @property
    def is_sparse(self) -> bool:
        """Whether X is a sparse matrix."""
        return isinstance(self.rows, Csr)

    @property
    def has_long_tails(self) -> bool:
        """Whether columns were scaled by their farthest values, and could be compressed."""
        return (
            self.scaling is not None
            and self.scaling.bend is None
            and isinstance(self.rows, np.ndarray)
            and has_long_tails(self.rows)
        )

    def shares_memory(self, array: npt.NDArray[Any]) -> bool:
        """Return whether an array may be in the memory that the core reads."""
        rows = self.rows
        parts = (rows.values, rows.indices, rows.starts) if isinstance(rows, Csr) else (rows,)
        return any(np.may_share_memory(array, part) for part in parts)

    def longest_shard(self, replicas: int) -> int:
        """Return the samples of the replica that has most."""
        return -(-self.n_samples // replicas)

    def nonzeros_a_sample(self) -> float:
        """Return the mean number of nonzeros in the first 256 samples."""
        return self.count_nonzeros(slice(FIRST)) / min(self.n_samples, FIRST)

    def count_nonzeros(self, block: slice) -> int:
        """Return the number of nonzeros in some samples that follow one another."""
        rows = self.rows[block]
        return int(np.count_nonzero(rows.values if isinstance(rows, Csr) else rows))

    def count_stored(self, ids: npt.NDArray[np.int64]) -> int:
        """Return the number of entries of some samples that a sparse first layer reads."""
        if isinstance(self.rows, Csr):
            return int(np.diff(self.rows.starts)[ids].sum())
        return int(np.count_nonzero(self.rows[ids]))

    def moments(self) -> Moments:
        """Return what up to 4,096 samples at equal distances are like."""
        return self.moments_of(np.arange(0, self.n_samples, step_of_moments(self.n_samples)))

    def moments_of(self, ids: npt.NDArray[np.int64]) -> Moments:
        """Return what some samples are like."""
        rows = self.take(ids).rows
        if isinstance(rows, Csr):
            values = rows.values.astype(np.float64)
            of_columns = np.bincount(rows.indices, weights=values, minlength=self.n_features)
            return Moments(len(ids), of_columns.astype(np.float64), float(np.sum(values**2)))
        sums, squares = np.zeros(self.n_features), 0.0
        together = max(1, ENTRIES_TOGETHER // self.n_features)
        for begin in range(0, len(rows), together):
            values = rows[begin : begin + together].astype(np.float64)
            sums += values.sum(axis=0)
            squares += float(np.sum(np.square(values, out=values)))
        return Moments(len(ids), sums, squares)

    def list_density(self, first_layer: str) -> float | None:
        """Return the share of nonzeros in X; None if the first layer reads X as a matrix."""
        return self.core.list_density(first_layer=first_layer)

    def keep_pixels_of_all(
        self, gather: Gather, *, entries: int, density: float, workers: int
    ) -> None:
        """Keep floats that are bytes as bytes where one process with the rows of all would do so.

        All processes divide their bytes by the same number, so that sums of them are sums of one
        unit. ``entries`` and ``density`` are those of the rows of all.
        """
        core = self.core
        mine = core.pixel_divisors(entries=entries, density=density, workers=workers)
        everyone = gather(mine)
        common = [divisor for divisor in mine if all(divisor in other for other in everyone)]
        if common:
            core.keep_pixels(workers=workers, divisor=common[0])

    def as_given(self) -> Inputs:
        """Return X in the units of its rows."""
        return self if self.scale == 1.0 else _inputs(self.rows, scaling=self.scaling)

    def take(self, ids: npt.NDArray[np.int64], *, for_training: bool = False) -> Inputs:
        """Return a copy of some samples, which keep their type."""
        rows = self.rows.take(ids) if isinstance(self.rows, Csr) else self.rows[ids]
        scale = _scale_for_training(rows) if for_training else 1.0
        return _inputs(rows, scale, self.scaling, is_image=self.is_image)

    def blocks(self, size: int) -> Iterator[tuple[slice, Inputs]]:
        """Go through the samples, so many at a time."""
        for begin in range(0, self.n_samples, size):
            block = slice(begin, min(begin + size, self.n_samples))
            yield block, _inputs(self.rows[block], self.scale, self.scaling)

    def dense(self) -> npt.NDArray[np.float64]:
        """Return the rows as a dense array in double precision."""
        rows = self.rows.toarray() if isinstance(self.rows, Csr) else self.rows
        return rows.astype(np.float64)


def read_rows(
    X: Matrix | Rows,
    *,
    name: str = "X",
    n_features: int | None = None,
    may_be_empty: bool = False,
) -> Rows:
    """Check that X is a matrix of numbers, and return it in its own type; Csr as it is."""
    if isinstance(X, Csr):
        rows: Rows = X
    else:
        rows = read_csr(X, name) if is_sparse(X) else _dense_rows(X, name)
    _check_shape(rows, name, n_features, fewest=0 if may_be_empty else 1)
    return rows


def read_inputs(
    X: Matrix | Rows,
    *,
    name: str = "X",
    n_features: int | None = None,
    for_training: bool = False,
    for_replicas: bool = False,
    workers: int = 1,
    scaling: Scaling | str | None = None,
    sample: npt.NDArray[np.int64] | None = None,
    gather: Gather | None = None,
    finds_limits: bool = False,
    compresses: bool = False,
    columns: Columns | None = None,
) -> Inputs:
    """Check X and hand it to the core, without a copy where it already is what the core wants.

    Bytes are scaled by a power of two for training, so that the largest is at most 1. To fold that
    scale into the first layer's weights is exact. For replicas, floats that are bytes divided by
    255 or the like are also kept as bytes, which are quicker to read. Where several processes have
    rows, :meth:`Inputs.keep_pixels_of_all` does that once they know of each other.

    ``scaling``: what is taken off in double precision, before the conversion to float32. "auto"
    finds it in X, or in the rows of ``sample`` alone; the result has it as ``scaling``.
    ``finds_limits``: a scaling that is given gets limits where columns have outliers.
    ``compresses``: a scaling that is found compresses columns with long tails. ``columns``: of the
    table that X was, whose names messages have.

    ``gather``: from all processes that have rows of X, which may be none here. All then read
    theirs alike.
    """
    given = read_rows(X, name=name, n_features=n_features, may_be_empty=gather is not None)
    gather = gather or alone
    finds_scaling = isinstance(scaling, str)
    if scaling is None:
        rows: Rows = given if isinstance(given, Csr) else _float32_or_bytes(given)
    else:
        _check_magnitudes(given, name, columns)
        if finds_limits and isinstance(scaling, Scaling) and not isinstance(given, Csr):
            scaling = with_limits(given, scaling, workers, gather)
        rows, scaling = _scaled(given, scaling, sample, workers, gather, compresses=compresses)
    scale = min(gather(_scale_for_training(rows))) if for_training else 1.0
    is_image = _is_image(rows, scaling, found=finds_scaling)
    inputs = _inputs(rows, scale, scaling, is_image=is_image)
    if for_replicas and inputs.core.keep_pixels(workers=workers):
        return inputs  # what is kept as bytes is finite
    nonfinite = inputs.core.first_nonfinite(workers=workers)
    if nonfinite is not None:
        row, column = nonfinite
        value = given.stored(row, column) if isinstance(given, Csr) else given[row, column]
        scaled = "" if scaling is None else " after it is scaled as the training's"
        raise ValueError(
            f"{name} must be finite in float32{scaled}; got {_shown(value)} in row {row}, "
            f"column {_called(column, columns)}"
        )
    return inputs


def inputs_of(rows: Rows) -> Inputs:
    """Hand rows to the core that already are what it reads; they are not checked."""
    return _inputs(rows)


def _check_shape(rows: Rows, name: str, n_features: int | None, fewest: int) -> None:
    if rows.shape[0] < fewest or rows.shape[1] == 0:
        raise ValueError(
            f"{name} must have at least one sample and one feature; got shape {rows.shape}"
        )
    if n_features is not None and rows.shape[1] != n_features:
        raise ValueError(
            f"{name} has {rows.shape[1]} features, but the network was trained on {n_features}"
        )


def _called(column: int, columns: Columns | None) -> str:
    """Return the place of an input, and its name if it has one."""
    names = None if columns is None else columns.input_names
    return str(column) if names is None else f"{column} ({names[column]!r})"


def _check_magnitudes(given: Rows, name: str, columns: Columns | None) -> None:
    """Check the values as they are given: those too large for float32 may be small when scaled."""
    stored = given.data[: given.starts[-1]] if isinstance(given, Csr) else given
    smallest, largest = float(stored.min(initial=0)), float(stored.max(initial=0))  # or NaN
    if -MOST_MAGNITUDE < smallest <= largest < MOST_MAGNITUDE:
        return
    place = np.argwhere(~(np.abs(stored.astype(np.float64)) < MOST_MAGNITUDE))[0]
    value = stored[tuple(place)]
    if isinstance(given, Csr):
        row = np.searchsorted(given.starts, place[0], side="right") - 1
        column = given.indices[place[0]]
    else:
        row, column = place
    raise ValueError(
        f"{name} must be finite and less than 2^512 in magnitude; got {_shown(value)} in row "
        f"{row}, column {_called(column, columns)}"
    )


def _shown(value: float) -> str:
    """Spell NaN as scikit-learn and pandas do, who look for it in messages."""
    return "NaN" if np.isnan(value) else str(value)


def _scaled(
    given: Rows,
    scaling: Scaling | str,
    sample: npt.NDArray[np.int64] | None,
    workers: int,
    gather: Gather,
    *,
    compresses: bool,
) -> tuple[Rows, Scaling | None]:
    """Return the rows in the units of a scaling, and the scaling; "auto" finds it in the rows."""
    if isinstance(given, Csr):
        stored = slice(0, int(given.starts[-1]))
        indices, data = given.indices[stored], given.data[stored]
        if isinstance(scaling, str):
            of = given if sample is None else given.take(sample)
            stored_of = slice(0, int(of.starts[-1]))
            scaling = sparse_scaling(of.data[stored_of], of.indices[stored_of], of.shape, gather)
        if scaling.shifts:
            return scaling.apply(given.toarray(np.float64), workers), scaling
        values = float32(data.astype(np.float64) / scaling.scale[indices])
        return dataclasses.replace(given, indices=indices, data=data, values=values), scaling
    if not isinstance(scaling, str):
        return scaling.apply(given, workers), scaling
    if given.dtype == np.uint8:
        return _float32_or_bytes(given), None
    found, is_bytes = dense_scaling(given, sample, workers, gather, compresses=compresses)
    if found is not None:
        return found.apply(given, workers), found
    return _float32_or_bytes(given.astype(np.uint8) if is_bytes else given), None


def _float32_or_bytes(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.ascontiguousarray(array) if array.dtype == np.uint8 else float32(array)


def _dense_rows(X: Matrix, name: str) -> npt.NDArray[Any]:
    array = numeric(X, name)
    if array.ndim != 2:
        raise ValueError(
            f"{name} must have shape (n_samples, n_features); got {array.ndim} dimension(s), "
            f"shape {array.shape}"
        )
    return array


def _is_image(rows: Rows, scaling: Scaling | str | None, *, found: bool) -> bool:
    if not isinstance(rows, Csr) and rows.dtype == np.uint8:
        return True
    return found and (not isinstance(scaling, Scaling) or bool(np.ptp(scaling.scale) == 0))


def _inputs(
    rows: Rows, scale: float = 1.0, scaling: Scaling | None = None, *, is_image: bool = False
) -> Inputs:
    n_samples, n_features = rows.shape
    if isinstance(rows, Csr):
        core = _core.Samples.csr(
            starts=rows.starts,
            indices=rows.indices,
            values=rows.values,
            rows=n_samples,
            columns=n_features,
        )
    elif rows.dtype == np.uint8:
        core = _core.Samples.dense_uint8(X=rows, scale=scale)
    else:
        core = _core.Samples.dense_float32(X=rows)
    return Inputs(rows, core, n_samples, n_features, scale, scaling, is_image)


def _scale_for_training(rows: Rows) -> float:
    """Return the power of two that brings the largest byte to at most 1; for floats, 1."""
    if isinstance(rows, Csr) or rows.dtype != np.uint8:
        return 1.0
    largest = 1
    for begin in range(0, len(rows), 256):
        largest = max(largest, int(rows[begin : begin + 256].max()))
        if largest > 128:  # 255 would have the same scale
            return 0.5**8
    return float(0.5 ** math.ceil(math.log2(largest)))
