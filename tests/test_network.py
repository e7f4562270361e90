"""The network's forward pass, loss and gradient against the oracle and central differences."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import oracle
from omp_mlp import _core
from omp_mlp.losses import LOSSES, LossKind

ACTIVATIONS = tuple(oracle.ACTIVATIONS)
LOSS_AND_OUTPUT = [
    pytest.param(loss, output, id=f"{loss}-{output}") for loss, output in sorted(oracle.PAIRS)
]
DEPTHS = [
    pytest.param((), id="linear"),
    pytest.param((17,), id="1_hidden"),
    pytest.param((9, 5), id="2_hidden"),
    pytest.param((5, 7, 5), id="3_hidden"),
]

# One pass through the network in float32 rounds each entry some ten times, by up to 2^-24 = 6e-8 of
# the largest term in its sum; measured are differences of up to 4e-7 of the gradient's largest
# entry. A wrong factor or a missing term in any of the sums is at least 1e-2 of it.
TOLERANCE = 3e-6


def random_parameters(layer_sizes: list[int], seed: int) -> oracle.Parameters:
    """Draw weights that the network has in the middle of a training, biases included."""
    rng = np.random.default_rng(seed)
    parameters: oracle.Parameters = []
    for fan_in, fan_out in pairwise(layer_sizes):
        W = rng.normal(size=(fan_in, fan_out)) / np.sqrt(fan_in)
        parameters.append((W.astype(np.float32), rng.normal(size=fan_out).astype(np.float32) / 2))
    return parameters


def random_inputs(n_samples: int, n_features: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features)) * (rng.random((n_samples, n_features)) < 0.6)
    return X.astype(np.float32)


def random_targets(n_samples: int, n_outputs: int, loss: str, seed: int) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    if loss == "cross_entropy":
        return rng.integers(0, n_outputs, size=n_samples)
    return rng.random(size=(n_samples, n_outputs)).astype(np.float32)


def core_network(
    parameters: oracle.Parameters, activation: str, output_activation: str
) -> _core.Network:
    return _core.Network(
        layer_sizes=oracle.layer_sizes_of(parameters),
        activation=activation,
        output=output_activation,
        parameters=oracle.flatten(parameters),
    )


def core_samples(X: Any) -> _core.Samples:
    if scipy.sparse.issparse(X):
        return _core.Samples.csr(
            starts=X.indptr.astype(np.int64),
            indices=X.indices.astype(np.int32),
            values=X.data,
            rows=X.shape[0],
            columns=X.shape[1],
        )
    if X.dtype == np.uint8:
        return _core.Samples.dense_uint8(X=X, scale=0.125)
    return _core.Samples.dense_float32(X=X)


def core_gradient(
    parameters: oracle.Parameters,
    X: Any,
    y: NDArray[Any],
    sample_weight: NDArray[np.float32] | None,
    activation: str,
    output_activation: str,
    first_layer: str = "sparse",
    loss: str | None = None,
    **settings: float,
) -> tuple[float, NDArray[np.float32]]:
    if loss is None:
        loss = "cross_entropy" if output_activation == "softmax" else "squared_error"
    is_classes = np.issubdtype(y.dtype, np.integer)
    return core_network(parameters, activation, output_activation).gradient(
        samples=core_samples(X),
        targets=_core.Targets(
            classes=y.astype(np.int32) if is_classes else None,
            values=None if is_classes else y,
            weights=sample_weight,
            loss=LossKind(loss, **settings).core(),
        ),
        first_layer=first_layer,
    )


def double(parameters: oracle.Parameters) -> oracle.Parameters:
    return [(W.astype(np.float64), b.astype(np.float64)) for W, b in parameters]


def assert_close(got: NDArray[Any], expected: NDArray[Any], tolerance: float = TOLERANCE) -> None:
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def central_differences(
    parameters: oracle.Parameters, loss_of: Any, step: float = 1e-5
) -> NDArray[np.float64]:
    """Differentiate in every parameter, in double: error step^2 / 6 times the third derivative."""
    layer_sizes = oracle.layer_sizes_of(parameters)
    start = oracle.flatten(double(parameters))
    slopes = np.zeros(len(start))
    for k in range(len(start)):
        losses = []
        for sign in (1, -1):
            moved = start.copy()
            moved[k] += sign * step
            losses.append(loss_of(oracle.unflatten(moved, layer_sizes)))
        slopes[k] = (losses[0] - losses[1]) / (2 * step)
    return slopes


# ----------------------------------------------------------------------------------------- gradient


@pytest.mark.covering(2)
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("hidden", DEPTHS)
@pytest.mark.parametrize("loss, output_activation", LOSS_AND_OUTPUT)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_by_central_differences(
    activation: str, loss: str, output_activation: str, hidden: tuple[int, ...], weighted: bool
) -> None:
    parameters = random_parameters([7, *hidden, 3], seed=1)
    X = random_inputs(6, 7, seed=2)
    y = random_targets(6, 3, loss, seed=3)
    weight = np.array([0.5, 0, 2, 1, 3, 0.25] if weighted else [1] * 6, dtype=np.float32)
    network = {"activation": activation, "output_activation": output_activation, "loss": loss}
    if activation in ("relu", "leaky_relu", "selu"):
        # A kink between the two points of a difference would spoil it.
        passed = oracle.forward(double(parameters), X, activation, output_activation)
        assert all(np.abs(z).min() > 1e-3 for z in passed.z[:-1])

    def loss_of(moved: oracle.Parameters) -> float:
        return oracle.batch_loss(
            moved, X.astype(np.float64), y, weight.astype(np.float64), **network
        )

    slopes = central_differences(parameters, loss_of)
    assert np.abs(slopes).max() > 0.01
    gradients = oracle.gradient(
        double(parameters), X.astype(np.float64), y, weight.astype(np.float64), **network
    )
    for first_layer in ("sparse", "dense"):
        loss_got, gradient_got = core_gradient(
            parameters,
            X,
            y,
            weight if weighted else None,
            activation,
            output_activation,
            first_layer,
            loss,
        )
        assert_close(gradient_got, slopes)
        assert_close(gradient_got, oracle.flatten(gradients))
        assert loss_got == pytest.approx(loss_of(double(parameters)), rel=1e-6)


@pytest.mark.parametrize("n_samples", [1, 2, 3, 8, 31, 32, 33, 65], ids="batch_{}".format)
@pytest.mark.parametrize(
    "layer_sizes",
    [
        [1, 1],
        [1, 1, 1],
        [3, 2],
        [5, 17, 33, 2],
        [16, 16, 16],
        [31, 65, 10],
        [130, 7, 129, 1],
        [40, 200, 3],
    ],
    ids=lambda sizes: "-".join(map(str, sizes)),
)
def test_gradient_of_every_kernel_and_shape(
    kernels: str, layer_sizes: list[int], n_samples: int
) -> None:
    assert _core.kernels_in_use() == kernels
    loss, output_activation = "squared_error", "logistic"
    parameters = random_parameters(layer_sizes, seed=4)
    X = random_inputs(n_samples, layer_sizes[0], seed=5)
    X[:1] += np.float32(0.5)  # a row without zeros, and in the smallest shape no empty batch
    y = random_targets(n_samples, layer_sizes[-1], loss, seed=6)
    weight = np.random.default_rng(7).random(n_samples).astype(np.float32) + np.float32(0.1)
    network = {"activation": "tanh", "output_activation": output_activation, "loss": loss}
    double_inputs = (X.astype(np.float64), y, weight.astype(np.float64))
    expected = oracle.flatten(oracle.gradient(double(parameters), *double_inputs, **network))
    expected_loss = oracle.batch_loss(double(parameters), *double_inputs, **network)
    for form in (X, scipy.sparse.csr_array(X)):
        for first_layer in ("sparse", "dense"):
            got_loss, got = core_gradient(
                parameters, form, y, weight, "tanh", output_activation, first_layer
            )
            assert_close(got, expected)
            assert got_loss == pytest.approx(expected_loss, rel=1e-6)


def test_gradient_on_bytes_is_that_on_scaled_inputs(kernels: str) -> None:
    X = np.random.default_rng(8).integers(0, 9, size=(13, 21)).astype(np.uint8)
    parameters = random_parameters([21, 17, 3], seed=9)
    y = random_targets(13, 3, "cross_entropy", seed=10)
    weight = np.ones(13)
    expected = oracle.gradient(
        double(parameters),
        X / 8,
        y,
        weight,
        activation="tanh",
        output_activation="softmax",
        loss="cross_entropy",
    )
    for first_layer in ("sparse", "dense"):
        _, got = core_gradient(parameters, X, y, None, "tanh", "softmax", first_layer)
        assert_close(got, oracle.flatten(expected))
    assert _core.kernels_in_use() == kernels


@given(
    n_samples=st.integers(1, 40),
    layer_sizes=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    activation=st.sampled_from(["tanh", "logistic", "gelu", "silu", "mish", "identity"]),
    pair=st.sampled_from([p.values for p in LOSS_AND_OUTPUT]),
    seed=st.integers(0, 10**6),
    first_layer=st.sampled_from(["sparse", "dense"]),
)
def test_gradient_of_any_network(
    n_samples: int,
    layer_sizes: list[int],
    activation: str,
    pair: tuple[str, str],
    seed: int,
    first_layer: str,
) -> None:
    loss, output_activation = pair
    parameters = random_parameters(layer_sizes, seed)
    X = random_inputs(n_samples, layer_sizes[0], seed)
    y = random_targets(n_samples, layer_sizes[-1], loss, seed)
    expected = oracle.gradient(
        double(parameters),
        X.astype(np.float64),
        y,
        np.ones(n_samples),
        activation=activation,
        output_activation=output_activation,
        loss=loss,
    )
    # With one class p - 1 is 0 but for rounding: an absolute floor beside the relative bound.
    bound = 2 * TOLERANCE * max(np.abs(oracle.flatten(expected)).max(), 0.1)
    network = (activation, output_activation, first_layer, loss)
    before = _core.kernels_in_use()
    try:
        for name in _core.kernel_names():
            _core.select_kernels(name)
            _, got = core_gradient(parameters, X, y, None, *network)
            np.testing.assert_allclose(got, oracle.flatten(expected), rtol=0, atol=bound)
    finally:
        _core.select_kernels(before)


def test_relu_at_zero_has_no_slope(kernels: str) -> None:
    # z = 1 * 1 - 1 = 0 exactly: the derivative there is 0 by definition (as in the oracle).
    parameters: oracle.Parameters = [
        (np.float32([[1.0]]), np.float32([-1.0])),
        (np.float32([[2.0]]), np.float32([0.5])),
    ]
    loss, gradient = core_gradient(
        parameters, np.float32([[1.0]]), np.float32([[0.0]]), None, "relu", "identity"
    )
    # o = 0.5, so delta = 0.5 reaches the output's bias and nothing else.
    assert loss == 0.125
    assert gradient.tolist() == [0.0, 0.0, 0.0, 0.5]
    assert _core.kernels_in_use() == kernels


@pytest.mark.parametrize("far", [50.0, 200.0, 1e4, 1e30])
def test_saturated_outputs_neither_overflow_nor_lose_the_loss(kernels: str, far: float) -> None:
    # Logits (far, -far): p = (1, 0) to the last bit, and -log p(second) = 2 far.
    parameters: oracle.Parameters = [(np.float32([[far, -far]]), np.zeros(2, dtype=np.float32))]
    X = np.float32([[1.0]])
    loss, gradient = core_gradient(parameters, X, np.array([1]), None, "relu", "softmax")
    assert loss == pytest.approx(2 * far, rel=1e-6)
    np.testing.assert_allclose(gradient, [1, -1, 1, -1], rtol=1e-6)
    # Logistic outputs (1, 0) against t = (0, 1): each is wrong by 1, and too flat to learn from.
    loss, gradient = core_gradient(parameters, X, np.float32([[0, 1]]), None, "relu", "logistic")
    assert loss == pytest.approx(1.0, rel=1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-20)
    assert _core.kernels_in_use() == kernels


def test_the_oracle_has_every_loss_of_the_table() -> None:
    rows = {(row.name, output) for row in LOSSES.values() for output in row.outputs}
    assert rows == oracle.PAIRS


SETTINGS = [
    ("huber", "identity", {"huber_delta": 0.25}),
    ("huber", "identity", {"huber_delta": 3.0}),
    ("quantile", "identity", {"quantile": 0.1}),
    ("quantile", "identity", {"quantile": 0.75}),
    ("cross_entropy", "softmax", {"label_smoothing": 0.1}),
    ("cross_entropy", "softmax", {"label_smoothing": 0.9}),
]


@pytest.mark.parametrize(("loss", "output_activation", "settings"), SETTINGS, ids=str)
def test_settings_of_losses_by_central_differences(
    loss: str, output_activation: str, settings: dict[str, float]
) -> None:
    parameters = random_parameters([7, 9, 3], seed=1)
    X = random_inputs(20, 7, seed=2)
    y = random_targets(20, 3, loss, seed=3)
    weight = np.random.default_rng(4).random(20).astype(np.float32)
    data = (X.astype(np.float64), y, weight.astype(np.float64))
    network: dict[str, Any] = {
        "activation": "tanh",
        "output_activation": output_activation,
        "loss": loss,
        **settings,
    }
    slopes = central_differences(
        parameters, lambda moved: oracle.batch_loss(moved, *data, **network)
    )
    assert np.abs(slopes).max() > 0.01
    got_loss, got = core_gradient(
        parameters, X, y, weight, "tanh", output_activation, "sparse", loss, **settings
    )
    assert_close(got, slopes)
    assert_close(got, oracle.flatten(oracle.gradient(double(parameters), *data, **network)))
    expected = oracle.batch_loss(double(parameters), *data, **network)
    assert got_loss == pytest.approx(expected, rel=1e-6)


def derivative(
    loss: str, z: list[float], t: Any, output: str, **settings: float
) -> tuple[float, list[float]]:
    """Return the loss and its derivative by z, of one sample: a bias alone."""
    parameters: oracle.Parameters = [(np.zeros((1, len(z)), np.float32), np.float32(z))]
    value, gradient = core_gradient(
        parameters, np.float32([[1.0]]), t, None, "relu", output, loss=loss, **settings
    )
    return value, gradient[len(z) :].tolist()


def test_losses_by_hand() -> None:
    # e = o - t = (-3, 0, 0.5, 2).
    z, t = [-2.0, 1.0, 1.5, 3.0], np.float32([[1, 1, 1, 1]])
    assert derivative("absolute", z, t, "identity") == (5.5, [-1, 0, 1, 1])
    # Within delta = 2: 0.125 and 2; beyond: 2 (3 - 1) = 4.
    got = derivative("huber", z, t, "identity", huber_delta=2.0)
    assert got == (6.125, [-2, 0, 0.5, 2])
    # 0.75 * 3 below the target, and 0.25 * 2.5 above it.
    got = derivative("quantile", z, t, "identity", quantile=0.75)
    assert got == (2.875, [-0.75, 0, 0.25, 0.25])
    # exp(0) - 3 * 0 and exp(ln 2) - 3 ln 2.
    ln2 = float(np.log(2))
    value, delta = derivative("poisson", [0.0, ln2], np.float32([[3, 3]]), "exponential")
    assert value == pytest.approx(3 - 3 * ln2, rel=1e-7)
    np.testing.assert_allclose(delta, [-2, -1], rtol=1e-6)
    # p = (1/2, 1/3): -log(1/2) and -log(2/3).
    value, delta = derivative("binary_cross_entropy", [0.0, -ln2], np.float32([[1, 0]]), "logistic")
    assert value == pytest.approx(np.log(2) + np.log(1.5), rel=1e-7)
    np.testing.assert_allclose(delta, [-0.5, 1 / 3], rtol=1e-6)
    # p = (3/4, 1/4), s = 1/2: q = (3/4, 1/4), so that the loss is the entropy of p, and flat.
    value, delta = derivative(
        "cross_entropy", [float(np.log(3)), 0.0], np.array([0]), "softmax", label_smoothing=0.5
    )
    assert value == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25), rel=1e-6)
    np.testing.assert_allclose(delta, 0, atol=1e-7)


@pytest.mark.parametrize("far", [50.0, 200.0, 1e4, 1e30])
def test_saturated_labels_neither_overflow_nor_lose_the_loss(far: float) -> None:
    value, delta = derivative(
        "binary_cross_entropy", [far, -far, far, -far], np.float32([[0, 1, 1, 0]]), "logistic"
    )
    assert value == pytest.approx(2 * far, rel=1e-6)
    np.testing.assert_allclose(delta, [1, -1, 0, 0], atol=1e-20)


# -------------------------------------------------------------------------------------- forward


@pytest.mark.parametrize("hidden", DEPTHS)
@pytest.mark.parametrize("output_activation", ["softmax", "identity", "logistic", "exponential"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_outputs(activation: str, output_activation: str, hidden: tuple[int, ...]) -> None:
    parameters = random_parameters([7, *hidden, 3], seed=11)
    X = random_inputs(150, 7, seed=12)  # more than two of the pieces that prediction works in
    network = core_network(parameters, activation, output_activation)
    expected = oracle.forward(double(parameters), X, activation, output_activation)
    for form in (X, scipy.sparse.csr_array(X)):
        for workers in (1, 3):
            run = {"samples": core_samples(form), "workers": workers}
            assert_close(network.predict(raw=True, **run), expected.decision)
            assert_close(network.predict(raw=False, **run), expected.output)


@pytest.mark.parametrize("n_samples", [1, 2, 63, 64, 65, 191, 192, 193, 500])
@pytest.mark.parametrize("layer_sizes", [[7, 3], [9, 17, 33, 5]], ids=str)
def test_predictions_are_the_same_bits_for_any_number_of_workers(
    kernels: str, layer_sizes: list[int], n_samples: int
) -> None:
    parameters = random_parameters(layer_sizes, seed=13)
    network = core_network(parameters, "tanh", "softmax")
    samples = core_samples(random_inputs(n_samples, layer_sizes[0], seed=14))
    alone = network.predict(samples=samples, raw=True, workers=1)
    for workers in (2, 5):
        shared = network.predict(samples=samples, raw=True, workers=workers)
        assert shared.tobytes() == alone.tobytes()
    assert _core.kernels_in_use() == kernels


def test_softmax_outputs_sum_to_one_and_shift_does_not_matter(kernels: str) -> None:
    rng = np.random.default_rng(15)
    W = rng.normal(size=(5, 4)).astype(np.float32)
    X = random_inputs(50, 5, seed=16)
    outputs = []
    for shift in (0, 1000):
        network = core_network([(W, np.full(4, shift, dtype=np.float32))], "relu", "softmax")
        outputs.append(network.predict(samples=core_samples(X), raw=False, workers=1))
        np.testing.assert_allclose(outputs[-1].sum(axis=1), 1, rtol=1e-6)
    # Beside 1000, up to five additions to a logit are rounded to multiples of 2^-14 each.
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=2 * 5 * 2**-15)
    assert _core.kernels_in_use() == kernels
