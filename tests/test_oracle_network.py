"""The oracle's networks: starts, losses and steps by hand, gradients by finite differences."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import oracle

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
    assert oracle.uniform_scale("lecun", 12, 4) == 0.5
    assert oracle.uniform_scale(0.25, 20, 4) == 0.25
    with pytest.raises(ValueError, match="xavier"):
        oracle.uniform_scale("xavier", 1, 1)


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
    ("huber", "identity", "floats"),
    ("absolute", "identity", "floats"),
    ("quantile", "identity", "floats"),
    ("poisson", "exponential", "floats"),
    ("binary_cross_entropy", "logistic", "floats"),
]


STEP = 1e-5


def assert_gradient_is_the_slope(
    parameters: oracle.Parameters,
    X: NDArray[np.float64],
    y: NDArray[Any],
    weight: NDArray[np.float64],
    **network: Any,
) -> None:
    """Compare the gradient of a batch with central differences.

    These are off by STEP^2 / 6 times the third derivative and by the rounding of the loss over STEP
    (1e-16 / 1e-5, times a loss of up to 10): both of order 1e-11 to 1e-10. Every layer's gradient
    has an entry above 1e-4, hence 1e-6 relative to its largest; a forgotten factor or transposition
    shows at 1e-2 and above.
    """
    gradients = oracle.gradient(parameters, X, y, weight, **network)
    for layer, arrays in enumerate(gradients):
        for part, exact in enumerate(arrays):
            slopes = np.zeros_like(exact)
            tested = parameters[layer][part]
            for index in np.ndindex(exact.shape):
                kept = tested[index]
                tested[index] = kept + STEP
                above = oracle.batch_loss(parameters, X, y, weight, **network)
                tested[index] = kept - STEP
                below = oracle.batch_loss(parameters, X, y, weight, **network)
                tested[index] = kept
                slopes[index] = (above - below) / (2 * STEP)
            assert np.abs(slopes).max() > 1e-4
            assert np.abs(exact - slopes).max() < 1e-6 * np.abs(slopes).max()


@pytest.mark.covering(2)
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("loss", "output_activation", "targets"), OUTPUTS)
@pytest.mark.parametrize("activation", oracle.ACTIVATIONS)
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

    # A relu's kink within reach of STEP would spoil the difference: the closest is 1e-2 away.
    if activation in ("relu", "leaky_relu", "selu"):
        hidden = oracle.forward(parameters, X, activation, output_activation).z[:-1]
        assert min(np.abs(z).min() for z in hidden) > 1e-2

    assert_gradient_is_the_slope(parameters, X, y, weight, **network)


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


@pytest.mark.parametrize("activation", oracle.ACTIVATIONS)
def test_gradient_with_dropout_is_the_slope_of_the_loss(activation: str) -> None:
    rng = np.random.default_rng(91)
    sizes = [3, 6, 5, 2]
    parameters: oracle.Parameters = [
        (rng.normal(size=(fan_in, fan_out)), 0.5 * rng.normal(size=fan_out))
        for fan_in, fan_out in itertools.pairwise(sizes)
    ]
    X, y, weight = rng.normal(size=(6, 3)), rng.integers(0, 2, size=6), rng.uniform(0, 3, size=6)
    network: dict[str, Any] = {
        "activation": activation,
        "output_activation": "softmax",
        "loss": "cross_entropy",
        "dropout": [
            oracle.dropout_factors(5, 0, range(6), layer, units, 0.4)
            for layer, units in enumerate(sizes[1:-1])
        ],
    }
    # As above: no kink within reach of STEP.
    passed = oracle.forward(parameters, X, activation, "softmax", network["dropout"])
    assert min(np.abs(z).min() for z in passed.z[:-1]) > 10 * STEP
    assert_gradient_is_the_slope(parameters, X, y, weight, **network)
