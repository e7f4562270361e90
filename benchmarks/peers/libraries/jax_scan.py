"""JAX: a whole epoch compiled, batches by ``lax.scan``, gradients by ``jax.grad``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import Training
from . import Inputs, Start

Layers = tuple[tuple[jax.Array, jax.Array], ...]


class Peer:
    """JAX on the CPU; its thread count is in XLA_FLAGS."""

    def __init__(self, cores: int, options: Mapping[str, Any]) -> None:
        del cores, options

    def train(self, training: Training, X: Inputs, y: np.ndarray, start: Start) -> Layers:
        """Train."""
        training.only("sgd")
        # Unlike jnp.asarray, it reads an array at the start of a cache line in place.
        X, y = jax.device_put(X), jax.device_put(y.astype(np.int32))
        parameters = tuple((jnp.array(W), jnp.array(b)) for W, b in start)
        rng = np.random.default_rng(training.seed)
        for rates in training.rates(len(X)):
            order = rng.permutation(len(X)).astype(np.int32)
            parameters = _epoch(parameters, X, y, order, rates, size=training.batch_size)
        return jax.block_until_ready(parameters)

    def predict(self, network: Layers, X: Inputs) -> np.ndarray:
        """Return labels."""
        return np.asarray(_labels(network, jax.device_put(X)))


def _forward(parameters: Layers, x: jax.Array) -> jax.Array:
    *hidden, (W_out, b_out) = parameters
    for W, b in hidden:
        x = jax.nn.relu(x @ W + b)
    return x @ W_out + b_out


def _loss(parameters: Layers, x: jax.Array, y: jax.Array) -> jax.Array:
    log_p = jax.nn.log_softmax(_forward(parameters, x))
    return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))


@partial(jax.jit, static_argnames="size", donate_argnames="parameters")
def _epoch(
    parameters: Layers,
    X: jax.Array,
    y: jax.Array,
    order: jax.Array,
    rates: jax.Array,
    *,
    size: int,
) -> Layers:
    def step(parameters: Layers, batch: tuple[jax.Array, jax.Array]) -> tuple[Layers, None]:
        rows, rate = batch
        gradient = jax.grad(_loss)(parameters, X[rows], y[rows])
        return jax.tree.map(lambda w, g: w - rate * g, parameters, gradient), None

    full = len(order) // size
    batches = order[: full * size].reshape(full, size), rates[:full]
    parameters, _ = jax.lax.scan(step, parameters, batches)
    if full * size < len(order):
        parameters, _ = step(parameters, (order[full * size :], rates[-1]))
    return parameters


@jax.jit
def _labels(parameters: Layers, X: jax.Array) -> jax.Array:
    return _forward(parameters, X).argmax(axis=1)
