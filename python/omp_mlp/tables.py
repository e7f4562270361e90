"""Read tables from files for the command line: CSV, NumPy's npz, Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import disk
from omp_mlp.extras import imported
from omp_mlp.frames import Column, Frame, listed, read_columns
from omp_mlp.safetensors_content import DAMAGED

Array = npt.NDArray[Any]

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".npz", ".parquet")
# What programs write where a number is missing. In a column of text they are text.
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})


@dataclass(frozen=True)
class Table:
    """Columns by their names, all of one length, each of which is read when it is asked for.

    A column of an npz file may be a matrix.
    """

    source: str
    columns: Mapping[str, Callable[[], Column]]

    def rows(self, of: Callable[[int], slice]) -> Table:
        """Return the rows of a slice, which follows from their number; each has its type still."""

        def cut(read: Callable[[], Column]) -> Callable[[], Column]:
            return lambda: _cut(read(), of)

        return Table(self.source, {name: cut(read) for name, read in self.columns.items()})

    def column(self, name: str) -> Array:
        """Return the values of one column, or say which there are."""
        if name not in self.columns:
            raise ValueError(f"{self.source} has no column {name!r}; it has {listed(self.columns)}")
        column = self.columns[name]()
        # One float among the columns makes all of them floats, and labels are integers.
        return column.values if column.texts is None else _typed(column.texts())

    def inputs(self, without: Iterable[str]) -> Frame | Array:
        """Return all other columns as a table; as an array, if one of them is a matrix."""
        without = set(without)
        names = [name for name in self.columns if name not in without]
        if not names:
            raise ValueError(f"{self.source} has no columns but {listed(sorted(without))}")
        columns = [self.columns[name]() for name in names]
        if all(column.values.ndim == 1 for column in columns):
            return Frame(tuple(columns))
        text = [column.name for column in columns if not column.is_number]
        if text:
            raise TypeError(
                f"columns beside a matrix must hold numbers; in {self.source}, {listed(text)} "
                "hold text"
            )
        if len(columns) == 1:
            return columns[0].values  # an array of an npz file, in its own dtype
        return np.column_stack([column.values for column in columns])


def _cut(column: Column, of: Callable[[int], slice]) -> Column:
    rows, texts = of(len(column.values)), column.texts
    return Column(
        column.name, column.values[rows], None if texts is None else lambda: texts()[rows]
    )


def read_table(path: str) -> Table:
    """Read a file by the end of its name; "-" is CSV from standard input.

    The first line of CSV names the columns, unless all of its cells are numbers; the columns are
    then named 0, 1, 2, ... But a line of three or more cells 0, 1, 2, ..., of which the first may
    be empty, is what pandas writes as names. An empty cell is missing. In a column of numbers, so
    are "NA", "N/A", "NaN", "null", "none" and "?", in small letters or in capitals.
    """
    if path == "-":
        return _csv(_STANDARD_INPUT, _text_of_standard_input(), ",")
    suffix = next((end for end in SUFFIXES[::-1] if path.lower().endswith(end)), None)
    if suffix is None:
        raise ValueError(f"data must be a file {', '.join(SUFFIXES)} or - (CSV); got {path}")
    if suffix == ".npz":
        return _npz(path)
    if suffix == ".parquet":
        return _parquet(path)
    return _csv(path, _text(path), "," if suffix.startswith(".csv") else "\t")


_STANDARD_INPUT = "standard input"


def _text_of_standard_input() -> str:
    if sys.stdin is None:
        raise ValueError(f"{_STANDARD_INPUT} must be open to read CSV from it; it is closed")
    # Read as bytes: the encoding of the terminal is not that of files, and may let anything pass.
    with disk.naming(_STANDARD_INPUT):
        data = sys.stdin.buffer.read() if hasattr(sys.stdin, "buffer") else sys.stdin.read()
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    return _decoded(data, _STANDARD_INPUT)


def _decoded(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is not text in UTF-8: {error}") from error


def _text(path: str) -> str:
    data = Path(path).read_bytes()
    try:
        if path.lower().endswith(".gz"):
            data = gzip.decompress(data)
        return _decoded(data, path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is not a readable gzip file: {error}") from error


def _csv(source: str, text: str, delimiter: str) -> Table:
    try:
        first = next(_rows(text, delimiter), None)
        if first is None:
            raise ValueError(f"{source} is empty")
        _check_delimiter(source, text, delimiter)
        has_names = not all(_is_number(cell) for cell in first) or _are_names_of_pandas(first)
        names: list[Any] = [cell.strip() for cell in first] if has_names else [*range(len(first))]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"{source} has more than one column {listed(repeated)}")
        columns = _columns_of_numbers(text, delimiter, names, skip=int(has_names))
        if columns is None:
            cells = list(_rows(text, delimiter))[int(has_names) :]
    except csv.Error as error:
        raise ValueError(f"{source} is not CSV: {error}") from error
    if columns is None:
        _check_rows(source, cells, len(names))
        columns = [
            _column(name, list(map(str.strip, column)))
            for name, column in zip(names, zip(*cells, strict=True), strict=True)
        ]
    # Names that are places are no names: a network that reads them goes by the places.
    return Table(source, {str(column.name): _there(column) for column in columns})


_MOST_LOOKED_AT = 2**20  # characters that tell the delimiter
_FEWEST_NAMES = 3  # that are 0, 1, 2, ...: a row of two numbers may well be 0, 1


def _are_names_of_pandas(cells: Sequence[str]) -> bool:
    """Tell whether these are the numbers that pandas writes as names, perhaps beside its index."""
    stripped = [cell.strip() for cell in cells]
    named = stripped[1:] if stripped[0] == "" else stripped
    return len(cells) >= _FEWEST_NAMES and named == list(map(str, range(len(named))))


def _check_delimiter(source: str, text: str, delimiter: str) -> None:
    """Raise ValueError if another character stands between the cells of the first two lines."""
    first, second = (*filter(str.strip, text[:_MOST_LOOKED_AT].splitlines()), "", "")[:2]
    if delimiter in first:
        return
    for other in ";\t|,":
        if 0 < first.count(other) == second.count(other):
            raise ValueError(
                f"{source} must have {delimiter!r} between its cells; it has {other!r}, as in "
                f"{first[:100]!r}"
            )


def _there(column: Column) -> Callable[[], Column]:
    return lambda: column


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    return (row for row in rows if row)


def _check_rows(source: str, cells: Sequence[Sequence[str]], n_columns: int) -> None:
    for number, row in enumerate(cells):
        if len(row) != n_columns:
            raise ValueError(
                f"{source} has {n_columns} columns, and {len(row)} cells in row {number + 1}"
            )
    if not cells:
        raise ValueError(f"{source} has no rows")


def _columns_of_numbers(
    text: str, delimiter: str, names: Sequence[object], skip: int
) -> list[Column] | None:
    """Return the columns if every cell is a number, which is the quick way; else None."""
    lines = [line for line in text.splitlines() if line.strip()][skip:]
    if not lines:
        return None
    try:
        numbers = np.loadtxt(lines, delimiter=delimiter, ndmin=2, comments=None)
    except ValueError:
        return None
    if numbers.shape[1] != len(names):
        return None

    def texts(place: int) -> Callable[[], list[str]]:
        return lambda: [line.split(delimiter)[place].strip() for line in lines]

    return [Column(name, numbers[:, place], texts(place)) for place, name in enumerate(names)]


def _column(name: object, cells: list[str]) -> Column:
    return Column(name, _typed(cells), lambda: cells)


def _typed(cells: Sequence[str]) -> Array:
    """Return integers, floats with NaN, or text with None, where a cell says nothing."""
    try:
        return np.array([_number(cell, int) for cell in cells], dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    is_missing = [cell.lower() in _MISSING for cell in cells]
    if not all(is_missing) or not any(cells):
        try:
            pairs = zip(cells, is_missing, strict=True)
            return np.array([np.nan if no else _number(cell, float) for cell, no in pairs])
        except ValueError:
            pass
    values = np.empty(len(cells), dtype=object)
    values[:] = [cell or None for cell in cells]
    return values


def _number(cell: str, kind: type[int] | type[float]) -> float:
    if "_" in cell:  # which Python allows between digits
        raise ValueError(cell)
    return kind(cell)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return not cell.strip()
    return True


# Of NumPy, of the archive, and of what is compressed in it.
_DAMAGED_NPZ = (
    *DAMAGED,
    *(EOFError, OSError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error),
    *(SyntaxError, tokenize.TokenError),  # of the header of an array
)


def _npz(path: str) -> Table:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in arrays.files}
    except _DAMAGED_NPZ as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} is not a readable npz file: {error}") from error
    for name, array in columns.items():
        if array.ndim not in (1, 2) or array.dtype.kind not in "biufUS":
            raise ValueError(
                f"the arrays of {path} must have one or two dimensions, and numbers or text; "
                f"{name!r} has shape {array.shape} and dtype {array.dtype}"
            )
    _check_lengths(path, {len(column) for column in columns.values()})
    return Table(path, {name: _there(_of_array(name, one)) for name, one in columns.items()})


def _of_array(name: str, array: Array) -> Column:
    return Column(name, array.astype(str).astype(object) if array.dtype.kind in "US" else array)


def _check_lengths(path: str, lengths: set[int]) -> None:
    if lengths <= {0}:
        raise ValueError(f"{path} has no rows")
    if len(lengths) > 1:
        raise ValueError(f"the arrays of {path} must have one length; got {sorted(lengths)}")


def _parquet(path: str) -> Table:
    parquet = imported("pyarrow.parquet", "reading Parquet", "pyarrow", "parquet")
    import pyarrow as pa

    Path(path).stat()  # an error has the system's words, where pyarrow's has the path alone
    try:
        names = parquet.read_schema(path).names if Path(path).is_file() else []
        repeated = sorted({name for name in names if names.count(name) > 1})
        table = None if repeated else parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:  # of Arrow, OSError too means damaged data
        if isinstance(error, PermissionError):
            raise
        raise ValueError(f"{path} is not a readable Parquet file: {error}") from error
    if table is None:
        raise ValueError(f"{path} has more than one column {listed(repeated)}")
    _check_lengths(path, {table.num_rows} if table.column_names else set())

    def reading(name: str) -> Callable[[], Column]:
        return lambda: read_columns(table.select([name]), path)[0]

    return Table(path, {name: reading(name) for name in table.column_names})
