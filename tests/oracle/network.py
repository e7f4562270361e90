"""Parameters and their start, the forward pass, the losses and their gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from oracle.random import DROPOUT, WEIGHTS, derive, derive_many

FloatArray: TypeAlias = NDArray[np.floating[Any]]
Layer: TypeAlias = tuple[FloatArray, FloatArray]
Parameters: TypeAlias = list[Layer]


def layer_boundaries(layer_sizes: Sequence[int]) -> list[int]:
    """Return where the layers begin and end in the flat form: [0, end of layer 1, ...]."""
    boundaries = [0]
    for fan_in, fan_out in pairwise(layer_sizes):
        boundaries.append(boundaries[-1] + fan_in * fan_out + fan_out)
    return boundaries


def flatten(parameters: Parameters) -> FloatArray:
    """Return W_1.ravel(), b_1, W_2.ravel(), b_2, ... as one array."""
    return np.concatenate([part.ravel() for layer in parameters for part in layer])


def unflatten(flat: FloatArray, layer_sizes: Sequence[int]) -> Parameters:
    """Return the layers (W, b) of a flat array, as copies."""
    boundaries = layer_boundaries(layer_sizes)
    parameters: Parameters = []
    for layer, (fan_in, fan_out) in enumerate(pairwise(layer_sizes)):
        start, stop = boundaries[layer], boundaries[layer + 1]
        weights = flat[start : start + fan_in * fan_out].reshape(fan_in, fan_out).copy()
        biases = flat[start + fan_in * fan_out : stop].copy()
        parameters.append((weights, biases))
    return parameters


def layer_sizes_of(parameters: Parameters) -> list[int]:
    """Return [n_features, hidden sizes ..., n_outputs] of a network."""
    return [parameters[0][0].shape[0], *(weights.shape[1] for weights, _ in parameters)]


def uniform_scale(init_scale: str | float, fan_in: int, fan_out: int) -> float:
    """Return the s of the initial weights' range [-s, s).

    "glorot": sqrt(6 / (fan_in + fan_out)); "he": sqrt(6 / fan_in); "lecun":
    sqrt(3 / fan_in); a number: itself.
    """
    if init_scale == "glorot":
        return math.sqrt(6 / (fan_in + fan_out))
    if init_scale == "he":
        return math.sqrt(6 / fan_in)
    if init_scale == "lecun":
        return math.sqrt(3 / fan_in)
    if isinstance(init_scale, str):
        raise ValueError(
            f"init_scale must be 'glorot', 'he', 'lecun' or a number, got {init_scale!r}"
        )
    return float(init_scale)


def initial_parameters(
    layer_sizes: Sequence[int],
    seed: int,
    replica: int,
    init_scale: str | float,
    dtype: DTypeLike = np.float32,
    first_biases: float = 0.0,
    last_weights: float = 1.0,
) -> Parameters:
    """Return the start of a replica: uniform weights, zero biases.

    Weight e = row * fan_out + column of layer l (from 0) is (2 u - 1) s, where
    u = (derive(key, e) >> 40) 2^-24 and key = derive(derive(derive(seed, WEIGHTS), replica), l).
    The biases of the first layer are one more row, times first_biases. The last layer's weights are
    drawn with last_weights times s.
    """
    key_of_replica = derive(derive(seed, WEIGHTS), replica)
    parameters: Parameters = []
    for layer, (fan_in, fan_out) in enumerate(pairwise(layer_sizes)):
        draws = derive_many(derive(key_of_replica, layer), (fan_in + 1) * fan_out)
        u = (draws >> np.uint64(40)).astype(np.float64) * 2.0**-24
        drawn = (2 * u - 1) * uniform_scale(init_scale, fan_in, fan_out)
        *weights, biases = drawn.reshape(fan_in + 1, fan_out)
        if layer == len(layer_sizes) - 2:
            weights = [last_weights * row for row in weights]
        biases *= first_biases if layer == 0 else 0.0
        parameters.append((np.array(weights, dtype=dtype), (biases + 0.0).astype(dtype)))
    return parameters


def logistic(z: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-z)), written with exp(-|z|) so that nothing overflows."""
    e = np.exp(-np.abs(z))
    result: FloatArray = np.where(z >= 0, 1 / (1 + e), e / (1 + e))
    return result


def softmax(z: FloatArray) -> FloatArray:
    """Return exp(z_k) / sum_j exp(z_j) along the last axis, with the maximum taken off first."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    result: FloatArray = e / e.sum(axis=-1, keepdims=True)
    return result


def normal_below(z: FloatArray) -> FloatArray:
    """Return Phi(z), the probability of less than z in the normal distribution."""
    values = [math.erfc(-x / math.sqrt(2)) / 2 for x in z.ravel().tolist()]
    return np.array(values, dtype=z.dtype).reshape(z.shape)


def gelu_derivative(z: FloatArray) -> FloatArray:
    """Return Phi(z) + z exp(-z^2 / 2) / sqrt(2 pi)."""
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    result: FloatArray = normal_below(z) + z * density
    return result


def silu_derivative(z: FloatArray) -> FloatArray:
    """Return s + z s (1 - s) with s = logistic(z)."""
    s = logistic(z)
    return s + z * s * (1 - s)


def selu_scale(z: FloatArray) -> np.floating[Any]:
    """Return lambda of SELU (Klambauer et al. 2017) in the type of z."""
    return z.dtype.type(1.0507009873554805)


def selu_depth(z: FloatArray) -> np.floating[Any]:
    """Return lambda alpha of SELU in the type of z."""
    return z.dtype.type(1.7580993408473768)


def tanh_of_softplus(z: FloatArray) -> FloatArray:
    """Return tanh(ln(1 + exp(z)))."""
    result: FloatArray = np.tanh(np.logaddexp(z.dtype.type(0), z))
    return result


def mish_derivative(z: FloatArray) -> FloatArray:
    """Return t + z s (1 - t^2) with t = tanh(ln(1 + exp(z))) and s = logistic(z)."""
    t = tanh_of_softplus(z)
    return t + z * logistic(z) * (1 - t) * (1 + t)


# Of hidden units: phi(z) and phi'(z). Where z = 0 is a kink, its derivative is that of negative z.
ACTIVATIONS: dict[str, tuple[Callable[[FloatArray], FloatArray], ...]] = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype)),
    "leaky_relu": (
        lambda z: np.where(z > 0, z, z.dtype.type(0.01) * z),
        lambda z: np.where(z > 0, z.dtype.type(1), z.dtype.type(0.01)),
    ),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "logistic": (logistic, lambda z: logistic(z) * (1 - logistic(z))),
    "gelu": (lambda z: z * normal_below(z), gelu_derivative),
    "silu": (lambda z: z * logistic(z), silu_derivative),
    "selu": (
        lambda z: selu_depth(z) * np.expm1(np.minimum(z, 0)) + selu_scale(z) * np.maximum(z, 0),
        lambda z: np.where(z > 0, selu_scale(z), selu_depth(z) * np.exp(np.minimum(z, 0))),
    ),
    "mish": (lambda z: z * tanh_of_softplus(z), mish_derivative),
    "identity": (lambda z: z, np.ones_like),
}


def activate(name: str, z: FloatArray) -> FloatArray:
    """Return phi(z) of hidden units or outputs, entry by entry; softmax along the last axis."""
    if name == "exponential":
        result: FloatArray = np.exp(z)
        return result
    return softmax(z) if name == "softmax" else ACTIVATIONS[name][0](z)


def activation_derivative(name: str, z: FloatArray) -> FloatArray:
    """Return phi'(z), entry by entry."""
    return ACTIVATIONS[name][1](z)


@dataclass
class Forward:
    """What a forward pass leaves: ``a[0] = X``; ``z[l]`` and ``a[l + 1]`` belong to layer l."""

    z: list[FloatArray]
    a: list[FloatArray]

    @property
    def decision(self) -> FloatArray:
        """The pre-activations of the last layer."""
        return self.z[-1]

    @property
    def output(self) -> FloatArray:
        """The activations of the last layer: the probabilities or the predicted values."""
        return self.a[-1]


def dropout_factors(
    seed: int, epoch: int, samples: Sequence[int], layer: int, units: int, rate: float
) -> NDArray[np.float64]:
    """Return what the activations of a hidden layer are multiplied by, (samples, units).

    0 if u < rate, else 1 / (1 - rate), where u = (derive(key, unit) >> 40) 2^-24 and key =
    derive(derive(derive(derive(seed, DROPOUT), epoch), sample), layer).
    """
    key_of_epoch = derive(derive(seed, DROPOUT), epoch)
    factors = np.zeros((len(samples), units))
    for row, sample in enumerate(samples):
        draws = derive_many(derive(derive(key_of_epoch, int(sample)), layer), units)
        u = (draws >> np.uint64(40)).astype(np.float64) * 2.0**-24
        factors[row] = np.where(u < rate, 0, 1 / (1 - rate))
    return factors


def forward(
    parameters: Parameters,
    X: FloatArray,
    activation: str,
    output_activation: str,
    dropout: Sequence[NDArray[np.float64]] = (),
) -> Forward:
    """Compute z_l = a_{l-1} W_l + b_l and a_l = phi(z_l) for every layer l, with a_0 = X.

    phi is the hidden activation, and in the last layer the output activation. With dropout, a_l of
    hidden layer l is multiplied by its factors.
    """
    passed = Forward(z=[], a=[X])
    for layer, (weights, biases) in enumerate(parameters):
        is_output = layer == len(parameters) - 1
        z = passed.a[-1] @ weights + biases
        passed.z.append(z)
        a = activate(output_activation if is_output else activation, z)
        if dropout and not is_output:
            a = a * dropout[layer].astype(a.dtype)
        passed.a.append(a)
    return passed


PAIRS = {
    ("cross_entropy", "softmax"),
    ("squared_error", "identity"),
    ("squared_error", "logistic"),
    ("huber", "identity"),
    ("absolute", "identity"),
    ("quantile", "identity"),
    ("poisson", "exponential"),
    ("binary_cross_entropy", "logistic"),
}


def check_loss(loss: str, output_activation: str, y: NDArray[Any]) -> None:
    """Reject what is not defined: pairs that are not listed, and cross_entropy without classes."""
    if (loss, output_activation) not in PAIRS:
        raise ValueError(f"no such pair of loss and output: {loss!r}, {output_activation!r}")
    if loss == "cross_entropy" and not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"cross_entropy needs class indices, got targets of dtype {y.dtype}")


def target_matrix(y: NDArray[Any], n_outputs: int, dtype: DTypeLike) -> FloatArray:
    """Return the targets t, (N, n_outputs): one-hot rows for class indices, else y itself."""
    if np.issubdtype(y.dtype, np.integer):
        one_hot = np.zeros((len(y), n_outputs), dtype=dtype)
        one_hot[np.arange(len(y)), y] = 1
        return one_hot
    targets: FloatArray = y.reshape(len(y), n_outputs).astype(dtype)
    return targets


def sample_losses(
    decision: FloatArray,
    y: NDArray[Any],
    loss: str,
    output_activation: str,
    *,
    huber_delta: float = 1.0,
    quantile: float = 0.5,
    label_smoothing: float = 0.0,
) -> NDArray[np.float64]:
    """Return the loss of each sample, from the pre-activations z of the last layer, in double.

    With o = phi(z), e = o - t, and all but the first summed over the outputs:

    cross_entropy: -sum_k q_k log p_k, q = (1 - s) onehot + s / K with s = label_smoothing;
    squared_error: 1/2 e^2;
    huber: 1/2 e^2 where |e| <= d, else d (|e| - d / 2), with d = huber_delta;
    absolute: |e|;
    quantile: max(-quantile e, (1 - quantile) e);
    poisson: exp(z) - t z;
    binary_cross_entropy: -t log p - (1 - t) log(1 - p), which is log(1 + exp(z)) - t z.
    """
    check_loss(loss, output_activation, y)
    z = decision.astype(np.float64)
    if loss == "cross_entropy":
        largest = z.max(axis=1, keepdims=True)
        log_p = z - largest - np.log(np.exp(z - largest).sum(axis=1, keepdims=True))
        onehot = target_matrix(y, z.shape[1], np.float64)
        q = (1 - label_smoothing) * onehot + label_smoothing / z.shape[1]
        return -(q * log_p).sum(axis=1)
    targets = target_matrix(y, decision.shape[1], decision.dtype).astype(np.float64)
    e = activate(output_activation, decision).astype(np.float64) - targets
    losses: dict[str, Callable[[], NDArray[np.float64]]] = {
        "squared_error": lambda: 0.5 * e**2,
        "huber": lambda: np.where(
            np.abs(e) <= huber_delta, 0.5 * e**2, huber_delta * (np.abs(e) - 0.5 * huber_delta)
        ),
        "absolute": lambda: np.abs(e),
        "quantile": lambda: np.maximum(-quantile * e, (1 - quantile) * e),
        "poisson": lambda: np.exp(z) - targets * z,
        "binary_cross_entropy": lambda: np.logaddexp(0, z) - targets * z,
    }
    return losses[loss]().sum(axis=1)


def output_deltas(
    decision: FloatArray,
    y: NDArray[Any],
    loss: str,
    output_activation: str,
    *,
    huber_delta: float = 1.0,
    quantile: float = 0.5,
    label_smoothing: float = 0.0,
) -> FloatArray:
    """Return the derivative of ``sample_losses`` by the pre-activations z, (N, K).

    cross_entropy: p - q;   poisson, binary_cross_entropy: o - t;   else l'(e) phi'(z) with l'(e)

    squared_error: e;   huber: e between -d and d, cut off there;   absolute: sign(e);
    quantile: -quantile below 0, 1 - quantile above 0, and 0 at 0.
    """
    output = activate(output_activation, decision)
    targets = target_matrix(y, decision.shape[1], decision.dtype)
    if loss == "cross_entropy":
        targets = (1 - label_smoothing) * targets + label_smoothing / decision.shape[1]
        result: FloatArray = (output - targets).astype(decision.dtype)
        return result
    e = output - targets
    if loss in ("poisson", "binary_cross_entropy"):
        return e
    slopes: dict[str, Callable[[], FloatArray]] = {
        "squared_error": lambda: e,
        "huber": lambda: np.clip(e, -huber_delta, huber_delta),
        "absolute": lambda: np.sign(e),
        "quantile": lambda: np.where(e > 0, 1 - quantile, -quantile) * (e != 0),
    }
    slope = slopes[loss]().astype(decision.dtype)
    derived: FloatArray = slope * activation_derivative(output_activation, decision)
    return derived


def batch_loss(
    parameters: Parameters,
    X: FloatArray,
    y: NDArray[Any],
    sample_weight: FloatArray,
    *,
    activation: str,
    output_activation: str,
    loss: str,
    dropout: Sequence[NDArray[np.float64]] = (),
    **settings: float,
) -> float:
    """Return (1 / B) sum_i w_i loss_i over the B samples; the weights w are not normalised."""
    decision = forward(parameters, X, activation, output_activation, dropout).decision
    losses = sample_losses(decision, y, loss, output_activation, **settings)
    return float((sample_weight.astype(np.float64) * losses).sum() / len(X))


def gradient(
    parameters: Parameters,
    X: FloatArray,
    y: NDArray[Any],
    sample_weight: FloatArray,
    *,
    activation: str,
    output_activation: str,
    loss: str,
    dropout: Sequence[NDArray[np.float64]] = (),
    **settings: float,
) -> list[tuple[FloatArray, FloatArray]]:
    """Return the gradient (dW_l, db_l) of ``batch_loss``.

    delta_L = w times ``output_deltas``;
    delta_l = (delta_{l+1} W_{l+1}^T) phi'(z_l), times the factors of dropout;
    dW_l = a_{l-1}^T delta_l / B;   db_l = (sum of delta_l over the batch) / B.
    """
    check_loss(loss, output_activation, y)
    passed = forward(parameters, X, activation, output_activation, dropout)
    delta = sample_weight[:, None] * output_deltas(
        passed.decision, y, loss, output_activation, **settings
    )

    gradients: list[tuple[FloatArray, FloatArray]] = []
    for layer in range(len(parameters) - 1, -1, -1):
        gradients.append((passed.a[layer].T @ delta / len(X), delta.sum(axis=0) / len(X)))
        if layer > 0:
            weights = parameters[layer][0]
            delta = (delta @ weights.T) * activation_derivative(activation, passed.z[layer - 1])
            if dropout:
                delta = delta * dropout[layer - 1].astype(delta.dtype)
    return gradients[::-1]
