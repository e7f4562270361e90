"""The step from a gradient to the next parameters, and its rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from oracle.network import FloatArray, Parameters, flatten, layer_sizes_of, unflatten

# What an optimiser remembers from step to step: arrays of the parameters' shape, none at the start.
State: TypeAlias = tuple[FloatArray, ...]


@dataclass(frozen=True)
class Settings:
    """The settings of all optimisers. Each reads its own, and all are given the decay's."""

    momentum: float = 0.9
    beta_1: float = 0.9
    beta_2: float = 0.999
    rho: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    l2: float = 0.0
    max_norm: float | None = None
    parametrization: str = "standard"
    input_gain_rate: float = 0.0


# (parameters w, gradient g, state, rate, settings, number of the step, from 1 on)
#     -> (next parameters, next state)
# Arrays are in the parameters' floating type; what is the same for all of them is found in double.
Step: TypeAlias = Callable[
    [FloatArray, FloatArray, State, float, Settings, int], tuple[FloatArray, State]
]


def sgd(
    w: FloatArray, g: FloatArray, state: State, rate: float, _: Settings, __: int
) -> tuple[FloatArray, State]:
    """Return w' = w - rate g (Robbins & Monro 1951)."""
    return w - w.dtype.type(rate) * g, state


def momentum(
    w: FloatArray, g: FloatArray, state: State, rate: float, settings: Settings, _: int
) -> tuple[FloatArray, State]:
    """Return w' = w - rate v', v' = momentum v + g, from v = 0 (Polyak 1964, as PyTorch has it)."""
    real = w.dtype.type
    (v,) = state or (np.zeros_like(w),)
    v = real(settings.momentum) * v + g
    return w - real(rate) * v, (v,)


def nesterov(
    w: FloatArray, g: FloatArray, state: State, rate: float, settings: Settings, _: int
) -> tuple[FloatArray, State]:
    """Return w' = w - rate (g + momentum v'), v' = momentum v + g (Sutskever et al. 2013)."""
    real = w.dtype.type
    (v,) = state or (np.zeros_like(w),)
    v = real(settings.momentum) * v + g
    return w - real(rate) * (g + real(settings.momentum) * v), (v,)


def adam(
    w: FloatArray, g: FloatArray, state: State, rate: float, settings: Settings, number: int
) -> tuple[FloatArray, State]:
    """Return the step of Kingma & Ba 2015, Algorithm 1, from m = v = 0.

    m' = beta_1 m + (1 - beta_1) g, v' = beta_2 v + (1 - beta_2) g^2,
    w' = w - rate m' / (1 - beta_1^t) / (sqrt(v' / (1 - beta_2^t)) + epsilon).
    """
    real = w.dtype.type
    m, v = state or (np.zeros_like(w), np.zeros_like(w))
    m = real(settings.beta_1) * m + real(1 - settings.beta_1) * g
    v = real(settings.beta_2) * v + real(1 - settings.beta_2) * (g * g)
    of_mean = 1 - settings.beta_1**number
    of_root = math.sqrt(1 - settings.beta_2**number)
    root = np.sqrt(v) * real(1 / of_root)
    return w - real(rate / of_mean) * m / (root + real(settings.epsilon)), (m, v)


def rmsprop(
    w: FloatArray, g: FloatArray, state: State, rate: float, settings: Settings, _: int
) -> tuple[FloatArray, State]:
    """Return w' = w - rate g / (sqrt(v') + epsilon), v' = rho v + (1 - rho) g^2, from v = 0.

    Tieleman & Hinton 2012, as PyTorch has it.
    """
    real = w.dtype.type
    (v,) = state or (np.zeros_like(w),)
    v = real(settings.rho) * v + real(1 - settings.rho) * (g * g)
    return w - real(rate) * g / (np.sqrt(v) + real(settings.epsilon)), (v,)


OPTIMIZERS: dict[str, Step] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adam": adam,
    "adamw": adam,
    "rmsprop": rmsprop,
}


@dataclass
class Optimizer:
    """An optimiser of one network: its settings, and what it remembers.

    Attributes
    ----------
    name : str
        One of ``OPTIMIZERS``.
    settings : Settings
    state : tuple of (size,) arrays
    number : int
        Steps that were taken.
    gains : (n_features,) array, optional
        s of the first layer's weights, of which row j is s_j V_j; None before the first step.
    gain_state : tuple of (n_features,) arrays
        What the optimiser remembers of the gains.
    """

    name: str = "sgd"
    settings: Settings = Settings()
    state: State = ()
    number: int = 0
    gains: FloatArray | None = None
    gain_state: State = ()

    def step(
        self, parameters: Parameters, gradients: Parameters, learning_rate: float
    ) -> Parameters:
        """Return the next parameters, computed in the parameters' floating type.

        Before the step, the gradient g of all parameters together is scaled to a norm of at most
        max_norm (by max_norm / (norm + 1e-6), as PyTorch does), and for weights, not for biases,
        g <- g + l2 w and w <- w - rate weight_decay w.

        With input_gain_rate, row j of the first weights W is s_j V_j, and V and s take the steps,
        s with input_gain_rate times the rate: dV_j = s_j dW_j, and ds_j is the product of V_j and
        dW_j. With parametrization "ntk", weights of fan-in n are W = V / sqrt(n), and V takes the
        step: dV = dW / sqrt(n).
        """
        settings = self.settings
        real = parameters[0][0].dtype.type
        if settings.max_norm is not None:
            norm = math.sqrt(float((flatten(gradients).astype(np.float64) ** 2).sum()))
            scale = real(min(1.0, settings.max_norm / (norm + 1e-6)))
            gradients = [(scale * W, scale * b) for W, b in gradients]
        self.number += 1
        if settings.input_gain_rate:
            parameters, gradients = self._step_of_gains(parameters, gradients, learning_rate)
        if settings.l2:
            l2 = real(settings.l2)
            gradients = [
                (G + l2 * W, g) for (W, _), (G, g) in zip(parameters, gradients, strict=True)
            ]
        if settings.weight_decay:
            kept = real(1 - learning_rate * settings.weight_decay)
            parameters = [(kept * W, b) for W, b in parameters]
        sizes = layer_sizes_of(parameters)
        roots = [real(1)] * len(parameters)
        if settings.parametrization == "ntk":
            roots = [real(math.sqrt(len(W))) for W, _ in parameters]
        w, self.state = OPTIMIZERS[self.name](
            flatten([(root * W, b) for root, (W, b) in zip(roots, parameters, strict=True)]),
            flatten([(G / root, g) for root, (G, g) in zip(roots, gradients, strict=True)]),
            self.state, learning_rate, self.settings, self.number,
        )  # fmt: skip
        stepped = [(W / root, b) for root, (W, b) in zip(roots, unflatten(w, sizes), strict=True)]
        if self.gains is not None:
            W, b = stepped[0]
            stepped[0] = (self.gains[:, None] * W, b)
        return stepped

    def _step_of_gains(
        self, parameters: Parameters, gradients: Parameters, learning_rate: float
    ) -> tuple[Parameters, Parameters]:
        """Take the step of the gains; return the parameters and gradients without the gains."""
        (W, b), (G, g) = parameters[0], gradients[0]
        s = np.ones(len(W), W.dtype) if self.gains is None else self.gains
        V = W / s[:, None]
        self.gains, self.gain_state = OPTIMIZERS[self.name](
            s, (V * G).sum(axis=1), self.gain_state,
            learning_rate * self.settings.input_gain_rate, self.settings, self.number,
        )  # fmt: skip
        return [(V, b), *parameters[1:]], [(s[:, None] * G, g), *gradients[1:]]


def merge_states(optimizers: Sequence[Optimizer], how: str) -> None:
    """Keep, average or reset the states of replicas' optimisers, after a merge.

    Means are summed in double, in the order of the replicas. An optimiser that has not taken a step
    has a state of zeros. All get the largest number of steps.
    """
    if how == "keep":
        return
    if how not in ("average", "reset"):
        raise ValueError(f"how must be 'keep', 'average' or 'reset', got {how!r}")

    def merged(states: Sequence[State]) -> State:
        if how == "reset" or not any(states):
            return ()
        sums = (
            sum(array.astype(np.float64) for array in arrays)
            for arrays in zip(*filter(None, states), strict=True)
        )
        real = next(filter(None, states))[0].dtype
        return tuple((total / len(optimizers)).astype(real) for total in sums)

    state = merged([optimizer.state for optimizer in optimizers])
    gain_state = merged([optimizer.gain_state for optimizer in optimizers])
    number = max(optimizer.number for optimizer in optimizers) if how == "average" else 0
    gains = [optimizer.gains for optimizer in optimizers if optimizer.gains is not None]
    mean = merged([(s - 1,) for s in gains])  # those that have none have gains of 1
    for optimizer in optimizers:
        optimizer.state, optimizer.gain_state, optimizer.number = state, gain_state, number
        optimizer.gains = 1 + mean[0] if mean else None


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
