"""Losses besides cross-entropy and squared error: every strategy, units, settings, bad input."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fixed
import omp_mlp
import oracle
from omp_mlp.losses import LossKind
from omp_mlp.targets import Targets

# As in test_train.py: float32 roundings of some hundred steps. A wrong derivative moves a weight by
# 1e-3 and more.
TOLERANCE = 1e-5

OPTIONS: dict[str, Any] = {
    "hidden_layer_sizes": (19,),
    "activation": "tanh",
    "epochs": 2,
    "batch_size": 4,
    "learning_rate": 0.05,
    "init_scale": "glorot",
    "seed": 5,
}
ROWS = 61
LOSSES = [  # (loss, output, settings)
    ("huber", "identity", {"huber_delta": 0.3}),
    ("absolute", "identity", {}),
    ("quantile", "identity", {"quantile": 0.8}),
    ("poisson", "exponential", {}),
    ("binary_cross_entropy", "logistic", {}),
    ("cross_entropy", "softmax", {"label_smoothing": 0.2}),
]


def inputs() -> NDArray[np.float32]:
    rng = np.random.default_rng(1)
    return (rng.normal(size=(ROWS, 6)) * (rng.random((ROWS, 6)) < 0.6)).astype(np.float32)


def targets(loss: str) -> NDArray[Any]:
    rng = np.random.default_rng(2)
    if loss == "cross_entropy":
        return np.arange(ROWS) % 3
    if loss == "binary_cross_entropy":
        return (rng.random((ROWS, 3)) < 0.4).astype(np.int64)
    if loss == "poisson":
        return rng.poisson(2.0, size=(ROWS, 3)).astype(np.float32)
    return rng.normal(size=(ROWS, 3)).astype(np.float32)


def flat(model: omp_mlp.Model) -> NDArray[np.float32]:
    return oracle.flatten(list(zip(model.weights, model.biases, strict=True)))


def assert_is_oracle(model: omp_mlp.Model, expected: oracle.TrainingResult) -> None:
    weights = oracle.flatten(expected.parameters)
    largest = max(1.0, float(np.abs(weights).max()))
    np.testing.assert_allclose(flat(model), weights, rtol=0, atol=TOLERANCE * largest)
    np.testing.assert_allclose(model.history.loss, expected.losses, rtol=2e-5)


# ------------------------------------------------------------------------------- against the oracle


@pytest.mark.parametrize("strategy", ["replica", "section", "synchronous", "hogwild"])
@pytest.mark.parametrize(("loss", "output", "settings"), LOSSES, ids=lambda p: str(p))
def test_every_strategy_is_the_oracle(
    strategy: str, loss: str, output: str, settings: dict[str, float]
) -> None:
    X, y = inputs(), targets(loss)
    weight = np.random.default_rng(3).random(ROWS).astype(np.float32)
    changed: dict[str, Any] = {**OPTIONS, **settings, "sample_weight": weight}
    # Hogwild is reproducible with one thread only.
    threads = 1 if strategy == "hogwild" else 3
    replica = {"merge": "average", "merge_every": 8, "outer_momentum": 0.0, "last_merge": None}
    model = fixed.train_parallel(
        X,
        y,
        threads,
        strategy=strategy,
        loss="auto" if loss == "cross_entropy" else loss,
        **changed,
        **(replica if strategy == "replica" else {}),
    )
    assert model.output_activation == output
    expected = oracle.train_parallel(
        X,
        y.astype(np.float32) if loss == "binary_cross_entropy" else y,
        threads if strategy == "replica" else 1,
        "average",
        loss=loss,
        output_activation=output,
        **changed,
        merge_every=8 if strategy == "replica" else ROWS,
        outer_momentum=0.0,
    )
    assert_is_oracle(model, expected)


@pytest.mark.parametrize(("loss", "output", "settings"), LOSSES, ids=lambda p: str(p))
def test_validation_loss_is_the_training_loss(
    loss: str, output: str, settings: dict[str, float]
) -> None:
    X, y = inputs(), targets(loss)
    model = fixed.train_parallel(X, y, 1, loss=loss, validation_data=(X, y), **OPTIONS, **settings)
    z = oracle.forward(
        list(zip(model.weights, model.biases, strict=True)), X, "tanh", output
    ).decision
    wanted = y.astype(np.float32) if loss == "binary_cross_entropy" else y
    expected = oracle.sample_losses(z, wanted, loss, output, **settings).mean()
    assert model.history.validation_loss[-1] == pytest.approx(expected, rel=1e-5)
    assert model.history.validation_score[-1] == pytest.approx(model.score(X, y), abs=1e-9)


# --------------------------------------------------------------------------------- units and scales


@pytest.mark.parametrize(("loss", "power"), [("huber", 2), ("absolute", 1), ("quantile", 1)])
def test_losses_of_scaled_targets_are_in_the_units_of_y(loss: str, power: int) -> None:
    X = inputs()
    y = targets("huber")[:, 0] * 50 + 700
    std = y.astype(np.float64).std()
    scaled = (y - y.astype(np.float64).mean()) / std
    settings: dict[str, Any] = {**OPTIONS, "loss": loss, "epochs": 3}
    model = fixed.train_parallel(X, y, 1, scale_targets="auto", validation_data=(X, y), **settings)
    of_scaled = fixed.train_parallel(
        X, scaled, 1, scale_targets=False, validation_data=(X, scaled), **settings
    )
    for column in ("loss", "validation_loss"):
        np.testing.assert_allclose(
            getattr(model.history, column),
            getattr(of_scaled.history, column) * std**power,
            rtol=1e-4,
        )
    np.testing.assert_allclose(
        model.history.validation_score, of_scaled.history.validation_score, atol=1e-4
    )
    if loss == "absolute":
        error = np.abs(model.predict(X) - y).mean()
        assert model.history.validation_loss[-1] == pytest.approx(error, rel=1e-4)


def test_validation_loss_of_several_scaled_targets_is_exact() -> None:
    X = inputs()
    y = targets("huber") * [1, 10, 100] + [5, 0, 300]
    model = fixed.train_parallel(
        X, y, 1, loss="absolute", scale_targets="auto", validation_data=(X, y), **OPTIONS
    )
    error = np.abs(model.predict(X) - y).sum(axis=1).mean()
    assert model.history.validation_loss[-1] == pytest.approx(error, rel=1e-4)


def test_poisson_leaves_its_targets_as_they_are() -> None:
    X, y = inputs(), targets("poisson")
    plain = fixed.train_parallel(X, y, 2, loss="poisson", scale_targets=False, **OPTIONS)
    scaled = fixed.train_parallel(X, y, 2, loss="poisson", scale_targets="auto", **OPTIONS)
    assert flat(plain).tobytes() == flat(scaled).tobytes()
    assert scaled.target_scaling is None


def test_poisson_predicts_rates() -> None:
    # Without inputs, the best rate is the mean of the counts.
    X = np.zeros((400, 1), np.float32)
    y = np.arange(400) % 5
    model = fixed.train_parallel(
        X, y, 1, loss="poisson", hidden_layer_sizes=(), epochs=40, learning_rate=0.05, batch_size=20
    )
    assert model.classes is None
    np.testing.assert_allclose(model.predict(X[:1]), [2.0], rtol=1e-2)
    np.testing.assert_allclose(
        model.predict(X), np.exp(model.decision_function(X)[:, 0]), rtol=1e-6
    )
    loss = float(np.mean(model.predict(X) - y * model.decision_function(X)[:, 0]))
    assert model.evaluate(X, y.astype(float))[0] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_quantile_loss_finds_the_quantile(quantile: float) -> None:
    X = np.zeros((1000, 1), np.float32)
    y = np.random.default_rng(4).exponential(size=1000)
    model = fixed.train_parallel(
        X,
        y,
        1,
        loss="quantile",
        quantile=quantile,
        hidden_layer_sizes=(),
        epochs=60,
        batch_size=50,
    )
    below = np.mean(y < model.predict(X[:1])[0])
    assert below == pytest.approx(quantile, abs=0.02)


def test_median_by_absolute_loss_is_twice_the_quantile_loss() -> None:
    X, y = inputs(), targets("absolute")
    one = fixed.train_parallel(X, y, 2, loss="absolute", **OPTIONS)
    rate = 2 * OPTIONS["learning_rate"]
    half = fixed.train_parallel(X, y, 2, loss="quantile", **{**OPTIONS, "learning_rate": rate})
    np.testing.assert_allclose(flat(one), flat(half), rtol=0, atol=1e-6)


def test_a_rate_survives_files_merges_and_ensembles(tmp_path: Any) -> None:
    X, y = inputs(), targets("poisson")
    models = [
        fixed.train_parallel(X, y, 1, loss="poisson", **{**OPTIONS, "seed": seed})
        for seed in (1, 2)
    ]
    models[0].save(tmp_path / "rates.safetensors")
    again = omp_mlp.load(tmp_path / "rates.safetensors")
    assert again.predict(X).tobytes() == models[0].predict(X).tobytes()
    assert omp_mlp.merge(models).output_activation == "exponential"
    ensemble = omp_mlp.merge(models, "ensemble")
    # The mean of the logarithms.
    expected = np.sqrt(models[0].predict(X) * models[1].predict(X))
    np.testing.assert_allclose(ensemble.predict(X), expected, rtol=1e-5)
    student = ensemble.distill(X, epochs=1)
    assert student.output_activation == "exponential"
    assert (student.predict(X) > 0).all()


# ------------------------------------------------------------------------------- weights of classes


def test_class_weights_are_sample_weights() -> None:
    X, y = inputs(), np.array(["a", "b", "c"])[np.arange(ROWS) % 3]
    of_samples = np.random.default_rng(5).random(ROWS).astype(np.float32)
    weights = np.array([2.0, 1.0, 0.25], np.float32)[np.arange(ROWS) % 3]
    expected = fixed.train_parallel(X, y, 2, sample_weight=weights * of_samples, **OPTIONS)
    got = fixed.train_parallel(
        X, y, 2, sample_weight=of_samples, class_weight={"a": 2, "c": 0.25}, **OPTIONS
    )
    assert flat(got).tobytes() == flat(expected).tobytes()
    alone = fixed.train_parallel(X, y, 2, class_weight={"a": 2, "c": 0.25}, **OPTIONS)
    expected = fixed.train_parallel(X, y, 2, sample_weight=weights, **OPTIONS)
    assert flat(alone).tobytes() == flat(expected).tobytes()


def test_balanced_classes_weigh_the_same() -> None:
    X = inputs()
    y = np.repeat([0, 1, 7], [41, 15, 5])
    # n_samples / (n_classes * samples of the class)
    weights = np.repeat(np.float32([61 / 123, 61 / 45, 61 / 15]), [41, 15, 5])
    expected = fixed.train_parallel(X, y, 2, sample_weight=weights, **OPTIONS)
    got = fixed.train_parallel(X, y, 2, class_weight="balanced", **OPTIONS)
    assert flat(got).tobytes() == flat(expected).tobytes()


def test_class_weights_go_with_rows_that_are_held_out() -> None:
    X = inputs()
    y = np.arange(ROWS) % 2
    options = {**OPTIONS, "early_stopping": True, "merge_every": 16, "validation_fraction": 0.3}
    got = fixed.train_parallel(X, y, 1, class_weight={0: 3}, **options)
    expected = fixed.train_parallel(X, y, 1, sample_weight=np.where(y == 0, 3, 1), **options)
    assert flat(got).tobytes() == flat(expected).tobytes()


# --------------------------------------------------------------------------------------- bad input

LABELS = np.arange(12) % 3
VALUES = np.linspace(-1, 1, 12)
SEVERAL = (np.arange(24).reshape(12, 2) % 3 == 0).astype(int)

BAD = [
    (
        {"y": VALUES, "loss": "poisson"},
        "y must not be negative for loss='poisson'; got -1.0 in row",
    ),
    (
        {
            "y": VALUES + 1,
            "loss": "poisson",
            "validation_data": (np.zeros((2, 3)), [0.5, -0.25]),
        },
        "validation_data[1] must not be negative for loss='poisson'; got -0.25 in row 1, column 0",
    ),
    ({"y": VALUES, "quantile": 0.2}, "quantile goes with loss='quantile'; got quantile=0.2 and"),
    ({"loss": "quantile", "quantile": 0.0}, "quantile must be greater than 0 and less than 1; got"),
    ({"loss": "quantile", "quantile": 1.0}, "quantile must be at least 0 and less than 1; got 1.0"),
    ({"loss": "quantile", "quantile": 1.5}, "quantile must be at least 0 and less than 1; got 1.5"),
    ({"loss": "huber", "huber_delta": 0.0}, "huber_delta must be greater than 0 and finite; got"),
    ({"loss": "absolute", "huber_delta": 2.0}, "huber_delta goes with loss='huber'; got"),
    ({"label_smoothing": 1.0}, "label_smoothing must be at least 0 and less than 1; got 1.0"),
    ({"label_smoothing": -0.1}, "label_smoothing must be at least 0 and less than 1; got -0.1"),
    (
        {"label_smoothing": 0.1, "loss": "squared_error"},
        "label_smoothing goes with loss='cross_entropy'; got label_smoothing=0.1 and",
    ),
    (
        {"label_smoothing": 0.1, "y": VALUES},
        "label_smoothing goes with loss='cross_entropy' and y of labels; got y of values",
    ),
    (
        {"label_smoothing": 0.1, "skip_confident": 0.01},
        "away from 1; got skip_confident=0.01 and label_smoothing=0.1",
    ),
    (
        {"loss": "huber", "task": "classes"},
        "loss='huber' needs y of values (floats, or integers with task='values'); got y of labels",
    ),
    (
        {"loss": "cross_entropy", "y": VALUES},
        "loss='cross_entropy' needs y of labels (integers, strings or booleans, or whole floats",
    ),
    (
        {"loss": "binary_cross_entropy"},
        "loss='binary_cross_entropy' needs y of several labels a sample (a matrix of integers or",
    ),
    (
        {"loss": "squared_error", "y": SEVERAL},
        "got y of several labels (task='auto'), which goes with loss 'binary_cross_entropy'",
    ),
    (
        {"loss": "huber", "y": VALUES, "output_activation": "logistic"},
        "loss='huber' goes with output_activation 'identity'; got 'logistic'",
    ),
    (
        {"y": VALUES, "output_activation": "exponential"},
        "loss='squared_error' goes with output_activation 'identity' or 'logistic'; got 'expon",
    ),
    (
        {"loss": "huber", "y": VALUES, "merge": "refit_output"},
        "merge='refit_output' decreases the squared error or a cross-entropy by least squares; got",
    ),
    ({"class_weight": {0: 1, 5: 2}}, "classes of y, which are 0, 1, 2; got a weight for 5"),
    ({"class_weight": {1: -1}}, "class_weight[1] must be at least 0 and finite; got -1"),
    ({"class_weight": {1: 1e39}}, "class_weight[1] must be finite in float32; got 1e+39"),
    (
        {"class_weight": {0: 0, 1: 0, 2: 0}},
        "class_weight must leave a sample a weight above zero; got zero for every sample",
    ),
    (
        {"class_weight": {1: 0, 2: 0}, "sample_weight": (LABELS > 0) * 2.0},
        "class_weight must leave a sample a weight above zero; got zero for every sample",
    ),
    (
        {"class_weight": {1: 1e30}, "sample_weight": np.full(12, 1e30)},
        "sample_weight times class_weight must be finite in float32; got inf",
    ),
    ({"class_weight": "even"}, "class_weight must be one of 'balanced'; got 'even'"),
    ({"class_weight": "balanced", "y": VALUES}, "one label a sample; got the values of a regr"),
    ({"class_weight": "balanced", "y": SEVERAL}, "one label a sample; got a multilabel y"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=lambda p: str(p)[:50])
def test_refused_before_any_work(
    train_without_work: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        train_without_work(**options)


def test_class_weight_of_another_type(train_without_work: Any) -> None:
    message = "class_weight must be None, 'balanced' or a mapping from labels to weights; got list"
    with pytest.raises(TypeError, match=message):
        train_without_work(class_weight=[1, 2])


@pytest.mark.parametrize("option", ["task", "huber_delta", "quantile", "class_weight"])
def test_an_ensemble_says_itself_what_is_distilled(option: str) -> None:
    model = omp_mlp.Model([np.eye(2)], [np.zeros(2)])
    with pytest.raises(TypeError, match=f"got {option}"):
        omp_mlp.Ensemble([model]).distill(np.eye(2), **{option: 1})


# ------------------------------------------------------------------------------- values in double


def test_mean_losses_of_labels_as_values() -> None:
    z = np.array([[0.25, -0.5], [2.0, 1.0]])
    with_classes = Targets(np.array(["a", "b"]), np.array([0, 1], np.int32), None)
    # 1/2 (0.75^2 + 0.5^2) and 1/2 (2^2 + 0^2).
    assert LossKind("squared_error").mean("identity", z, with_classes) == (0.40625 + 2) / 2
