"""What a network knows of the columns of a table: their names, and how it reads each as numbers."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp.frames import (
    Column,
    Frame,
    Label,
    column_names,
    is_frame,
    listed,
    matrix_of,
    read_columns,
    whole_matrix,
)
from omp_mlp.warned import MissingNumbersWarning, SettingsWarning, warn

_TYPES_OF_LABELS = (str, bool, int, float)
_NUMBERS = (numbers.Number, np.number, np.bool_)  # decimals are no real ones
_MOST_LABELS = 5  # that are shown
_MANY_LABELS, _MOSTLY = 20, 0.9  # of text that may be a column of numbers
_MOST_COLUMNS = 5
_MOST_ROWS = 1024  # that tell the medians of a table of numbers: all rows of MNIST take too long


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
        the training had a number in every row.
    fill : float or None
        The median of a column in which the training had a number in every row: it stands for
        numbers that are missing later. No input says so. Nothing in the weights depends on
        ``fill``, so two encodings that differ in it alone are equal. None: numbers must not be
        missing.
    """

    labels: tuple[Any, ...] | None = None
    median: float | None = None
    fill: float | None = field(default=None, compare=False)

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
        if self.median is not None:
            return f"number, or {self.median:.6g} if missing"
        return "number" if self.fill is None else f"number, or {self.fill:.6g} if missing later"

    def _places(self, column: Column) -> tuple[dict[Any, int], Iterable[Any]]:
        """Return the index of each label, and the column's values as labels."""
        assert self.labels is not None
        places = {label: index for index, label in enumerate(self.labels)}
        if column.texts is not None:
            # A file has text alone. It was read as numbers where all of it looks like numbers.
            if all(isinstance(one, (str, bool)) for one in self.labels):
                return {str(label): place for label, place in places.items()}, column.texts()
            is_number = column.is_number
            return places, column.values.tolist() if is_number else map(_cell, column.texts())
        return places, column.values.tolist()

    def _check_types(self, column: Column, name: str) -> None:
        """Raise TypeError if no value can be a label: text is not equal to any number."""
        if not self.labels or column.texts is not None:
            return
        values = column.values.tolist()
        types = {type(one) for one in values if one is not None and one == one}  # nor NaN
        expected = (str,) if isinstance(self.labels[0], str) else _NUMBERS
        if types and not any(issubclass(one, expected) for one in types):
            raise TypeError(
                f"column {column.name!r} of {name} must hold labels of type "
                f"{type(self.labels[0]).__name__}, as in the training; got entries of type "
                + ", ".join(sorted(one.__name__ for one in types))
            )

    def write(self, column: Column, inputs: npt.NDArray[np.float64], name: str) -> int:
        """Write the inputs of the column's rows, and return how many got the value of ``fill``."""
        if self.labels is not None:
            place, values = self._places(column)
            is_known = False
            for row, value in enumerate(values):
                index = place.get(value)  # unknown and missing ones are all zero
                if index is not None:
                    inputs[row, index] = 1.0
                    is_known = True
            if not is_known:
                self._check_types(column, name)
            return 0
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
        elif self.fill is not None:
            missing = column.missing
            inputs[missing, 0] = self.fill
            return int(np.count_nonzero(missing))
        return 0


@dataclass(frozen=True)
class Columns:
    """The columns of the table that a network was trained on.

    Attributes
    ----------
    names : tuple of str or None
        None: the columns have no names, or not all names are text.
    encodings : tuple of Encoding, one for each column; or None
        None: all columns are numbers, and each is an input.
    medians : tuple of float, one for each column; or None
        Of columns that are all numbers, in each of which the training had a number in every row:
        what stands for numbers that are missing later, as ``Encoding.fill``. None: numbers must not
        be missing, or ``encodings`` has the medians.
    keys : tuple or None
        Names of a table of pandas that are not all text, but also numbers or tuples. Without names
        and keys, the columns go by their places.
    """

    names: tuple[str, ...] | None
    encodings: tuple[Encoding, ...] | None = None
    medians: tuple[float, ...] | None = field(default=None, compare=False)
    keys: tuple[Label, ...] | None = None

    @property
    def called(self) -> tuple[Label, ...] | None:
        """What the columns are found by, if not by their places."""
        return self.keys if self.names is None else self.names

    @property
    def input_names(self) -> tuple[Label, ...] | None:
        """A name for each input: the column's, with "=label" or "=missing" where it is encoded."""
        if self.called is None or self.encodings is None:
            return self.called
        inputs: list[Label] = []
        for name, encoding in zip(self.called, self.encodings, strict=True):
            if encoding.labels is not None:
                inputs += [f"{name}={label}" for label in encoding.labels]
            else:
                inputs += [name] if encoding.median is None else [name, f"{name}=missing"]
        return tuple(inputs)

    def with_medians(self, matrix: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> Columns:
        """Return columns that are all numbers, with the medians of some rows alone."""
        return replace(self, medians=_medians_of(matrix, rows))

    def read(self, X: Any, name: str = "X") -> Any:  # noqa: ANN401
        """Return X as the network reads it: columns by their names, encoded as in the training.

        Columns that are all numbers may still lack some, for which :meth:`filled` looks.
        """
        if not is_frame(X):
            if self.encodings is None:
                return X
            raise TypeError(
                f"{name} must be a table with the columns of the training, because text, "
                f"categories or missing numbers are encoded; got {type(X).__name__}"
            )
        called = self.called
        if self.encodings is None and called is not None and column_names(X) == called:
            whole = whole_matrix(X)
            if whole is not None:
                return whole
        wanted = self._wanted(X, name)
        columns = self._in_order(X, read_columns(X, name, wanted), wanted, name)
        if self.encodings is None:
            return matrix_of(columns, name)
        return _encoded(columns, self.encodings, name)

    def filled(
        self,
        X: Any,  # noqa: ANN401
        matrix: Any,  # noqa: ANN401
        name: str = "X",
    ) -> npt.NDArray[Any] | None:
        """Return the matrix that :meth:`read` made of X, with medians where numbers are missing.

        None if X is no table, if the medians are not known, or if no number is missing.
        """
        if self.medians is None or not is_frame(X) or matrix.shape[1] != len(self.medians):
            return None
        if not _has_nan(matrix):
            return None
        missing = np.isnan(matrix)
        counts = np.count_nonzero(missing, axis=0)
        called = self.called or range(len(self.medians))
        _warn_of_missing(dict(zip(called, counts.tolist(), strict=True)), len(matrix), name)
        return np.where(missing, np.array(self.medians, dtype=matrix.dtype), matrix)

    def _wanted(self, X: Any, name: str) -> tuple[Label, ...] | None:  # noqa: ANN401
        """Return the names to find columns by; None if the columns go by their places."""
        found = column_names(X)
        if self.called is None or not _has_names(X):
            return None
        if self.keys is None:
            return self.called
        if len(set(self.keys)) < len(self.keys):  # as of tables that were put side by side
            if found != self.keys:
                raise ValueError(
                    f"{name} must have the columns of the training in the same order, because some "
                    f"have the same name; expected {listed(self.keys, _MOST_COLUMNS)}; got "
                    f"{listed(found, _MOST_COLUMNS)}"
                )
            return None
        # pandas numbers the columns of a table that was made of an array. That says no more than
        # their places, which they have in a table with names, too.
        is_numbered = self.keys == tuple(range(len(self.keys)))
        return None if is_numbered and all(isinstance(one, str) for one in found) else self.keys

    def _in_order(
        self,
        X: Any,  # noqa: ANN401
        columns: list[Column],
        wanted: Sequence[Label] | None,
        name: str,
    ) -> list[Column]:
        if wanted is None:
            known = self.called if self.encodings is None else self.encodings
            if known is not None and len(columns) != len(known):
                raise ValueError(
                    f"{name} must have the {len(known)} columns of the training; got {len(columns)}"
                )
            return columns
        _check_different([column.name for column in columns], name)  # which of two is not known
        by_name = {column.name: column for column in columns}
        absent = [one for one in wanted if one not in by_name]
        if absent:
            said, n_found = f"{name} must have the columns of the training", len(column_names(X))
            if self.keys is not None and self.encodings is None and n_found != len(wanted):
                said = (
                    f"{name} has {n_found} features, but the network was trained on {len(wanted)}"
                )
            raise ValueError(
                f"{said}; {len(absent)} of {len(wanted)} are missing: "
                f"{listed(absent, _MOST_COLUMNS)}"
            )
        return [by_name[one] for one in wanted]

    def check(self, n_inputs: int) -> None:
        """Raise ValueError or TypeError if these are no columns of a network with such inputs."""
        names, encodings, medians = self.names, self.encodings, self.medians
        if names is not None and not (
            all(isinstance(one, str) for one in names) and len(set(names)) == len(names)
        ):
            raise ValueError(f"names of columns must be different texts; got {names!r}")
        if self.keys is not None:
            texts = [one for one in self.keys if isinstance(one, str)]
            if names is not None or not all(map(_is_label, self.keys)):
                raise ValueError(
                    "keys of columns must be text, finite numbers or tuples, in place of names; "
                    f"got {self.keys!r} and names {names!r}"
                )
            if len(set(texts)) < len(texts):
                raise ValueError(f"keys of columns that are text must differ; got {self.keys!r}")
        for one in encodings or ():
            if one.labels is not None and not (
                all(isinstance(label, _TYPES_OF_LABELS) for label in one.labels)
                and len(set(one.labels)) == len(one.labels)
            ):
                raise ValueError(f"labels of a column must be different; got {one.labels!r}")
            if len({isinstance(label, str) for label in one.labels or ()}) > 1:
                raise ValueError(f"labels of a column must be of one type; got {one.labels!r}")
            if one.median is not None and not _is_finite(one.median):
                raise ValueError(f"the median of a column must be finite; got {one.median!r}")
            if one.fill is not None and not (
                one.labels is None and one.median is None and _is_finite(one.fill)
            ):
                raise ValueError(
                    "what stands for numbers that are missing later must be finite, and of a "
                    f"column of numbers without another median; got {one!r}"
                )
        if medians is not None:
            if encodings is not None:
                raise ValueError("the medians of columns that are encoded stand in encodings")
            if not all(map(_is_finite, medians)):
                raise ValueError(f"the medians of columns must be finite; got {medians!r}")
            if len(medians) != n_inputs:
                raise ValueError(
                    f"{len(medians)} medians of columns for a network with {n_inputs} inputs"
                )
        called = self.called
        n_columns = len(called or ()) if encodings is None else len(encodings)
        expected = n_columns if encodings is None else sum(one.n_inputs for one in encodings)
        if called is not None and len(called) != n_columns:
            raise ValueError(f"{len(called)} names for {n_columns} columns")
        if (called is not None or encodings is not None) and expected != n_inputs:
            raise ValueError(f"columns with {expected} inputs for a network with {n_inputs}")

    def as_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, for JSON."""
        described: dict[str, Any] = {"names": self.names}
        if self.keys is not None:
            described["keys"] = self.keys
        if self.encodings is None:
            return described if self.medians is None else {**described, "medians": self.medians}
        return {
            **described,
            "encodings": [
                {
                    "labels": one.labels,
                    "median": one.median,
                    **({} if one.fill is None else {"fill": one.fill}),
                }
                for one in self.encodings
            ],
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Columns:
        """Undo :meth:`as_dict`."""
        encodings = _tuple_of(given.get("encodings"), "encodings")
        keys = _tuple_of(given.get("keys"), "keys")
        return cls(
            _tuple_of(given["names"], "names"),
            None
            if encodings is None
            else tuple(
                Encoding(_tuple_of(one["labels"], "labels"), one["median"], one.get("fill"))
                for one in encodings
            ),
            _tuple_of(given.get("medians"), "medians"),
            None if keys is None else tuple(map(_label_of_json, keys)),
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
    Medians are also kept of columns that lack no number, for tables that do later. Without it,
    all of these are errors. ``rows``: those that labels and medians are found in; None: all.
    """
    if not is_frame(X):
        return X, None
    whole = whole_matrix(X)
    if whole is not None and (not encodes or not _has_nan(whole)):
        medians = _medians_of(whole, rows) if encodes else None
        return whole, Columns(medians=medians, **_names_of(X, name))
    columns = read_columns(X, name)
    names = _names_of(X, name)
    if not encodes or all(one.is_number and not one.missing.any() for one in columns):
        matrix = matrix_of(columns, name)
        medians = _medians_of(matrix, rows) if encodes else None
        return matrix, Columns(medians=medians, **names)
    encodings = tuple(_find_encoding(column, name, rows) for column in columns)
    return _encoded(columns, encodings, name), Columns(encodings=encodings, **names)


def _has_nan(matrix: npt.NDArray[Any]) -> bool:
    return matrix.dtype.kind == "f" and bool(np.isnan(matrix).any())


def _medians_of(
    matrix: npt.NDArray[Any], rows: npt.NDArray[np.int64] | None
) -> tuple[float, ...] | None:
    """Return the median of each column, of up to 1,024 rows at equal distances."""
    n_rows = len(matrix) if rows is None else len(rows)
    if n_rows == 0:
        return None
    step = -(-n_rows // _MOST_ROWS)
    some = matrix[::step] if rows is None else matrix[rows[::step]]
    return tuple(_medians(some.T).tolist())


def _medians(columns: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the median of each row, as np.median does that looks for NaN, too, and is slower."""
    n_values = columns.shape[1]
    middle = (n_values - 1) // 2, n_values // 2
    # NumPy is quick where there is one place to find, in numbers of 32 bits or more.
    dtype = np.result_type(columns.dtype, np.float32)
    places = middle if n_values % 2 == 0 else middle[0]
    parted = np.partition(np.ascontiguousarray(columns, dtype), places, axis=1)
    with np.errstate(invalid="ignore", over="ignore"):  # infinite values are errors of X
        lower, upper = (parted[:, place].astype(np.float64) for place in middle)
        medians: npt.NDArray[np.float64] = (lower + upper) / 2
    return medians


def _warn_of_missing(counts: Mapping[Any, int], n_rows: int, name: str) -> None:
    """Warn of columns that lack numbers, of which the training lacked none."""
    lacking = {column: count for column, count in counts.items() if count}
    shown = [
        f"{column!r} in {count:,} of {n_rows:,} rows"
        for column, count in list(lacking.items())[:_MOST_COLUMNS]
    ]
    if len(lacking) > _MOST_COLUMNS:
        shown.append(f"and {len(lacking) - _MOST_COLUMNS:,} other columns")
    warn(
        f"{name} lacks numbers in columns in which the training had one in every row: "
        f"{', '.join(shown)}. Each missing number is read as the median of its column in the "
        "training",
        MissingNumbersWarning,
    )


def _names_of(X: Any, name: str) -> dict[str, Any]:  # noqa: ANN401
    """Return ``names`` and ``keys`` of a table's columns; those that are text must differ."""
    if not _has_names(X):
        return {"names": None}
    called = column_names(X)
    texts = [one for one in called if isinstance(one, str)]
    _check_different(texts, name)
    return {"names": called} if len(texts) == len(called) else {"names": None, "keys": called}


def _has_names(X: Any) -> bool:  # noqa: ANN401
    """Tell whether columns have names: a file without them has their places, as an array has."""
    return not isinstance(X, Frame) or any(isinstance(one, str) for one in column_names(X))


def _check_different(names: Sequence[object], name: str) -> None:
    if len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise ValueError(f"{name} must have columns of different names; got {twice!r} twice")


def _is_label(name: object) -> bool:
    if isinstance(name, tuple):
        return all(map(_is_label, name))
    return isinstance(name, (str, int)) or (isinstance(name, float) and math.isfinite(name))


def _is_finite(number: object) -> bool:
    try:
        return type(number) in (int, float) and math.isfinite(number)  # type: ignore[arg-type]
    except OverflowError:  # an integer beyond all doubles
        return False


def _tuple_of(entries: object, name: str) -> tuple[Any, ...] | None:
    """Return what JSON has as a list; a text, which has letters, is none."""
    if entries is None or isinstance(entries, (list, tuple)):
        return None if entries is None else tuple(entries)
    raise TypeError(f"{name} of columns must be a list; got {type(entries).__name__}")


def _label_of_json(name: Any) -> Any:  # noqa: ANN401 - ``check`` looks at it
    return tuple(map(_label_of_json, name)) if isinstance(name, list) else name


def _find_encoding(column: Column, name: str, rows: npt.NDArray[np.int64] | None) -> Encoding:
    values = column.values if rows is None else column.values[rows]
    if column.is_number:
        # A number that is missing in another row needs a median, too.
        if not column.missing.any():
            return Encoding(fill=float(_medians(values[np.newaxis])[0]) if len(values) else None)
        known = values[~np.isnan(values)]
        return Encoding(median=float(np.median(known)) if len(known) else 0.0)
    labels = {value for value in values.tolist() if value is not None}
    strangers = {type(one).__name__ for one in labels if not isinstance(one, _TYPES_OF_LABELS)}
    if strangers:
        raise TypeError(
            f"column {column.name!r} of {name} must have categories that are text or numbers; got "
            + ", ".join(sorted(strangers))
        )
    _warn_of_numbers(column, labels, name)
    try:
        return Encoding(labels=tuple(sorted(labels)))
    except TypeError as error:
        raise TypeError(
            f"column {column.name!r} of {name} must have categories of one type; got text and "
            "numbers"
        ) from error


def _warn_of_numbers(column: Column, labels: Set[Any], name: str) -> None:
    """Warn of text that a few cells alone keep from being a column of numbers."""
    if len(labels) <= _MANY_LABELS:
        return
    strangers = [one for one in labels if isinstance(one, str) and not _is_number(one)]
    if 0 < len(strangers) <= (1 - _MOSTLY) * len(labels):
        first = next(one for one in column.values if one in strangers)
        warn(
            f"column {column.name!r} of {name} is text, of which {len(labels) - len(strangers):,} "
            f"of {len(labels):,} labels look like numbers, and others do not, such as {first!r}; "
            "each label is an input of 0 and 1. If they are numbers, make the others numbers or "
            "missing",
            SettingsWarning,
        )


def _cell(text: str) -> str | float:
    """Return the number that a cell of a file looks like, or its text."""
    for kind in (int, float):
        try:
            return text if "_" in text else kind(text)  # Python allows it between digits
        except ValueError:
            pass
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
    filled: dict[Any, int] = {}
    for column, encoding, end in zip(columns, encodings, ends, strict=True):
        place = int(end) - encoding.n_inputs
        count = encoding.write(column, inputs[:, place:end], name)
        if count:
            filled[column.name] = count
        if encoding == Encoding() and encoding.fill is None and column.missing.any():
            raise ValueError(
                f"column {column.name!r} of {name} must have a number in every row, because it had "
                f"one in the training; got NaN in row {column.missing.argmax()}, column {place} of "
                "the inputs"
            )
    if filled:
        _warn_of_missing(filled, len(inputs), name)
    return inputs
