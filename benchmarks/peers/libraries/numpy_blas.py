"""Gradients by hand in NumPy, whose matrix products are OpenBLAS's in the wheels of PyPI.

With the option ``blas`` the weights are updated by SciPy's ``sgemm`` and ``sger``, which add a
product to a matrix in place, without a gradient in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import Training
from . import Inputs, Start

# Rows of X are gathered so many at a time: few enough to stay in the cache, and a call for each
# batch is saved where batches are small.
GATHERED = 128


class Peer:
    """Forward and backward pass in preallocated arrays."""

    def __init__(self, cores: int, options: Mapping[str, Any]) -> None:
        del cores  # OpenBLAS has read its thread count from the environment
        self.add_product = _add_in_place if options.get("blas") else _add_gradient
        if options.get("blas"):
            import scipy.linalg.blas  # noqa: F401 - not while the clock runs

    def train(self, training: Training, X: Inputs, y: np.ndarray, start: Start) -> Start:
        """Train."""
        training.only("sgd")
        (W1, b1), (W2, b2) = [(W.copy(), b.copy()) for W, b in start]
        n, size = len(X), training.batch_size
        add_product = self.add_product
        rates = iter(training.rates(n).ravel())
        rng = np.random.default_rng(training.seed)

        one_hot = np.eye(len(b2), dtype=np.float32)[y]
        gathered = max(size, GATHERED // size * size)
        X_part = np.empty((gathered, X.shape[1]), np.float32)
        T_part = np.empty((gathered, len(b2)), np.float32)
        hidden, delta_hidden = np.empty((2, size, len(b1)), np.float32)
        delta_out = np.empty((size, len(b2)), np.float32)
        active = np.empty((size, len(b1)), bool)
        gradients = np.empty_like(W1), np.empty_like(W2)

        for _ in range(training.epochs):
            order = rng.permutation(n)
            for first in range(0, n, gathered):
                rows = order[first : first + gathered]
                # mode="clip" spares the check of the indices and a buffered copy.
                np.take(X, rows, axis=0, out=X_part[: len(rows)], mode="clip")
                np.take(one_hot, rows, axis=0, out=T_part[: len(rows)], mode="clip")
                for begin in range(0, len(rows), size):
                    end = min(begin + size, len(rows))
                    x, t = X_part[begin:end], T_part[begin:end]
                    count = end - begin
                    h, dh = hidden[:count], delta_hidden[:count]
                    d, on = delta_out[:count], active[:count]

                    np.dot(x, W1, out=h)
                    h += b1
                    np.maximum(h, 0, out=h)
                    np.dot(h, W2, out=d)
                    d += b2
                    d -= d.max(axis=1, keepdims=True)
                    np.exp(d, out=d)
                    d /= d.sum(axis=1, keepdims=True)
                    d -= t
                    d *= -next(rates) / np.float32(count)
                    np.dot(d, W2.T, out=dh)
                    np.greater(h, 0, out=on)
                    dh *= on
                    add_product(W2, h, d, gradients[1])
                    b2 += d.sum(axis=0)
                    add_product(W1, x, dh, gradients[0])
                    b1 += dh.sum(axis=0)
        return [(W1, b1), (W2, b2)]

    def predict(self, network: Start, X: Inputs) -> np.ndarray:
        """Return labels."""
        (W1, b1), (W2, b2) = network
        h = X @ W1
        h += b1
        np.maximum(h, 0, out=h)
        z = h @ W2
        z += b2
        return z.argmax(axis=1)


def _add_gradient(W: np.ndarray, a: np.ndarray, d: np.ndarray, gradient: np.ndarray) -> None:
    """W += a.T @ d, for samples in rows, with an array for the product."""
    if len(a) == 1:
        np.multiply(a.T, d, out=gradient)
    else:
        np.dot(a.T, d, out=gradient)
    W += gradient


def _add_in_place(W: np.ndarray, a: np.ndarray, d: np.ndarray, gradient: np.ndarray) -> None:
    """W += a.T @ d, for samples in rows, in one pass over W."""
    del gradient
    from scipy.linalg.blas import sgemm, sger

    # BLAS counts by columns, so it is given the transposes, which are no copies.
    if len(a) == 1:
        sger(1.0, d[0], a[0], a=W.T, overwrite_a=1)
    else:
        sgemm(1.0, d.T, a.T, 1.0, W.T, trans_b=1, overwrite_c=1)
