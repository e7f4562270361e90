"""Presets: defaults for what a call does not give."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import omp_mlp
from omp_mlp.presets import PRESETS

RNG = np.random.default_rng(5)
X = RNG.normal(size=(300, 6))
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int)
VALUES = X[:, 0] - 2 * X[:, 1]


def train(y: Any, threads: int = 2, **options: Any) -> Any:
    return omp_mlp.train_parallel(X, y, threads, **{"epochs": 3, **options})


def same_bits(one: Any, other: Any) -> bool:
    return bool(one._packed.tobytes() == other._packed.tobytes())


@pytest.mark.parametrize("y", [LABELS, VALUES], ids=["labels", "values"])
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_stands_for_its_options(name: str, y: Any) -> None:
    assert set(PRESETS[name]) <= set(inspect.signature(omp_mlp.train_parallel).parameters)
    model = train(y, preset=name)
    assert same_bits(model, train(y, **PRESETS[name]))
    assert not same_bits(model, train(y))


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_given_counts_even_if_it_is_a_default(name: str) -> None:
    given = {"optimizer": "sgd", "hidden_layer_sizes": (128,), "parametrization": "standard"}
    given |= {"input_gain_rate": 0.0, "beta_2": 0.999, "learning_rate": 0.01, "batch_size": 8}
    model = train(LABELS, preset=name, **given)
    assert model.layer_sizes == (6, 128, 2)
    assert same_bits(model, train(LABELS, **{**PRESETS[name], **given}))


def test_settings_of_the_presets_optimiser_go_with_that_one_alone() -> None:
    options = {name: value for name, value in PRESETS["tabular"].items() if name != "beta_2"}
    given = {"optimizer": "rmsprop"}
    assert same_bits(
        train(LABELS, preset="tabular", **given), train(LABELS, **{**options, **given})
    )


def test_what_is_given_by_position_counts() -> None:
    given = {"preset": "tabular", "strategy": "replica", "epochs": 2}
    by_position = omp_mlp.train_parallel(X, LABELS, 2, "average", **given)
    assert same_bits(by_position, train(LABELS, merge="average", **given))
    assert not same_bits(by_position, train(LABELS, merge="gradient_diversity", **given))


def test_the_number_of_threads_changes_rounding_only() -> None:
    one, other = (train(VALUES, threads, preset="tabular") for threads in (1, 5))
    np.testing.assert_allclose(one.predict(X), other.predict(X), atol=1e-3)


def test_without_a_preset_nothing_changes() -> None:
    assert same_bits(train(LABELS, preset=None), train(LABELS))


@pytest.mark.parametrize("name", ["images", 3])
def test_unknown_presets_are_refused_with_the_names(name: object) -> None:
    with pytest.raises(ValueError, match="preset must be one of None, 'tabular'; got") as caught:
        omp_mlp.train_parallel("not looked at", None, preset=name)  # type: ignore[arg-type]
    assert str(caught.value).endswith(repr(name))


def test_the_network_applies_to_the_columns_as_they_are() -> None:
    scale = np.array([1e6, 1.0, 1e-6, 1.0, 1.0, 1.0])
    model = omp_mlp.train_parallel(X * scale, VALUES, 1, preset="tabular", epochs=20)
    assert model.score(X * scale, VALUES) > 0.9
    assert [W.shape for W in model.weights] == [(6, 128), (128, 128), (128, 1)]
