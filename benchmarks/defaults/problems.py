"""The problems: real tables, scikit-learn's own sets, generated ones, images, and text."""

from __future__ import annotations

import csv
import gzip
import os
import pydoc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import sklearn.datasets

from omp_mlp import datasets

# Their targets are values; those of the other tables are classes.
VALUES = {"abalone", "california", "diamonds", "winequality_white"}


@dataclass(frozen=True)
class Problem:
    """Rows to train on, and a quarter of the rows that is held out.

    Attributes
    ----------
    name : str
    X, X_test : arrays of float64 or uint8, or CSR
    y, y_test : arrays
        Integers are classes, and floats are values.
    """

    name: str
    X: Any
    y: np.ndarray
    X_test: Any
    y_test: np.ndarray

    @property
    def is_regression(self) -> bool:
        """Whether the score is R^2 and not the accuracy."""
        return self.y.dtype.kind == "f"

    @property
    def is_table(self) -> bool:
        """Whether X has columns of their own, and is no image and no sparse matrix."""
        return not scipy.sparse.issparse(self.X) and self.X.dtype != np.uint8

    def limited(self, rows: int) -> Problem:
        """Return the problem with the first rows to train on, and all that are held out."""
        return Problem(self.name, self.X[:rows], self.y[:rows], self.X_test, self.y_test)

    def rescaled(self) -> Problem | None:
        """Return the problem with columns times 1e6, 1 and 1e-6 in turn, and shifted.

        None for images and sparse matrices, whose columns have one scale.
        """
        if not self.is_table:
            return None
        factor = np.resize([1e6, 1.0, 1e-6], self.X.shape[1])
        shift = factor * np.resize([3.0, 0.0, -20.0], self.X.shape[1])
        X, X_test = (factor * X + shift * self.X.std(axis=0) for X in (self.X, self.X_test))
        return Problem(f"{self.name}, rescaled", X, self.y, X_test, self.y_test)


def names(tables: Path | None) -> list[str]:
    """Return the names of the problems that can be had: tables only from their folder."""
    return [*of_folder(tables), *_MADE]


def of_folder(tables: Path | None) -> list[str]:
    """Return the names of the tables in a folder."""
    return [] if tables is None else sorted(path.name[:-7] for path in tables.glob("*.csv.gz"))


@cache
def load(name: str, tables: Path | None, mnist: str | None) -> Problem | None:
    """Load a problem; None if its data cannot be had."""
    if name == "mnist":
        try:
            X, y, X_test, y_test = datasets.load_mnist(mnist, split="standard", dtype="uint8")
        except (datasets.DatasetNotFoundError, ImportError):
            return None
        return Problem(name, X, y, X_test, y_test)
    if name in _MADE:
        return _split(name, *_MADE[name]())
    assert tables is not None
    return _split(name, *_read(tables / f"{name}.csv.gz", is_regression=name in VALUES))


def _split(name: str, X: Any, y: np.ndarray) -> Problem:  # noqa: ANN401 - arrays or CSR
    """Hold out the last quarter of a random order."""
    order = np.random.default_rng(0).permutation(len(y))
    train, test = np.split(order, [len(y) - len(y) // 4])
    return Problem(name, X[train], y[train], X[test], y[test])


def _read(path: Path, *, is_regression: bool) -> tuple[np.ndarray, np.ndarray]:
    """Read a table: text columns become flags, and missing numbers the median of their column."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    *columns, target = (np.array(column) for column in zip(*rows, strict=True))
    X = np.hstack([_column(column) for column in columns])
    if is_regression:
        return X, target.astype(np.float64)
    return X, np.unique(target, return_inverse=True)[1]


def _column(column: np.ndarray) -> np.ndarray:
    try:
        numbers = np.where(column == "", "nan", column).astype(np.float64)
    except ValueError:
        return (column[:, None] == np.unique(column)).astype(np.float64)
    return np.where(np.isnan(numbers), np.nanmedian(numbers), numbers)[:, None]


def _rings() -> tuple[np.ndarray, np.ndarray]:
    """Return three rings around each other, and five columns of noise."""
    rng = np.random.default_rng(1)
    ring = rng.integers(3, size=3000)
    angle = rng.uniform(0, 2 * np.pi, size=3000)
    place = (1 + ring)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return np.hstack([place + 0.2 * rng.normal(size=(3000, 2)), rng.normal(size=(3000, 5))]), ring


def _sine() -> tuple[np.ndarray, np.ndarray]:
    """Return three waves over one input: all that a network has are the kinks of its units."""
    rng = np.random.default_rng(2)
    x = rng.uniform(-3, 3, size=(2000, 1))
    return x, np.sin(3 * x[:, 0]) + 0.1 * rng.normal(size=2000)


def _checkerboard() -> tuple[np.ndarray, np.ndarray]:
    """Return the colours of a board of 4 x 4 squares."""
    place = np.random.default_rng(3).uniform(0, 4, size=(4000, 2))
    return place, np.floor(place).sum(axis=1).astype(int) % 2


def _texts() -> Iterator[tuple[str, str]]:
    """Yield documentation strings of Python's modules, and the package that each is of."""
    packages = ("numpy", "scipy.stats", "scipy.signal", "sklearn.metrics", "matplotlib.pyplot")
    for package in packages:
        module = pydoc.locate(package)
        for name in sorted(dir(module)):
            text = getattr(getattr(module, name), "__doc__", None)
            if not name.startswith("_") and isinstance(text, str) and len(text) > 200:
                yield text, package


def _docstrings() -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """Return how often each word occurs in a documentation string, and its package."""
    from sklearn.feature_extraction.text import CountVectorizer

    texts, packages = zip(*_texts(), strict=True)
    words = CountVectorizer(token_pattern=r"[a-z]{3,}", min_df=3, dtype=np.float64)
    X = scipy.sparse.csr_matrix(words.fit_transform(texts))
    return X, np.unique(packages, return_inverse=True)[1]


def _sklearn(name: str) -> Callable[[], tuple[Any, np.ndarray]]:
    return lambda: getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)


_MADE: dict[str, Callable[[], tuple[Any, np.ndarray]]] = {
    **{name: _sklearn(name) for name in ("breast_cancer", "diabetes", "digits", "iris", "wine")},
    "friedman1": lambda: sklearn.datasets.make_friedman1(2000, noise=1.0, random_state=0),
    "rings": _rings,
    "sine": _sine,
    "checkerboard": _checkerboard,
    "docstrings": _docstrings,
    "mnist": lambda: (np.empty((0, 0)), np.empty(0)),  # has rows of its own to hold out
}


def tables_folder() -> Path | None:
    """Return the folder of the tables: "tabular" in the folder of MNIST, or beside it."""
    if "OMP_MLP_DATA" not in os.environ:
        return None
    data = Path(os.environ["OMP_MLP_DATA"])
    for folder in (data / "tabular", data.parent / "tabular"):
        if folder.is_dir():
            return folder
    return None
