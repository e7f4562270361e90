"""Load the images that a benchmark trains on: MNIST, or digits that are there without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from omp_mlp import datasets

AS_GIVEN = {"center_inputs": False, "scale_inputs": False, "scale_targets": False}
"""Options of ``omp_mlp.train_parallel`` that leave X and y as they are."""


@dataclass(frozen=True)
class Data:
    """A data set, split."""

    name: str  # on every picture and table
    slug: str  # in names of files
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray

    def describe(self) -> dict[str, Any]:
        """Describe the data for files."""
        return {
            "name": self.name,
            "slug": self.slug,
            "training_samples": len(self.X),
            "test_samples": len(self.X_test),
            "features": self.X.shape[1],
            "classes": len(np.unique(self.y)),
            "dtype": str(self.X.dtype),
            "nonzero_share": float(np.count_nonzero(self.X) / self.X.size),
        }

    def held_out(self, samples: int) -> Data:
        """Return the training part, with its last samples in the place of the test set.

        At most a sixth of the samples is held out.
        """
        k = min(samples, len(self.X) // 6)
        return Data(self.name, self.slug, self.X[:-k], self.y[:-k], self.X[-k:], self.y[-k:])


def line(described: dict[str, Any]) -> str:
    """Return one line for pictures and the terminal, of what :meth:`Data.describe` returns."""
    return (
        f"{described['name']}, {described['training_samples']:,} training and "
        f"{described['test_samples']:,} test samples"
    )


def load(
    choice: str,
    limit: int | None = None,
    *,
    split: Literal["paper", "standard"] = "standard",
    dtype: Literal["uint8", "float32"] = "uint8",
) -> Data:
    """Load what ``--data`` names; ``split`` and ``dtype`` are those of ``datasets.load_mnist``.

    The ``choice`` is "mnist"; "digits"; a folder with MNIST's four files; or "auto": MNIST, and
    augmented digits where it is neither there nor to be downloaded, with one line that says so.
    A ``limit`` is for a trial run: so many training samples, and test samples in proportion.

    Raises
    ------
    SystemExit
        If MNIST is asked for and cannot be had.
    """
    n_train, n_test = (50_000, 10_000) if split == "paper" else (60_000, 10_000)
    if limit is not None:
        n_train, n_test = limit, max(1, limit * n_test // n_train)
    if choice != "digits":
        path = None if choice in ("auto", "mnist") else choice
        try:
            X, y, X_test, y_test = datasets.load_mnist(path, split=split, dtype=dtype)
        # ImportError: not here, and nothing to download it with.
        except (datasets.DatasetNotFoundError, ImportError) as error:
            if choice != "auto":
                raise SystemExit(str(error)) from error
            print("MNIST is neither here nor to be downloaded: going on with augmented digits")
        else:
            return Data(
                "MNIST", "mnist", X[:n_train], y[:n_train], X_test[:n_test], y_test[:n_test]
            )
    arrays = datasets.load_augmented_digits(n_train, n_test, dtype=dtype, seed=0)
    return Data("augmented digits (scikit-learn)", "augmented-digits", *arrays)
