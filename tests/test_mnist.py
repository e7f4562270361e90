"""The main job on the real MNIST: the accuracy that it is for, and the oracle at its full width."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fixed
import omp_mlp
import oracle

pytestmark = pytest.mark.skipif(
    not os.environ.get("OMP_MLP_DATA"),
    reason="needs the real MNIST: set OMP_MLP_DATA to the folder with its four files",
)

Split = tuple[NDArray[Any], NDArray[np.int64], NDArray[Any], NDArray[np.int64]]


def load(dtype: Any) -> Split:
    # A folder that was named and does not hold the files is an error, not a reason to download.
    return omp_mlp.datasets.load_mnist(os.environ["OMP_MLP_DATA"], split="standard", dtype=dtype)


@pytest.fixture(scope="module")
def fractions() -> Split:
    return load("float32")


@pytest.fixture(scope="module")
def raw_bytes() -> Split:
    return load("uint8")


# Rate 0.02 falling to 0, the seed not chosen: 97.0 to 97.3 % for seeds 0 to 4, whatever the
# instruction set.
ONLINE: dict[str, Any] = {
    "hidden_layer_sizes": (128,),
    "activation": "relu",
    "epochs": 1,
    "batch_size": 1,
    "learning_rate": 0.02,
}


def test_one_epoch_of_online_sgd_reaches_96_percent(fractions: Split) -> None:
    X_train, y_train, X_test, y_test = fractions
    validation = (X_test, y_test)
    model = fixed.train_parallel(
        X_train, y_train, 1, "average", validation_data=validation, **ONLINE
    )
    accuracy = model.score(X_test, y_test)
    assert accuracy >= 0.96
    assert model.layer_sizes == (784, 128, 10)
    assert model.history.samples.tolist() == [60_000]
    assert model.history.validation_score.tolist() == [accuracy]
    assert np.mean(model.predict(X_test) == y_test) == accuracy


def test_one_epoch_on_the_bytes_reaches_96_percent(raw_bytes: Split) -> None:
    X_train, y_train, X_test, y_test = raw_bytes
    model = fixed.train_parallel(X_train, y_train, 1, "average", **ONLINE)
    assert model.score(X_test, y_test) >= 0.96


# With two replicas, about 512 merges; with eight, their first rounds are as short as they may be.
@pytest.mark.parametrize("threads, merges", [(2, 508), (8, 317)])
def test_merging_replicas_often_keeps_the_accuracy(
    threads: int, merges: int, raw_bytes: Split
) -> None:
    X_train, y_train, X_test, y_test = raw_bytes
    model = fixed.train_parallel(X_train, y_train, threads, "gradient_diversity", **ONLINE)
    assert model.score(X_test, y_test) >= 0.96
    assert len(model.history) == merges


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_the_oracle_agrees_at_full_width(
    dtype: str, threads: int, fractions: Split, raw_bytes: Split
) -> None:
    X, y = (fractions if dtype == "float32" else raw_bytes)[:2]
    X, y = X[:3000], y[:3000]
    scale = 1.0 if dtype == "float32" else 256.0
    # tanh, because among the 3,000 x 128 pre-activations some are within rounding of relu's kink,
    # at which float32 may decide either way.
    options = {**ONLINE, "activation": "tanh", "seed": 1, "merge_every": None}
    model = fixed.train_parallel(X, y, threads, "average", **options)
    expected = oracle.train_parallel(
        X / np.float32(scale),
        y,
        threads,
        "average",
        output_activation="softmax",
        loss="cross_entropy",
        outer_momentum=0.0,
        init_scale="glorot",
        **options,
    )
    (W1, b1), (W2, b2) = expected.parameters
    # Weights of 0.7 at most, 3,000 steps: a random walk of roundings by 2^-25 makes 2e-6 of that.
    for got, wanted in (
        (model.weights[0] * np.float32(scale), W1),
        (model.biases[0], b1),
        (model.weights[1], W2),
        (model.biases[1], b2),
    ):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-5)
    np.testing.assert_allclose(model.history.loss, expected.losses, rtol=1e-5)
    # It was trained: a start would be at 10 %.
    assert model.score(X, y) > 0.8


def test_relu_at_full_width(fractions: Split) -> None:
    # With this seed, no pre-activation of the 300 samples comes nearer to the kink than 1e-4.
    X, y = fractions[0][:300], fractions[1][:300]
    options = {**ONLINE, "merge_every": None, "init_scale": "he", "seed": 2}
    model = fixed.train_parallel(X, y, 1, "average", **options)
    expected = oracle.train_parallel(
        X,
        y,
        1,
        "average",
        output_activation="softmax",
        loss="cross_entropy",
        outer_momentum=0.0,
        **options,
    )
    for (W, b), W_got, b_got in zip(expected.parameters, model.weights, model.biases, strict=True):
        np.testing.assert_allclose(W_got, W, rtol=0, atol=5e-6)
        np.testing.assert_allclose(b_got, b, rtol=0, atol=5e-6)


def as_sparse(dtype: Any) -> Any:
    sparse = pytest.importorskip("scipy.sparse")
    return lambda images: sparse.csr_array(images.astype(dtype))


# Unscaled, all of these leave no hidden unit alive: one class in ten is right.
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32])
@pytest.mark.parametrize("sparse", [False, True], ids=["array", "csr"])
def test_images_of_any_type_learn_as_bytes_do(raw_bytes: Split, sparse: bool, dtype: Any) -> None:
    X_train, y_train, X_test, y_test = raw_bytes
    X_train, y_train = X_train[:3000], y_train[:3000]
    convert = as_sparse(dtype) if sparse else lambda images: images.astype(dtype)
    expected = fixed.train_parallel(X_train, y_train, 4, epochs=2).score(X_test, y_test)
    model = fixed.train_parallel(convert(X_train), y_train, 4, epochs=2, scale_inputs="auto")
    assert model.input_scaling is None
    # The same steps, up to the rounding of sums in another order.
    assert model.score(convert(X_test), y_test) == pytest.approx(expected, abs=0.005)
    assert expected > 0.85
