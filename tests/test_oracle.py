"""Tests of the oracle itself: by hand, by finite differences, by statistics."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import oracle

SHUFFLES = ["global", "shards", False]

# ------------------------------------------------------------------------------- random numbers


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


# ------------------------------------------------------------------------------ parameters, start


def test_flat_form_and_back() -> None:
    parameters = [
        (np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([7.0, 8.0])),
        (np.array([[9.0], [10.0]]), np.array([11.0])),
    ]
    assert oracle.layer_sizes_of(parameters) == [3, 2, 1]
    assert oracle.layer_boundaries([3, 2, 1]) == [0, 8, 11]
    flat = oracle.flatten(parameters)
    assert flat.tolist() == list(range(1, 12))
    for (weights, biases), (again_weights, again_biases) in zip(
        parameters, oracle.unflatten(flat, [3, 2, 1]), strict=True
    ):
        np.testing.assert_array_equal(weights, again_weights)
        np.testing.assert_array_equal(biases, again_biases)


def test_initial_weights_entry_by_entry() -> None:
    parameters = oracle.initial_parameters([3, 4, 2], seed=9, replica=5, init_scale=0.6)
    for layer, (weights, biases) in enumerate(parameters):
        fan_in, fan_out = weights.shape
        assert weights.dtype == biases.dtype == np.float32
        assert not biases.any()
        for row, column in np.ndindex(fan_in, fan_out):
            key = oracle.derive(oracle.derive(oracle.derive(9, 0), 5), layer)
            u = (oracle.derive(key, row * fan_out + column) >> 40) / 2**24
            assert weights[row, column] == np.float32((2 * u - 1) * 0.6)


def test_initial_scale() -> None:
    assert oracle.uniform_scale("he", 24, 8) == 0.5
    assert oracle.uniform_scale("glorot", 20, 4) == 0.5
    assert oracle.uniform_scale(0.25, 20, 4) == 0.25
    with pytest.raises(ValueError, match="lecun"):
        oracle.uniform_scale("lecun", 1, 1)


def test_initial_weights_are_uniform() -> None:
    # 100,000 uniform draws on [-1, 1): standard error of the mean 0.577 / 316 = 0.0018, of the mean
    # square 0.298 / 316 = 0.00094.
    weights = oracle.initial_parameters([1000, 100], seed=0, replica=0, init_scale=1.0)[0][0]
    assert weights.min() >= -1
    assert weights.max() < 1
    assert weights.mean(dtype=np.float64) == pytest.approx(0, abs=4 * 0.0018)
    assert (weights.astype(np.float64) ** 2).mean() == pytest.approx(1 / 3, abs=4 * 0.00094)


def test_layers_replicas_and_seeds_start_differently() -> None:
    def first_weights(seed: int, replica: int) -> list[oracle.FloatArray]:
        start = oracle.initial_parameters([5, 5, 5], seed, replica, 1.0)
        return [weights.ravel() for weights, _ in start]

    drawn = [*first_weights(0, 0), *first_weights(0, 1), *first_weights(1, 0)]
    for one, other in itertools.combinations(drawn, 2):
        assert not np.array_equal(one, other)


# --------------------------------------------------------------------------------- forward, losses


def test_activations_are_stable() -> None:
    z = np.array([-1000.0, -1.0, 0.0, 1.0, 1000.0])
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_array_equal(oracle.activate("relu", z), [0, 0, 0, 1, 1000])
        np.testing.assert_array_equal(oracle.activate("identity", z), z)
        np.testing.assert_allclose(
            oracle.activate("logistic", z), [0, 1 / (1 + math.e), 0.5, math.e / (1 + math.e), 1]
        )
        np.testing.assert_allclose(
            oracle.activate("softmax", np.array([[1000.0, 1000.0, -1000.0]])), [[0.5, 0.5, 0]]
        )
        np.testing.assert_array_equal(oracle.activation_derivative("relu", z), [0, 0, 0, 1, 1])
        np.testing.assert_array_equal(
            oracle.activation_derivative("logistic", z)[[0, 2, 4]], [0, 0.25, 0]
        )


def test_losses_by_hand() -> None:
    ln3 = math.log(3)
    # p = (3/4, 1/4): losses ln 4/3 and ln 4. With z = (1000, 0) and the second class: 1000 exactly.
    z = np.array([[ln3, 0], [ln3, 0], [1000, 0]])
    np.testing.assert_allclose(
        oracle.sample_losses(z, np.array([0, 1, 1]), "cross_entropy", "softmax"),
        [math.log(4 / 3), math.log(4), 1000],
        rtol=1e-15,
    )
    # o = (3/4, 1/2), t = (0, 1): ((3/4)^2 + (1/2)^2) / 2 = 13/32. The same as class 1.
    z = np.array([[ln3, 0.0]])
    for y in (np.array([[0.0, 1.0]]), np.array([1])):
        loss = oracle.sample_losses(z, y, "squared_error", "logistic")
        np.testing.assert_allclose(loss, [13 / 32], rtol=1e-15)
    # o = z = (3, 5), t = (1, 1): (4 + 16) / 2 = 10. One column may come as a flat array.
    z = np.array([[3.0, 5.0]])
    assert oracle.sample_losses(z, np.array([[1.0, 1.0]]), "squared_error", "identity") == [10]
    assert oracle.sample_losses(z[:, :1], np.array([1.0]), "squared_error", "identity") == [2]


@pytest.mark.parametrize(
    ("loss", "output", "y"),
    [
        ("cross_entropy", "logistic", np.array([0])),
        ("squared_error", "softmax", np.array([0])),
        ("cross_entropy", "softmax", np.array([[0.0, 1.0]])),
    ],
)
def test_undefined_losses_are_refused(loss: str, output: str, y: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"cross_entropy|softmax"):
        oracle.sample_losses(np.zeros((1, 2)), y, loss, output)


# ----------------------------------------------------------------------------- one step, by hand


def step(
    parameters: oracle.Parameters,
    x: list[list[float]],
    y: list[int],
    sample_weight: list[float],
    learning_rate: float,
    **network: str,
) -> tuple[float, oracle.Parameters]:
    """Return the loss of a batch and the parameters after one step on it."""
    X, weight = np.array(x, dtype=np.float64), np.array(sample_weight, dtype=np.float64)
    loss = oracle.batch_loss(parameters, X, np.array(y), weight, **network)
    gradients = oracle.gradient(parameters, X, np.array(y), weight, **network)
    return loss, oracle.sgd_step(parameters, gradients, learning_rate)


def assert_parameters(actual: oracle.Parameters, expected: oracle.Parameters) -> None:
    # The hand's numbers are exact up to rounding of a dozen operations in double.
    assert len(actual) == len(expected)
    for (weights, biases), (expected_weights, expected_biases) in zip(
        actual, expected, strict=True
    ):
        np.testing.assert_allclose(weights, expected_weights, rtol=1e-14, atol=1e-15)
        np.testing.assert_allclose(biases, expected_biases, rtol=1e-14, atol=1e-15)


LN3 = math.log(3)


def relu_network() -> oracle.Parameters:
    return [
        (np.array([[0.5, -1.0], [0.25, 0.25]]), np.array([0.0, 0.25])),
        (np.array([[LN3, 0.0], [5.0, 7.0]]), np.array([0.0, 0.0])),
    ]


def test_step_by_hand_relu_softmax_cross_entropy() -> None:
    # x = (1, 2), class 1.
    #   z1 = (1*0.5 + 2*0.25 + 0, 1*(-1) + 2*0.25 + 0.25) = (1, -0.25)
    #   a1 = relu(z1) = (1, 0)
    #   z2 = (1*ln3 + 0*5 + 0, 1*0 + 0*7 + 0) = (ln3, 0)
    #   p  = (3, 1) / 4;   loss = -ln(1/4) = ln 4
    # Backwards:
    #   delta2 = p - onehot = (3/4, -3/4)
    #   dW2 = a1^T delta2 = [[3/4, -3/4], [0, 0]];   db2 = (3/4, -3/4)
    #   delta2 W2^T = (3/4 ln3 - 3/4*0, 3/4*5 - 3/4*7) = (3/4 ln3, -3/2)
    #   delta1 = that times relu'(z1) = (1, 0): (3/4 ln3, 0)
    #   dW1 = x^T delta1 = [[3/4 ln3, 0], [3/2 ln3, 0]];   db1 = (3/4 ln3, 0)
    # Rate 0.4, so 0.4 * 3/4 = 0.3 and 0.4 * 3/2 = 0.6:
    loss, after = step(
        relu_network(),
        [[1, 2]],
        [1],
        [1],
        learning_rate=0.4,
        activation="relu",
        output_activation="softmax",
        loss="cross_entropy",
    )
    assert loss == pytest.approx(math.log(4), rel=1e-15)
    assert_parameters(
        after,
        [
            (
                np.array([[0.5 - 0.3 * LN3, -1.0], [0.25 - 0.6 * LN3, 0.25]]),
                np.array([-0.3 * LN3, 0.25]),
            ),
            (np.array([[LN3 - 0.3, 0.3], [5.0, 7.0]]), np.array([-0.3, 0.3])),
        ],
    )


def test_step_by_hand_two_weighted_samples() -> None:
    # The sample of the test before with weight 1, and x = (0, 0), class 0, with weight 3:
    #   z1 = (0, 0.25); a1 = (0, 0.25), and relu'(0) = 0 in the first unit
    #   z2 = (0.25*5, 0.25*7) = (1.25, 1.75);   with e = exp(1/2): p = (1, e) / (1 + e)
    #   loss = ln(1 + e)
    #   delta2 = 3 (p - (1, 0)) = 3 q (-1, 1) with q = e / (1 + e)
    #   dW2 = [[0, 0], 0.25 * 3 q (-1, 1)];   db2 = 3 q (-1, 1)
    #   delta2 W2^T = 3 q (-ln3 + 0, -5 + 7);   delta1 = (0, 6 q)
    #   dW1 = 0, for x = 0;   db1 = (0, 6 q)
    # Mean over the batch of two, with weights that are not normalised: (first + second) / 2.
    # Rate 0.8: 0.4 times the first's gradient, as in the test before, and 0.4 times the second's.
    e = math.exp(0.5)
    q = e / (1 + e)
    loss, after = step(
        relu_network(),
        [[1, 2], [0, 0]],
        [1, 0],
        [1, 3],
        learning_rate=0.8,
        activation="relu",
        output_activation="softmax",
        loss="cross_entropy",
    )
    assert loss == pytest.approx((math.log(4) + 3 * math.log(1 + e)) / 2, rel=1e-15)
    assert_parameters(
        after,
        [
            (
                np.array([[0.5 - 0.3 * LN3, -1.0], [0.25 - 0.6 * LN3, 0.25]]),
                np.array([-0.3 * LN3, 0.25 - 2.4 * q]),
            ),
            (
                np.array([[LN3 - 0.3, 0.3], [5.0 + 0.3 * q, 7.0 - 0.3 * q]]),
                np.array([-0.3 + 1.2 * q, 0.3 - 1.2 * q]),
            ),
        ],
    )


def test_step_by_hand_logistic_squared_error() -> None:
    # x = (2, -1), class 0, that is t = (1, 0). logistic(0) = 1/2, logistic(ln3) = 3/4.
    #   z1 = (2*1 - 1*2 + 0, 2*0.5 - 1*1 + ln3) = (0, ln3);   a1 = (1/2, 3/4)
    #   z2 = (1/2*3 + 3/4*(-2) + 0, 1/2*1 + 3/4*2 - 2 - ln3) = (0, -ln3);   o = (1/2, 1/4)
    #   loss = ((1/2)^2 + (1/4)^2) / 2 = 5/32
    # Backwards:
    #   delta2 = (o - t) o (1 - o) = (-1/2 * 1/4, 1/4 * 3/16) = (-1/8, 3/64)
    #   dW2 = a1^T delta2 = [[-1/16, 3/128], [-3/32, 9/256]];   db2 = (-1/8, 3/64)
    #   delta2 W2^T = (-1/8*3 + 3/64*1, -1/8*(-2) + 3/64*2) = (-21/64, 11/32)
    #   delta1 = that times a1 (1 - a1) = (1/4, 3/16): (-21/256, 33/512)
    #   dW1 = x^T delta1 = [[-21/128, 33/256], [21/256, -33/512]];   db1 = (-21/256, 33/512)
    # Rate 2:
    loss, after = step(
        [
            (np.array([[1.0, 0.5], [2.0, 1.0]]), np.array([0.0, LN3])),
            (np.array([[3.0, 1.0], [-2.0, 2.0]]), np.array([0.0, -2 - LN3])),
        ],
        [[2, -1]],
        [0],
        [1],
        learning_rate=2.0,
        activation="logistic",
        output_activation="logistic",
        loss="squared_error",
    )
    assert loss == pytest.approx(5 / 32, rel=1e-14)
    assert_parameters(
        after,
        [
            (
                np.array([[1 + 21 / 64, 0.5 - 33 / 128], [2 - 21 / 128, 1 + 33 / 256]]),
                np.array([21 / 128, LN3 - 33 / 256]),
            ),
            (
                np.array([[3 + 1 / 8, 1 - 3 / 64], [-2 + 3 / 16, 2 - 9 / 128]]),
                np.array([1 / 4, -2 - LN3 - 3 / 32]),
            ),
        ],
    )


# ------------------------------------------------------------------------------ finite differences

OUTPUTS = [
    ("cross_entropy", "softmax", "classes"),
    ("squared_error", "identity", "floats"),
    ("squared_error", "identity", "classes"),
    ("squared_error", "logistic", "floats"),
    ("squared_error", "logistic", "classes"),
]


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("loss", "output_activation", "targets"), OUTPUTS)
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_gradient_is_the_slope_of_the_loss(
    activation: str, loss: str, output_activation: str, targets: str, depth: int
) -> None:
    rng = np.random.default_rng(91)
    sizes = [3, *[4, 3, 5][:depth], 2]
    parameters: oracle.Parameters = [
        (rng.normal(size=(fan_in, fan_out)), 0.5 * rng.normal(size=fan_out))
        for fan_in, fan_out in itertools.pairwise(sizes)
    ]
    X = rng.normal(size=(6, 3))
    y = rng.integers(0, 2, size=6) if targets == "classes" else rng.normal(size=(6, 2))
    weight = rng.uniform(0, 3, size=6)
    network = {"activation": activation, "output_activation": output_activation, "loss": loss}

    # A central difference is off by h^2 / 6 times the third derivative and by the rounding of the
    # loss over h (1e-16 / 1e-5, times a loss of up to 10): both of order 1e-11 to 1e-10. Every
    # layer's gradient has an entry above 1e-4, hence 1e-6 relative to its largest; a forgotten
    # factor or transposition shows at 1e-2 and above. A relu's kink within reach of h would spoil
    # it: the closest is 1e-2 away.
    h = 1e-5
    if activation == "relu":
        hidden = oracle.forward(parameters, X, activation, output_activation).z[:-1]
        assert min(np.abs(z).min() for z in hidden) > 1e-2

    gradients = oracle.gradient(parameters, X, y, weight, **network)
    for layer, arrays in enumerate(gradients):
        for part, exact in enumerate(arrays):
            slopes = np.zeros_like(exact)
            tested = parameters[layer][part]
            for index in np.ndindex(exact.shape):
                kept = tested[index]
                tested[index] = kept + h
                above = oracle.batch_loss(parameters, X, y, weight, **network)
                tested[index] = kept - h
                below = oracle.batch_loss(parameters, X, y, weight, **network)
                tested[index] = kept
                slopes[index] = (above - below) / (2 * h)
            assert np.abs(slopes).max() > 1e-4
            assert np.abs(exact - slopes).max() < 1e-6 * np.abs(slopes).max()


@pytest.mark.parametrize(("loss", "output_activation", "targets"), OUTPUTS)
def test_gradient_in_float32_is_the_one_in_double(
    loss: str, output_activation: str, targets: str
) -> None:
    rng = np.random.default_rng(3)
    start = oracle.initial_parameters([6, 8, 5, 3], 1, 0, "glorot", np.float64)
    X = rng.normal(size=(20, 6))
    y = rng.integers(0, 3, size=20) if targets == "classes" else rng.normal(size=(20, 3))
    network = {"activation": "tanh", "output_activation": output_activation, "loss": loss}
    double = oracle.gradient(start, X, y, np.ones(20), **network)
    single = oracle.gradient(
        [(w.astype(np.float32), b.astype(np.float32)) for w, b in start],
        X.astype(np.float32),
        y if targets == "classes" else y.astype(np.float32),
        np.ones(20, dtype=np.float32),
        **network,
    )
    # float32 has 6e-8 of relative rounding; sums of some 20 terms over 3 layers stay below 1e-5.
    for arrays, arrays_single in zip(double, single, strict=True):
        for part, part_single in zip(arrays, arrays_single, strict=True):
            assert part_single.dtype == np.float32
            assert np.abs(part - part_single).max() < 1e-5 * np.abs(part).max()


# ------------------------------------------------------------------------- shards, rounds, batches


@pytest.mark.parametrize("threads", range(1, 20))
def test_blocks_are_those_of_array_split(threads: int) -> None:
    for n_samples in range(45):
        expected = np.array_split(np.arange(n_samples), threads)
        for i, block in enumerate(expected):
            start, stop = oracle.block(n_samples, threads, i)
            assert block.tolist() == list(range(start, stop))


@given(
    n_samples=st.integers(1, 80),
    threads=st.integers(1, 20),
    seed=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 5),
    shuffle=st.sampled_from(SHUFFLES),
)
def test_every_sample_is_seen_once_an_epoch(
    n_samples: int, threads: int, seed: int, epoch: int, shuffle: str | bool
) -> None:
    orders = [
        oracle.sample_order(n_samples, threads, i, epoch, shuffle, seed) for i in range(threads)
    ]
    assert sorted(np.concatenate(orders).tolist()) == list(range(n_samples))
    blocks = np.array_split(np.arange(n_samples), threads)
    for order, block in zip(orders, blocks, strict=True):
        assert len(order) == len(block)
        if shuffle == "shards":
            assert sorted(order.tolist()) == block.tolist()
        if shuffle is False:
            assert order.tolist() == block.tolist()


def test_order_entry_by_entry() -> None:
    # 11 samples on 3 replicas: blocks 0-3, 4-7, 8-10.
    stream = oracle.derive(99, 1)
    own = oracle.derive(oracle.derive(stream, 2), 6)
    common = oracle.derive(oracle.derive(stream, 0), 6)
    assert oracle.sample_order(11, 3, 2, 6, "shards", 99).tolist() == [
        8 + oracle.permute(j, 3, own) for j in range(3)
    ]
    assert oracle.sample_order(11, 3, 2, 6, "global", 99).tolist() == [
        oracle.permute(8 + j, 11, common) for j in range(3)
    ]
    assert oracle.sample_order(11, 3, 2, 6, False, 99).tolist() == [8, 9, 10]


@pytest.mark.parametrize("shuffle", ["global", "shards"])
def test_epochs_replicas_and_seeds_differ_in_order(shuffle: str) -> None:
    # Blocks of 200, as places in the block resp. among all samples.
    def order(replica: int, epoch: int, seed: int) -> list[int]:
        start = oracle.block(400, 2, replica)[0] if shuffle == "shards" else 0
        samples = oracle.sample_order(400, 2, replica, epoch, shuffle, seed)
        return [int(sample) for sample in samples - start]

    orders = [order(0, 0, 0), order(1, 0, 0), order(0, 1, 0), order(0, 0, 1)]
    for one, other in itertools.combinations(orders, 2):
        assert one != other


def test_rounds_by_hand() -> None:
    # 7 samples on 2 replicas: blocks of 4 and 3. Two epochs: streams of 8 and 6.
    # H = 3: ceil(8 / 3) = 3 rounds; the second replica has nothing left for the last.
    assert oracle.rounds(7, 2, epochs=2, merge_every=3) == [
        [(0, 3), (0, 3)],
        [(3, 6), (3, 6)],
        [(6, 8), (6, 6)],
    ]
    assert oracle.rounds(7, 2, epochs=2, merge_every=8) == [[(0, 8), (0, 6)]]
    assert oracle.rounds(7, 2, epochs=2, merge_every=7) == [[(0, 7), (0, 6)], [(7, 8), (6, 6)]]
    assert oracle.rounds(7, 2, epochs=2, merge_every=None) == [[(0, 8), (0, 6)]]
    assert oracle.rounds(7, 2, epochs=0, merge_every=3) == []
    assert oracle.rounds(7, 2, epochs=0, merge_every=None) == []
    # 2 samples on 3 replicas: the third has none.
    assert oracle.rounds(2, 3, epochs=2, merge_every=1) == [
        [(0, 1), (0, 1), (0, 0)],
        [(1, 2), (1, 2), (0, 0)],
    ]


def test_batches_by_hand() -> None:
    # The rounds above, batches of 2. Epochs of 4 end at 4 and 8: the round [3, 6) has one sample up
    # to the epoch's end and then a full batch.
    assert oracle.batches(0, 3, 4, 2) == [(0, 2), (2, 1)]
    assert oracle.batches(3, 6, 4, 2) == [(3, 1), (4, 2)]
    assert oracle.batches(6, 8, 4, 2) == [(6, 2)]
    # Epochs of 3 end at 3 and 6.
    assert oracle.batches(0, 3, 3, 2) == [(0, 2), (2, 1)]
    assert oracle.batches(3, 6, 3, 2) == [(3, 2), (5, 1)]
    assert oracle.batches(6, 6, 3, 2) == []
    # One round over two epochs, with batches of 3 and with batches larger than an epoch.
    assert oracle.batches(0, 8, 4, 3) == [(0, 3), (3, 1), (4, 3), (7, 1)]
    assert oracle.batches(0, 8, 4, 100) == [(0, 4), (4, 4)]
    # A replica without samples.
    assert oracle.batches(0, 0, 0, 2) == []


@given(
    n_samples=st.integers(1, 60),
    threads=st.integers(1, 9),
    epochs=st.integers(1, 3),
    merge_every=st.none() | st.integers(1, 70),
    batch_size=st.integers(1, 20),
)
def test_rounds_and_batches_cover_each_stream_once(
    n_samples: int, threads: int, epochs: int, merge_every: int | None, batch_size: int
) -> None:
    all_rounds = oracle.rounds(n_samples, threads, epochs, merge_every)
    for i, block in enumerate(np.array_split(np.arange(n_samples), threads)):
        position = 0
        for spans in all_rounds:
            for first, size in oracle.batches(*spans[i], len(block), batch_size):
                assert first == position
                assert 1 <= size <= batch_size
                # Within one epoch, and within one round.
                assert first // len(block) == (first + size - 1) // len(block)
                if merge_every is not None:
                    assert first // merge_every == (first + size - 1) // merge_every
                position += size
        assert position == epochs * len(block)
    # Somebody works in every round.
    assert all(any(stop > start for start, stop in spans) for spans in all_rounds)


def test_learning_rate_by_hand() -> None:
    # The first replica of the rounds above, L = 8, batches at 0, 2, 3, 4, 6 and a rate of 0.8:
    # 0.8, 0.8 * 6/8, 0.8 * 5/8, 0.8 * 4/8, 0.8 * 2/8.
    rates = [oracle.learning_rate_at(0.8, "linear", p, 8) for p in (0, 2, 3, 4, 6)]
    assert rates == pytest.approx([0.8, 0.6, 0.5, 0.4, 0.2], rel=1e-15)
    # The second, L = 6, batches at 0, 2, 3, 5: 0.8, 0.8 * 4/6, 0.8 * 3/6, 0.8 * 1/6.
    rates = [oracle.learning_rate_at(0.8, "linear", p, 6) for p in (0, 2, 3, 5)]
    assert rates == pytest.approx([0.8, 1.6 / 3, 0.4, 0.4 / 3], rel=1e-15)
    assert oracle.learning_rate_at(0.8, "constant", 5, 6) == 0.8
    with pytest.raises(ValueError, match="cosine"):
        oracle.learning_rate_at(0.8, "cosine", 0, 1)


def test_momentum_by_hand() -> None:
    # From w = 1 with the rate 1/2 and momentum 1/4:
    #   g = 2: v = 2,            w = 1 - 1 = 0
    #   g = 3: v = 1/2 + 3,      w = 0 - 7/4
    #   g = 0: v = 7/8,          w = -7/4 - 7/16
    parameters: oracle.Parameters = [(np.ones((1, 1)), np.zeros(1))]
    optimizer = oracle.Optimizer("momentum", {"momentum": 0.25})
    found = []
    for g in (2.0, 3.0, 0.0):
        parameters = optimizer.step(parameters, [(np.full((1, 1), g), np.zeros(1))], 0.5)
        found.append(parameters[0][0].item())
    assert found == [0.0, -1.75, -2.1875]
    assert parameters[0][1].tolist() == [0.0]


# ------------------------------------------------------------------------------------------ merges


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


def test_growing_rounds() -> None:
    # H = 4 to 16 over 48: r(p) = 48 / (4 log 4) (1 - 4^(-p / 48)), r(48) = 6.49: seven rounds.
    # p(r) = -48 log_4(1 - r log(4) / 12) = 4.25, 9.09, 14.7, 21.4, 29.9, 40.9.
    ends = [4, 9, 14, 21, 29, 40, 48]
    assert oracle.growing_ends(48, 4, 16, 1) == ends
    assert oracle.growing_ends(48, 4, 16, 4) == [4, 8, 12, 20, 28, 40, 48]
    assert oracle.rounds(48, 1, 1, (20, 20), 3) == oracle.rounds(48, 1, 1, 20)
    spans = oracle.rounds(95, 2, 1, (4, 16), 1)
    assert [span[0][1] for span in spans] == ends
    assert [span[1] for span in spans][-1] == (40, 47)


def test_sums_are_rounded_once() -> None:
    # In float32, 2^24 + 1 + 1 + 1 + 1 stays at 2^24 when rounded after each term.
    replicas = [[2.0**24]] + [[1.0]] * 4
    assert merged("sum", [0], replicas) == [2**24 + 4]
    assert merged("average", [0], replicas) == [np.float32((2**24 + 4) / 5)]


# ---------------------------------------------------------------------------------------- training


def data(n_samples: int = 23, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Three classes, of which a linear function of four features decides."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 4))
    y = (X @ rng.normal(size=(4, 3))).argmax(axis=1)
    y[-1] = 2  # so that there are three outputs, however few the samples
    return X, y


def train(
    X: NDArray[Any], y: NDArray[Any], threads: int, merge: str, **changes: Any
) -> oracle.TrainingResult:
    options: dict[str, Any] = {
        "hidden_layer_sizes": (5,),
        "activation": "tanh",
        "output_activation": "softmax",
        "loss": "cross_entropy",
        "epochs": 2,
        "batch_size": 3,
        "learning_rate": 0.1,
        "learning_rate_schedule": "constant",
        "merge_every": None,
        "outer_momentum": 0.0,
        "init_scale": "glorot",
        "seed": 4,
        **changes,
    }
    return oracle.train_parallel(X, y, threads, merge, **options)


def flat(parameters: oracle.Parameters) -> oracle.FloatArray:
    return oracle.flatten(parameters)


def test_one_replica_in_order_is_plain_sgd() -> None:
    X, y = data(7)
    X32 = X.astype(np.float32)
    result = train(X, y, 1, "average", shuffle=False, learning_rate_schedule="linear")

    parameters = oracle.initial_parameters([4, 5, 3], seed=4, replica=0, init_scale="glorot")
    network = {"activation": "tanh", "output_activation": "softmax", "loss": "cross_entropy"}
    losses: list[float] = []
    # Two epochs of 7 samples in batches of 3, 3, 1; the stream has 14 positions.
    for position in (0, 3, 6, 7, 10, 13):
        first = position % 7
        i = slice(first, min(first + 3, 7))
        decision = oracle.forward(parameters, X32[i], "tanh", "softmax").decision
        losses.extend(oracle.sample_losses(decision, y[i], "cross_entropy", "softmax").tolist())
        ones = np.ones(len(y[i]), dtype=np.float32)
        gradients = oracle.gradient(parameters, X32[i], y[i], ones, **network)
        parameters = oracle.sgd_step(parameters, gradients, 0.1 * (1 - position / 14))

    np.testing.assert_array_equal(flat(result.parameters), flat(parameters))
    assert result.losses.tolist() == pytest.approx([np.mean(losses)], rel=1e-12)
    assert result.sample_counts.tolist() == [[14]]
    assert result.parameters[0][0].dtype == np.float32


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("merge", list(oracle.MERGES))
def test_one_replica_is_the_same_under_every_merge(merge: str, shuffle: str | bool) -> None:
    # With n = 1 every method returns the replica, and merging in between changes nothing, as long
    # as no batch is cut (H a multiple of the batch size within an epoch of 24 samples). Base plus
    # difference is rounded to float32 again, hence equality up to that rounding.
    X, y = data(24)
    once = train(X, y, 1, "average", shuffle=shuffle)
    often = train(X, y, 1, merge, shuffle=shuffle, merge_every=6)
    np.testing.assert_allclose(flat(often.parameters), flat(once.parameters), rtol=1e-6)
    assert len(often.losses) == 8
    assert often.losses.mean() == pytest.approx(once.losses[0], rel=1e-6)


@pytest.mark.parametrize("merge", list(oracle.MERGES))
def test_the_master_is_the_merge_of_the_replicas(merge: str) -> None:
    # 23 samples on 3 replicas: blocks of 8, 8, 7; one round.
    X, y = data(23)
    start = oracle.initial_parameters([4, 5, 3], seed=4, replica=0, init_scale="glorot")
    result = train(X, y, 3, merge)
    expected = oracle.MERGES[merge](
        oracle.MergeInput(
            base=flat(start),
            replicas=[flat(replica) for replica in result.replicas],
            sample_share=[16 / 46, 16 / 46, 14 / 46],
            boundaries=[0, 25, 43],
        )
    )
    np.testing.assert_array_equal(flat(result.parameters), expected)
    assert result.sample_counts.tolist() == [[16, 16, 14]]


def test_replicas_are_trained_on_their_own_blocks() -> None:
    # Without shuffling, replica i is what one replica becomes alone on block i.
    X, y = data(23)
    start = oracle.initial_parameters([4, 5, 3], seed=8, replica=0, init_scale=0.5)
    result = train(X, y, 3, "average", shuffle=False, init=start)
    for i, block in enumerate(np.array_split(np.arange(23), 3)):
        alone = train(X[block], y[block], 1, "average", shuffle=False, init=start)
        np.testing.assert_array_equal(flat(result.replicas[i]), flat(alone.parameters))


@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_replicas_follow_their_order_epoch_by_epoch(shuffle: str | bool) -> None:
    X, y = data(11)
    result = train(X, y, 3, "average", shuffle=shuffle, batch_size=1)
    network = {"activation": "tanh", "output_activation": "softmax", "loss": "cross_entropy"}
    one = np.ones(1, dtype=np.float32)
    for replica in range(3):
        parameters = oracle.initial_parameters([4, 5, 3], seed=4, replica=0, init_scale="glorot")
        for epoch in range(2):
            for sample in oracle.sample_order(11, 3, replica, epoch, shuffle, 4):
                x, target = X[[sample]].astype(np.float32), y[[sample]]
                gradients = oracle.gradient(parameters, x, target, one, **network)
                parameters = oracle.sgd_step(parameters, gradients, 0.1)
        np.testing.assert_array_equal(flat(result.replicas[replica]), flat(parameters))


def test_rounds_go_on_from_the_master() -> None:
    # A merge after each of two epochs is training twice, the second time from the first's master.
    X, y = data(24)
    twice = train(X, y, 4, "sum", shuffle=False, merge_every=6)
    first = train(X, y, 4, "sum", shuffle=False, epochs=1)
    second = train(X, y, 4, "sum", shuffle=False, epochs=1, init=first.parameters)
    np.testing.assert_array_equal(flat(twice.parameters), flat(second.parameters))
    np.testing.assert_array_equal(twice.losses, [first.losses[0], second.losses[0]])


def test_outer_momentum_lives_through_a_training() -> None:
    X, y = data(24)
    options: dict[str, Any] = {"shuffle": False, "epochs": 1}
    momentum = 0.5
    both = train(X, y, 2, "gradient_diversity", merge_every=6, outer_momentum=momentum, **options)
    # The first round alone: each replica on the first half of its block.
    halves = np.r_[0:6, 12:18]
    start = oracle.initial_parameters([4, 5, 3], seed=4, replica=0, init_scale="glorot")
    first = train(X[halves], y[halves], 2, "gradient_diversity", init=start, **options)
    step = flat(first.parameters).astype(np.float64) - flat(start)
    without = train(
        X[halves + 6], y[halves + 6], 2, "gradient_diversity", init=first.parameters, **options
    )
    # M = step, then W_2 = W_1 + step_2 + beta M. Differences of float32 numbers of order 1: 1e-6.
    expected = flat(without.parameters) + momentum * step
    np.testing.assert_allclose(flat(both.parameters), expected, atol=1e-6)
    assert np.abs(momentum * step).max() > 1e-3


def test_velocity_lives_through_merges_but_not_through_a_warm_up() -> None:
    X, y = data(24)
    options: dict[str, Any] = {"optimizer": "momentum", "shuffle": False}
    # A merge of one replica changes nothing, so nothing but the velocity could.
    merged = train(X, y, 1, "average", merge_every=6, **options)
    np.testing.assert_array_equal(
        flat(merged.parameters), flat(train(X, y, 1, "average", **options).parameters)
    )
    warm = train(X, y, 2, "average", warmup_samples=9, epochs=0, **options)
    np.testing.assert_array_equal(
        flat(train(X, y, 2, "average", warmup_samples=9, **options).parameters),
        flat(train(X, y, 2, "average", init=warm.parameters, **options).parameters),
    )


def test_more_threads_than_samples() -> None:
    # 3 samples on 5 replicas: two stay at the start and count in the average as the others do.
    X, y = data(3)
    start = oracle.initial_parameters([4, 5, 3], seed=4, replica=0, init_scale="glorot")
    result = train(X, y, 5, "average")
    for idle in result.replicas[3:]:
        np.testing.assert_array_equal(flat(idle), flat(start))
    for busy in result.replicas[:3]:
        assert not np.array_equal(flat(busy), flat(start))
    mean = np.mean([flat(replica).astype(np.float64) for replica in result.replicas], axis=0)
    np.testing.assert_allclose(flat(result.parameters), mean, rtol=1e-6)
    assert result.sample_counts.tolist() == [[2, 2, 2, 0, 0]]


def test_independent_starts() -> None:
    X, y = data(2)
    # The third replica has no samples: it shows its own start. The base is the first's.
    result = train(X, y, 3, "average", init="independent")
    starts = [oracle.initial_parameters([4, 5, 3], 4, i, "glorot") for i in range(3)]
    np.testing.assert_array_equal(flat(result.replicas[2]), flat(starts[2]))
    result = train(X, y, 3, "gradient_diversity", init="independent")
    expected = oracle.MERGES["gradient_diversity"](
        oracle.MergeInput(
            base=flat(starts[0]),
            replicas=[flat(replica) for replica in result.replicas],
            sample_share=[0.5, 0.5, 0],
            boundaries=[0, 25, 43],
        )
    )
    np.testing.assert_array_equal(flat(result.parameters), expected)
    none = train(X, y, 3, "average", init="independent", epochs=0)
    np.testing.assert_array_equal(flat(none.parameters), flat(starts[0]))


def test_no_epochs_return_the_start() -> None:
    X, y = data(5)
    start = oracle.initial_parameters([4, 6, 3], seed=1, replica=0, init_scale=0.5)
    result = train(X, y, 2, "sum", epochs=0, init=start)
    np.testing.assert_array_equal(flat(result.parameters), flat(start))
    assert result.replicas == []
    assert result.losses.shape == (0,)
    assert result.sample_counts.shape == (0, 2)


def test_sample_weight_scales_loss_and_steps() -> None:
    X, y = data(10)
    one = train(X, y, 2, "average", batch_size=1, shuffle=False, learning_rate=0.2)
    # Weight 2 at half the rate takes the same steps, and reports twice the loss. Both are exact:
    # powers of two.
    two = train(
        X, y, 2, "average", batch_size=1, shuffle=False, learning_rate=0.1, sample_weight=[2] * 10
    )
    np.testing.assert_array_equal(flat(two.parameters), flat(one.parameters))
    np.testing.assert_array_equal(two.losses, 2 * one.losses)
    # Weight 0 switches a sample off, but it keeps its place in the batches and in the mean.
    switched = y.copy()
    switched[4] = (y[4] + 1) % 3
    weight = np.ones(10)
    weight[4] = 0
    off = [train(X, labels, 1, "average", sample_weight=weight) for labels in (y, switched)]
    np.testing.assert_array_equal(flat(off[0].parameters), flat(off[1].parameters))
    assert off[0].sample_counts.tolist() == [[20]]


@pytest.mark.parametrize("shape", [(30,), (30, 1), (30, 2)])
def test_real_targets_are_learned(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(30, 4))
    y = (X @ rng.normal(size=(4, 2)))[:, : shape[1] if len(shape) > 1 else 1].reshape(shape)
    result = train(
        X,
        y,
        2,
        "gradient_diversity",
        epochs=100,
        merge_every=15,
        hidden_layer_sizes=(),
        output_activation="identity",
        loss="squared_error",
        dtype=np.float64,
    )
    # A linear map without noise is found exactly.
    decision = oracle.forward(result.parameters, X, "tanh", "identity").decision
    np.testing.assert_allclose(decision, y.reshape(30, -1), atol=1e-3)
    assert len(result.losses) == 100
    assert result.losses[0] > 0.1
    assert result.losses[-1] < 1e-6


def test_classes_are_learned_by_a_deep_network_on_several_replicas() -> None:
    X, y = data(200, seed=1)
    result = train(
        X,
        y,
        4,
        "average",
        hidden_layer_sizes=(16, 8),
        activation="relu",
        init_scale="he",
        epochs=60,
        merge_every=10,
        learning_rate_schedule="linear",
    )
    X32 = X.astype(np.float32)
    decision = oracle.forward(result.parameters, X32, "relu", "softmax").decision
    assert (decision.argmax(axis=1) == y).mean() > 0.97
    assert result.losses[-1] < 0.2 * result.losses[0]
    assert oracle.layer_sizes_of(result.parameters) == [4, 16, 8, 3]
