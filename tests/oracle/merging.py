"""The outer step and the merges: several networks become one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oracle.network import FloatArray, Parameters, activate, activation_derivative, flatten, forward


@dataclass
class Outer:
    """The outer optimiser: its settings, and what it remembers from merge to merge.

    Attributes
    ----------
    optimizer : {"momentum", "nesterov", "bmuf", "slowmo"}
    learning_rate, momentum : float
    M : (size,) array or None
        The velocity; None stands for 0.
    rate : float
        The rate of the last round; 0 before the first.
    """

    optimizer: str = "momentum"
    learning_rate: float = 1.0
    momentum: float = 0.0
    M: NDArray[np.float64] | None = None
    rate: float = 0.0


def outer_step(outer: Outer, base: FloatArray, merged: FloatArray, rate: float) -> FloatArray:
    """Return the next master W' from W = base and u = merged - W, as the papers write it.

    momentum (heavy ball): M <- beta M + eta u;          W' = W + M
    bmuf (Chen & Huo 2016, eq. 6-8, classical block momentum, zeta = eta):
                           Delta <- beta Delta + zeta u; W' = W + Delta
    nesterov (Douillard et al. 2023; Nesterov in the form of Sutskever et al. 2013, gradient -u):
                           m <- beta m - u;              W' = W - eta (-u + beta m)
    slowmo (Wang et al. 2020, eq. 2-3, alpha = eta, learning rate gamma of the round):
                           v <- beta v - u / gamma;      W' = W - alpha gamma v
    with M = -gamma v, and so M <- beta (gamma / last gamma) M + u;  W' = W + alpha M. Where gamma
    does not fall, the ratio is left out: gamma may rise from 0.
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
        ratio = rate / outer.rate if rate < outer.rate else 1.0
        outer.M, outer.rate = beta * ratio * M + u, rate
        result = W + eta * outer.M
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
    is_odd = activation in ("tanh", "logistic", "identity")
    signs_of = [[1.0, -1.0] if is_odd else [1.0]] * sum(hidden)
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
