"""Check what users pass in, before any work. Errors say what was got and what was expected."""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Iterable, Mapping, Set
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from omp_mlp.extras import imported
from omp_mlp.frames import Frame, as_array


class SparseMatrix(Protocol):
    """A sparse matrix of SciPy, or of another library with its conversion."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""

    def tocsr(self) -> Any:  # noqa: ANN401
        """Return the matrix in compressed sparse rows."""


class Table(Protocol):
    """A table with named columns: of pandas, polars, pyarrow, or what they can read."""

    def __dataframe__(self) -> Any: ...  # noqa: ANN401


class Tensor(Protocol):
    """An array of another library in the memory of the CPU."""

    def __dlpack__(self) -> Any: ...  # noqa: ANN401


Matrix = npt.ArrayLike | SparseMatrix | Table | Tensor | Frame
"""X: of shape (n_samples, n_features)."""

Column = npt.ArrayLike | Table | Tensor
"""Y: of shape (n_samples,) or (n_samples, n_outputs); a table of one column is that column."""

FloatArray = npt.NDArray[np.float32]
Option = TypeVar("Option")


MOST_INTEGER = 2**63 - 1
"""The largest number that the core counts to."""


def require_scipy(for_what: str, extra: str) -> None:
    """Raise an error that says how to get SciPy, if it is missing."""
    imported("scipy.optimize", for_what, "SciPy", extra)


_MOST_SHOWN = 200  # characters of a value


def shown(value: object) -> str:
    """Return what messages show of a value: its start, where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integers of more than some thousand digits
        return f"{type(value).__name__} with too many digits to show"
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."


def integer(name: str, value: object, minimum: int, maximum: int = MOST_INTEGER) -> int:
    """Check that a value is an integer in [minimum, maximum]."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"{name} must be an integer; got {shown(value)} of type {type(value).__name__}"
        )
    number = int(value)
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}; got {shown(number)}")
    if number > maximum:
        raise ValueError(f"{name} must be at most {maximum}; got {shown(number)}")
    return number


def real(name: str, value: object, minimum: float, below: float = math.inf) -> float:
    """Check that a value is a number in [minimum, below); one too small to be normal is 0.

    The core reads subnormal numbers as zeros in its loops, and not outside of them. An option that
    is one would be zero here and there.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"{name} must be a number; got {shown(value)} of type {type(value).__name__}"
        )
    try:
        number = float(value)
    except OverflowError:  # an integer or a fraction beyond all floats
        number = math.inf
    if abs(number) < sys.float_info.min:
        number = 0.0
    if not minimum <= number < below:
        upper = "finite" if below == math.inf else f"less than {below:g}"
        raise ValueError(f"{name} must be at least {minimum:g} and {upper}; got {shown(value)}")
    return number


def sequence(name: str, value: object, of: str) -> list[Any]:
    """Return the entries of a value that has an order; text and bytes are one value."""
    no_order = (str, bytes, bytearray, memoryview, Mapping, Set)
    if not isinstance(value, Iterable) or isinstance(value, no_order):
        raise TypeError(f"{name} must be a sequence of {of}; got {shown(value)}")
    try:
        return list(value)
    except TypeError as error:  # an array without dimensions
        raise TypeError(f"{name} must be a sequence of {of}; got {shown(value)}") from error


def choice(name: str, value: object, options: Iterable[Option], other: str = "") -> Option:
    """Check that a value is one of the options, and return that option.

    ``other``: what else the caller accepts, for the message.
    """
    options = list(options)
    value = bool(value) if isinstance(value, np.bool_) else value  # of a grid of parameters
    for option in options:
        # The type is asked for too: 0 is not False, and arrays do not compare to a single bool.
        if isinstance(value, type(option)) and value == option:
            return option
    listed = ", ".join(repr(option) for option in options)
    if len(options) > 1 or not other:
        listed = f"one of {listed}"
    if other:
        listed += f" or {other}"
    raise ValueError(f"{name} must be {listed}; got {shown(value)}")


def plain_array(values: object, name: str) -> npt.NDArray[Any]:
    """Return values as an array; raise ValueError if NumPy would leave out a part of them."""
    if type(values) is np.ndarray and values.dtype.kind in "biuf":
        return values  # at once: a prediction of one row is a matter of microseconds
    parts = values if isinstance(values, (list, tuple)) else [values]
    for part in parts:
        if isinstance(part, np.ma.MaskedArray) and np.ma.getmaskarray(part).any():
            raise ValueError(
                f"{name} must not hide entries behind a mask; got {np.ma.getmaskarray(part).sum()} "
                "masked entries. Fill them, or leave their samples out"
            )
    array = as_array(values, name)
    if not isinstance(values, (list, tuple)):
        return array
    if array.dtype.kind in "US" and any(
        isinstance(entry, (str, bytes)) and entry[-1:] in ("\0", b"\0")
        for entry in np.asarray(values, dtype=object).flat
    ):
        raise ValueError(f"{name} must not hold text that ends in a zero byte, which NumPy drops")
    if array.dtype.kind == "f" and all(
        isinstance(entry, (int, np.integer)) for entry in np.asarray(values, dtype=object).flat
    ):
        # Some of them fit an unsigned type only; NumPy makes doubles of all if others are signed.
        try:
            return np.asarray(values, dtype=np.uint64)
        except OverflowError:
            raise ValueError(
                f"{name} must hold integers of 64 bits, all with or without sign"
            ) from None
    return array


def numeric(values: object, name: str) -> npt.NDArray[Any]:
    """Check that values are real numbers, and return them as an array."""
    array = plain_array(values, name)
    if array.dtype.kind not in "biuf":
        entries = (entry for entry in array.flat if not isinstance(entry, numbers.Real))
        stranger = next(entries, None) if array.dtype.kind == "O" else None
        among = "" if array.dtype.kind != "O" else f", and among its entries {shown(stranger)}"
        raise TypeError(f"{name} must hold real numbers; got dtype {array.dtype}{among}")
    return array


def float32(array: npt.NDArray[Any]) -> FloatArray:
    """Return the array in float32, C order and aligned; without a copy if it is that already."""
    if array.dtype == np.float32 and array.flags.c_contiguous and array.flags.aligned:
        return array  # what NumPy finds out below takes longer than a small network does
    # A number too large for float32 becomes infinite here, and is reported as such afterwards.
    with np.errstate(over="ignore"):
        return np.require(array, np.float32, ["C_CONTIGUOUS", "ALIGNED"])


def parameters(values: object, name: str) -> FloatArray:
    """Check that values are real numbers, and return them in float32."""
    return float32(numeric(values, name))


def check_out(out: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Check that ``out`` is None, or that a result of this shape and dtype can be written to it."""
    if out is None:
        return
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array; got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(
            f"out must have shape {shape} and dtype {dtype}; got shape {out.shape} and dtype "
            f"{out.dtype}"
        )
    if not out.flags.writeable:
        raise ValueError("out must be an array that can be written to; got a read-only one")
