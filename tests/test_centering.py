"""Training on centered inputs: exact against centered dense inputs, for every way to read X."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

import fixed
import omp_mlp
import oracle
from omp_mlp import _core


def thin_inputs(rows: int, columns: int) -> np.ndarray:
    """Multiples of 1/256, a third of them not zero; a column of zeros and a full one."""
    rng = np.random.default_rng(rows)
    X = rng.integers(1, 256, (rows, columns)) * (rng.random((rows, columns)) < 0.3)
    X[:, 1] = 0
    X[:, 2] = rng.integers(100, 256, rows)
    X[5] = 0
    return (X / 256).astype(np.float32)


@pytest.mark.covering(2)
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("batch_size", [1, 3, 8, 40])
@pytest.mark.parametrize("kind", ["float32", "pixels", "uint8", "csr", "thin csr"])
@pytest.mark.parametrize("first_layer", ["sparse", "dense"])
def test_same_as_centered_dense_inputs(kind: str, first_layer: str, batch_size: int) -> None:
    """Three replicas, merged by a linear method, so that it commutes with moving the means."""
    X = thin_inputs(301, 37)
    if kind == "float32":  # no multiples of 1/256, which would be kept as bytes
        X = X / np.float32(1.01)
    if kind == "thin csr":  # rows that stay lists
        X[:, 3:] = 0
        X[1::2] = 0
    y = np.random.default_rng(4).integers(0, 4, len(X))
    given: Any = X
    if kind == "uint8":
        given = (X * 256).astype(np.uint8)
    elif "csr" in kind:
        given = sparse.csr_matrix(X)
    options = {
        "epochs": 2,
        "batch_size": batch_size,
        "learning_rate": 0.1,
        "learning_rate_schedule": "linear",
        "merge_every": 40,
        "outer_momentum": 0.0,
        "activation": "tanh",
        "output_activation": "softmax",
        "loss": "cross_entropy",
        "shuffle": "global",
        "seed": 5,
    }
    start = fixed.train_parallel(X, y, 1, epochs=0, hidden_layer_sizes=(19,), seed=1)
    mean = X.mean(axis=0, dtype=np.float64)
    centered = [(W.astype(np.float64), b) for W, b in zip(start.weights, start.biases, strict=True)]
    centered[0] = (centered[0][0], centered[0][1] + mean @ centered[0][0])
    expected = oracle.train_parallel(
        (X - mean).astype(np.float32), y, 3, "average", init=centered,
        hidden_layer_sizes=(19,), init_scale="glorot", **options,
    )  # fmt: skip

    unit = 256.0 if kind == "uint8" else 1.0
    scaled_start = omp_mlp.Model(
        [start.weights[0] / unit, start.weights[1]], start.biases, activation="tanh",
        classes=start.classes,
    )  # fmt: skip
    model = fixed.train_parallel(
        given, y, 3, "average", init=scaled_start, hidden_layer_sizes=(19,),
        center_inputs=True, first_layer=first_layer, **options,
    )  # fmt: skip
    (W, b), (V, c) = expected.parameters
    np.testing.assert_allclose(model.weights[0] * unit, W, rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.biases[0], b - mean @ W, rtol=0, atol=2e-5)
    np.testing.assert_allclose(model.weights[1], V, rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.biases[1], c, rtol=0, atol=1e-5)


def test_any_number_of_workers_gives_the_same_bits() -> None:
    X = thin_inputs(500, 21)
    y = np.arange(500) % 3
    one, two = (
        fixed.train_parallel(X, y, 4, center_inputs=True, epochs=2, workers=workers)
        for workers in (1, 2)
    )
    np.testing.assert_array_equal(one.weights[0], two.weights[0])
    np.testing.assert_array_equal(one.biases[0], two.biases[0])


CORE_METHODS = [row.name for row in _core.merge_methods()]


@pytest.mark.parametrize(("columns", "hidden"), [(37, 130), (64, 9), (200, 40)])
@pytest.mark.parametrize("center_inputs", [False, True])
@pytest.mark.parametrize("method", CORE_METHODS)
def test_merges_do_what_replicas_leave_to_them(
    method: str, center_inputs: bool, columns: int, hidden: int
) -> None:
    """Replicas that are kept load all rows, and fold what centring leaves; others do not."""
    X = thin_inputs(120, columns)
    X[:, 3:] *= np.random.default_rng(2).random((120, columns - 3)) < 0.3  # not all rows in a round
    y = np.random.default_rng(4).integers(0, 4, len(X))

    def weights(*, keep_replicas: bool) -> np.ndarray:
        model = fixed.train_parallel(
            X,
            y,
            7,
            method,
            hidden_layer_sizes=(hidden, 5),
            activation="tanh",
            batch_size=1,
            # The sum of seven networks leads to larger ones in each round.
            epochs=1 if method == "sum" else 3,
            learning_rate=0.05,
            merge_every=4,
            center_inputs=center_inputs,
            keep_replicas=keep_replicas,
        )
        return np.concatenate([W.ravel() for W in (*model.weights, *model.biases)])

    folded = weights(keep_replicas=True)
    scale = np.abs(folded).max()
    np.testing.assert_allclose(weights(keep_replicas=False) / scale, folded / scale, atol=1e-5)


@pytest.mark.parametrize("method", CORE_METHODS)
def test_merges_that_fold_give_the_same_bits_for_every_instruction_set(method: str) -> None:
    X = thin_inputs(120, 37)
    y = np.random.default_rng(4).integers(0, 4, len(X))
    options = {"batch_size": 1, "merge_every": 4, "epochs": 1, "learning_rate": 0.01}
    weights = set()
    try:
        for name in _core.merge_loop_names():
            _core.select_merge_loops(name)
            model = fixed.train_parallel(X, y, 7, method, center_inputs=True, **options)
            weights.add(np.concatenate([W.ravel() for W in model.weights]).tobytes())
    finally:
        _core.select_merge_loops("best")
    assert len(weights) == 1


@pytest.mark.filterwarnings("ignore:after the first round:omp_mlp.SettingsWarning")
@pytest.mark.parametrize("first_layer", ["sparse", "dense"])
def test_an_offset_of_the_inputs_does_not_matter(first_layer: str) -> None:
    """Without centering, features near 100 cannot be learned at this rate."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 5))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    scores = [
        fixed.train_parallel(
            X + offset, y, 1, center_inputs=centered, first_layer=first_layer, epochs=30
        ).score(X + offset, y)
        for offset, centered in ((0.0, False), (20.0, True), (20.0, False))
    ]
    assert abs(scores[0] - scores[1]) < 0.03
    assert scores[0] > 0.9 > scores[2]


def test_not_a_boolean() -> None:
    with pytest.raises(ValueError, match="must be one of False, True, 'auto'; got 'yes'"):
        fixed.train_parallel(np.eye(3), [0, 1, 2], 1, center_inputs="yes")
