"""Tables with named columns, and arrays of other libraries, as NumPy arrays.

pandas, polars and pyarrow are never imported here: who has one of their objects has them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp.extras import imported

_LIBRARIES = ("pandas", "polars", "pyarrow")

Label = str | int | float | tuple[Any, ...]
"""What names a column; pandas has more than text."""


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table: numbers with NaN, or labels with None, where they are missing."""

    name: object
    values: npt.NDArray[Any]  # of kind b, i, u or f for numbers; else of objects
    # Of a file of text, whose values are numbers only because all of its cells look like numbers.
    texts: Callable[[], list[str]] | None = None

    @property
    def is_number(self) -> bool:
        """Whether the column holds numbers or booleans."""
        return self.values.dtype.kind != "O"

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """Return in which rows the value is missing."""
        if self.is_number:
            return np.isnan(self.values) if self.values.dtype.kind == "f" else _no(self.values)
        return np.array([value is None for value in self.values], dtype=bool)


@dataclass(frozen=True, eq=False)
class Frame:
    """A table of columns that are read already; one that is named by a number has no name."""

    columns: tuple[Column, ...]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.columns[0].values)


def _no(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return np.zeros(len(values), dtype=bool)


def is_frame(X: object) -> bool:
    """Tell whether X is a table with named columns."""
    library = _library_of(X)
    if library is None:
        return isinstance(X, Frame) or hasattr(type(X), "__dataframe__")
    # Of the type: to look for the columns themselves costs time, and a warning, if they are lazy.
    return hasattr(type(X), "column_names" if library == "pyarrow" else "columns")


def _library_of(value: object) -> str | None:
    for base in type(value).__mro__:  # GeoDataFrames are DataFrames
        library = base.__module__.split(".")[0]
        if library in _LIBRARIES:
            return library
    return None


def read_columns(
    X: Any,  # noqa: ANN401
    name: str,
    only: Container[object] | None = None,
) -> list[Column]:
    """Return the columns of a table; with ``only``, those of these names, as far as there are."""
    if isinstance(X, Frame):
        return [column for column in X.columns if only is None or column.name in only]
    library = _library_of(X)
    if library is None:
        return read_columns(_interchanged(X, name), name, only)
    if library == "pyarrow":
        names, columns = list(X.column_names), list(X.columns)
    elif library == "polars":
        _check_collected(X, name)
        names, columns = list(X.columns), list(X.get_columns())
    else:
        names = list(column_names(X))
        columns = [X.iloc[:, place] for place in range(len(names))]
    return [
        Column(label, _read(column, library, f"column {label!r} of {name}"))
        for label, column in zip(names, columns, strict=True)
        if only is None or label in only
    ]


def _check_collected(X: Any, name: str) -> None:  # noqa: ANN401
    if hasattr(X, "collect_schema") and hasattr(X, "collect"):
        raise TypeError(f"{name} is a LazyFrame, which has no rows yet; expected X.collect()")


def column_names(X: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """Return the names of a table's columns."""
    if isinstance(X, Frame):
        return tuple(column.name for column in X.columns)
    library = _library_of(X)
    if library is None:
        return tuple(X.__dataframe__().column_names())
    if library == "pandas":
        return tuple(map(_label, X.columns.tolist()))
    return tuple(X.column_names if library == "pyarrow" else X.columns)


def listed(names: Iterable[object], most: int = 10) -> str:
    """Return names of columns for a message, and ", ..." in place of those beyond ``most``."""
    names = list(names)
    return ", ".join(map(repr, names[:most])) + (", ..." if len(names) > most else "")


def _label(name: object) -> Label:
    """Return a name of pandas as what a file of a network keeps: dates and others as their text."""
    if isinstance(name, tuple):  # of a MultiIndex
        return tuple(map(_label, name))
    if isinstance(name, (bool, np.bool_)):
        return bool(name)
    if isinstance(name, (int, np.integer)):
        return int(name)
    if isinstance(name, (float, np.floating)) and math.isfinite(name):
        return float(name)
    return str(name)


def known_frame(X: Any, name: str) -> Any:  # noqa: ANN401
    """Return a table as one of a library that is known by name, or as it is."""
    if isinstance(X, Frame):
        return X
    if _library_of(X) is None:
        return _interchanged(X, name)
    _check_collected(X, name)
    return X


def _interchanged(X: object, name: str) -> Any:  # noqa: ANN401
    """Return a table of a library that is not known by name, read by one that is."""
    if "pandas" in sys.modules:
        return sys.modules["pandas"].api.interchange.from_dataframe(X)
    use = f"reading {name}, which is a {type(X).__name__},"
    return imported("pyarrow.interchange", use, "pandas or pyarrow", "parquet").from_dataframe(X)


def is_series(values: object) -> bool:
    """Tell whether values are one column of pandas, polars or pyarrow."""
    library = _library_of(values)
    if library == "pyarrow":
        return hasattr(values, "to_pylist") and not is_frame(values)
    return library is not None and hasattr(values, "dtype") and not is_frame(values)


def read_series(values: Any, name: str) -> npt.NDArray[Any]:  # noqa: ANN401
    """Return one column as an array: numbers with NaN, or objects with None, where missing."""
    library = _library_of(values)
    assert library is not None
    return _read(values, library, name)


def _read(column: Any, library: str, name: str) -> npt.NDArray[Any]:  # noqa: ANN401
    if library == "pandas":
        return _read_pandas(column, name)
    if library == "polars":
        return _read_polars(column, name)
    return _read_pyarrow(column, name)


def _read_pandas(series: Any, name: str) -> npt.NDArray[Any]:  # noqa: ANN401
    dtype = series.dtype
    kind = getattr(dtype, "kind", "O")
    is_category = type(dtype).__name__ == "CategoricalDtype"
    if kind in "biuf" and not is_category:
        if isinstance(dtype, np.dtype) or not series.isna().any():
            wanted = dtype if isinstance(dtype, np.dtype) else {"b": bool, "f": float}.get(kind)
            return np.asarray(series.to_numpy(dtype=wanted or (int if kind == "i" else np.uint64)))
        return np.asarray(series.to_numpy(dtype=float, na_value=np.nan))
    if kind in "OUST" or is_category:
        values = np.asarray(series.astype(object), dtype=object)
        return _labels(values, name, is_category=is_category)
    raise _unreadable(name, dtype)


def _read_polars(series: Any, name: str) -> npt.NDArray[Any]:  # noqa: ANN401
    dtype = series.dtype
    polars = sys.modules["polars"]
    if dtype.is_numeric() or dtype == polars.Boolean:
        if series.null_count() or dtype.is_decimal():
            series = series.cast(polars.Float64)
        elif str(dtype).endswith("128"):  # integers for which NumPy has no type
            narrow = series.cast(polars.Int64, strict=False)
            series = series.cast(polars.Float64) if narrow.null_count() else narrow
        return np.asarray(series.to_numpy())
    is_category = dtype in (polars.Categorical, polars.Enum)
    if is_category or dtype in (polars.String, polars.Object):
        entries = series.cast(polars.String).to_list() if is_category else series.to_list()
        return _labels(_objects(entries), name, is_category=is_category)
    if dtype == polars.Null:
        return np.full(len(series), np.nan)
    raise _unreadable(name, dtype)


def _read_pyarrow(column: Any, name: str) -> npt.NDArray[Any]:  # noqa: ANN401
    kind = str(column.type)
    if kind == "bool" and not column.null_count:
        return np.asarray(column.to_numpy() if hasattr(column, "chunks") else _whole(column))
    if kind == "bool" or kind.startswith("decimal"):
        entries = column.to_pylist()
        return np.array([np.nan if value is None else value for value in entries], dtype=float)
    if kind.startswith(("int", "uint", "float", "double", "halffloat")):
        return np.asarray(column.to_numpy() if hasattr(column, "chunks") else _whole(column))
    if kind.startswith(("string", "large_string", "dictionary")):
        is_category = kind.startswith("dictionary")
        return _labels(_objects(column.to_pylist()), name, is_category=is_category)
    if kind == "null":
        return np.full(len(column), np.nan)
    raise _unreadable(name, kind)


def _whole(array: Any) -> Any:  # noqa: ANN401
    return array.to_numpy(zero_copy_only=False)


def _unreadable(name: str, dtype: object) -> TypeError:
    return TypeError(f"{name} must hold numbers, booleans, text or categories; got dtype {dtype}")


def _objects(entries: Sequence[object]) -> npt.NDArray[Any]:
    values = np.empty(len(entries), dtype=object)
    values[:] = entries
    return values


def is_missing(value: Any) -> bool:  # noqa: ANN401
    """Tell None, NaN, NaT and pandas' NA from other values."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def _labels(values: npt.NDArray[Any], name: str, *, is_category: bool = False) -> npt.NDArray[Any]:
    """Return objects as labels, or as numbers if they are numbers and not named categories."""
    entries = [None if is_missing(value) else value for value in values.tolist()]
    kinds = {type(value) for value in entries if value is not None}
    if is_category or kinds <= {str, bytes, np.str_, np.bytes_}:
        if not kinds and not is_category:
            return np.full(len(entries), np.nan)
        return _objects(entries)
    if _are_numbers(kinds):
        try:
            if any(value is None for value in entries):
                filled = [np.nan if value is None else value for value in entries]
                return np.array(filled, dtype=float)
            return _numbers(_objects(entries))
        except (OverflowError, ValueError) as error:  # 10**400, or a decimal that signals NaN
            raise ValueError(f"{name} must hold numbers that fit doubles: {error}") from error
    listed = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise TypeError(f"{name} must hold numbers, or text; got objects of type {listed}")


def _are_numbers(kinds: Iterable[type]) -> bool:
    return all(
        issubclass(kind, (bool, int, float, np.bool_, np.integer, np.floating))
        or kind.__name__ in ("Decimal", "Fraction")
        for kind in kinds
    )


def _numbers(objects: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return objects that are numbers in their own type; as doubles, if NumPy has none for them."""
    natural = np.array(objects.tolist())
    return natural if natural.dtype.kind in "biuf" else objects.astype(np.float64)


def matrix_of(columns: Sequence[Column], name: str) -> npt.NDArray[Any]:
    """Return columns of numbers as a matrix."""
    text = [column.name for column in columns if not column.is_number]
    if text:
        raise TypeError(
            f"{name} must hold numbers; got text or categories in column {text[0]!r}, which a "
            "network encodes that was trained on them, with categorical_features='from_dtype'"
        )
    dtype = np.result_type(*(column.values.dtype for column in columns)) if columns else np.float32
    rows = len(columns[0].values) if columns else 0
    matrix = np.empty((rows, len(columns)), dtype=dtype)
    for place, column in enumerate(columns):
        matrix[:, place] = column.values
    return matrix


def whole_matrix(X: Any) -> npt.NDArray[Any] | None:  # noqa: ANN401
    """Return a table of one type of number, without a copy if its library can; else None."""
    library = _library_of(X)
    if library == "pandas":
        dtypes = set(X.dtypes.tolist())
    elif library == "polars":
        _check_collected(X, "X")
        dtypes = set(X.dtypes)
    else:
        return None
    (dtype,) = dtypes if len(dtypes) == 1 else (None,)
    if library == "pandas" and isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return np.asarray(X.to_numpy())
    if library == "polars" and dtype is not None and dtype.is_float():
        return np.asarray(X.to_numpy()) if not any(X.null_count().row(0)) else None
    return None


def as_array(values: Any, name: str) -> npt.NDArray[Any]:  # noqa: ANN401
    """Return what another library's array or table holds; objects that are numbers as numbers."""
    if is_frame(values):
        whole = whole_matrix(values)
        return matrix_of(read_columns(values, name), name) if whole is None else whole
    if is_series(values):
        return read_series(values, name)
    try:
        if hasattr(values, "detach") and hasattr(values, "cpu"):
            return _of_tensor(values)
        if hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
            return np.asarray(np.from_dlpack(values))
        array = np.asarray(values)
        if array.dtype.kind == "O" and _are_numbers({type(value) for value in array.flat}):
            return _numbers(array)
    except _UNREADABLE as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name} cannot be read as an array: {error}") from error
    return array


# Of rows of different lengths, 10**400, tensors without data or of another device.
_UNREADABLE = (BufferError, OverflowError, RuntimeError, TypeError, ValueError)


def _of_tensor(tensor: Any) -> npt.NDArray[Any]:  # noqa: ANN401
    """Return what a tensor of PyTorch holds; in float32, if NumPy has no such floats."""
    tensor = tensor.detach().cpu()
    if str(tensor.dtype).startswith(("torch.bfloat16", "torch.float8")):
        tensor = tensor.float()
    if hasattr(tensor, "resolve_neg"):  # of a part of complex numbers
        tensor = tensor.resolve_neg()
    return np.asarray(tensor)
