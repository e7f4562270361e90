"""Read tables from files for the command line: CSV, NumPy's npz, Parquet."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[Any]

SUFFIXES = (".csv", ".tsv", ".npz", ".parquet")


@dataclass(frozen=True)
class Table:
    """Columns by their names, all of one length; a column of an npz file may be a matrix."""

    source: str
    columns: Mapping[str, Column]
    # Of CSV whose cells are all numbers: the texts of a column, by its index.
    texts: Callable[[int], list[str]] | None = None

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values())))

    def column(self, name: str) -> Column:
        """Return one column, or say which there are."""
        if name not in self.columns:
            raise ValueError(
                f"{self.source} has no column {name!r}; it has {_listed(self.columns)}"
            )
        if self.texts is None:
            return self.columns[name]
        # One float among the columns makes all of them floats, and labels are integers.
        return _typed(self.texts(list(self.columns).index(name)))

    def matrix(self, without: Iterable[str]) -> Column:
        """Return all other columns as one matrix of numbers."""
        without = set(without)
        names = [name for name in self.columns if name not in without]
        if not names:
            raise ValueError(f"{self.source} has no columns but {_listed(sorted(without))}")
        text = [name for name in names if self.columns[name].dtype.kind not in "biuf"]
        if text:
            raise TypeError(
                f"all columns but the target must hold numbers; in {self.source}, "
                f"{_listed(text)} hold text or other objects"
            )
        columns = [self.columns[name] for name in names]
        if len(columns) == 1 and columns[0].ndim == 2:
            return columns[0]  # an array of an npz file, in its own dtype
        return np.column_stack(columns)


def read_table(path: str) -> Table:
    """Read a file by the end of its name; "-" is CSV from standard input.

    The first line of CSV names the columns, unless all of its cells are numbers; the columns are
    then named 0, 1, 2, ... An empty cell of a numeric column is NaN.
    """
    if path == "-":
        return _csv("standard input", sys.stdin.read(), ",")
    readers = {
        ".csv": lambda: _csv(path, _text(path), ","),
        ".tsv": lambda: _csv(path, _text(path), "\t"),
        ".npz": lambda: _npz(path),
        ".parquet": lambda: _parquet(path),
    }
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in readers:
        raise ValueError(f"data must be a file {', '.join(SUFFIXES)} or - (CSV); got {path}")
    table = readers[suffix]()
    lengths = {len(column) for column in table.columns.values()}
    if not table.columns or lengths == {0}:
        raise ValueError(f"{path} has no rows")
    if len(lengths) > 1:
        raise ValueError(f"the arrays of {path} must have one length; got {sorted(lengths)}")
    return table


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error}") from error


def _csv(source: str, text: str, delimiter: str) -> Table:
    try:
        first = next(_rows(text, delimiter), None)
        if first is None:
            raise ValueError(f"{source} is empty")
        has_names = not all(_is_number(cell) for cell in first)
        names = [cell.strip() for cell in first] if has_names else list(map(str, range(len(first))))
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"{source} has more than one column {_listed(repeated)}")
        numbers = _all_numbers(text, delimiter, len(names), skip=int(has_names))
        if numbers is not None:
            columns = {name: numbers[:, k] for k, name in enumerate(names)}
            lines = [line for line in text.splitlines() if line.strip()][int(has_names) :]
            return Table(source, columns, lambda k: [line.split(delimiter)[k] for line in lines])
        cells = list(_rows(text, delimiter))[int(has_names) :]
    except csv.Error as error:
        raise ValueError(f"{source} is not CSV: {error}") from error
    for number, row in enumerate(cells):
        if len(row) != len(names):
            raise ValueError(
                f"{source} has {len(names)} columns, and {len(row)} cells in row {number + 1}"
            )
    if not cells:
        raise ValueError(f"{source} has no rows")
    typed = [_typed(column) for column in zip(*cells, strict=True)]
    return Table(source, dict(zip(names, typed, strict=True)))


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    rows = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    return (row for row in rows if row)


def _all_numbers(text: str, delimiter: str, n_columns: int, skip: int) -> Column | None:
    """Return the rows if every cell is a number, which is the quick way; else None."""
    lines = [line for line in text.splitlines() if line.strip()][skip:]
    if not lines:
        return None
    try:
        numbers = np.loadtxt(lines, delimiter=delimiter, ndmin=2, comments=None)
    except ValueError:
        return None
    return numbers if numbers.shape[1] == n_columns else None


def _typed(cells: Iterable[str]) -> Column:
    """Return integers, floats (with NaN for empty cells) or text."""
    cells = [cell.strip() for cell in cells]
    try:
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return np.array(cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return not cell.strip()
    return True


def _npz(path: str) -> Table:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} is not a readable npz file: {error}") from error
    for name, array in columns.items():
        if array.ndim not in (1, 2):
            raise ValueError(
                f"the arrays of {path} must have one or two dimensions; "
                f"{name!r} has shape {array.shape}"
            )
    return Table(path, columns)


def _parquet(path: str) -> Table:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            'reading Parquet needs pyarrow: pip install "omp_mlp[parquet]"'
        ) from error
    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path} is not a readable Parquet file: {error}") from error
    columns = {}
    for name in table.column_names:
        values = table[name].to_numpy()
        columns[name] = values.astype(str) if values.dtype.kind == "O" else values
    return Table(path, columns)


def _listed(names: Iterable[str], most: int = 10) -> str:
    names = list(names)
    return ", ".join(map(repr, names[:most])) + (", ..." if len(names) > most else "")
