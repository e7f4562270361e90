"""Every table of kernels, and both ways to read X, against the plain loops and the oracle."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import fixed
import omp_mlp
import oracle
from omp_mlp import _core
from omp_mlp.losses import LossKind

ACTIVATIONS = tuple(oracle.ACTIVATIONS)


def sparse_rows(rows: int, columns: int, seed: int) -> np.ndarray:
    """Draw rows: the first is all zero, the second has no zero, and the others have some."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < 0.3)
    X[:1] = 0
    X[1:2] = rng.normal(size=(min(1, max(0, rows - 1)), columns)) + 3
    return X.astype(np.float32)


def evaluate(sizes: list[int], X: np.ndarray, *, activation: str, first_layer: str) -> Any:
    """Return loss, gradient and outputs of one batch at fixed random parameters."""
    rng = np.random.default_rng(len(sizes))
    count = sum((a + 1) * b for a, b in pairwise(sizes))
    network = _core.Network(
        layer_sizes=sizes,
        activation=activation,
        output="softmax",
        parameters=rng.normal(scale=0.3, size=count).astype(np.float32),
    )
    samples = _core.Samples.dense_float32(X=X)
    loss, gradient = network.gradient(
        samples=samples,
        targets=_core.Targets(
            classes=rng.integers(0, sizes[-1], len(X)).astype(np.int32),
            values=None,
            weights=rng.random(len(X)).astype(np.float32),
            loss=LossKind("cross_entropy").core(),
        ),
        first_layer=first_layer,
    )
    return loss, gradient, network.predict(samples=samples, raw=True, workers=1)


@pytest.mark.covering(3)
@pytest.mark.parametrize("first_layer", ["sparse", "dense"])
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 32, 33, 70])
@pytest.mark.parametrize(
    "hidden",
    [[1], [5], [16], [33, 17], [64], [100], [127], [128], [129, 70], [300], [], [272, 3, 40]],
    ids=str,
)
def test_same_as_the_plain_loops(
    kernels: str, hidden: list[int], rows: int, first_layer: str
) -> None:
    """Sums are taken in other orders, so they agree up to some roundings of float32."""
    for columns, outputs in ((1, 1), (19, 10), (70, 33)):
        for activation in ACTIVATIONS:
            X = sparse_rows(rows, columns, seed=rows)
            sizes = [columns, *hidden, outputs]
            got = evaluate(sizes, X, activation=activation, first_layer=first_layer)
            _core.select_kernels("plain")
            expected = evaluate(sizes, X, activation=activation, first_layer="sparse")
            _core.select_kernels(kernels)
            for a, b in zip(got, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * (1e-2 + np.abs(b).max()))


@pytest.mark.parametrize("rows", [1, 3, 17, 33, 257])
def test_wide_layers(kernels: str, rows: int) -> None:
    """Blocks of every size, of rows, columns and depth, and what is left after the last."""
    for sizes in ([17, 257, 300, 5], [515, 33, 1030, 255]):
        X = sparse_rows(rows, sizes[0], seed=rows)
        got = evaluate(sizes, X, activation="tanh", first_layer="dense")
        _core.select_kernels("plain")
        expected = evaluate(sizes, X, activation="tanh", first_layer="dense")
        _core.select_kernels(kernels)
        for a, b in zip(got, expected, strict=True):
            # Units sum hundreds of terms of about 1, and every layer hands its roundings on.
            np.testing.assert_allclose(a, b, rtol=0, atol=5e-5 * (1e-2 + np.abs(b).max()))


@pytest.mark.covering(3)
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("kind", ["float32", "pixels", "uint8", "csr", "thin csr"])
@pytest.mark.parametrize("first_layer", ["sparse", "dense"])
@pytest.mark.parametrize("batch_size", [1, 5, 40])
def test_training_follows_the_oracle(kind: str, first_layer: str, batch_size: int) -> None:
    """300 samples, 2 epochs, 3 replicas: some hundred steps, empty and full rows among them."""
    X = (np.abs(sparse_rows(300, 37, seed=3)) * 60).astype(np.uint8)
    X[7] = 0  # two empty rows one after the other in the order of X
    X[8] = 0
    if kind == "thin csr":  # rows that stay lists
        X[:, 1:] = 0
        X[1::2] = 0
    y = np.random.default_rng(4).integers(0, 4, 300)
    scale = 2.0 ** np.ceil(np.log2(X.max())) if kind == "uint8" else 1.0
    # Floats that are no multiples of 1/256 are read as they are.
    scaled = X.astype(np.float32) / np.float32(256 if kind == "pixels" else 257)
    given = X if kind == "uint8" else sparse.csr_matrix(scaled) if "csr" in kind else scaled
    options = {
        "hidden_layer_sizes": (19,),
        "epochs": 2,
        "learning_rate": 0.1,
        "learning_rate_schedule": "linear",
        "merge_every": None,
        "outer_momentum": 0.0,
        "activation": "tanh",
        "output_activation": "softmax",
        "loss": "cross_entropy",
        "init": "shared",
        "init_scale": "glorot",
        "batch_size": batch_size,
        "shuffle": "global",
        "seed": 5,
    }
    model = fixed.train_parallel(given, y, 3, "average", first_layer=first_layer, **options)
    oracle_X = X.astype(np.float32) / np.float32(scale) if kind == "uint8" else scaled
    expected = oracle.train_parallel(oracle_X, y, 3, "average", **options)
    for layer, (W, b) in enumerate(expected.parameters):
        factor = scale if layer == 0 else 1.0
        np.testing.assert_allclose(model.weights[layer] * factor, W, rtol=0, atol=5e-6)
        np.testing.assert_allclose(model.biases[layer], b, rtol=0, atol=5e-6)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("n", [2, 10, 16, 17, 1000])
def test_softmax(n: int) -> None:
    """Far-off logits too: the largest is taken off before the exponential."""
    z = np.random.default_rng(n).normal(scale=30, size=(5, n)).astype(np.float32) + 500
    network = omp_mlp.Model([np.eye(n)], [np.zeros(n)], classes=np.arange(n))
    p = network.predict_proba(z)
    expected = np.exp(z.astype(np.float64) - z.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p, expected, rtol=2e-6, atol=1e-37)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("batch_size", [1, 8])
def test_divergence_is_not_hidden(activation: str, batch_size: int) -> None:
    """No kernel may turn a NaN into a number: with ReLU, max(0, NaN) easily does."""
    X = np.full((64, 3), 1e20, dtype=np.float32)
    X[::2] *= -1
    y = np.linspace(-1e10, 1e10, 64)
    with pytest.raises(omp_mlp.TrainingDivergedError, match="round 0"):
        fixed.train_parallel(
            X, y, 1, activation=activation, output_activation="identity", batch_size=batch_size,
            learning_rate=1e10, epochs=20,
        )  # fmt: skip


def test_first_layer_is_chosen_by_density() -> None:
    """What is chosen is what is forced, to the bit; the other way differs by rounding at most."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    full = rng.normal(size=(200, 40)).astype(np.float32)
    thin = full * (rng.random(full.shape) < 0.1)
    options = {"batch_size": 20, "epochs": 3}
    for X, expected in ((full, "dense"), (thin, "sparse")):
        chosen, forced, other = (
            fixed.train_parallel(X, y, 1, first_layer=way, **options).weights[0]
            for way in ("auto", expected, {"dense": "sparse", "sparse": "dense"}[expected])
        )
        is_dense = _core.Samples.dense_float32(X=X).list_density(first_layer="auto") is None
        assert is_dense == (expected == "dense")
        np.testing.assert_array_equal(chosen, forced)
        np.testing.assert_allclose(chosen, other, atol=1e-5)


def test_unknown_kernels() -> None:
    with pytest.raises(ValueError, match=r"'best'.*'plain'.*got 'mmx'"):
        _core.select_kernels("mmx")
    assert _core.kernel_names()[-1] == "plain"


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Round float32 to its upper 16 bits, to nearest, ties to even."""
    bits = np.asarray(values, dtype=np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
    return rounded.astype(np.uint32).view(np.float32)


@pytest.mark.covering(3)
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("batch_size", [1, 5, 40])
@pytest.mark.parametrize("skip", [0.0, 0.6])
@pytest.mark.parametrize("forward_precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("hidden", [(19,), (33, 5), ()], ids=str)
def test_options_of_speed(
    hidden: tuple[int, ...], batch_size: int, skip: float, forward_precision: str
) -> None:
    """One replica, step by step in NumPy: a rounded first layer, confident samples left out.

    Small batches are read together, up to 16 samples, and see the first layer as it was rounded
    before them, with their steps since then added exactly.
    """
    X = to_bfloat16(np.abs(sparse_rows(160, 21, seed=2)))
    y = np.random.default_rng(4).integers(0, 3, len(X))
    rate = 0.05
    start = fixed.train_parallel(X, y, 1, hidden_layer_sizes=hidden, epochs=0)
    model = fixed.train_parallel(
        X, y, 1, hidden_layer_sizes=hidden, epochs=2, batch_size=batch_size, learning_rate=rate,
        learning_rate_schedule="constant", shuffle=False, init=start, merge_every=None,
        first_layer="sparse", forward_precision=forward_precision, skip_confident=skip,
    )  # fmt: skip
    parameters = [(W.copy(), b.copy()) for W, b in zip(start.weights, start.biases, strict=True)]
    together = max(1, 16 // batch_size) * batch_size
    skipped = 0
    for begin in [*range(0, len(X), batch_size)] * 2:
        batch = slice(begin, min(begin + batch_size, len(X)))
        if begin % together == 0:
            rounding = to_bfloat16(parameters[0][0]) - parameters[0][0]
        seen = list(parameters)
        if forward_precision == "bfloat16":
            seen[0] = (seen[0][0] + rounding, seen[0][1])
        forward = oracle.forward(seen, X[batch], "relu", "softmax")
        confidence = forward.output[np.arange(batch.stop - begin), y[batch]]
        weight = (1 - confidence >= skip).astype(np.float32)
        skipped += int((weight == 0).sum())
        gradients = oracle.gradient(
            seen, X[batch], y[batch], weight,
            activation="relu", output_activation="softmax", loss="cross_entropy",
        )  # fmt: skip
        parameters = oracle.sgd_step(parameters, gradients, rate)
    assert (skipped > 10) == (skip > 0)  # the case is one that tells
    for (W, b), W_got, b_got in zip(parameters, model.weights, model.biases, strict=True):
        # A rounding that falls on the other side in bfloat16 moves z by 2^-9 of one weight.
        atol = 1e-5 if forward_precision == "float32" else 3e-4
        np.testing.assert_allclose(W_got, W, rtol=0, atol=atol)
        np.testing.assert_allclose(b_got, b, rtol=0, atol=atol)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("columns", [1, 21, 64, 129])
def test_bfloat16_rounds_the_inputs_of_the_forward_pass(columns: int) -> None:
    """After one step the layers above cannot tell the inputs from rounded ones."""
    X = np.abs(sparse_rows(60, columns, seed=3))
    y = np.arange(60) % 3
    start = fixed.train_parallel(X, y, 1, epochs=0)
    one, two = (
        fixed.train_parallel(
            inputs, y, 1, epochs=1, batch_size=60, shuffle=False, init=start, first_layer="sparse",
            forward_precision="bfloat16", learning_rate=0.5,
        )
        for inputs in (X, to_bfloat16(X))
    )  # fmt: skip
    assert not np.array_equal(one.weights[0], two.weights[0])
    np.testing.assert_array_equal(one.biases[0], two.biases[0])
    np.testing.assert_array_equal(one.weights[1], two.weights[1])


def test_options_of_speed_that_do_not_go_together() -> None:
    X, y = np.eye(4), np.arange(4)
    with pytest.raises(ValueError, match="first_layer='auto' or 'sparse'; got 'dense'"):
        fixed.train_parallel(X, y, 1, forward_precision="bfloat16", first_layer="dense")
    with pytest.raises(ValueError, match="'bfloat16' goes with X as an array; got a sparse matrix"):
        fixed.train_parallel(sparse.csr_matrix(X), y, 1, forward_precision="bfloat16")
    with pytest.raises(ValueError, match=r"cross_entropy.*got output_activation='identity'"):
        fixed.train_parallel(X, y * 1.0, 1, skip_confident=0.1)
