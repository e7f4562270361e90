"""Updates that ranks send with fewer bits, and what each of them keeps of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from oracle.merging import MergeInput
from oracle.network import FloatArray


def to_bfloat16(values: FloatArray) -> FloatArray:
    """Return the nearest float32 numbers whose lower 16 bits are 0; of two, the even one.

    A bfloat16 number has the upper 16 bits of a float32 number: its sign, its exponent, and 7 bits
    of its fraction. Above the largest one, the next is taken to be 2^128, and is infinite.
    """
    is_nan = np.isnan(values)
    numbers = np.where(is_nan, np.float32(0), values)
    below = (numbers.view(np.uint32) & 0xFFFF0000).view(np.float32)  # towards 0
    above = (below.view(np.uint32) + np.uint32(0x10000)).view(np.float32)  # away from 0
    # After infinity comes NaN, and no number is between them.
    above = np.where(np.isnan(above), below, above)

    def exact(of_float32: FloatArray) -> NDArray[np.float64]:
        beyond = np.copysign(np.float64(2.0**128), of_float32)
        return np.where(np.isinf(of_float32), beyond, of_float32.astype(np.float64))

    down = np.abs(exact(numbers) - exact(below))
    up = np.abs(exact(above) - exact(numbers))
    is_even = below.view(np.uint32) & 0x10000 == 0
    nearest = np.where((down < up) | ((down == up) & is_even), below, above)
    return np.where(is_nan, np.float32(np.nan), nearest)


def sum_up_a_tree(
    updates: Sequence[FloatArray], left: Sequence[FloatArray]
) -> tuple[FloatArray, list[FloatArray]]:
    """Return the sum that goes down to all ranks, and what is left of each.

    Rank r sends to r without its lowest set bit. A rank adds what it gets to its own, and to what
    was left there; it sends the bfloat16 of that, and keeps the rest.
    """
    kept = list(left)

    def sent(rank: int) -> FloatArray:
        total = updates[rank].copy()
        bit = 1
        while rank + bit < len(updates) and (rank == 0 or bit < rank & -rank):
            total += sent(rank + bit)
            bit *= 2
        total += left[rank]
        given = to_bfloat16(total)
        kept[rank] = total - given
        return given

    return sent(0), kept


def sum_up_in_parts(
    updates: Sequence[FloatArray], left: Sequence[FloatArray]
) -> tuple[FloatArray, list[FloatArray]]:
    """Return the sum that all ranks put together, and what is left of each.

    All ranks send part r to rank r, as bfloat16, and keep the rest. Rank r adds them up, and sends
    the bfloat16 of the sum to all. What is left of the sum is kept by rank r, too.
    """
    ranks, size = len(updates), len(updates[0])
    totals = [one + rest for one, rest in zip(updates, left, strict=True)]
    given = [to_bfloat16(total) for total in totals]
    kept = [total - one for total, one in zip(totals, given, strict=True)]
    sums = given[0].copy()
    for one in given[1:]:
        sums += one
    part = -(-size // ranks)
    for rank in range(ranks):
        own = slice(rank * part, (rank + 1) * part)
        total = sums[own] + kept[rank][own]
        sums[own] = to_bfloat16(total)
        kept[rank][own] = total - sums[own]
    return sums, kept


def choose_largest(updates: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """Return the updates of the largest magnitudes with zeros elsewhere, and the rest.

    Of equal magnitudes, the first are the larger ones.
    """
    order = np.argsort(-np.abs(updates), kind="stable")
    sent, left = np.zeros_like(updates), updates.copy()
    sent[order[:count]] = updates[order[:count]]
    left[order[:count]] = 0
    return sent, left


def merge_largest(
    method: str, given: MergeInput, ranks: Sequence[int], count: int, left: list[FloatArray]
) -> FloatArray:
    """Merge by sums to which each rank adds the largest of its updates alone.

    ``ranks[i]`` is the rank of replica i. With d_i = w_i - W and coefficients k_i that do not
    depend on the d_i, rank r has u_r = left_r + sum_{i of r} k_i d_i. It sends s_r, the largest
    entries of u_r, and left_r = u_r - s_r. Then W' = W + sum_r s_r; for "sum", whose k_i add up to
    n, there is (n - 1) W besides.

    Gradient diversity has k_i = 1 in u_r, and W' = W + c sum_r s_r, for each layer, with

    c = clip(sum_r (|s_r|^2 / |u_r|^2 sum_{i of r} |d_i|^2) / |sum_r s_r|^2, 1/n, 1).

    ``left`` is changed.
    """
    n = len(given.replicas)
    W = given.base.astype(np.float64)
    alpha = given.options.get("alpha", 1 / math.sqrt(n))
    of_each = {
        "average": [1 / n] * n,
        "sum": [1.0] * n,
        "weighted_average": given.sample_share,
        "delta_sum": [float(alpha)] * n,
        "gradient_diversity": [1.0] * n,
    }[method]
    updates = [w.astype(np.float64) - W for w in given.replicas]
    total = np.zeros_like(W)
    squares = np.zeros(len(given.boundaries) - 1)
    for rank in range(len(left)):
        own = [i for i in range(n) if ranks[i] == rank]
        u = sum((of_each[i] * updates[i] for i in own), np.zeros_like(W)).astype(np.float32)
        u = u + left[rank]
        sent, left[rank] = choose_largest(u, count)
        total += sent
        for layer, (start, stop) in enumerate(pairwise(given.boundaries)):
            s, all_of_it = sent[start:stop].astype(float), u[start:stop].astype(float)
            if s.any():
                share = s @ s / (all_of_it @ all_of_it)
                squares[layer] += share * sum(
                    updates[i][start:stop] @ updates[i][start:stop] for i in own
                )
    if method == "gradient_diversity":
        for layer, (start, stop) in enumerate(pairwise(given.boundaries)):
            norm = total[start:stop] @ total[start:stop]
            c = squares[layer] / norm if norm > 0 else 1.0
            total[start:stop] *= min(max(c, 1 / n), 1.0)
    if method == "sum":
        total += (n - 1) * W
    return (W + total).astype(given.base.dtype)
