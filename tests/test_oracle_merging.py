"""The oracle's merges and outer steps, by hand."""

from __future__ import annotations

import numpy as np
import pytest

import oracle


def merged(
    name: str,
    base: list[float],
    replicas: list[list[float]],
    share: list[float] | None = None,
    boundaries: list[int] | None = None,
    options: dict[str, float | str] | None = None,
) -> list[float]:
    result = oracle.MERGES[name](
        oracle.MergeInput(
            base=np.array(base, dtype=np.float32),
            replicas=[np.array(replica, dtype=np.float32) for replica in replicas],
            sample_share=share or [1 / len(replicas)] * len(replicas),
            boundaries=boundaries or [0, len(base)],
            options=options or {},
        )
    )
    assert result.dtype == np.float32
    return [float(value) for value in result]


def test_average_sum_and_weighted_average_by_hand() -> None:
    replicas = [[1.0, 2.0], [3.0, -6.0]]
    assert merged("average", [9, 9], replicas) == [2, -2]
    assert merged("sum", [9, 9], replicas) == [4, -4]
    # 3/4 * 1 + 1/4 * 3 = 1.5;   3/4 * 2 - 1/4 * 6 = 0
    assert merged("weighted_average", [9, 9], replicas, share=[0.75, 0.25]) == [1.5, 0]


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [
        # Base (1, 1). The same step twice, d = (2, 0): 8 / 16 = 1/2 = 1/n, the average.
        ([[3.0, 1.0], [3.0, 1.0]], [3.0, 1.0]),
        # Steps at right angles, (2, 0) and (0, 4): 20 / 20 = 1, the sum of the steps.
        ([[3.0, 1.0], [1.0, 5.0]], [3.0, 5.0]),
        # Opposed in part, (4, 0) and (-2, 0): 20 / 4 = 5, cut off at 1: the sum again.
        ([[5.0, 1.0], [-1.0, 1.0]], [3.0, 1.0]),
        # In between, (2, 0) and (2, 4): (4 + 20) / (16 + 16) = 3/4; 1 + 3/4 * 4 = 4.
        ([[3.0, 1.0], [3.0, 5.0]], [4.0, 4.0]),
        # Opposed exactly, (2, 1) and (-2, -1): the denominator is 0; nothing moves.
        ([[3.0, 2.0], [-1.0, 0.0]], [1.0, 1.0]),
        # Nobody moved.
        ([[1.0, 1.0], [1.0, 1.0]], [1.0, 1.0]),
        # One replica: its step as it is.
        ([[2.0, 7.0]], [2.0, 7.0]),
    ],
)
def test_gradient_diversity_by_hand(replicas: list[list[float]], expected: list[float]) -> None:
    assert merged("gradient_diversity", [1, 1], replicas) == expected


def test_gradient_diversity_layer_by_layer() -> None:
    # Base (1, 1), one weight a layer, steps (2, 4) and (2, 0): c = 8/16 = 1/2 in the first layer
    # and 16/16 = 1 in the second: 1 + 1/2 * 4 = 3 and 1 + 4 = 5.
    replicas = [[3.0, 5.0], [3.0, 1.0]]
    assert merged("gradient_diversity", [1, 1], replicas, boundaries=[0, 1, 2]) == [3, 5]
    # Both in one layer: c = (4 + 16 + 4) / (16 + 16) = 3/4: 1 + 3/4 * 4 = 4 in both.
    assert merged("gradient_diversity", [1, 1], replicas) == [4, 4]


def test_median_by_hand() -> None:
    replicas = [[1.0, 9.0], [5.0, -2.0], [2.0, 100.0]]
    assert merged("median", [9, 9], replicas) == [2, 9]
    # Of four, the mean of the two in the middle: (2 + 5) / 2 and (9 + 20) / 2.
    assert merged("median", [9, 9], [*replicas, [7.0, 20.0]]) == [3.5, 14.5]


def test_delta_sum_by_hand() -> None:
    # Base (1, 1), updates (2, 0), (0, 4), (2, 4), (0, 0): their sum is (4, 8).
    replicas = [[3.0, 1.0], [1.0, 5.0], [3.0, 5.0], [1.0, 1.0]]
    assert merged("delta_sum", [1, 1], replicas, options={"alpha": 0.25}) == [2, 3]
    assert merged("delta_sum", [1, 1], replicas, options={"alpha": "1/n"}) == [2, 3]
    assert merged("delta_sum", [1, 1], replicas, options={"alpha": 1.0}) == [5, 9]
    assert merged("delta_sum", [1, 1], replicas) == [3, 5]  # half of it


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [
        # Base (1, 1). The same update twice: each loses a half; the average.
        ([[3.0, 1.0], [3.0, 1.0]], [3.0, 1.0]),
        # At right angles: the sum.
        ([[3.0, 1.0], [1.0, 5.0]], [3.0, 5.0]),
        # (2, 0) and (2, 4): a.b = 4, so (1 - 4/8) (2, 0) + (1 - 4/40) (2, 4) = (2.8, 3.6).
        ([[3.0, 1.0], [3.0, 5.0]], [3.8, 4.6]),
        # (2, 0), (2, 0) and (0, 1): the first two make (2, 0), at right angles to the third.
        ([[3.0, 1.0], [3.0, 1.0], [1.0, 2.0]], [3.0, 2.0]),
        # One that did not move changes nothing.
        ([[3.0, 5.0], [1.0, 1.0]], [3.0, 5.0]),
    ],
)
def test_adasum_by_hand(replicas: list[list[float]], expected: list[float]) -> None:
    assert merged("adasum", [1, 1], replicas) == pytest.approx(expected, rel=1e-6)


def outer_steps(outer: oracle.Outer, rates: list[float]) -> list[float]:
    """Return the masters from 1, one after another, by merges that add 8, 8, 0."""
    masters = [1.0]
    for rate, update in zip(rates, (8.0, 8.0, 0.0), strict=True):
        base = np.array(masters[-1:], dtype=np.float32)
        masters.append(float(oracle.outer_step(outer, base, base + np.float32(update), rate)[0]))
    return masters[1:]


def test_outer_steps_by_hand() -> None:
    alike = [1.0, 1.0, 1.0]
    # M = 8, 12, 6.
    assert outer_steps(oracle.Outer("momentum", 1.0, 0.5), alike) == [9, 21, 27]
    # Half of it each time.
    assert outer_steps(oracle.Outer("momentum", 0.5, 0.5), alike) == [5, 11, 14]
    assert outer_steps(oracle.Outer("bmuf", 0.5, 0.5), alike) == [5, 11, 14]
    # u + beta M = 8 + 4, 8 + 6, 0 + 3.
    assert outer_steps(oracle.Outer("nesterov", 1.0, 0.5), alike) == [13, 27, 30]
    # -v = 8 / 4, 1 + 8 / 2, 2.5 + 0; times the rates 4, 2, 1: 8, 10, 2.5.
    assert outer_steps(oracle.Outer("slowmo", 1.0, 0.5), [4.0, 2.0, 1.0]) == [9, 19, 21.5]
    assert outer_steps(oracle.Outer("momentum", 1.0, 0.0), alike) == [9, 17, 17]


def test_sums_are_rounded_once() -> None:
    # In float32, 2^24 + 1 + 1 + 1 + 1 stays at 2^24 when rounded after each term.
    replicas = [[2.0**24]] + [[1.0]] * 4
    assert merged("sum", [0], replicas) == [2**24 + 4]
    assert merged("average", [0], replicas) == [np.float32((2**24 + 4) / 5)]
