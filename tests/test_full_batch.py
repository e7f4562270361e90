"""The loss of all samples and its gradient: the oracle's, with the same bits for any workers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

import oracle
from omp_mlp import _core
from omp_mlp.losses import LossKind

N, FEATURES = 20_000, 7  # enough for several parts
SIZES = [FEATURES, 6, 5, 3]


def data(kind: str) -> tuple[Any, _core.Samples]:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(N, FEATURES)).astype(np.float32)
    if kind == "bytes":
        as_bytes = rng.integers(0, 256, size=X.shape).astype(np.uint8)
        return as_bytes / np.float32(256), _core.Samples.dense_uint8(X=as_bytes, scale=1 / 256)
    if kind == "csr":
        X[rng.random(X.shape) < 0.6] = 0
        csr = scipy.sparse.csr_matrix(X)
        return X, _core.Samples.csr(
            starts=csr.indptr.astype(np.int64),
            indices=csr.indices.astype(np.int32),
            values=csr.data,
            rows=N,
            columns=FEATURES,
        )
    return X, _core.Samples.dense_float32(X=X)


def full_batch(
    samples: _core.Samples, y: NDArray[np.int32], weight: Any, **changed: Any
) -> _core.FullBatch:
    network = _core.Network(layer_sizes=SIZES, activation="tanh", output="softmax", parameters=None)
    targets = _core.Targets(
        classes=y, values=None, weights=weight, loss=LossKind("cross_entropy").core()
    )
    options: dict[str, Any] = {"first_layer": "auto", "center_inputs": False, "workers": 1}
    return _core.FullBatch(
        network=network, samples=samples, targets=targets, **{**options, **changed}
    )


@pytest.mark.parametrize("centers", [False, True], ids=["raw", "centred"])
@pytest.mark.parametrize("first_layer", ["sparse", "dense"])
@pytest.mark.parametrize("kind", ["floats", "bytes", "csr"])
def test_is_the_oracle_for_any_workers(kind: str, first_layer: str, centers: bool) -> None:
    X, samples = data(kind)
    rng = np.random.default_rng(4)
    y = rng.integers(0, 3, size=N).astype(np.int32)
    weight = rng.random(N).astype(np.float32)
    found = []
    for workers in (1, 3):
        batch = full_batch(
            samples, y, weight, first_layer=first_layer, center_inputs=centers, workers=workers
        )
        start = batch.start(
            init=_core.Init(
                rule="glorot", first="glorot", scale=0.0, first_biases=0.0, last_weights=1.0
            ),
            seed=5,
        )
        at = batch.to_centered(parameters=start)
        answer = batch.evaluate(parameters=at, during_round=None)
        assert answer is not None
        found.append((start, at, *answer))
    start, at, loss, gradient = found[0]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)

    drawn = oracle.initial_parameters(SIZES, seed=5, replica=0, init_scale="glorot")
    np.testing.assert_array_equal(start, oracle.flatten(drawn))
    inputs = X.astype(np.float64)
    if centers:
        mean = inputs.mean(axis=0)
        inputs -= mean
        W, b = drawn[0]
        expected = oracle.flatten([(W, b + mean @ W), *drawn[1:]])
        np.testing.assert_allclose(at, expected, rtol=0, atol=1e-6)  # a sum of 7 in float32
    parameters = oracle.unflatten(at.astype(np.float64), SIZES)
    network = {"activation": "tanh", "output_activation": "softmax", "loss": "cross_entropy"}
    given = (inputs, y, weight.astype(np.float64))
    assert loss == pytest.approx(oracle.batch_loss(parameters, *given, **network), rel=1e-6)
    expected = oracle.flatten(oracle.gradient(parameters, *given, **network))
    # Sums of some hundred products in float32, of which each is off by 6e-8.
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-6)
    back = batch.to_raw(parameters=at)
    np.testing.assert_allclose(back, start, rtol=0, atol=1e-6)


def test_wrong_sizes_are_refused() -> None:
    batch = full_batch(data("floats")[1], np.zeros(N, dtype=np.int32), None)
    with pytest.raises(ValueError, match="parameters must have 101 entries; got 3"):
        batch.evaluate(parameters=np.zeros(3, dtype=np.float32), during_round=None)
