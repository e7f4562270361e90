"""Weight matching: bring hidden units into one order before the networks are averaged.

Git Re-Basin (Ainsworth, Hayase & Srinivasa 2023). A network computes the same when the hidden units
of a layer change their order together with the weights that enter and leave them. Networks that
started apart have different orders. The method looks for the orders in which the networks'
parameters have the largest inner products with each other. It goes layer by layer: with the other
layers held fixed, the best order of one layer is a linear assignment problem.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from omp_mlp import checks
from omp_mlp.activations import ACTIVATIONS, activate
from omp_mlp.merging.layers import Array, Layers, combine

# A change that gains less than this part of what could be gained at most is rounding.
_LEAST_GAIN = 1e-12


def require_scipy() -> None:
    """Raise an error that says how to get SciPy, if it is missing."""
    checks.require_scipy("matching hidden units (weight_matching, align)", "merge")


def match(networks: Sequence[Layers], activation: str) -> list[Layers]:
    """Bring the hidden units of all networks into the order of the first one's.

    Each network is matched to the sum of those before it; then each one in turn to the sum of all
    others, until none changes (the paper's Algorithm 3, in a fixed order; it has the mean, for
    which the best order is the same). Every change makes the sum of the inner products of all pairs
    larger, so that this ends.

    Units of odd activations may change their sign too: phi(-z) - phi(0) = -(phi(z) - phi(0)). Where
    phi(0) is not 0, as 1/2 for the logistic one, it moves to the next layer's biases meanwhile.
    """
    signed = ACTIVATIONS[activation].is_odd
    shift = float(activate(activation, np.zeros(1))[0]) if signed else 0.0
    centred = [_move_to_biases(network, shift) for network in networks]
    matched = [centred[0]]
    total = centred[0]
    for network in centred[1:]:
        matched.append(_match_one(total, network, signed))
        total = combine(total, matched[-1], 1.0)
    changed = len(matched) > 1
    while changed:
        changed = False
        for i, network in enumerate(matched):
            others = combine(total, network, -1.0)
            matched[i], gained = _improve(others, network, signed)
            if gained:
                total = combine(others, matched[i], 1.0)
                changed = True
    return [_move_to_biases(network, -shift) for network in matched]


def _match_one(reference: Layers, network: Layers, signed: bool) -> Layers:
    """Match one network to another, from the better of two starts.

    One is the order that it has: right for networks with a common start. The other goes forward
    from the inputs, whose order is known, and matches each layer by the weights that enter it: it
    finds a reordered copy at any depth.
    """
    forward = network
    for layer in range(len(network) - 1):
        forward = _reorder(forward, layer, *_assign(_entering(reference, forward, layer), signed))
    starts = [_improve(reference, start, signed)[0] for start in (network, forward)]
    return max(starts, key=lambda start: _similarity(reference, start))  # the first of equals


def _improve(reference: Layers, network: Layers, signed: bool) -> tuple[Layers, bool]:
    """Reorder one layer after the other as long as that gains; tell whether it did."""
    least = _LEAST_GAIN * np.sqrt(_similarity(reference, reference) * _similarity(network, network))
    hidden = len(network) - 1
    layer = unchanged = 0
    gained = False
    while unchanged < hidden:
        similarity = _entering(reference, network, layer)
        similarity += reference[layer + 1][0] @ network[layer + 1][0].T
        order, signs = _assign(similarity, signed)
        best = float(np.sum(signs * similarity[np.arange(len(order)), order]))
        if best - float(np.trace(similarity)) > least:
            network = _reorder(network, layer, order, signs)
            unchanged, gained = 0, True
        unchanged += 1
        layer = (layer + 1) % hidden
    return network, gained


def _similarity(one: Layers, other: Layers) -> float:
    return sum(
        float(np.vdot(W, V) + np.vdot(b, c)) for (W, b), (V, c) in zip(one, other, strict=True)
    )


def _entering(reference: Layers, network: Layers, layer: int) -> Array:
    """Return the inner products of the weights and biases that enter unit j here and k there."""
    (W, b), (V, c) = reference[layer], network[layer]
    products: Array = W.T @ V + np.outer(b, c)
    return products


def _assign(similarity: Array, signed: bool) -> tuple[npt.NDArray[np.intp], Array]:
    """Return which unit k goes to which place j, and with which sign."""
    from scipy.optimize import linear_sum_assignment

    _, order = linear_sum_assignment(np.abs(similarity) if signed else similarity, maximize=True)
    chosen = similarity[np.arange(len(order)), order]
    signs = np.where(chosen < 0, -1.0, 1.0) if signed else np.ones(len(order))
    return order, signs


def _reorder(network: Layers, layer: int, order: npt.NDArray[np.intp], signs: Array) -> Layers:
    """Reorder the units of a hidden layer, with the weights that enter and leave them."""
    (W, b), (V, c) = network[layer : layer + 2]
    changed = list(network)
    changed[layer] = (W[:, order] * signs, b[order] * signs)
    changed[layer + 1] = (V[order] * signs[:, None], c)
    return changed


def _move_to_biases(network: Layers, shift: float) -> Layers:
    """Write units phi as phi - shift, with what that leaves in the next layer's biases."""
    return [
        (W, b if layer == 0 or shift == 0 else b + shift * W.sum(axis=0))
        for layer, (W, b) in enumerate(network)
    ]
