"""The step from a gradient to the next parameters, and its rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from oracle.network import FloatArray, Parameters, flatten, layer_sizes_of, unflatten

# What an optimiser remembers from step to step: arrays of the parameters' shape, none at the start.
State: TypeAlias = tuple[FloatArray, ...]
# (parameters w, gradient g, state, rate, settings) -> (next parameters, next state)
Step: TypeAlias = Callable[
    [FloatArray, FloatArray, State, np.floating, Mapping[str, np.floating]],
    tuple[FloatArray, State],
]


def sgd(
    w: FloatArray, g: FloatArray, state: State, rate: np.floating, _: Mapping[str, np.floating]
) -> tuple[FloatArray, State]:
    """Return w' = w - rate g (Robbins & Monro 1951)."""
    return w - rate * g, state


def momentum(
    w: FloatArray,
    g: FloatArray,
    state: State,
    rate: np.floating,
    settings: Mapping[str, np.floating],
) -> tuple[FloatArray, State]:
    """Return w' = w - rate v', v' = momentum v + g, from v = 0 (Polyak 1964, as PyTorch has it)."""
    (v,) = state or (np.zeros_like(w),)
    v = settings["momentum"] * v + g
    return w - rate * v, (v,)


OPTIMIZERS: dict[str, Step] = {"sgd": sgd, "momentum": momentum}


@dataclass
class Optimizer:
    """An optimiser of one network: its settings, and what it remembers.

    Attributes
    ----------
    name : {"sgd", "momentum"}
    settings : dict of float
        Those that its step reads.
    state : tuple of (size,) arrays
    """

    name: str = "sgd"
    settings: dict[str, float] = field(default_factory=dict)
    state: State = ()

    def step(
        self, parameters: Parameters, gradients: Parameters, learning_rate: float
    ) -> Parameters:
        """Return the next parameters, computed in the parameters' floating type."""
        w = flatten(parameters)
        settings = {name: w.dtype.type(value) for name, value in self.settings.items()}
        rate = w.dtype.type(learning_rate)
        w, self.state = OPTIMIZERS[self.name](w, flatten(gradients), self.state, rate, settings)
        return unflatten(w, layer_sizes_of(parameters))


def sgd_step(parameters: Parameters, gradients: Parameters, learning_rate: float) -> Parameters:
    """Return parameters - learning_rate * gradient, in the parameters' floating type."""
    return Optimizer().step(parameters, gradients, learning_rate)


def learning_rate_at(
    learning_rate: float,
    schedule: str,
    position: int,
    length: int,
    *,
    power_t: float = 0.5,
    warmup_share: float = 0.0,
) -> float:
    """Return the rate of the batch that begins at a position of a replica's stream of that length.

    Over the first ``warmup_share`` of the stream, the rate rises in a line from 0. The rest is the
    schedule's, with t positions of it done, a share x of it:

    constant, adaptive: learning_rate; linear: learning_rate (1 - x)
    cosine: learning_rate (1 + cos(pi x)) / 2
    inverse_scaling (scikit-learn): learning_rate / (t + 1)^power_t
    coslog4 (RealMLP): learning_rate (1 - cos(2 pi log2(1 + 15 x))) / 2
    one_cycle (PyTorch's OneCycleLR): half a cosine from learning_rate / 25 to learning_rate over
        30 %, then half a cosine to learning_rate / 250000
    """
    warmup = warmup_share * length
    if position < warmup:
        return learning_rate * position / warmup
    t = position - warmup
    x = t / (length - warmup)
    if schedule in ("constant", "adaptive"):
        return learning_rate
    if schedule == "linear":
        return learning_rate * (1 - x)
    if schedule == "cosine":
        return learning_rate * (1 + math.cos(math.pi * x)) / 2
    if schedule == "inverse_scaling":
        return float(learning_rate / (t + 1) ** power_t)
    if schedule == "coslog4":
        return learning_rate * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * x))) / 2
    if schedule == "one_cycle":
        first, last = learning_rate / 25, learning_rate / 25 / 1e4
        if x < 0.3:
            return learning_rate + (first - learning_rate) * (1 + math.cos(math.pi * x / 0.3)) / 2
        return last + (learning_rate - last) * (1 + math.cos(math.pi * (x - 0.3) / 0.7)) / 2
    raise ValueError(f"learning_rate_schedule is unknown, got {schedule!r}")
