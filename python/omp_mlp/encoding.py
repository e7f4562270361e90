"""What a network knows of the columns of a table: their names, and how it reads each as numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp.frames import (
    Column,
    Frame,
    column_names,
    is_frame,
    matrix_of,
    read_columns,
    whole_matrix,
)

_TYPES_OF_LABELS = (str, bool, int, float)
_MOST_LABELS = 5  # that are shown


@dataclass(frozen=True)
class Encoding:
    """How a column becomes inputs.

    Attributes
    ----------
    labels : tuple or None
        Of text and categories, each of which has an input that is 1 where the column has it. None:
        the column is a number.
    median : float or None
        What stands for missing numbers. A second input is then 1 where they are missing. None:
        numbers were never missing, and must not be.
    """

    labels: tuple[Any, ...] | None = None
    median: float | None = None

    @property
    def n_inputs(self) -> int:
        """The number of inputs of the network."""
        if self.labels is not None:
            return len(self.labels)
        return 1 if self.median is None else 2

    def __str__(self) -> str:
        if self.labels is not None:
            shown = ", ".join(map(str, self.labels[:_MOST_LABELS]))
            more = ", ..." if len(self.labels) > _MOST_LABELS else ""
            return f"labels {shown}{more}" if self.labels else "labels, of which there were none"
        return "number" if self.median is None else f"number, or {self.median:.6g} if missing"

    def _places(self, column: Column) -> tuple[dict[Any, int], Sequence[Any]]:
        """Return the index of each label, and the column's values as labels."""
        assert self.labels is not None
        # Text that looks like numbers was read as numbers, which text is not equal to.
        if column.texts is not None and all(isinstance(one, (str, bool)) for one in self.labels):
            return {str(label): index for index, label in enumerate(self.labels)}, column.texts()
        return {label: index for index, label in enumerate(self.labels)}, column.values.tolist()

    def write(self, column: Column, inputs: npt.NDArray[np.float64], name: str) -> None:
        """Write the inputs of the column's rows."""
        if self.labels is not None:
            place, values = self._places(column)
            for row, value in enumerate(values):
                index = place.get(value)  # unknown and missing ones are all zero
                if index is not None:
                    inputs[row, index] = 1.0
            return
        if not column.is_number:
            raise TypeError(
                f"column {column.name!r} of {name} must hold numbers, as in the training; got text "
                "or categories"
            )
        inputs[:, 0] = column.values
        if self.median is not None:
            missing = column.missing
            inputs[missing, 0] = self.median
            inputs[:, 1] = missing


@dataclass(frozen=True)
class Columns:
    """The columns of the table that a network was trained on.

    Attributes
    ----------
    names : tuple of str or None
        None: the columns have no names of text, and go by their places.
    encodings : tuple of Encoding, one for each column; or None
        None: all columns are numbers, and each is an input.
    """

    names: tuple[str, ...] | None
    encodings: tuple[Encoding, ...] | None = None

    @property
    def input_names(self) -> tuple[str, ...] | None:
        """A name for each input: the column's, with "=label" or "=missing" where it is encoded."""
        if self.names is None or self.encodings is None:
            return self.names
        inputs: list[str] = []
        for name, encoding in zip(self.names, self.encodings, strict=True):
            if encoding.labels is not None:
                inputs += [f"{name}={label}" for label in encoding.labels]
            else:
                inputs += [name] if encoding.median is None else [name, f"{name}=missing"]
        return tuple(inputs)

    def read(self, X: Any, name: str = "X") -> Any:  # noqa: ANN401
        """Return X as the network reads it: columns by their names, encoded as in the training."""
        if not is_frame(X):
            if self.encodings is None:
                return X
            raise TypeError(
                f"{name} must be a table with the columns of the training, because text, "
                f"categories or missing numbers are encoded; got {type(X).__name__}"
            )
        if self.encodings is None and self.names is not None and column_names(X) == self.names:
            whole = whole_matrix(X)
            if whole is not None:
                return whole
        wanted = self._wanted(X)
        columns = self._in_order(read_columns(X, name, wanted), wanted, name)
        if self.encodings is None:
            return matrix_of(columns, name)
        return _encoded(columns, self.encodings, name)

    def _wanted(self, X: Any) -> tuple[str, ...] | None:  # noqa: ANN401
        """Return the names to find columns by; None if the columns go by their places."""
        # A file without names of columns has nothing but their places, as an array has.
        has_names = any(isinstance(one, str) for one in column_names(X))
        return None if isinstance(X, Frame) and not has_names else self.names

    def _in_order(
        self, columns: list[Column], wanted: Sequence[str] | None, name: str
    ) -> list[Column]:
        if wanted is None:
            known = self.names if self.encodings is None else self.encodings
            if known is not None and len(columns) != len(known):
                raise ValueError(
                    f"{name} must have the {len(known)} columns of the training; got {len(columns)}"
                )
            return columns
        _checked_names([column.name for column in columns], name)  # which of two is not known
        by_name = {column.name: column for column in columns}
        absent = [one for one in wanted if one not in by_name]
        if absent:
            shown = ", ".join(map(repr, absent[:5])) + (", ..." if len(absent) > 5 else "")
            raise ValueError(
                f"{name} must have the columns of the training; {len(absent)} of "
                f"{len(wanted)} are missing: {shown}"
            )
        return [by_name[one] for one in wanted]

    def check(self, n_inputs: int) -> None:
        """Raise ValueError or TypeError if these are no columns of a network with such inputs."""
        names, encodings = self.names, self.encodings
        if names is not None and not (
            all(isinstance(one, str) for one in names) and len(set(names)) == len(names)
        ):
            raise ValueError(f"names of columns must be different texts; got {names!r}")
        for one in encodings or ():
            if one.labels is not None and not (
                all(isinstance(label, _TYPES_OF_LABELS) for label in one.labels)
                and len(set(one.labels)) == len(one.labels)
            ):
                raise ValueError(f"labels of a column must be different; got {one.labels!r}")
            if one.median is not None and not math.isfinite(one.median):
                raise ValueError(f"the median of a column must be finite; got {one.median!r}")
        n_columns = len(names or ()) if encodings is None else len(encodings)
        expected = n_columns if encodings is None else sum(one.n_inputs for one in encodings)
        if names is not None and len(names) != n_columns:
            raise ValueError(f"{len(names)} names for {n_columns} columns")
        if (names is not None or encodings is not None) and expected != n_inputs:
            raise ValueError(f"columns with {expected} inputs for a network with {n_inputs}")

    def as_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, for JSON."""
        if self.encodings is None:
            return {"names": self.names}
        return {
            "names": self.names,
            "encodings": [{"labels": one.labels, "median": one.median} for one in self.encodings],
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Columns:
        """Undo :meth:`as_dict`."""
        names, encodings = given["names"], given.get("encodings")
        return cls(
            None if names is None else tuple(names),
            None
            if encodings is None
            else tuple(
                Encoding(None if one["labels"] is None else tuple(one["labels"]), one["median"])
                for one in encodings
            ),
        )


def find_columns(
    X: Any,  # noqa: ANN401
    *,
    encodes: bool,
    name: str = "X",
    rows: npt.NDArray[np.int64] | None = None,
) -> tuple[Any, Columns | None]:
    """Return X as a network reads it, and what is known of its columns; None if X is no table.

    ``encodes``: text and categories become inputs of 0 and 1, and missing numbers their median.
    Without it, they are errors. ``rows``: those that labels and medians are found in; None: all.
    """
    if not is_frame(X):
        return X, None
    whole = whole_matrix(X)
    if whole is not None and (not encodes or not _has_nan(whole)):
        return whole, Columns(_checked_names(list(column_names(X)), name))
    columns = read_columns(X, name)
    names = _checked_names([column.name for column in columns], name)
    if not encodes or all(one.is_number and not one.missing.any() for one in columns):
        return matrix_of(columns, name), Columns(names)
    encodings = tuple(_find_encoding(column, name, rows) for column in columns)
    return _encoded(columns, encodings, name), Columns(names, encodings)


def _has_nan(matrix: npt.NDArray[Any]) -> bool:
    return matrix.dtype.kind == "f" and bool(np.isnan(matrix).any())


def _checked_names(names: Sequence[object], name: str) -> tuple[str, ...] | None:
    """Return names that are text; names of numbers are places."""
    if not all(isinstance(one, str) for one in names):
        return None
    if len(set(names)) != len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise ValueError(f"{name} must have columns of different names; got {twice!r} twice")
    return tuple(map(str, names))


def _find_encoding(column: Column, name: str, rows: npt.NDArray[np.int64] | None) -> Encoding:
    values = column.values if rows is None else column.values[rows]
    if column.is_number:
        # A number that is missing in another row needs a median, too.
        if not column.missing.any():
            return Encoding()
        known = values[~np.isnan(values)]
        return Encoding(median=float(np.median(known)) if len(known) else 0.0)
    labels = {value for value in values.tolist() if value is not None}
    strangers = {type(one).__name__ for one in labels if not isinstance(one, _TYPES_OF_LABELS)}
    if strangers:
        raise TypeError(
            f"column {column.name!r} of {name} must have categories that are text or numbers; got "
            + ", ".join(sorted(strangers))
        )
    try:
        return Encoding(labels=tuple(sorted(labels)))
    except TypeError as error:
        raise TypeError(
            f"column {column.name!r} of {name} must have categories of one type; got text and "
            "numbers"
        ) from error


def _encoded(
    columns: Sequence[Column], encodings: Sequence[Encoding], name: str
) -> npt.NDArray[np.float64]:
    """Return the inputs of each column side by side."""
    ends = np.cumsum([encoding.n_inputs for encoding in encodings])
    shape = (len(columns[0].values), int(ends[-1]))
    try:
        inputs = np.zeros(shape)
    except MemoryError as error:
        widest = max(range(len(columns)), key=lambda k: encodings[k].n_inputs)
        raise MemoryError(
            f"{name} needs more memory than there is: {shape[0]} rows of {shape[1]} inputs take "
            f"{8e-9 * shape[0] * shape[1]:.3g} GB. Column {columns[widest].name!r} alone has "
            f"{encodings[widest].n_inputs} inputs, one for each of its labels"
        ) from error
    for column, encoding, end in zip(columns, encodings, ends, strict=True):
        place = int(end) - encoding.n_inputs
        encoding.write(column, inputs[:, place:end], name)
        if encoding == Encoding() and column.missing.any():
            raise ValueError(
                f"column {column.name!r} of {name} must have a number in every row, because it had "
                f"one in the training; got NaN in row {column.missing.argmax()}, column {place} of "
                "the inputs"
            )
    return inputs
