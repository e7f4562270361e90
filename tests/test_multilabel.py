"""Several labels a sample: an indicator matrix, one logistic output for each label."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fixed
import omp_mlp
import oracle
from omp_mlp.targets import read_targets

ROWS = 80
OPTIONS: dict[str, Any] = {"hidden_layer_sizes": (16,), "epochs": 20, "learning_rate": 0.2}


def inputs() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(ROWS, 5)).astype(np.float32)


def labels() -> NDArray[np.int64]:
    """Say of each sample which of its first three inputs are positive: some, all or none."""
    return (inputs()[:, :3] > 0).astype(np.int64)


def trained(**changed: Any) -> omp_mlp.Model:
    return fixed.train_parallel(inputs(), labels(), 2, **{**OPTIONS, **changed})


def decision(model: omp_mlp.Model) -> NDArray[Any]:
    layers = list(zip(model.weights, model.biases, strict=True))
    return oracle.forward(layers, inputs(), model.activation, "logistic").decision


def test_predictions_are_those_of_each_output() -> None:
    model = trained()
    z = decision(model)
    p = 1 / (1 + np.exp(-z))
    assert model.multilabel
    assert model.classes is None
    assert model.output_activation == "logistic"
    np.testing.assert_allclose(model.predict_proba(inputs()), p, rtol=1e-5)
    np.testing.assert_allclose(model.decision_function(inputs()), z, rtol=0, atol=1e-5)
    predicted = model.predict(inputs())
    np.testing.assert_array_equal(predicted, (p > 0.5).astype(int))
    assert predicted.dtype == np.int64
    assert repr(model) == "Model(5-16-3, relu, logistic, multilabel)"
    # Subset accuracy: a row counts if all of its labels are right.
    y = labels()
    assert model.score(inputs(), y) == np.mean((predicted == y).all(axis=1))
    assert model.score(inputs(), y) > 0.8
    # A label that is wrong everywhere leaves no row right.
    y[:, 1] = 1 - predicted[:, 1]
    assert model.score(inputs(), y) == 0
    loss, _ = model.evaluate(inputs(), labels())
    expected = -np.where(labels() == 1, np.log(p), np.log1p(-p)).sum(axis=1).mean()
    assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, "float with task='classes'"])
def test_any_numbers_0_and_1(dtype: Any) -> None:
    is_float = isinstance(dtype, str)
    y = labels().astype(float if is_float else dtype)
    model = fixed.train_parallel(inputs(), y, 2, task="classes" if is_float else "auto", **OPTIONS)
    np.testing.assert_array_equal(model.weights[0], trained().weights[0])
    assert model.score(inputs(), y) == trained().score(inputs(), labels())


def test_a_matrix_of_0_and_1_may_be_values() -> None:
    model = fixed.train_parallel(inputs(), labels(), 1, task="values", epochs=1)
    assert not model.multilabel
    assert model.output_activation == "identity"
    y = labels().astype(float)
    with pytest.warns(omp_mlp.TaskWarning, match="whole numbers of 2 kinds in 80 rows"):
        as_floats = fixed.train_parallel(inputs(), y, 1, epochs=1)
    np.testing.assert_array_equal(model.weights[0], as_floats.weights[0])


def test_labels_without_a_sample_are_learnt_as_such() -> None:
    y = labels()
    y[:, 2] = 0
    model = fixed.train_parallel(inputs(), y, 1, **OPTIONS)
    assert (model.predict(inputs())[:, 2] == 0).all()


def test_validation_and_early_stopping() -> None:
    X, y = inputs(), labels()
    model = trained(validation_data=(X, y))
    assert model.history.validation_score[-1] == model.score(X, y)
    assert model.history.validation_loss[-1] == pytest.approx(model.evaluate(X, y)[0], rel=1e-12)
    stopped = trained(early_stopping=True, validation_fraction=0.25, merge_every=16)
    assert stopped.multilabel
    assert stopped.history.best_round is not None


def test_files_and_pickles(tmp_path: Any) -> None:
    model = trained()
    model.save(tmp_path / "labels.safetensors")
    for again in (
        omp_mlp.load(tmp_path / "labels.safetensors"),
        pickle.loads(pickle.dumps(model)),
    ):
        assert again.multilabel
        assert again.predict(inputs()).tobytes() == model.predict(inputs()).tobytes()


def test_files_of_scaled_inputs(tmp_path: Any) -> None:
    X = inputs().astype(np.float64) + 1e6
    model = fixed.train_parallel(X, labels(), 1, scale_inputs="auto", **OPTIONS)
    assert model.input_scaling is not None
    model.save(tmp_path / "labels.safetensors")
    again = omp_mlp.load(tmp_path / "labels.safetensors")
    assert again.multilabel
    assert again.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()


def test_merging() -> None:
    models = [trained(seed=seed, init="shared", epochs=3) for seed in (1, 2)]
    merged = omp_mlp.merge(models)
    assert merged.multilabel
    arrays = [(list(m.weights), list(m.biases)) for m in models]
    again = omp_mlp.merge(arrays, output_activation="logistic", multilabel=True)
    assert again.predict_proba(inputs()).tobytes() == merged.predict_proba(inputs()).tobytes()
    ensemble = omp_mlp.merge(models, "ensemble")
    z = (decision(models[0]) + decision(models[1])) / 2
    np.testing.assert_allclose(ensemble.predict_proba(inputs()), 1 / (1 + np.exp(-z)), rtol=1e-5)
    student = ensemble.distill(inputs(), epochs=60)
    assert student.multilabel
    assert np.mean(student.predict(inputs()) == ensemble.predict(inputs())) > 0.9
    regression = omp_mlp.Model(models[0].weights, models[0].biases, output_activation="logistic")
    with pytest.raises(ValueError, match=r"multilabel of models\[0\], True; got False"):
        omp_mlp.merge([models[0], regression])


def test_refitting_the_output_decreases_the_loss() -> None:
    models = [trained(seed=seed, init="shared", epochs=3) for seed in (1, 2)]
    X, y = inputs(), labels()
    before = omp_mlp.merge(models).evaluate(X, y)[0]
    losses = [
        omp_mlp.merge(models, "refit_output", X=X, y=y, merge_options={"steps": steps}).evaluate(
            X, y
        )[0]
        for steps in (1, 5, 20)
    ]
    assert before > losses[0] > losses[1] > losses[2]
    in_training = trained(merge="refit_output")
    assert in_training.multilabel


def test_rates_are_not_refitted() -> None:
    model = omp_mlp.Model([np.eye(2)], [np.zeros(2)], output_activation="exponential")
    with pytest.raises(ValueError, match="softmax, logistic, identity; got exponential outputs"):
        omp_mlp.merge([model], "refit_output", X=np.eye(2), y=np.ones((2, 2)))


def test_a_training_starts_from_a_multilabel_model() -> None:
    model = trained()
    again = trained(init=model, epochs=0)
    np.testing.assert_array_equal(again.weights[0], model.weights[0])
    regression = omp_mlp.Model(model.weights, model.biases, output_activation="logistic")
    with pytest.raises(ValueError, match="init must be a Model of multilabel True"):
        trained(init=regression)


def test_indicators_in_any_order_of_memory() -> None:
    y = np.asfortranarray(labels())
    targets = read_targets(y, ROWS)
    assert targets.values is not None
    assert targets.values.flags.c_contiguous
    np.testing.assert_array_equal(targets.values, labels())


BAD_Y = [  # (y, error, message)
    (labels() * 2, ValueError, "must hold 0 and 1, for a multilabel classification; got 2 in row"),
    (labels() - 1, ValueError, "got -1 in row "),
    (labels().astype(str), TypeError, "y must hold 0 and 1 for a multilabel classification; got"),
]


@pytest.mark.parametrize(("y", "error", "message"), BAD_Y)
def test_bad_y(train_without_work: Any, y: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        train_without_work(X=inputs(), y=y)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (labels()[:, :2], ValueError, "must have shape (n_samples, 3) for a multilabel classifi"),
        (labels()[:, 0], ValueError, "must have shape (n_samples, 3) for a multilabel classifi"),
        (labels() * 3, ValueError, "must hold 0 and 1, for a multilabel classification; got 3"),
        (labels() * np.nan, ValueError, "must hold 0 and 1, for a multilabel classification; got "),
        (labels()[:-1], ValueError, "one entry for each of the 80 samples in X; got 79"),
    ],
)
def test_bad_y_of_a_trained_network(y: Any, error: type[Exception], message: str) -> None:
    model = trained(epochs=0)
    with pytest.raises(error, match=re.escape(message)):
        model.score(inputs(), y)
    with pytest.raises(error, match=re.escape(message)):
        trained(validation_data=(inputs(), y))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_activation": "identity"}, "and classes=None; got 'identity' and classes=None"),
        ({"classes": [0, 1]}, "and classes=None; got 'auto' and classes=[0, 1]"),
        ({"multilabel": 1}, "multilabel must be one of False, True; got 1"),
        (
            {"multilabel": False, "classes": [0, 1], "output_activation": "exponential"},
            "goes with a regression, classes=None; got classes=[0, 1]",
        ),
    ],
)
def test_bad_models(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        omp_mlp.Model([np.eye(2)], [np.zeros(2)], **{"multilabel": True, **options})
