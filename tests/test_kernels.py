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
@pytest.mark.parametrize("hidden", [(19,), (33, 5), ()], ids=str)
def test_options_of_speed(hidden: tuple[int, ...], batch_size: int, skip: float) -> None:
    """One replica, step by step in NumPy: confident samples are left out."""
    X = np.abs(sparse_rows(160, 21, seed=2))
    y = np.random.default_rng(4).integers(0, 3, len(X))
    rate = 0.05
    start = fixed.train_parallel(X, y, 1, hidden_layer_sizes=hidden, epochs=0)
    model = fixed.train_parallel(
        X, y, 1, hidden_layer_sizes=hidden, epochs=2, batch_size=batch_size, learning_rate=rate,
        learning_rate_schedule="constant", shuffle=False, init=start, merge_every=None,
        first_layer="sparse", skip_confident=skip,
    )  # fmt: skip
    parameters = [(W.copy(), b.copy()) for W, b in zip(start.weights, start.biases, strict=True)]
    skipped = 0
    for begin in [*range(0, len(X), batch_size)] * 2:
        batch = slice(begin, min(begin + batch_size, len(X)))
        forward = oracle.forward(parameters, X[batch], "relu", "softmax")
        confidence = forward.output[np.arange(batch.stop - begin), y[batch]]
        weight = (1 - confidence >= skip).astype(np.float32)
        skipped += int((weight == 0).sum())
        gradients = oracle.gradient(
            parameters, X[batch], y[batch], weight,
            activation="relu", output_activation="softmax", loss="cross_entropy",
        )  # fmt: skip
        parameters = oracle.sgd_step(parameters, gradients, rate)
    assert (skipped > 10) == (skip > 0)  # the case is one that tells
    for (W, b), W_got, b_got in zip(parameters, model.weights, model.biases, strict=True):
        np.testing.assert_allclose(W_got, W, rtol=0, atol=1e-5)
        np.testing.assert_allclose(b_got, b, rtol=0, atol=1e-5)


needs_bfloat16 = pytest.mark.skipif(
    not _core.has_bfloat16_products(), reason="no products of bfloat16 with these kernels"
)


def dense_rows(samples: int, columns: int) -> np.ndarray:
    return np.random.default_rng(8).normal(size=(samples, columns)).astype(np.float32)


def wide(X: np.ndarray, y: np.ndarray, threads: int = 1, **options: Any) -> omp_mlp.Model:
    """A network whose products are large enough for bfloat16, all but that of the outputs."""
    return fixed.train_parallel(
        X, y, threads, **{"hidden_layer_sizes": (130, 144), "epochs": 1, "batch_size": 40,
        "learning_rate": 0.05, "first_layer": "dense", "shuffle": False} | options,
    )  # fmt: skip


@needs_bfloat16
@pytest.mark.parametrize("samples", [33, 64])
def test_a_step_in_bfloat16(samples: int) -> None:
    """One step, worked in NumPy: both factors of each large product are rounded, and no sum is.

    The last layer has few outputs and is not rounded. Products of two bfloat16 are exact in
    float32, so what is left is the order of sums, which may let a factor fall on the other side:
    2^-8 of the largest term. Such factors are few, beside all those that rounding changes.
    """
    X, y = dense_rows(samples, 70), np.arange(samples) % 3
    start = wide(X, y, epochs=0)
    options = {"init": start, "batch_size": samples, "learning_rate_schedule": "constant"}
    got = wide(X, y, precision="bfloat16", **options)
    exact = wide(X, y, **options)
    (W0, b0), (W1, b1), (W2, b2) = zip(start.weights, start.biases, strict=True)
    r = to_bfloat16
    a0 = np.maximum(r(X) @ r(W0) + b0, 0)
    a1 = np.maximum(r(a0) @ r(W1) + b1, 0)
    z = a1 @ W2 + b2
    p = np.exp(z - z.max(axis=1, keepdims=True))
    delta2 = (p / p.sum(axis=1, keepdims=True) - np.eye(3)[y]).astype(np.float32)
    delta2 *= np.float32(-0.05 / samples)
    delta1 = (delta2 @ W2.T) * (a1 > 0)
    delta0 = (r(delta1) @ r(W1).T) * (a0 > 0)
    expected = [
        (W0 + r(X).T @ r(delta0), b0 + delta0.sum(axis=0)),
        (W1 + r(a0).T @ r(delta1), b1 + delta1.sum(axis=0)),
        (W2 + a1.T @ delta2, b2 + delta2.sum(axis=0)),
    ]
    factors = [(X, delta0), (a0, delta1), (a1, delta2)]
    for layer, ((W, b), (a, delta)) in enumerate(zip(expected, factors, strict=True)):
        atol = 1e-7 + 2**-8 * np.abs(a).max() * np.abs(delta).max()
        np.testing.assert_allclose(got.weights[layer], W, rtol=0, atol=atol)
        np.testing.assert_allclose(got.biases[layer], b, rtol=0, atol=atol)
        without_rounding = np.linalg.norm(exact.weights[layer] - W)
        assert np.linalg.norm(got.weights[layer] - W) < 0.1 * without_rounding


@needs_bfloat16
@pytest.mark.parametrize(
    "options",
    [{"strategy": name} for name in ("replica", "pattern", "section", "synchronous")]
    + [{"optimizer": name} for name in ("momentum", "nesterov", "adam", "adamw", "rmsprop")]
    + [{"max_norm": 1.0}, {"dropout": 0.2}, {"skip_confident": 0.01}],
    ids=str,
)
def test_bfloat16_goes_with(options: dict[str, Any]) -> None:
    """The updates are those of float32 but for the factors' rounding, with any workers.

    The first steps of "adam" and "rmsprop" have the sign of the gradient and always the same size,
    so that rounding turns those of the smallest entries round. Layers are so wide that half of one,
    which is a section, is rounded.
    """
    X = dense_rows(320, 70)
    y = (X[:, :3] @ [3.0, 1.0, -2.0] > 0).astype(int)
    rate = 0.001 if "optimizer" in options else 0.05
    is_by_sign = options.get("optimizer") in ("adam", "adamw", "rmsprop")
    common = {"hidden_layer_sizes": (272, 288), "batch_size": 80, "learning_rate": rate, **options}
    start = wide(X, y, 2, **common | {"epochs": 0})
    exact = wide(X, y, 2, **common)
    one, two = (wide(X, y, 2, precision="bfloat16", workers=n, **common) for n in (1, 2))
    for layer, W in enumerate(one.weights):
        np.testing.assert_array_equal(W, two.weights[layer])
        moved = np.linalg.norm(exact.weights[layer] - start.weights[layer])
        apart = np.linalg.norm(W - exact.weights[layer])
        assert 0 < apart < (0.5 if is_by_sign else 0.1) * moved


def test_bfloat16_where_the_machine_has_none_is_float32_with_a_warning() -> None:
    X, y = dense_rows(160, 70), np.arange(160) % 3
    before = _core.kernels_in_use()
    try:
        _core.select_kernels("plain")
        assert not _core.has_bfloat16_products()
        exact = wide(X, y)
        with pytest.warns(omp_mlp.SettingsWarning, match=r"kernels in use \('plain'\)") as caught:
            got = wide(X, y, precision="bfloat16")
    finally:
        _core.select_kernels(before)
    assert len(caught) == 1
    for a, b in zip(got.weights, exact.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@needs_bfloat16
def test_small_batches_and_sparse_inputs_stay_float32() -> None:
    X, y = np.abs(sparse_rows(160, 70, seed=3)), np.arange(160) % 3
    for options in ({"batch_size": 8}, {"hidden_layer_sizes": (144,), "first_layer": "sparse"}):
        exact, got = (wide(X, y, precision=name, **options) for name in ("float32", "bfloat16"))
        for a, b in zip(got.weights, exact.weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_options_of_speed_that_do_not_go_together() -> None:
    X, y = np.eye(4), np.arange(4)
    with pytest.raises(ValueError, match=r"cross_entropy.*got output_activation='identity'"):
        fixed.train_parallel(X, y * 1.0, 1, skip_confident=0.1)
