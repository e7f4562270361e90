"""The data sets, each with a network, a number of epochs, and a validation split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from omp_mlp import datasets

# The last of the training samples, held out for choosing settings: 10,000 of MNIST's 60,000.
HELD_OUT = 1 / 6


@dataclass(frozen=True)
class Problem:
    """Data, split, and what is trained on them.

    Attributes
    ----------
    slug, name : str
        In files, and on pictures.
    about : str
        Where the data come from.
    X, y, X_test, y_test : ndarray
    hidden : tuple of int
        Units of the hidden layers; ReLU.
    epochs : int
        The fixed number of samples, in epochs over all replicas together.
    measure : str
        What ``Model.score`` is: "accuracy" or "R²".
    """

    slug: str
    name: str
    about: str
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    hidden: tuple[int, ...]
    epochs: int
    measure: str = "accuracy"

    def held_out(self) -> Problem:
        """Return the training part divided, its last samples in the place of the test samples."""
        n = round(len(self.X) * (1 - HELD_OUT))
        return replace(self, X=self.X[:n], y=self.y[:n], X_test=self.X[n:], y_test=self.y[n:])

    def part(self, share: float, seed: int) -> Problem:
        """Return the problem with a random part of its training samples.

        An epoch over such a part is the beginning of a shuffled epoch over all of them.
        """
        rows = np.random.default_rng(seed).permutation(len(self.X))
        rows = np.sort(rows[: max(1, round(share * len(self.X)))])
        return replace(self, X=self.X[rows], y=self.y[rows])

    def describe(self) -> dict[str, Any]:
        """Describe the problem for files."""
        return {
            "name": self.name,
            "about": self.about,
            "training_samples": len(self.X),
            "test_samples": len(self.X_test),
            "features": self.X.shape[1],
            "nonzero_share": float(np.count_nonzero(self.X) / self.X.size),
            "hidden_layer_sizes": list(self.hidden),
            "epochs": self.epochs,
            "measure": self.measure,
        }

    def line(self, *, with_epochs: bool = True) -> str:
        """Describe the problem in one line, for pictures and the terminal."""
        outputs = len(np.unique(self.y)) if self.measure == "accuracy" else 1
        sizes = "-".join(str(size) for size in (self.X.shape[1], *self.hidden, outputs))
        return (
            f"{self.name}, {len(self.X):,} training and {len(self.X_test):,} test samples, "
            f"{sizes}, ReLU" + (f", {self.epochs} epochs in total" if with_epochs else "")
        )


def _problem(
    slug: str,
    name: str,
    about: str,
    arrays: Sequence[np.ndarray],
    **more: Any,  # noqa: ANN401 - fields of many types
) -> Problem:
    X, y, X_test, y_test = arrays
    return Problem(slug, name, about, X, y, X_test, y_test, **more)


def _mnist(path: str, limit: int | None) -> Problem:
    arrays: Any
    try:
        arrays = datasets.load_mnist(
            None if path == "auto" else path, split="standard", dtype="uint8"
        )
    # ImportError: not here, and nothing to download it with.
    except (datasets.DatasetNotFoundError, ImportError) as error:
        if path != "auto":
            raise SystemExit(str(error)) from error
        n = 60_000 if limit is None else limit
        arrays = datasets.load_augmented_digits(n, max(1, n // 3), dtype="uint8", seed=0)
        name, about = "augmented digits", "scikit-learn's digits, enlarged, shifted and rotated"
        return _problem("mnist", name, about, arrays, hidden=(128,), epochs=5)
    about = "the official training and test images, as bytes"
    return _problem("mnist", "MNIST", about, arrays, hidden=(128,), epochs=5)


def _digits(path: str, limit: int | None) -> Problem:  # noqa: ARG001 - called like the others
    return _problem(
        "digits",
        "digits, 8 by 8",
        "sklearn.datasets.load_digits, a fifth of them for testing",
        datasets.load_digits(seed=0),
        hidden=(128,),
        epochs=60,
    )


def _split(X: np.ndarray, y: np.ndarray, n_test: int) -> tuple[np.ndarray, ...]:
    X = np.ascontiguousarray(X, dtype=np.float32)
    return X[n_test:], y[n_test:], X[:n_test], y[:n_test]


def _classification(path: str, limit: int | None) -> Problem:  # noqa: ARG001
    from sklearn.datasets import make_classification

    options = {
        "n_samples": 30_000,
        "n_features": 40,
        "n_informative": 20,
        "n_redundant": 10,
        "n_classes": 8,
        "n_clusters_per_class": 3,
        "class_sep": 1.5,
        "random_state": 0,
    }
    X, y = make_classification(**options)
    # About unit size for each input, by the training part.
    X = X / X[6_000:].std(axis=0)
    about = f"sklearn.datasets.make_classification({_words(options)}), each input of unit spread"
    return _problem(
        "classification",
        "eight generated classes",
        about,
        _split(X, y.astype(np.int64), 6_000),
        hidden=(128,),
        epochs=20,
    )


def _regression(path: str, limit: int | None) -> Problem:  # noqa: ARG001
    from sklearn.datasets import make_friedman1

    options = {"n_samples": 30_000, "n_features": 20, "noise": 1.0, "random_state": 0}
    X, y = make_friedman1(**options)
    X, y, X_test, y_test = _split(X, y, 6_000)
    middle, spread = y.mean(), y.std()
    about = f"sklearn.datasets.make_friedman1({_words(options)}), y of mean 0 and unit spread"
    return Problem(
        "regression",
        "regression (Friedman 1)",
        about,
        X,
        ((y - middle) / spread).astype(np.float32),
        X_test,
        ((y_test - middle) / spread).astype(np.float32),
        hidden=(64,),
        epochs=20,
        measure="R²",
    )


def _words(options: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items())


LOADERS: dict[str, Callable[[str, int | None], Problem]] = {
    "mnist": _mnist,
    "digits": _digits,
    "classification": _classification,
    "regression": _regression,
}


@cache
def load(slug: str, path: str = "auto", limit: int | None = None) -> Problem:
    """Load a problem once a process.

    Parameters
    ----------
    slug : str
        A key of ``LOADERS``.
    path : str
        "auto", or a folder with MNIST's four files.
    limit : int, optional
        The first so many training samples and a third as many test samples, for a trial run.
    """
    problem = LOADERS[slug](path, limit)
    if limit is None:
        return problem
    n_test = max(1, limit // 3)
    return replace(
        problem,
        X=problem.X[:limit],
        y=problem.y[:limit],
        X_test=problem.X_test[:n_test],
        y_test=problem.y_test[:n_test],
    )
