"""Check SciPy's sparse matrices, and bring them into the form that the core reads.

SciPy checks the arrays of a matrix only when it is asked to (``check_format``). Its conversions and
the core read and write memory where these arrays point. So every array is checked first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from omp_mlp import checks
from omp_mlp.checks import FloatArray, SparseMatrix, float32

_MOST_FEATURES = int(np.iinfo(np.int32).max)


@dataclass(frozen=True, eq=False, repr=False)
class Csr:
    """A matrix in compressed sparse rows; the column indices of a row ascend."""

    shape: tuple[int, int]
    starts: npt.NDArray[np.int64]  # where each row starts, and where the last one ends
    indices: npt.NDArray[np.int32]
    data: npt.NDArray[Any]  # the stored values in their own type ...
    values: FloatArray  # ... and in float32, as the core reads them

    def stored(self, row: int, column: int) -> Any:  # noqa: ANN401 - a number of any type
        """Return a stored value."""
        begin, end = self.starts[row : row + 2]
        return self.data[begin + np.searchsorted(self.indices[begin:end], column)]

    def __getitem__(self, block: slice) -> Csr:
        """Return some rows that follow one another."""
        first, last, _ = block.indices(self.shape[0])
        begin, end = self.starts[first], self.starts[last]
        return Csr(
            shape=(last - first, self.shape[1]),
            starts=self.starts[first : last + 1] - begin,
            indices=self.indices[begin:end],
            data=self.data[begin:end],
            values=self.values[begin:end],
        )

    def take(self, rows: npt.NDArray[np.int64]) -> Csr:
        """Return a copy of some rows."""
        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        entries = np.repeat(self.starts[rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return Csr(
            shape=(len(rows), self.shape[1]),
            starts=starts,
            indices=self.indices[entries],
            data=self.data[entries],
            values=self.values[entries],
        )

    def toarray(self, dtype: type[np.floating[Any]] = np.float32) -> npt.NDArray[Any]:
        """Return a dense array: of float32, or from the stored values in their own type."""
        dense = np.zeros(self.shape, dtype=dtype)
        values = self.values if dtype == np.float32 else self.data
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self.starts))
        dense[rows, self.indices[: self.starts[-1]]] = values[: self.starts[-1]]
        return dense


def is_sparse(X: object) -> TypeGuard[SparseMatrix]:
    """Tell whether X is a sparse matrix, which has a conversion to compressed sparse rows."""
    return hasattr(X, "tocsr")


def read_csr(X: SparseMatrix, name: str) -> Csr:
    """Check a sparse matrix of any format, and return it in compressed sparse rows.

    The result uses the values of X in place where the core can read them. Starts and indices are
    copies: whoever changes those of X meanwhile changes no memory that is not X's.
    """
    shape: Any = getattr(X, "shape", None)
    is_of_two = isinstance(shape, tuple) and len(shape) == 2
    if not is_of_two or not all(isinstance(size, (int, np.integer)) for size in shape):
        raise ValueError(f"{name} must have shape (n_samples, n_features); got {shape}")
    if shape[1] > _MOST_FEATURES:
        raise ValueError(f"{name} must have fewer than 2^31 features; got {shape[1]}")
    _check_before_conversion(X, name)
    csr = _converted(X.tocsr, name)
    missing = [part for part in ("shape", "indptr", "indices", "data") if not hasattr(csr, part)]
    if missing:
        raise TypeError(
            f"{name}.tocsr() must return a matrix in compressed sparse rows; got "
            f"{type(csr).__name__} without {', '.join(missing)}"
        )
    if tuple(csr.shape) != shape:
        raise ValueError(f"{name}.tocsr() must have the shape {shape} of {name}; got {csr.shape}")
    checks.plain_array(csr.data, name)  # hides nothing
    # Copied before they are checked, and not looked at again.
    starts, indices, data = np.array(csr.indptr), np.array(csr.indices), np.asarray(csr.data)
    if data.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers; got dtype {data.dtype}")
    _check_compressed(starts, indices, data, shape, "row", "column", name)
    if not _ascends_in_rows(starts, indices):
        csr = csr.copy()
        csr.indptr, csr.indices, csr.data = starts, indices, np.array(data)
        csr.sum_duplicates()
        starts, indices, data = csr.indptr, csr.indices, csr.data
    return Csr(
        shape=shape,
        starts=np.ascontiguousarray(starts, dtype=np.int64),
        indices=np.ascontiguousarray(indices, dtype=np.int32),
        data=data,
        values=float32(data),
    )


def _converted(convert: Callable[[], Any], name: str) -> Any:  # noqa: ANN401
    """Convert a sparse matrix by a method of its own, whose errors do not name it."""
    try:
        return convert()
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{name} is no sound sparse matrix: {error}") from error


def _check_before_conversion(X: Any, name: str) -> None:  # noqa: ANN401
    """Check the arrays that the conversion of a format to compressed sparse rows reads."""
    kind = getattr(X, "format", None)
    if kind == "coo":
        _check_coordinates(X, name)
    elif kind == "dok":
        _check_coordinates(_converted(X.tocoo, name), name)
    elif kind == "csc":
        _check_compressed(X.indptr, X.indices, X.data, X.shape[::-1], "column", "row", name)
    elif kind == "bsr":
        if len(X.blocksize) != 2 or 0 in X.blocksize or any(np.mod(X.shape, X.blocksize)):
            raise ValueError(
                f"{name} must have blocks that divide its shape {X.shape}; "
                f"got blocks of {X.blocksize}"
            )
        blocks = tuple(size // part for size, part in zip(X.shape, X.blocksize, strict=True))
        _check_compressed(X.indptr, X.indices, X.data, blocks, "row", "column", name)
    elif kind == "dia":
        _check_length(X.offsets, X.data, "offsets", name)
    elif kind == "lil":
        for part, what in ((X.rows, "column indices"), (X.data, "data")):
            if len(part) != X.shape[0]:
                raise ValueError(
                    f"{name} must have one list of {what} for each of its {X.shape[0]} rows; "
                    f"got {len(part)}"
                )
        for indices, values in zip(X.rows, X.data, strict=True):
            _check_length(indices, values, "column indices in a row", name)


def _check_coordinates(X: Any, name: str) -> None:  # noqa: ANN401
    for index, length, what in ((X.row, X.shape[0], "row"), (X.col, X.shape[1], "column")):
        _check_integers(index, f"{what} indices", name)
        _check_length(index, X.data, f"{what} indices", name)
        _check_range(index, length, what, name)


def _check_compressed(
    starts: npt.NDArray[Any],
    indices: npt.NDArray[Any],
    data: npt.NDArray[Any],
    shape: tuple[int, ...],
    outer: str,
    inner: str,
    name: str,
) -> None:
    """Check the arrays of compressed rows or columns, or of blocks of them, for this shape."""
    _check_integers(starts, f"{outer} starts (indptr)", name)
    _check_integers(indices, f"{inner} indices", name)
    if starts.shape != (shape[0] + 1,):
        raise ValueError(
            f"{name} must have an indptr of {shape[0] + 1} entries, one more than its "
            f"{shape[0]} {outer}s; got {' x '.join(map(str, starts.shape))}"
        )
    _check_length(indices, data, f"{inner} indices", name)
    if starts[0] != 0 or starts[-1] > len(data) or (starts[1:] < starts[:-1]).any():
        raise ValueError(
            f"{name} has {outer} starts (indptr) that do not ascend from 0 within its data"
        )
    _check_range(indices[: starts[-1]], shape[1], inner, name)


def _check_integers(array: npt.NDArray[Any], what: str, name: str) -> None:
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must have integers for its {what}; got dtype {array.dtype}")


def _check_length(indices: Any, data: Any, what: str, name: str) -> None:  # noqa: ANN401
    if len(indices) != len(data):
        raise ValueError(
            f"{name} must have as many {what} as it has data; got {len(indices)} {what} "
            f"and {len(data)} entries of data"
        )


def _check_range(indices: npt.NDArray[Any], length: int, what: str, name: str) -> None:
    if indices.size and not 0 <= indices.min() <= indices.max() < length:
        raise ValueError(f"{name} has {what} indices outside 0..{length - 1}")


def _ascends_in_rows(starts: npt.NDArray[Any], indices: npt.NDArray[Any]) -> bool:
    """Look at the indices themselves, because SciPy's flags about them may be out of date."""
    stored = indices[: starts[-1]]
    falls = stored[1:] <= stored[:-1]
    begins = starts[(starts > 0) & (starts < len(stored))]
    falls[begins - 1] = False  # from one row to the next
    return not falls.any()
