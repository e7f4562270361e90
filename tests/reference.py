"""A second, slow implementation of training and merging in plain NumPy: the oracle of the tests.

Nothing here is shared with the library, and nothing here is fast. Every function states the formula
that it computes, so that it can be checked by reading; ``test_reference.py`` checks it by numbers.

Conventions
-----------
* A network is a list of layers ``(W, b)``, ``W`` of shape (fan_in, fan_out), ``b`` of shape
  (fan_out,); a layer computes ``z = a W + b``. The *flat* form of a network is the concatenation of
  ``W_1.ravel(), b_1, W_2.ravel(), b_2, ...``.
* Targets are either class indices, an integer array (N,), or real targets, a float array (N, k).
* Everything is computed in ``dtype`` (float32 as in the library, float64 to check gradients),
  except losses and the sums of merges, which are accumulated in double.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

FloatArray: TypeAlias = NDArray[np.floating[Any]]
IntArray: TypeAlias = NDArray[np.int64]
Layer: TypeAlias = tuple[FloatArray, FloatArray]
Parameters: TypeAlias = list[Layer]

# ------------------------------------------------------------------------------- random numbers

MASK_64 = 2**64 - 1
GOLDEN_GAMMA = 0x9E3779B97F4A7C15

# What a key derived from the user's seed is for.
WEIGHTS = 0
ORDER = 1

PERMUTATION_ROUNDS = 12


def mix(x: int) -> int:
    """Scramble 64 bits: the finaliser of SplitMix64, a bijection of {0, ..., 2^64 - 1}."""
    x &= MASK_64
    x ^= x >> 30
    x = (x * 0xBF58476D1CE4E5B9) & MASK_64
    x ^= x >> 27
    x = (x * 0x94D049BB133111EB) & MASK_64
    x ^= x >> 31
    return x


def derive(key: int, i: int) -> int:
    """Return the i-th output (from 0) of SplitMix64 seeded with key: mix(key + G (i + 1))."""
    return mix(key + GOLDEN_GAMMA * (i + 1))


def derive_many(key: int, count: int) -> NDArray[np.uint64]:
    """Return ``[derive(key, i) for i in range(count)]`` as an array; uint64 wraps at 2^64."""
    i = np.arange(count, dtype=np.uint64)
    x = np.uint64(key & MASK_64) + np.uint64(GOLDEN_GAMMA) * (i + np.uint64(1))
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def permutation_constants(n: int, key: int) -> tuple[int, int, list[tuple[int, int]]]:
    """Return ``mask, shift, [(m_0, c_0), (m_1, c_1), ...]`` of the permutation of n by key.

    bits = max(1, bit_length(n - 1)), mask = 2^bits - 1, shift = max(1, bits // 2),
    m_r = derive(key, 2r) | 1, c_r = derive(key, 2r + 1).
    """
    bits = max(1, (n - 1).bit_length())
    constants = [
        (derive(key, 2 * r) | 1, derive(key, 2 * r + 1)) for r in range(PERMUTATION_ROUNDS)
    ]
    return 2**bits - 1, max(1, bits // 2), constants


def permute(i: int, n: int, key: int) -> int:
    """Return where the permutation of {0, ..., n - 1} by key sends i.

    One pass sends x through x <- (x m_r + c_r) mod 2^bits, x <- x xor (x >> shift) for every round
    r. Both are bijections of {0, ..., 2^bits - 1} (m_r is odd), so one pass is too. Passes are
    repeated until x < n (cycle walking); that makes it a bijection of {0, ..., n - 1}.
    """
    mask, shift, constants = permutation_constants(n, key)
    x = i
    while True:
        for multiplier, increment in constants:
            x = (x * multiplier + increment) & mask
            x ^= x >> shift
        if x < n:
            return x


def permutation(n: int, key: int) -> IntArray:
    """Return ``[permute(i, n, key) for i in range(n)]``, all positions at once."""
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    mask, shift, constants = permutation_constants(n, key)
    x = np.arange(n, dtype=np.uint64)
    walking = np.ones(n, dtype=bool)
    while walking.any():
        moved = x[walking]
        for multiplier, increment in constants:
            # Wrapping at 2^64 does no harm: only the lowest bits are kept.
            moved = (moved * np.uint64(multiplier) + np.uint64(increment)) & np.uint64(mask)
            moved ^= moved >> np.uint64(shift)
        x[walking] = moved
        walking = x >= np.uint64(n)
    return x.astype(np.int64)


# ----------------------------------------------------------------------- parameters and their start


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

    "glorot": sqrt(6 / (fan_in + fan_out)); "he": sqrt(6 / fan_in); a number: itself.
    """
    if init_scale == "glorot":
        return math.sqrt(6 / (fan_in + fan_out))
    if init_scale == "he":
        return math.sqrt(6 / fan_in)
    if isinstance(init_scale, str):
        raise ValueError(f"init_scale must be 'glorot', 'he' or a number, got {init_scale!r}")
    return float(init_scale)


def initial_parameters(
    layer_sizes: Sequence[int],
    seed: int,
    replica: int,
    init_scale: str | float,
    dtype: DTypeLike = np.float32,
) -> Parameters:
    """Return the start of a replica: uniform weights, zero biases.

    Weight e = row * fan_out + column of layer l (from 0) is (2 u - 1) s, where
    u = (derive(key, e) >> 40) 2^-24 and key = derive(derive(derive(seed, WEIGHTS), replica), l).
    """
    key_of_replica = derive(derive(seed, WEIGHTS), replica)
    parameters: Parameters = []
    for layer, (fan_in, fan_out) in enumerate(pairwise(layer_sizes)):
        draws = derive_many(derive(key_of_replica, layer), fan_in * fan_out)
        u = (draws >> np.uint64(40)).astype(np.float64) * 2.0**-24
        weights = (2 * u - 1) * uniform_scale(init_scale, fan_in, fan_out)
        parameters.append(
            (weights.reshape(fan_in, fan_out).astype(dtype), np.zeros(fan_out, dtype=dtype))
        )
    return parameters


# ------------------------------------------------------------------------------ forward and losses


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


def activate(name: str, z: FloatArray) -> FloatArray:
    """Return phi(z): relu max(z, 0); tanh; logistic 1 / (1 + exp(-z)); identity z; softmax."""
    functions: dict[str, Callable[[FloatArray], FloatArray]] = {
        "relu": lambda z: np.maximum(z, 0),
        "tanh": np.tanh,
        "logistic": logistic,
        "identity": lambda z: z,
        "softmax": softmax,
    }
    return functions[name](z)


def activation_derivative(name: str, z: FloatArray) -> FloatArray:
    """Return phi'(z).

    relu: 1 where z > 0, else 0 (so 0 at 0); tanh: 1 - tanh(z)^2;
    logistic: s (1 - s) with s = logistic(z); identity: 1.
    """
    derivatives: dict[str, Callable[[FloatArray], FloatArray]] = {
        "relu": lambda z: (z > 0).astype(z.dtype),
        "tanh": lambda z: 1 - np.tanh(z) ** 2,
        "logistic": lambda z: logistic(z) * (1 - logistic(z)),
        "identity": np.ones_like,
    }
    return derivatives[name](z)


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


def forward(
    parameters: Parameters, X: FloatArray, activation: str, output_activation: str
) -> Forward:
    """Compute z_l = a_{l-1} W_l + b_l and a_l = phi(z_l) for every layer l, with a_0 = X.

    phi is the hidden activation, and in the last layer the output activation.
    """
    passed = Forward(z=[], a=[X])
    for layer, (weights, biases) in enumerate(parameters):
        is_output = layer == len(parameters) - 1
        z = passed.a[-1] @ weights + biases
        passed.z.append(z)
        passed.a.append(activate(output_activation if is_output else activation, z))
    return passed


def check_loss(loss: str, output_activation: str, y: NDArray[Any]) -> None:
    """Reject what is not defined: cross_entropy is for softmax and classes, and nothing else is."""
    pairs = {
        ("cross_entropy", "softmax"),
        ("squared_error", "identity"),
        ("squared_error", "logistic"),
    }
    if (loss, output_activation) not in pairs:
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
    decision: FloatArray, y: NDArray[Any], loss: str, output_activation: str
) -> NDArray[np.float64]:
    """Return the loss of each sample, from the pre-activations z of the last layer, in double.

    cross_entropy: -log p(correct) = log(sum_j exp(z_j)) - z_correct;
    squared_error: 1/2 sum_k (o_k - t_k)^2 with o = phi(z).
    """
    check_loss(loss, output_activation, y)
    if loss == "cross_entropy":
        z = decision.astype(np.float64)
        largest = z.max(axis=1)
        log_sum_exp = largest + np.log(np.exp(z - largest[:, None]).sum(axis=1))
        losses: NDArray[np.float64] = log_sum_exp - z[np.arange(len(y)), y]
        return losses
    targets = target_matrix(y, decision.shape[1], decision.dtype).astype(np.float64)
    output = activate(output_activation, decision).astype(np.float64)
    squared: NDArray[np.float64] = 0.5 * ((output - targets) ** 2).sum(axis=1)
    return squared


def batch_loss(
    parameters: Parameters,
    X: FloatArray,
    y: NDArray[Any],
    sample_weight: FloatArray,
    *,
    activation: str,
    output_activation: str,
    loss: str,
) -> float:
    """Return (1 / B) sum_i w_i loss_i over the B samples; the weights w are not normalised."""
    decision = forward(parameters, X, activation, output_activation).decision
    losses = sample_losses(decision, y, loss, output_activation)
    return float((sample_weight.astype(np.float64) * losses).sum() / len(X))


# ------------------------------------------------------------------------------- backward and step


def gradient(
    parameters: Parameters,
    X: FloatArray,
    y: NDArray[Any],
    sample_weight: FloatArray,
    *,
    activation: str,
    output_activation: str,
    loss: str,
) -> list[tuple[FloatArray, FloatArray]]:
    """Return the gradient (dW_l, db_l) of ``batch_loss``.

    delta_L = w (p - onehot) for cross_entropy, w (o - t) phi'(z_L) for squared_error;
    delta_l = (delta_{l+1} W_{l+1}^T) phi'(z_l);
    dW_l = a_{l-1}^T delta_l / B;   db_l = (sum of delta_l over the batch) / B.
    """
    check_loss(loss, output_activation, y)
    passed = forward(parameters, X, activation, output_activation)
    targets = target_matrix(y, passed.output.shape[1], passed.output.dtype)
    delta = sample_weight[:, None] * (passed.output - targets)
    if loss == "squared_error":
        delta = delta * activation_derivative(output_activation, passed.decision)

    gradients: list[tuple[FloatArray, FloatArray]] = []
    for layer in range(len(parameters) - 1, -1, -1):
        gradients.append((passed.a[layer].T @ delta / len(X), delta.sum(axis=0) / len(X)))
        if layer > 0:
            weights = parameters[layer][0]
            delta = (delta @ weights.T) * activation_derivative(activation, passed.z[layer - 1])
    return gradients[::-1]


def sgd_step(
    parameters: Parameters,
    gradients: list[tuple[FloatArray, FloatArray]],
    learning_rate: float,
) -> Parameters:
    """Return parameters - learning_rate * gradient, in the parameters' floating type."""
    rate = parameters[0][0].dtype.type(learning_rate)
    return [
        (weights - rate * d_weights, biases - rate * d_biases)
        for (weights, biases), (d_weights, d_biases) in zip(parameters, gradients, strict=True)
    ]


def learning_rate_at(learning_rate: float, schedule: str, position: int, length: int) -> float:
    """Return the rate of the batch that begins at a position of a replica's stream of that length.

    constant: learning_rate; linear: learning_rate * (1 - position / length).
    """
    if schedule == "constant":
        return learning_rate
    if schedule == "linear":
        return learning_rate * (1 - position / length)
    raise ValueError(f"learning_rate_schedule must be 'constant' or 'linear', got {schedule!r}")


# ------------------------------------------------------------------- shards, order, rounds, batches


def block(n_samples: int, threads: int, i: int) -> tuple[int, int]:
    """Return start and stop of block i of ``numpy.array_split`` of n_samples into threads blocks.

    The first (n_samples mod threads) blocks hold one sample more than the others.
    """
    size, larger_blocks = divmod(n_samples, threads)
    start = i * size + min(i, larger_blocks)
    stop = start + size + (1 if i < larger_blocks else 0)
    return start, stop


def sample_order(
    n_samples: int, threads: int, replica: int, epoch: int, shuffle: str | bool, seed: int
) -> IntArray:
    """Return the samples of a replica in an epoch, in order.

    Position j holds

    shuffle=False:    start + j
    shuffle="shards": start + permutation(size, key(replica, epoch))[j]
    shuffle="global": permutation(n_samples, key(0, epoch))[start + j]

    with key(s, e) = derive(derive(derive(seed, ORDER), s), e).
    """
    start, stop = block(n_samples, threads, replica)

    def key(stream: int) -> int:
        return derive(derive(derive(seed, ORDER), stream), epoch)

    if shuffle is False:
        return np.arange(start, stop)
    if shuffle == "shards":
        return start + permutation(stop - start, key(replica))
    if shuffle == "global":
        return permutation(n_samples, key(0))[start:stop]
    raise ValueError(f"shuffle must be 'global', 'shards' or False, got {shuffle!r}")


def rounds(
    n_samples: int,
    threads: int,
    epochs: int,
    merge_every: int | tuple[int, int] | None,
    batch_size: int = 1,
) -> list[list[tuple[int, int]]]:
    """Return, for each round and each replica, the span of stream positions that it trains on.

    A replica's stream has L = epochs * (size of its block) positions. merge_every=None: one round
    with the whole stream. merge_every=H: ceil(epochs * size of the largest block / H) rounds;
    round r has positions [r H, (r + 1) H), cut off at L. No epochs: no rounds.

    merge_every=(A, B), with L the length of the longest stream: a round at position p should have
    H(p) = A (B / A)^(p / L) positions. Counting rounds by r, 1 / H(p) = dr / dp, so that

    r(p) = integral from 0 to p of 1 / H = L / (A g) (1 - exp(-g p / L)),  g = log(B / A);

    round r ends where r(p) = r + 1, found here by bisection, rounded down to whole batches; the
    last one ends at L.
    """
    lengths = []
    for i in range(threads):
        start, stop = block(n_samples, threads, i)
        lengths.append(epochs * (stop - start))
    longest = lengths[0]
    if longest == 0:
        return []
    if isinstance(merge_every, tuple) and merge_every[0] == merge_every[1]:
        merge_every = merge_every[0]
    if merge_every is None:
        ends = [longest]
    elif isinstance(merge_every, int):
        ends = [*range(merge_every, longest, merge_every), longest]
    else:
        ends = growing_ends(longest, *merge_every, batch_size)
    return [
        [(min(first, length), min(last, length)) for length in lengths]
        for first, last in pairwise([0, *ends])
    ]


def growing_ends(length: int, first: int, last: int, batch_size: int) -> list[int]:
    """Return where the rounds end whose length goes from first to last."""
    growth = math.log(last / first)

    def rounds_until(p: float) -> float:
        return length / (first * growth) * (1 - math.exp(-growth * p / length))

    ends = []
    while rounds_until(length) > len(ends) + 1:
        low, high = 0.0, float(length)
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if rounds_until(middle) < len(ends) + 1 else (low, middle)
        # Where a bisection meets a whole number, it does so up to rounding.
        ends.append(int((high + 1e-6) // batch_size) * batch_size)
    return [*ends, length]


def batches(start: int, stop: int, epoch_length: int, batch_size: int) -> list[tuple[int, int]]:
    """Return the batches (first position, size) of the stream positions [start, stop) of a round.

    A batch has min(batch_size, rest of the epoch, rest of the round) samples.
    """
    result = []
    position = start
    while position < stop:
        rest_of_epoch = epoch_length - position % epoch_length
        size = min(batch_size, rest_of_epoch, stop - position)
        result.append((position, size))
        position += size
    return result


# ------------------------------------------------------------------------------------------ merges


@dataclass
class Outer:
    """The outer optimiser: its settings, and what it remembers from merge to merge.

    Attributes
    ----------
    optimizer : {"momentum", "nesterov", "bmuf", "slowmo"}
    learning_rate, momentum : float
    M : (size,) array or None
        The velocity; None stands for 0.
    """

    optimizer: str = "momentum"
    learning_rate: float = 1.0
    momentum: float = 0.0
    M: NDArray[np.float64] | None = None


def outer_step(outer: Outer, base: FloatArray, merged: FloatArray, rate: float) -> FloatArray:
    """Return the next master W' from W = base and u = merged - W, as the papers write it.

    momentum (heavy ball): M <- beta M + eta u;          W' = W + M
    bmuf (Chen & Huo 2016, eq. 6-8, classical block momentum, zeta = eta):
                           Delta <- beta Delta + zeta u; W' = W + Delta
    nesterov (Douillard et al. 2023; Nesterov in the form of Sutskever et al. 2013, gradient -u):
                           m <- beta m - u;              W' = W - eta (-u + beta m)
    slowmo (Wang et al. 2020, eq. 2-3, alpha = eta, learning rate gamma of the round):
                           v <- beta v - u / gamma;      W' = W - alpha gamma v
    """
    W = base.astype(np.float64)
    u = merged.astype(np.float64) - W
    M = np.zeros_like(u) if outer.M is None else outer.M
    beta, eta = outer.momentum, outer.learning_rate
    if outer.optimizer in ("momentum", "bmuf"):
        outer.M = beta * M + eta * u
        result = W + outer.M
    elif outer.optimizer == "nesterov":
        outer.M = beta * M - u
        result = W - eta * (-u + beta * outer.M)
    elif outer.optimizer == "slowmo":
        outer.M = beta * M - u / rate
        result = W - eta * rate * outer.M
    else:
        raise ValueError(f"unknown outer optimizer {outer.optimizer!r}")
    return result.astype(base.dtype)


@dataclass
class MergeInput:
    """What a merge method may look at, all on flat arrays; n replicas w_i.

    Attributes
    ----------
    base : (size,) array
        W, the parameters that the round started from.
    replicas : n arrays (size,)
        The w_i.
    sample_share : n numbers
        Share of replica i in the samples of the round.
    boundaries : layers + 1 integers
        Layer l is [boundaries[l], boundaries[l + 1]): weights and biases together.
    options : dict
        Settings of the method; what is missing has its default.
    """

    base: FloatArray
    replicas: Sequence[FloatArray]
    sample_share: Sequence[float]
    boundaries: Sequence[int]
    options: dict[str, float | str] = field(default_factory=dict)


def merge_average(given: MergeInput) -> FloatArray:
    """Eq. 1: (1 / n) sum_i w_i."""
    total = np.zeros(len(given.base), dtype=np.float64)
    for replica in given.replicas:
        total += replica
    return (total / len(given.replicas)).astype(given.base.dtype)


def merge_sum(given: MergeInput) -> FloatArray:
    """Eq. 2: sum_i w_i."""
    total = np.zeros(len(given.base), dtype=np.float64)
    for replica in given.replicas:
        total += replica
    return total.astype(given.base.dtype)


def merge_weighted_average(given: MergeInput) -> FloatArray:
    """sum_i sample_share_i w_i."""
    total = np.zeros(len(given.base), dtype=np.float64)
    for share, replica in zip(given.sample_share, given.replicas, strict=True):
        total += share * replica.astype(np.float64)
    return total.astype(given.base.dtype)


def merge_gradient_diversity(given: MergeInput) -> FloatArray:
    """Between the average (c = 1 / n) and the sum (c = 1) of the replicas' steps, layer by layer.

    d_i = w_i - W; in each layer
    c = clip(sum_i |d_i|^2 / |sum_i d_i|^2, 1 / n, 1), and c = 1 when the denominator is 0;
    W <- W + c sum_i d_i.
    """
    W = given.base.astype(np.float64)
    steps = [replica.astype(np.float64) - W for replica in given.replicas]
    scaled = np.zeros(len(W), dtype=np.float64)
    for start, stop in pairwise(given.boundaries):
        total = np.zeros(stop - start, dtype=np.float64)
        sum_of_squares = 0.0
        for step in steps:
            total += step[start:stop]
            sum_of_squares += float((step[start:stop] ** 2).sum())
        square_of_sum = float((total**2).sum())
        if square_of_sum == 0:
            c = 1.0
        else:
            c = min(max(sum_of_squares / square_of_sum, 1 / len(steps)), 1.0)
        scaled[start:stop] = c * total
    return (W + scaled).astype(given.base.dtype)


def merge_median(given: MergeInput) -> FloatArray:
    """The median of each parameter; of an even number, the mean of the two in the middle."""
    middle = np.median(np.array(given.replicas, dtype=np.float64), axis=0)
    return middle.astype(given.base.dtype)


def merge_delta_sum(given: MergeInput) -> FloatArray:
    """W + alpha sum_i (w_i - W), alpha a number, "1/n" or, by default, "1/sqrt(n)"."""
    n = len(given.replicas)
    alpha = given.options.get("alpha", "1/sqrt(n)")
    factor = {"1/n": 1 / n, "1/sqrt(n)": 1 / math.sqrt(n)}.get(str(alpha))
    W = given.base.astype(np.float64)
    total = sum((w.astype(np.float64) - W for w in given.replicas), np.zeros(len(W)))
    return (W + (float(alpha) if factor is None else factor) * total).astype(given.base.dtype)


def merge_adasum(given: MergeInput) -> FloatArray:
    """Adasum (Maleki et al. 2020, eq. 2 and section 3.3), layer by layer.

    Updates d_i = w_i - W are combined in neighbouring pairs, then what comes of those, until one is
    left; whoever has no partner goes on as it is. Two are combined to
    (1 - a.b / (2 a.a)) a + (1 - a.b / (2 b.b)) b; what is 0 adds nothing.
    """

    def adasum(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        if not a.any() or not b.any():
            return a + b
        return (1 - a @ b / (2 * (a @ a))) * a + (1 - a @ b / (2 * (b @ b))) * b

    W = given.base.astype(np.float64)
    for start, stop in pairwise(given.boundaries):
        level = [w[start:stop].astype(np.float64) - W[start:stop] for w in given.replicas]
        while len(level) > 1:
            alone = level[len(level) // 2 * 2 :]
            pairs = zip(level[0::2], level[1::2], strict=False)
            level = [adasum(a, b) for a, b in pairs] + alone
        W[start:stop] += level[0]
    return W.astype(given.base.dtype)


# Each returns the next master, rounded once from double to the base's floating type.
MERGES: dict[str, Callable[[MergeInput], FloatArray]] = {
    "average": merge_average,
    "sum": merge_sum,
    "weighted_average": merge_weighted_average,
    "median": merge_median,
    "delta_sum": merge_delta_sum,
    "gradient_diversity": merge_gradient_diversity,
    "adasum": merge_adasum,
}

# ------------------------------------------------------- merges that see layers as matrices, once


def reorderings(network: Parameters, activation: str) -> Iterator[Parameters]:
    """Go through every network that computes the same, by order and sign of its hidden units.

    Order: unit j of a layer takes its column of W_l, its entry of b_l and its row of W_{l+1} along.
    Sign: tanh(-z) = -tanh(z), and the same for identity, so all of these may be negated; with
    logistic(-z) = 1 - logistic(z) the next biases then grow by the row that is negated.
    """
    hidden = [len(biases) for _, biases in network[:-1]]
    signs_of = [[1.0] if activation == "relu" else [1.0, -1.0]] * sum(hidden)
    for orders in itertools.product(*(itertools.permutations(range(h)) for h in hidden)):
        for signs in itertools.product(*signs_of):
            changed = [(weights.copy(), biases.copy()) for weights, biases in network]
            remaining = list(signs)
            for layer, order in enumerate(orders):
                (W, b), (V, c) = changed[layer], changed[layer + 1]
                W, b, V = W[:, list(order)], b[list(order)], V[list(order)]
                for j in range(len(b)):
                    if remaining.pop(0) < 0:
                        if activation == "logistic":
                            c = c + V[j]
                        W[:, j], b[j], V[j] = -W[:, j], -b[j], -V[j]
                changed[layer], changed[layer + 1] = (W, b), (V, c)
            yield changed


def matching_similarity(networks: Sequence[Parameters], activation: str) -> float:
    """Return sum_{i<j} <w_i, w_j>, with logistic written as 1/2 + an odd function."""

    def odd(network: Parameters) -> FloatArray:
        moved = [
            (W, b + 0.5 * W.sum(axis=0) if activation == "logistic" and layer > 0 else b)
            for layer, (W, b) in enumerate(network)
        ]
        return flatten(moved)

    return sum(float(odd(a) @ odd(b)) for a, b in itertools.combinations(networks, 2))


def merge_weight_matching(networks: Sequence[Parameters], activation: str) -> Parameters:
    """Average the networks in those orders (and signs) that are the most similar, of all there are.

    The first network keeps its order. For the tiniest networks only.
    """
    choices = [list(reorderings(network, activation)) for network in networks[1:]]
    best = max(
        itertools.product(*choices),
        key=lambda chosen: matching_similarity([networks[0], *chosen], activation),
    )
    aligned = [networks[0], *best]
    return [
        (
            sum(network[layer][0] for network in aligned) / len(aligned),
            sum(network[layer][1] for network in aligned) / len(aligned),
        )
        for layer in range(len(networks[0]))
    ]


def merge_regmean(
    networks: Sequence[Parameters], activation: str, X: FloatArray, non_diagonal: float
) -> Parameters:
    """Solve min_W sum_i a |A_i W - A_i W_i|^2 + (1 - a) sum_k G_i[k, k] |W[k] - W_i[k]|^2.

    Each layer is one least squares problem, with a row for each sample and for each penalty. A_i
    has the inputs of the layer in network i, and a column of ones; G_i = A_i^T A_i. Of several
    solutions, the one next to the mean of the W_i.
    """
    merged: Parameters = []
    for layer in range(len(networks[0])):
        rows, wanted = [], []
        for network in networks:
            inputs = forward(network, X, activation, "identity").a[layer]
            A = np.column_stack([inputs, np.ones(len(inputs))])
            W = np.vstack(network[layer])
            rows += [np.sqrt(non_diagonal) * A]
            wanted += [np.sqrt(non_diagonal) * A @ W]
            penalty = np.diag(np.sqrt((1 - non_diagonal) * (A**2).sum(axis=0)))
            rows += [penalty]
            wanted += [penalty @ W]
        mean = sum(np.vstack(network[layer]) for network in networks) / len(networks)
        residual = np.vstack(wanted) - np.vstack(rows) @ mean
        # Inputs that differ by less than float32's rounding say nothing.
        solution = mean + np.linalg.lstsq(np.vstack(rows), residual, rcond=1e-5)[0]
        merged.append((solution[:-1], solution[-1]))
    return merged


def merge_refit_output(
    networks: Sequence[Parameters],
    activation: str,
    output_activation: str,
    X: FloatArray,
    targets: FloatArray,
    ridge: float,
    steps: int,
) -> Parameters:
    """Average, then fit the last layer to targets (N, n_outputs), one-hot for classes.

    Each step solves a least squares problem for the change (D, d) of the last layer, with a row for
    each sample, D^T a + d = -g / k, and one for each unit, sqrt(r) D = 0. g is the derivative of
    the loss by the pre-activations, k the curvature that it has at most (1/2 for cross-entropy,
    0.0771 for the squared error of logistic outputs, 1 for that of identity outputs),
    r = ridge times the mean over the units of sum a^2.
    """
    averaged: Parameters = [
        (
            sum(network[layer][0] for network in networks) / len(networks),
            sum(network[layer][1] for network in networks) / len(networks),
        )
        for layer in range(len(networks[0]))
    ]
    a = forward(averaged, X, activation, "identity").a[-2]
    samples = np.column_stack([a, np.ones(len(a))])
    r = ridge * (a**2).sum(axis=0).mean()
    units = np.sqrt(r) * np.eye(a.shape[1], a.shape[1] + 1)
    last = np.vstack(averaged[-1])
    for _ in range(steps):
        z = samples @ last
        g = activate(output_activation, z) - targets
        if output_activation != "softmax":
            g = g * activation_derivative(output_activation, z)
        k = {"softmax": 0.5, "logistic": 0.0771, "identity": 1.0}[output_activation]
        wanted = np.vstack([-g / k, np.zeros((len(units), g.shape[1]))])
        last = last + np.linalg.lstsq(np.vstack([samples, units]), wanted, rcond=1e-5)[0]
    return [*averaged[:-1], (last[:-1], last[-1])]


def ensemble_decision(networks: Sequence[Parameters], activation: str, X: FloatArray) -> FloatArray:
    """Return the mean of the networks' last pre-activations."""
    decisions = [forward(network, X, activation, "identity").decision for network in networks]
    result: FloatArray = np.mean(decisions, axis=0)
    return result


# In double. They take what they need, and not all of them give a network.
ONE_SHOT_MERGES: dict[str, Callable[..., Any]] = {
    "weight_matching": merge_weight_matching,
    "regmean": merge_regmean,
    "refit_output": merge_refit_output,
    "ensemble": ensemble_decision,
}

# ---------------------------------------------------------------------------------------- training


@dataclass
class TrainingResult:
    """What a training leaves.

    Attributes
    ----------
    parameters : list of (W, b)
        The master.
    replicas : list of list of (W, b)
        The replicas that went into the last merge; empty when there was no round.
    losses : (rounds,) array of float64
        Mean of sample_weight * loss over the samples of a round, each before the step that uses it.
    sample_counts : (rounds, threads) array of int64
        Samples that each replica processed in each round.
    """

    parameters: Parameters
    replicas: list[Parameters]
    losses: NDArray[np.float64]
    sample_counts: IntArray


def train_replica(
    parameters: Parameters,
    X: FloatArray,
    y: NDArray[Any],
    sample_weight: FloatArray,
    stream: IntArray,
    spans: Sequence[tuple[int, int]],
    *,
    learning_rate: float,
    learning_rate_schedule: str,
    activation: str,
    output_activation: str,
    loss: str,
) -> tuple[Parameters, float]:
    """Take one SGD step for each batch (first position, size) of a replica's stream of samples.

    Returns the new parameters and the sum of sample_weight * loss over the samples, each taken
    before the step that uses it.
    """
    network = {"activation": activation, "output_activation": output_activation, "loss": loss}
    loss_sum = 0.0
    for position, size in spans:
        i = stream[position : position + size]
        loss_sum += size * batch_loss(parameters, X[i], y[i], sample_weight[i], **network)
        gradients = gradient(parameters, X[i], y[i], sample_weight[i], **network)
        rate = learning_rate_at(learning_rate, learning_rate_schedule, position, len(stream))
        parameters = sgd_step(parameters, gradients, rate)
    return parameters, loss_sum


def train_parallel(
    X: ArrayLike,
    y: ArrayLike,
    threads: int,
    merge: str,
    *,
    hidden_layer_sizes: Sequence[int] = (128,),
    activation: str = "relu",
    output_activation: str,
    loss: str,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    learning_rate_schedule: str = "linear",
    merge_every: int | tuple[int, int] | None,
    merge_options: dict[str, float | str] | None = None,
    outer_optimizer: str = "momentum",
    outer_learning_rate: float = 1.0,
    outer_momentum: float,
    last_merge: str | None = None,
    warmup_samples: int = 0,
    init: str | Parameters = "shared",
    init_scale: str | float,
    shuffle: str | bool = "global",
    sample_weight: ArrayLike | None = None,
    seed: int = 0,
    dtype: DTypeLike = np.float32,
) -> TrainingResult:
    """Train ``threads`` replicas one after the other, round by round, and merge them.

    The keywords are those of ``omp_mlp.train_parallel``; where its default is "auto", the value
    must be given here. X is dense and already scaled. y holds class indices (integers from 0) or
    real targets, (N,) or (N, k). init is "shared" (every replica starts as replica 0),
    "independent", or the parameters to start from, whose layer sizes then hold.

    In each round every replica trains on its own samples from where the last merge left it;
    then master = merge(base = the round's start, replicas), and all go on from the master.
    With independent starts the base of the first round is the start of replica 0.

    A warm-up is a training of one replica on the first samples of what would be its order if it
    were alone, at the constant rate; all replicas start from its end. It is the first round of the
    losses and of the sample counts (of replica 0).
    """
    X = np.asarray(X).astype(dtype)
    y = np.asarray(y)
    is_classes = np.issubdtype(y.dtype, np.integer)
    if not is_classes:
        y = y.astype(dtype).reshape(len(y), -1)
    n_samples, n_features = X.shape
    weight = np.ones(n_samples) if sample_weight is None else np.asarray(sample_weight)
    weight = weight.astype(dtype)

    if isinstance(init, str):
        n_outputs = int(y.max()) + 1 if is_classes else y.shape[1]
        layer_sizes = [n_features, *hidden_layer_sizes, n_outputs]
        if init not in ("shared", "independent"):
            raise ValueError(f"init must be 'shared', 'independent' or parameters, got {init!r}")
        replicas = [
            initial_parameters(
                layer_sizes, seed, i if init == "independent" else 0, init_scale, dtype
            )
            for i in range(threads)
        ]
    else:
        layer_sizes = layer_sizes_of(init)
        start = [(weights.astype(dtype), biases.astype(dtype)) for weights, biases in init]
        replicas = [start] * threads

    streams = [
        np.concatenate(
            [np.zeros(0, dtype=np.int64)]
            + [sample_order(n_samples, threads, i, e, shuffle, seed) for e in range(epochs)]
        )
        for i in range(threads)
    ]
    outer = Outer(outer_optimizer, outer_learning_rate, outer_momentum)
    master = replicas[0]
    trained: list[Parameters] = []
    losses: list[float] = []
    sample_counts: list[list[int]] = []
    network = {
        "activation": activation,
        "output_activation": output_activation,
        "loss": loss,
    }

    if warmup_samples > 0:
        epochs_of_warmup = math.ceil(warmup_samples / n_samples)
        order = [sample_order(n_samples, 1, 0, e, shuffle, seed) for e in range(epochs_of_warmup)]
        master, loss_sum = train_replica(
            master,
            X,
            y,
            weight,
            np.concatenate(order),
            batches(0, warmup_samples, n_samples, batch_size),
            learning_rate=learning_rate,
            learning_rate_schedule="constant",
            **network,
        )
        replicas = [master] * threads
        losses.append(loss_sum / warmup_samples)
        sample_counts.append([warmup_samples] + [0] * (threads - 1))

    all_rounds = rounds(n_samples, threads, epochs, merge_every, batch_size)
    for number, spans in enumerate(all_rounds):
        trained = []
        loss_sum = 0.0
        for i, (first, last) in enumerate(spans):
            block_start, block_stop = block(n_samples, threads, i)
            parameters, replica_loss = train_replica(
                replicas[i],
                X,
                y,
                weight,
                streams[i],
                batches(first, last, block_stop - block_start, batch_size),
                learning_rate=learning_rate,
                learning_rate_schedule=learning_rate_schedule,
                activation=activation,
                output_activation=output_activation,
                loss=loss,
            )
            trained.append(parameters)
            loss_sum += replica_loss
        counts = [last - first for first, last in spans]
        ends_otherwise = last_merge is not None and number + 1 == len(all_rounds)
        given = MergeInput(
            base=flatten(master),
            replicas=[flatten(parameters) for parameters in trained],
            sample_share=[count / sum(counts) for count in counts],
            boundaries=layer_boundaries(layer_sizes),
            options=merge_options or {},
        )
        if ends_otherwise:
            merged = MERGES[str(last_merge)](given)
        else:
            rate = learning_rate_at(
                learning_rate, learning_rate_schedule, spans[0][0], all_rounds[-1][0][1]
            )
            merged = outer_step(outer, given.base, MERGES[merge](given), rate)
        master = unflatten(merged, layer_sizes)
        replicas = [master] * threads
        losses.append(loss_sum / sum(counts))
        sample_counts.append(counts)

    return TrainingResult(
        parameters=master,
        replicas=trained,
        losses=np.array(losses, dtype=np.float64),
        sample_counts=np.array(sample_counts, dtype=np.int64).reshape(-1, threads),
    )
