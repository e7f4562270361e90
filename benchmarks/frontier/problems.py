"""The data sets, each with a network, a number of epochs, and a validation split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from omp_mlp import datasets

from ..common import data as images

# The last of the training samples, held out for choosing settings: 10,000 of MNIST's 60,000.
HELD_OUT = 1 / 6
N_TEST = 6_000  # of the generated sets


@dataclass(frozen=True)
class Problem:
    """Data, split, and what is trained on them."""

    name: str
    about: str  # where the data come from
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    hidden: tuple[int, ...]  # units of the hidden layers; ReLU
    epochs: int  # the fixed number of samples, over all replicas together
    measure: str = "accuracy"  # what Model.score is: this or "R²"

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Sizes of the network's layers."""
        outputs = len(np.unique(self.y)) if self.measure == "accuracy" else 1
        return (self.X.shape[1], *self.hidden, outputs)

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
        return (
            f"{self.name}, {len(self.X):,} training and {len(self.X_test):,} test samples, "
            f"{'-'.join(map(str, self.layer_sizes))}, ReLU"
            + (f", {self.epochs} epochs in total" if with_epochs else "")
        )


@dataclass(frozen=True)
class Source:
    """Where the problems come from."""

    path: str = "auto"  # or a folder with MNIST's four files
    limit: int | None = None  # for a trial run: training samples; a third as many for testing

    def load(self, slug: str) -> Problem:
        """Load a problem, a key of ``LOADERS``, once a process."""
        return _load(self, slug)


@cache
def _load(source: Source, slug: str) -> Problem:
    problem = LOADERS[slug](source)
    limit = source.limit
    if limit is None:
        return problem
    test = max(1, limit // 3)
    return replace(
        problem, X=problem.X[:limit], y=problem.y[:limit],
        X_test=problem.X_test[:test], y_test=problem.y_test[:test],
    )  # fmt: skip


def _mnist(source: Source) -> Problem:
    found = images.load(source.path, source.limit)
    about = "the official training and test images, as bytes"
    if found.slug != "mnist":
        about = "scikit-learn's digits, enlarged, shifted and rotated"
    arrays = (found.X, found.y, found.X_test, found.y_test)
    return Problem(found.name, about, *arrays, hidden=(128,), epochs=5)


def _digits(_: Source) -> Problem:
    about = "sklearn.datasets.load_digits, a fifth of them for testing"
    arrays = datasets.load_digits(seed=0)
    return Problem("digits, 8 by 8", about, *arrays, hidden=(128,), epochs=60)


def _classification(_: Source) -> Problem:
    from sklearn.datasets import make_classification

    options = {
        "n_samples": 30_000, "n_features": 40, "n_informative": 20, "n_redundant": 10,
        "n_classes": 8, "n_clusters_per_class": 3, "class_sep": 1.5, "random_state": 0,
    }  # fmt: skip
    X, y = make_classification(**options)
    # About unit size for each input, by the training part.
    X = X / X[N_TEST:].std(axis=0)
    about = f"sklearn.datasets.make_classification({_words(options)}), each input of unit spread"
    arrays = _split(X, y.astype(np.int64))
    return Problem("eight generated classes", about, *arrays, hidden=(128,), epochs=20)


def _regression(_: Source) -> Problem:
    from sklearn.datasets import make_friedman1

    options = {"n_samples": 30_000, "n_features": 20, "noise": 1.0, "random_state": 0}
    X, y = make_friedman1(**options)
    y = ((y - y[N_TEST:].mean()) / y[N_TEST:].std()).astype(np.float32)
    about = f"sklearn.datasets.make_friedman1({_words(options)}), y of mean 0 and unit spread"
    arrays = _split(X, y)
    return Problem("regression (Friedman 1)", about, *arrays, hidden=(64,), epochs=20, measure="R²")


def _split(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    X = np.ascontiguousarray(X, dtype=np.float32)
    return X[N_TEST:], y[N_TEST:], X[:N_TEST], y[:N_TEST]


def _words(options: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items())


LOADERS: dict[str, Callable[[Source], Problem]] = {
    "mnist": _mnist,
    "digits": _digits,
    "classification": _classification,
    "regression": _regression,
}
