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
        layers = [(W.copy(), b.copy()) for W, b in start]
        *hidden_layers, (W_out, b_out) = layers
        n, size = len(X), training.batch_size
        add_product = self.add_product
        rates = iter(training.rates(n).ravel())
        rng = np.random.default_rng(training.seed)

        one_hot = np.eye(len(b_out), dtype=np.float32)[y]
        gathered = max(size, GATHERED // size * size)
        X_part = np.empty((gathered, X.shape[1]), np.float32)
        T_part = np.empty((gathered, len(b_out)), np.float32)
        # Of each layer: what comes out, the delta of that, and a gradient.
        outs, deltas = ([np.empty((size, len(b)), np.float32) for _, b in layers] for _ in "ab")
        active = [np.empty((size, len(b)), bool) for _, b in hidden_layers]
        gradients = [np.empty_like(W) for W, _ in layers]

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
                    a = [x, *(out[:count] for out in outs)]
                    for k, (W, b) in enumerate(hidden_layers):
                        np.dot(a[k], W, out=a[k + 1])
                        a[k + 1] += b
                        np.maximum(a[k + 1], 0, out=a[k + 1])
                    d = deltas[-1][:count]
                    np.dot(a[-2], W_out, out=d)
                    d += b_out
                    d -= d.max(axis=1, keepdims=True)
                    np.exp(d, out=d)
                    d /= d.sum(axis=1, keepdims=True)
                    d -= t
                    d *= -next(rates) / np.float32(count)
                    for k in range(len(hidden_layers), -1, -1):
                        W, b = layers[k]
                        if k > 0:
                            below, on = deltas[k - 1][:count], active[k - 1][:count]
                            np.dot(d, W.T, out=below)
                            np.greater(a[k], 0, out=on)
                            below *= on
                        add_product(W, a[k], d, gradients[k])
                        b += d.sum(axis=0)
                        if k > 0:
                            d = below
        return layers

    def predict(self, network: Start, X: Inputs) -> np.ndarray:
        """Return labels."""
        *hidden, (W_out, b_out) = network
        for W, b in hidden:
            X = X @ W
            X += b
            np.maximum(X, 0, out=X)
        z = X @ W_out
        z += b_out
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
