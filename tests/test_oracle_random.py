"""The oracle's random numbers and permutations: by hand, and by statistics of fixed keys."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

import oracle


def test_splitmix64_known_outputs() -> None:
    # The first outputs of SplitMix64 with seed 0, as published with the generator.
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [oracle.derive(0, i) for i in range(3)] == expected
    assert oracle.derive_many(0, 3).tolist() == expected


@pytest.mark.parametrize("key", [0, 1, 2**63, 2**64 - 1, 0x0123456789ABCDEF])
def test_derive_many_is_derive(key: int) -> None:
    assert oracle.derive_many(key, 50).tolist() == [oracle.derive(key, i) for i in range(50)]


def test_derive_works_modulo_2_64() -> None:
    assert oracle.derive(2**64 + 5, 7) == oracle.derive(5, 7)
    assert oracle.derive(-1, 0) == oracle.derive(2**64 - 1, 0)
    assert 0 <= oracle.derive(2**64 - 1, 2**40) < 2**64


# ---------------------------------------------------------------------------------- permutation

KEYS = [0, 1, 42, 2**63 + 11, 2**64 - 1]


def test_permutation_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # n = 13: four bits, shift 2. Key 0 derives the outputs of SplitMix64 with seed 0; the first
    # four end in the hexadecimal digits F, 4, F, C: m_0 = 15, c_0 = 4, m_1 = 15, c_1 = 12 modulo
    # 16, and 15 x = -x. With two rounds only, [y] standing for y xor (y >> 2):
    #   0: 4 - 0 = 4, [4] = 5;     12 - 5 = 7, [7] = 6
    #   1: 4 - 1 = 3, [3] = 3;     12 - 3 = 9, [9] = 11
    #   2: 4 - 2 = 2, [2] = 2;     12 - 2 = 10, [10] = 8
    #   3: 4 - 3 = 1, [1] = 1;     12 - 1 = 11, [11] = 9
    #   4: 4 - 4 = 0, [0] = 0;     12 - 0 = 12, [12] = 15, not below 13; so once more from 15:
    #      4 - 15 = 5, [5] = 4;    12 - 4 = 8, [8] = 10
    #   5: 4 - 5 = 15, [15] = 12;  12 - 12 = 0, [0] = 0
    #   6: 4 - 6 = 14, [14] = 13;  12 - 13 = 15, [15] = 12
    monkeypatch.setattr(oracle.random, "PERMUTATION_ROUNDS", 2)
    assert [oracle.permute(i, 13, 0) for i in range(7)] == [6, 11, 8, 9, 10, 0, 12]


@pytest.mark.parametrize("n", range(1, 71))
def test_permutation_is_a_bijection(n: int) -> None:
    for key in KEYS:
        images = [oracle.permute(i, n, key) for i in range(n)]
        assert sorted(images) == list(range(n))
        assert oracle.permutation(n, key).tolist() == images


def test_permutation_of_nothing_and_of_many() -> None:
    assert oracle.permutation(0, 3).shape == (0,)
    n = 50_000
    images = oracle.permutation(n, 3)
    np.testing.assert_array_equal(np.sort(images), np.arange(n))
    assert all(oracle.permute(i, n, 3) == images[i] for i in (0, 1, 777, n - 1))


def epoch_keys(count: int) -> list[int]:
    """Return the keys that the first epochs of replica 0 use with seed 0."""
    replica = oracle.derive(oracle.derive(0, oracle.ORDER), 0)
    return [oracle.derive(replica, epoch) for epoch in range(count)]


# The bounds are 99.9 % quantiles of chi-square with n! - 1 degrees of freedom. The keys are fixed,
# so the answer is the same every time. A permutation that never occurs adds keys / n! to the sum,
# one that occurs twice as often as it should adds as much; with 7 and 8 elements, where a given
# permutation is expected at most once, this counts coincidences, as in the birthday paradox.
@pytest.mark.parametrize(
    ("n", "keys", "bound"),
    [
        (2, 4800, 10.83),
        (3, 4800, 20.52),
        (4, 4800, 49.73),
        (5, 4800, 172.4),
        (7, 5040, 5354.0),
        (8, 5040, 41199.0),
    ],
)
def test_all_permutations_of_a_few_are_equally_frequent(n: int, keys: int, bound: float) -> None:
    counts = Counter(tuple(oracle.permutation(n, key).tolist()) for key in epoch_keys(keys))
    expected = keys / math.factorial(n)
    never = math.factorial(n) - len(counts)
    seen = sum((count - expected) ** 2 / expected for count in counts.values())
    assert seen + never * expected < bound


def test_no_key_keeps_the_bits_of_the_positions() -> None:
    # For each bit of the position and each bit of the value: how often they agree over the 256
    # positions, standardised (mean 128, variance 256^2 / (4 * 255)). Of 64 * 3000 normal variables
    # the largest is beyond 5.8 once in 800 times; a key that sends all even positions to odd values
    # shows as sqrt(255) = 16.
    n = 256
    signs = 1.0 - 2.0 * ((np.arange(n)[:, None] >> np.arange(8)) & 1)
    largest = 0.0
    for key in epoch_keys(3000):
        z = signs.T @ signs[oracle.permutation(n, key)] * math.sqrt(n - 1) / n
        largest = max(largest, float(np.abs(z).max()))
    assert largest < 5.8


@pytest.fixture(scope="module")
def orders_of_1000() -> NDArray[np.int64]:
    """600 permutations of 1000, a row for each key."""
    return np.array([oracle.permutation(1000, key) for key in epoch_keys(600)])


def test_every_position_sees_all_values(orders_of_1000: NDArray[np.int64]) -> None:
    # The value at a position is uniform on 0..n-1: mean (n - 1) / 2, variance (n^2 - 1) / 12.
    # Of 1000 normal variables the largest is beyond 4.9 once in 1000 times, and their mean square
    # is 1 with standard deviation sqrt(2 / 1000) = 0.045.
    keys, n = orders_of_1000.shape
    z = (orders_of_1000.mean(axis=0) - (n - 1) / 2) / math.sqrt((n**2 - 1) / 12 / keys)
    assert np.abs(z).max() < 4.9
    assert (z**2).mean() == pytest.approx(1, abs=4 * 0.045)


def test_position_and_value_are_uncorrelated(orders_of_1000: NDArray[np.int64]) -> None:
    # For a random permutation r sqrt(n - 1) has mean 0 and variance 1 exactly; the means over 600
    # keys have standard deviations 1 / sqrt(600) = 0.041 and about sqrt(2 / 600) = 0.058.
    n = orders_of_1000.shape[1]
    positions = np.arange(n) - (n - 1) / 2
    r = (orders_of_1000 - (n - 1) / 2) @ positions / (positions @ positions)
    z = r * math.sqrt(n - 1)
    assert z.mean() == pytest.approx(0, abs=4 * 0.041)
    assert (z**2).mean() == pytest.approx(1, abs=4 * 0.058)


def test_neighbours_are_torn_apart(orders_of_1000: NDArray[np.int64]) -> None:
    # A neighbouring pair of positions holds k and k + 1, in this order, in one of n cases; over 999
    # pairs and 600 keys that is 599.4, about a Poisson variable: standard deviation 24.5.
    keys, n = orders_of_1000.shape
    steps = np.diff(orders_of_1000, axis=1)
    expected = keys * (n - 1) / n
    for step in (1, -1):
        assert np.count_nonzero(steps == step) == pytest.approx(expected, abs=4 * 24.5)
    # The correlation of neighbours is -1 / (n - 1); each pair's product is an independent draw to
    # good approximation, so that the mean over 599,400 pairs is known to 1 / sqrt(599400) = 0.0013.
    centred = (orders_of_1000 - (n - 1) / 2) / math.sqrt((n**2 - 1) / 12)
    correlation = (centred[:, 1:] * centred[:, :-1]).mean()
    assert correlation == pytest.approx(-1 / (n - 1), abs=4 * 0.0013)


def test_neighbouring_epochs_are_unrelated(orders_of_1000: NDArray[np.int64]) -> None:
    # Two independent permutations agree in 1 position on average, with variance 1 (Montmort);
    # over 599 pairs of epochs the total is 599 with standard deviation 24.5.
    agreements = np.count_nonzero(orders_of_1000[1:] == orders_of_1000[:-1])
    assert agreements == pytest.approx(599, abs=4 * 24.5)


def test_halves_are_drawn_like_balls_from_an_urn(orders_of_1000: NDArray[np.int64]) -> None:
    # How many even values, and how many below 500, fall on the first 500 positions: hypergeometric
    # with mean 250 and variance 500 * 1/4 * 500/999. Sorted data would show a fault here.
    keys, n = orders_of_1000.shape
    half = n // 2
    variance = half / 4 * (n - half) / (n - 1)
    first = orders_of_1000[:, :half]
    for counts in ((first % 2 == 0).sum(axis=1), (first < half).sum(axis=1)):
        assert counts.mean() == pytest.approx(half / 2, abs=4 * math.sqrt(variance / keys))
        assert counts.var() == pytest.approx(variance, rel=4 * math.sqrt(2 / keys))
