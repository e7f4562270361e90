"""What a peer trains on and is tested with, in the form that its row asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

# Mean squared length of an image of MNIST. Random inputs of any density get the same, so that one
# learning rate suits all.
SQUARED_LENGTH = 88.0
TEST_ROWS = 2_000
N_CLASSES = 10


@dataclass(frozen=True)
class Data:
    """X is NumPy or SciPy's CSR; y holds class indices."""

    X: Any
    y: np.ndarray
    X_test: Any
    y_test: np.ndarray

    @property
    def n_features(self) -> int:
        """Columns of X."""
        return int(self.X.shape[1])


def save_images(
    folder: Path, X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray
) -> dict[str, Any]:
    """Write images of bytes for the processes of the peers; return what ``load`` needs."""
    for name, array in {"X": X, "y": y, "X_test": X_test, "y_test": y_test}.items():
        np.save(folder / f"{name}.npy", array)
    return {"kind": "images", "folder": str(folder)}


def random_inputs(samples: int, features: int, density: float = 1.0) -> dict[str, Any]:
    """Return what ``load`` needs for random inputs with that share of nonzeros."""
    return {"kind": "random", "samples": samples, "features": features, "density": density}


def load(source: Mapping[str, Any], form: str) -> Data:
    """Load or draw data, with X in the form of a row."""
    if source["kind"] == "images":
        folder = Path(source["folder"])
        X, y, X_test, y_test = (
            np.load(folder / f"{name}.npy") for name in ("X", "y", "X_test", "y_test")
        )
    else:
        X, y, X_test, y_test = _draw(**{k: v for k, v in source.items() if k != "kind"})
    return Data(_in_form(X, form), y, _in_form(X_test, form), y_test)


def _draw(samples: int, features: int, density: float) -> tuple[np.ndarray, ...]:
    """Draw inputs with a linear teacher's labels, the same for the same arguments."""
    rng = np.random.default_rng(0)
    rows = samples + TEST_ROWS
    X = rng.standard_normal((rows, features), dtype=np.float32)
    X *= np.float32(np.sqrt(SQUARED_LENGTH / (features * density)))
    if density < 1:
        X *= rng.random(X.shape, dtype=np.float32) < density
    y = (X @ rng.standard_normal((features, N_CLASSES), dtype=np.float32)).argmax(axis=1)
    return X[:samples], y[:samples], X[samples:], y[samples:]


def _in_form(X: np.ndarray, form: str) -> Any:  # noqa: ANN401
    if form == "bytes":
        if X.dtype != np.uint8:
            raise ValueError("these data have no bytes")
        return _aligned(X)
    if form not in ("float32", "csr"):
        raise ValueError(f"no form of that name: {form}")
    X = _aligned(X, scale=255 if X.dtype == np.uint8 else 1)
    if form == "csr":
        import scipy.sparse

        return scipy.sparse.csr_array(X)
    return X


def _aligned(X: np.ndarray, scale: int | None = None) -> np.ndarray:
    """Copy X to the start of a cache line, divided by ``scale`` in float32 if one is given.

    JAX takes such an array as it is, and copies others.
    """
    dtype = np.dtype(X.dtype if scale is None else np.float32)
    memory = np.empty(X.size * dtype.itemsize + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    copy = memory[begin : begin + X.size * dtype.itemsize].view(dtype).reshape(X.shape)
    if scale is None:
        copy[...] = X
    else:
        np.divide(X, np.float32(scale), out=copy, dtype=np.float32)
    return copy


def first_weights(
    n_features: int, hidden: int, *, layers: int = 1, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw the weights that a training starts from: Glorot's uniform ones, and biases of 0."""
    rng = np.random.default_rng(seed)
    weights = []
    for fan_in, fan_out in pairwise([n_features, *[hidden] * layers, N_CLASSES]):
        scale = np.sqrt(6 / (fan_in + fan_out))
        W = rng.uniform(-scale, scale, (fan_in, fan_out)).astype(np.float32)
        weights.append((W, np.zeros(fan_out, np.float32)))
    return weights
