"""Scales of inputs and targets: how they are found, and what they do to a network.

The statistics are sums in double precision, over pieces of the samples in their order. They do not
depend on the number of workers, and not on the weights of the samples. The core finds those of
dense matrices, and scales the matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import _core
from omp_mlp.checks import FloatArray, float32
from omp_mlp.far_columns import find_column_limits, rows_to_look_at
from omp_mlp.gathering import Gather, alone, total
from omp_mlp.long_tails import MOST_DISTANCE, compress, middles_and_units

Doubles = npt.NDArray[np.float64]

MOST_OFFSET = 64.0
"""The largest |offset| / scale of a column that is folded into the weights of a network.

A folded network reads x in float32, and adds the terms of the offset in float32. Both round at
2^-24 of |x|, which is at most |offset| / scale times 2^-24 in units of the column's scale. 64 makes
that 4e-6: as much as the other sums of a network lose. Beyond it, a time stamp of 1.6e9 +- 1e5
would lose 1e-3, and the scale stays beside the weights.
"""

MOST_MAGNITUDE = 2.0**512
"""Values must be below it: sums of them and of their squares are then finite in double."""

# Scales outside this range would bring weights or products near the limits of float32.
_LEAST_SCALE, _MOST_SCALE = 2.0**-60, 2.0**60

# The largest entry of a column that keeps its zeros, in units of its scale. A limit of 1 leaves the
# other entries of a long-tailed column small. Without a limit, rare entries grow so large that
# steps have to be small.
_MOST_ENTRY = 4.0
# Numbers by which bytes may have been divided, besides the 1 of whole numbers.
_BYTE_DIVISORS = (1, 16, 255, 256)


PARTS = ("offset", "scale", "lower", "upper", "bend")
"""The attributes of a Scaling, of which the last three may be None."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """A shift and a scale for each column: the network's side is ``z = (given - offset) / scale``.

    Attributes
    ----------
    offset, scale : ndarray of float64, shape (n_columns,), read-only
        In the units of the columns. ``scale`` is positive.
    lower, upper : ndarray of float64, shape (n_columns,), read-only, or None
        What values of a column of X beyond them are brought to before that. Infinite for columns
        without outliers, and None where no column has any.
    bend : ndarray of float64, shape (n_columns,), read-only, or None
        Columns of X with a finite bend b are compressed: the network's side is ``b arsinh(z / b)``.
        It is z for small z, and grows like a logarithm. None where no column is compressed.
    """

    offset: Doubles
    scale: Doubles
    lower: Doubles | None = None
    upper: Doubles | None = None
    bend: Doubles | None = None

    def __post_init__(self) -> None:
        if (self.lower is None) != (self.upper is None):
            raise ValueError("a Scaling has lower and upper limits, or neither; got one of them")
        for name, part in self.parts().items():
            own = np.array(part, dtype=np.float64)  # whoever gave it may write to theirs
            own.setflags(write=False)
            object.__setattr__(self, name, own)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a pickle, whose arrays may be written to."""
        self.__dict__.update(state)
        self.__post_init__()

    def parts(self) -> dict[str, Doubles]:
        """Return the arrays that are there, by the names of the attributes."""
        return {name: part for name in PARTS if (part := getattr(self, name)) is not None}

    @property
    def limits(self) -> tuple[Doubles, Doubles] | None:
        """The limits below and above; None if no column has any."""
        return None if self.lower is None or self.upper is None else (self.lower, self.upper)

    @property
    def limited(self) -> npt.NDArray[np.int64]:
        """The columns that have limits."""
        if self.limits is None:
            return np.zeros(0, np.int64)
        lower, upper = self.limits
        return np.flatnonzero((lower != -np.inf) | (upper != np.inf))

    @property
    def compressed(self) -> npt.NDArray[np.int64]:
        """The columns that are compressed."""
        return np.zeros(0, np.int64) if self.bend is None else np.flatnonzero(self.bend < np.inf)

    @property
    def changes_shapes(self) -> bool:
        """Whether the network's side is more than a shift and a scale of some column."""
        return self.limits is not None or self.bend is not None

    def scaled_limits(self) -> tuple[FloatArray, FloatArray]:
        """Return the limits of the columns that have them, on the network's side."""
        at = self.limited
        lower, upper = self._scaled_limits()
        if self.bend is None:
            return lower, upper
        return compress(lower, self.bend[at]), compress(upper, self.bend[at])

    def _scaled_limits(self) -> tuple[FloatArray, FloatArray]:
        """Return the limits before they are compressed."""
        at = self.limited
        assert self.limits is not None
        with np.errstate(over="ignore"):
            lower, upper = ((part[at] - self.offset[at]) / self.scale[at] for part in self.limits)
        return float32(lower), float32(upper)

    @property
    def shifts(self) -> bool:
        """Whether a zero may not stay zero."""
        return bool(self.offset.any()) or self.changes_shapes

    @property
    def folds(self) -> bool:
        """Whether float32 weights can take up the scaling without losing digits."""
        return bool(
            not self.changes_shapes  # which weights cannot do
            and (np.abs(self.offset) <= MOST_OFFSET * self.scale).all()
            and self.scale.min() >= _LEAST_SCALE
            and self.scale.max() <= _MOST_SCALE
        )

    def apply(self, given: npt.NDArray[Any], workers: int = 1) -> FloatArray:
        """Return the network's side of a matrix, subtracted and divided in double precision.

        What is too large for float32 becomes infinite, and is reported by whoever asked.
        """
        if len(given) == 0:  # as some of several processes may have
            return np.empty(given.shape, np.float32)
        rows = _core.scale_columns(
            X=_readable(given), offset=self.offset, scale=self.scale, workers=workers
        )
        if self.limits is not None:
            for column, lower, upper in zip(self.limited, *self._scaled_limits(), strict=True):
                np.clip(rows[:, column], lower, upper, out=rows[:, column])
        if self.bend is not None:
            at = self.compressed
            rows[:, at] = compress(rows[:, at], self.bend[at])
        return rows

    def undo(self, scaled: npt.NDArray[Any]) -> Doubles:
        """Return the user's side of a matrix, in double precision."""
        return self.offset + self.scale * scaled.astype(np.float64)


def check_scaling(name: str, scaling: Scaling, n_columns: int, *, may_limit: bool) -> None:
    """Check a scaling that comes from elsewhere; ``may_limit``: as that of X, with bends, too."""
    for part in ("offset", "scale"):
        array = getattr(scaling, part)
        if array.shape != (n_columns,) or not np.isfinite(array).all():
            raise ValueError(f"{name}.{part} must be {n_columns} finite numbers")
    if not (scaling.scale > 0).all():
        raise ValueError(f"{name}.scale must be positive; got {scaling.scale.min():g}")
    if scaling.limits is not None:
        if not may_limit:
            raise ValueError(f"{name} must have no limits: outputs are never brought nearer")
        _check_limits(name, scaling, *scaling.limits)
    if scaling.bend is not None:
        if not may_limit:
            raise ValueError(f"{name} must have no bend: outputs are never compressed")
        if scaling.bend.shape != (n_columns,) or not (scaling.bend > 0).all():  # nor NaN
            raise ValueError(f"{name}.bend must be {n_columns} positive numbers")


def _check_limits(name: str, scaling: Scaling, lower: Doubles, upper: Doubles) -> None:
    n_columns = len(scaling.scale)
    shapes = (lower.shape, upper.shape)
    if shapes != ((n_columns,), (n_columns,)) or not (lower <= upper).all():  # nor NaN
        raise ValueError(f"{name}.lower must be {n_columns} numbers that are at most {name}.upper")
    # Limits that no value of float32 is within would make all values infinite.
    least, most = scaling.scaled_limits()
    if (least == np.inf).any() or (most == -np.inf).any():
        at = scaling.limited[np.argmax((least == np.inf) | (most == -np.inf))]
        raise ValueError(
            f"{name} must have limits that finite values are within; got a lower of {lower[at]:g} "
            f"and an upper of {upper[at]:g} in column {at}"
        )


def same_scaling(one: Scaling | None, other: Scaling | None) -> bool:
    """Tell whether two networks have the same scaling beside their weights."""
    if one is None or other is None:
        return one is other
    mine, others = one.parts(), other.parts()
    return mine.keys() == others.keys() and all(
        np.array_equal(part, others[name]) for name, part in mine.items()
    )


# ------------------------------------------------------------------------------- finding the scales


@dataclass(frozen=True, eq=False, repr=False)
class _Columns:
    """What one pass over a matrix tells."""

    n_rows: int
    mean: Doubles
    smallest: Doubles
    largest: Doubles
    zeros: npt.NDArray[np.int64]
    byte_divisors: list[int]  # the numbers D such that every entry is a byte divided by D

    @property
    def magnitude(self) -> Doubles:
        """The largest |x| of each column."""
        return np.maximum(np.abs(self.smallest), np.abs(self.largest))

    @property
    def is_mostly_zero(self) -> bool:
        """Whether at least half of all entries are zero."""
        return 2 * int(self.zeros.sum()) >= self.n_rows * len(self.zeros)

    def with_columns(self, at: npt.NDArray[np.int64], others: _Columns) -> _Columns:
        """Return what is known if some columns have other values, and zeros in the same rows."""
        mean, smallest, largest = self.mean.copy(), self.smallest.copy(), self.largest.copy()
        mean[at], smallest[at], largest[at] = others.mean, others.smallest, others.largest
        return replace(self, mean=mean, smallest=smallest, largest=largest)


def dense_scaling(
    given: npt.NDArray[Any],
    sample: npt.NDArray[np.int64] | None = None,
    workers: int = 1,
    gather: Gather = alone,
    *,
    compresses: bool = False,
) -> tuple[Scaling | None, bool]:
    """Return the scaling of a finite matrix, and whether it is an image of whole numbers.

    An image is read as it is: its bytes have one scale. Of other matrices that are mostly zero and
    whose columns have one scale, such as pixels in other units, the columns that are mostly zero
    keep their zeros. All other columns are standardised. So the units and the zero of a column of a
    table decide nothing. Columns with outliers have limits, and the scale of values within them.

    ``compresses``: whether long-tailed columns are compressed. They have a value that is more than
    ten standard deviations from the mean. Their offset becomes the median, and their scale the
    median distance from it, of the values that are not the median.

    ``sample``: the rows that the scaling is found in. All rows have to be those of an image.
    ``gather``: from all processes that have rows of the matrix; without a sample.
    """
    columns = _join(gather(_look_at(given, workers)))
    if columns.is_mostly_zero and columns.byte_divisors and _has_one_scale(columns.magnitude):
        return None, 1 in columns.byte_divisors
    if sample is not None:
        given = given[sample]
        columns = _look_at(given, workers)
    looked_at = _gather_rows(given, columns, gather)
    limits = _find_limits(looked_at, columns)
    distance, deviation = _spread(given, columns, workers, gather)
    if limits is not None:
        at = np.flatnonzero(np.isfinite(limits).any(axis=0))
        brought = np.clip(given[:, at].astype(np.float64), *(limit[at] for limit in limits))
        near = _join(gather(_look_at(brought, workers)))
        distance[at], deviation[at] = _spread(brought, near, workers, gather)
        columns = columns.with_columns(at, near)
    lower, upper = (None, None) if limits is None else limits
    scale = np.maximum(deviation, distance / MOST_DISTANCE)
    offset, scale = columns.mean, _or_constant(scale, distance, columns.mean)
    is_like_pixels = columns.is_mostly_zero and _has_one_scale(columns.magnitude)
    if is_like_pixels:
        keeps = 2 * columns.zeros >= columns.n_rows
        offset = np.where(keeps, 0.0, offset)
        scale = np.where(keeps, _keeping_zeros(columns.magnitude, deviation), scale)
    scaling = Scaling(offset, scale, lower, upper)
    if compresses and not is_like_pixels:
        has_long_tail = distance > MOST_DISTANCE * deviation
        scaling = _compressing(scaling, np.flatnonzero(has_long_tail), looked_at)
    return scaling, False


def _compressing(
    scaling: Scaling, at: npt.NDArray[np.int64], looked_at: npt.NDArray[Any]
) -> Scaling:
    """Return a scaling that compresses some of the columns of those rows."""
    values = looked_at[:, at].astype(np.float64)
    if scaling.limits is not None:
        values = np.clip(values, *(limit[at] for limit in scaling.limits))
    median, unit = middles_and_units(values)
    at, median, unit = at[unit > 0], median[unit > 0], unit[unit > 0]
    if not len(at):
        return scaling
    offset, scale = scaling.offset.copy(), scaling.scale.copy()
    bend = np.full(len(offset), np.inf)
    offset[at], scale[at], bend[at] = median, unit, 1.0
    return replace(scaling, offset=offset, scale=scale, bend=bend)


def with_limits(
    given: npt.NDArray[Any], scaling: Scaling, workers: int = 1, gather: Gather = alone
) -> Scaling:
    """Return a scaling with limits of columns that have outliers here and had none before."""
    columns = _join(gather(_look_at(given, workers)))
    found = _find_limits(_gather_rows(given, columns, gather), columns)
    if found is None:
        return scaling
    known = scaling.limits or (np.full(len(found[0]), -np.inf), np.full(len(found[0]), np.inf))
    has_none = np.isinf(known).all(axis=0)
    lower, upper = (np.where(has_none, new, old) for new, old in zip(found, known, strict=True))
    return replace(scaling, lower=lower, upper=upper)


def sparse_scaling(
    values: npt.NDArray[Any],
    indices: npt.NDArray[Any],
    shape: tuple[int, int],
    gather: Gather = alone,
) -> Scaling:
    """Return the scaling of finite stored values, of which it keeps the pattern.

    Images of whole numbers are divided by one power of two, as dense bytes are.
    """
    n_columns = shape[1]
    n_rows = total(gather, shape[0])
    entries = values.astype(np.float64)
    largest = np.zeros(n_columns)
    np.maximum.at(largest, indices, np.abs(entries))
    largest = np.max(gather(largest), axis=0)
    unit = np.where(largest > 0, largest, 1.0)  # squares neither overflow nor vanish
    entries /= unit[indices]
    mean, square = (
        total(gather, np.bincount(indices, weights=powers, minlength=n_columns)) / n_rows
        for powers in (entries, entries**2)
    )
    deviation = unit * np.sqrt(np.maximum(square - mean**2, 0.0))
    scale = _keeping_zeros(largest, deviation)
    found = gather([_are_bytes(values, divisor) for divisor in _BYTE_DIVISORS])
    is_image = bool(np.all(found, axis=0).any())
    if is_image and _has_one_scale(largest):
        scale = np.full(n_columns, 2.0 ** np.ceil(np.log2(largest.max(initial=1.0))))
    return Scaling(np.zeros(n_columns), scale)


def target_scaling(given: npt.NDArray[Any], gather: Gather = alone) -> Scaling:
    """Return mean and standard deviation of each column of finite values.

    A column of one value gets what float32 rounds that value by: the outputs, which start at
    random, must not add to it.
    """
    columns = _join(gather(_look_at(given, 1)))
    _, deviation = _spread(given, columns, 1, gather)
    rounding = np.maximum(np.abs(columns.mean) * 2.0**-24, _LEAST_SCALE)
    return Scaling(columns.mean, np.where(deviation > 0, deviation, rounding))


def _gather_rows(given: npt.NDArray[Any], columns: _Columns, gather: Gather) -> npt.NDArray[Any]:
    """Return rows, from all processes, that tell the ranks in the columns."""
    mine = given[rows_to_look_at(len(given), columns.n_rows, given.shape[1])]
    parts = gather(mine)
    return mine if len(parts) == 1 else np.concatenate(parts)


def _find_limits(looked_at: npt.NDArray[Any], columns: _Columns) -> tuple[Doubles, Doubles] | None:
    return find_column_limits(looked_at, columns.smallest, columns.largest, columns.n_rows)


def _look_at(given: npt.NDArray[Any], workers: int) -> _Columns:
    if not len(given):
        nothing = np.zeros(given.shape[1])
        return _Columns(0, nothing, nothing, nothing, nothing.astype(np.int64), [])
    return _Columns(n_rows=len(given), **_core.measure_columns(X=_readable(given), workers=workers))


def _join(parts: Sequence[_Columns]) -> _Columns:
    """Return what is known of all rows, from what each process knows of its own."""
    first, *others = [part for part in parts if part.n_rows > 0]
    if not others:
        return first
    known = [first, *others]
    n_rows = sum(part.n_rows for part in known)
    # Sums of distances from a mean lose no digits to it.
    distances = [part.n_rows * (part.mean - first.mean) for part in others]
    return _Columns(
        n_rows,
        first.mean + np.sum(distances, axis=0) / n_rows,
        np.min([part.smallest for part in known], axis=0),
        np.max([part.largest for part in known], axis=0),
        np.sum([part.zeros for part in known], axis=0),
        [one for one in _BYTE_DIVISORS if all(one in part.byte_divisors for part in known)],
    )


def _spread(
    given: npt.NDArray[Any], columns: _Columns, workers: int, gather: Gather
) -> tuple[Doubles, Doubles]:
    """Return the largest distance from the mean, and the standard deviation, of each column."""
    distance = np.maximum(columns.largest - columns.mean, columns.mean - columns.smallest)
    unit = np.where(distance > 0, distance, 1.0)  # squares neither overflow nor vanish
    own = np.zeros(len(unit))
    if len(given):
        own = _core.mean_squares(
            X=_readable(given), center=columns.mean, unit=unit, workers=workers
        )
    parts = gather((len(given), own))
    if len(parts) == 1:
        return distance, unit * np.sqrt(own)
    squares = np.sum([n_rows * mean for n_rows, mean in parts], axis=0) / columns.n_rows
    return distance, unit * np.sqrt(squares)


def _readable(given: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return numbers of a type and at places that the core reads; a copy only of rare ones."""
    is_known = given.dtype.kind in "biuf" and given.dtype.itemsize in (1, 2, 4, 8)
    is_half = given.dtype == np.float16
    is_placed = given.flags.aligned and given.dtype.isnative
    is_placed = is_placed and not any(step % given.dtype.itemsize for step in given.strides)
    return given if is_known and is_placed and not is_half else given.astype(np.float64)


def _keeping_zeros(largest: Doubles, deviation: Doubles) -> Doubles:
    """Return the scale of columns that are not shifted; 1 for columns of zeros."""
    scale = np.maximum(deviation, largest / _MOST_ENTRY)
    return np.where(scale > 0, scale, 1.0)


def _or_constant(scale: Doubles, distance: Doubles, mean: Doubles) -> Doubles:
    """Give constant columns the scale of their value, and at least 1: they become 0 anyway.

    Their weights learn nothing. So a value that turns up later should not become a large one.
    """
    # The mean of equal numbers is that number, because the sum is one of distances.
    is_constant = (distance == 0) | (scale == 0)
    return np.where(is_constant, np.maximum(np.abs(mean), 1.0), scale)


def _has_one_scale(largest: Doubles) -> bool:
    """Tell whether most columns reach a quarter of the largest entry; columns of zeros aside."""
    used = largest[largest > 0]
    return bool(len(used) == 0 or 4 * np.median(used) >= used.max())


def _are_bytes(entries: npt.NDArray[Any], divisor: int) -> bool:
    """Tell whether all entries are bytes, divided by a number and rounded to float32."""
    if entries.size == 0:
        return True
    if entries.dtype.kind == "b":
        return True
    entries = np.asarray(entries, np.float64)
    levels = np.rint(entries * divisor)
    if levels.min() < 0 or levels.max() > 255:
        return False
    return bool((float32(levels / divisor) == float32(entries)).all())


# --------------------------------------------------------------------------- layers of a network

Layers = list[tuple[Doubles, Doubles]]  # (W, b) of each layer


def change_inputs(layers: Layers, old: Scaling | None, new: Scaling | None) -> None:
    """Make the first layer apply to inputs of another scaling; None: to X as it is given.

    With x = m + s u and x = m' + s' u', W^T u + b is (W s'/s)^T u' + b + ((m' - m)/s)^T W. That
    holds within the limits of both. Raises ValueError if they compress columns differently.
    """
    if not _compress_alike(old, new):
        raise ValueError(
            "init and this training must compress the same columns of X (input_scaling.bend); "
            "expected scale_inputs='auto' or init.input_scaling"
        )
    W, b = layers[0]
    m, s = (0.0, 1.0) if old is None else (old.offset, old.scale)
    m_new, s_new = (0.0, 1.0) if new is None else (new.offset, new.scale)
    shift, factor = np.broadcast_to([(m_new - m) / s, s_new / s], (2, len(W)))
    # einsum adds in one order; a product of BLAS, in one that depends on its threads.
    layers[0] = (W * factor[:, None], b + np.einsum("i,ij->j", shift, W))


def _compress_alike(one: Scaling | None, other: Scaling | None) -> bool:
    """Tell whether the same columns are compressed, and these from the same scales."""

    def of_compressed(scaling: Scaling | None) -> list[list[float]]:
        if scaling is None or scaling.bend is None:
            return []
        at = scaling.compressed
        parts = (scaling.offset, scaling.scale, scaling.bend)
        return [at.tolist(), *(part[at].tolist() for part in parts)]

    return of_compressed(one) == of_compressed(other)


def change_outputs(layers: Layers, old: Scaling | None, new: Scaling | None) -> None:
    """Make the last layer answer in another scaling; None: in the units of y as it is given."""
    W, b = layers[-1]
    m, s = (0.0, 1.0) if old is None else (old.offset, old.scale)
    m_new, s_new = (0.0, 1.0) if new is None else (new.offset, new.scale)
    layers[-1] = (W * (s / s_new), (b * s + m - m_new) / s_new)
