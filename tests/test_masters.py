"""Trainings that diverge, and go on from the last good master with half the learning rate."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fixed
import omp_mlp
import oracle
from omp_mlp import LearningRateWarning, TrainingDivergedError
from omp_mlp.data import read_data
from omp_mlp.options import DEFAULTS, check_options
from omp_mlp.plan import make_plan
from omp_mlp.run import Run

# These trainings are made to go wrong, and some do so in the first round.
pytestmark = pytest.mark.filterwarnings("ignore:after the first round:omp_mlp.SettingsWarning")

# Roundings of float32 walk at random (test_train.py); a wrong rate moves a weight by 1e-3.
TOLERANCE = 1e-5

LINEAR: dict[str, Any] = {
    "hidden_layer_sizes": (), "batch_size": 1, "epochs": 1, "learning_rate": 0.03,
    "learning_rate_schedule": "constant", "shuffle": False, "init_scale": "glorot",
}  # fmt: skip
MERGED: dict[str, Any] = {"merge": "average", "merge_every": 200, "outer_momentum": 0.0}
STRATEGIES = [("replica", 3), ("pattern", 3), ("section", 2), ("synchronous", 3), ("hogwild", 1)]


def train(X: Any, y: Any, threads: int, retreats: int = 10, **options: Any) -> Any:
    """Train as ``train_parallel`` would if it had chosen the learning rate."""
    given = check_options({**DEFAULTS, **fixed.SETTINGS, "threads": threads, **options})
    data = read_data(given, X, y)
    plan = make_plan(given, data)
    return Run(dataclasses.replace(plan, retreats=retreats), data).train()


def flat(model: Any) -> NDArray[np.float32]:
    return oracle.flatten(parameters_of(model))


def parameters_of(model: Any) -> oracle.Parameters:
    return list(zip(model.weights, model.biases, strict=True))


def assert_close(got: NDArray[Any], expected: NDArray[Any]) -> None:
    largest = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * largest)


def said(told: Any) -> str:
    """Return the text of the warning of a lower rate, among others."""
    return next(str(one.message) for one in told if one.category is LearningRateWarning)


def steep(threads: int = 1) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return shards of 800 samples, the third quarters of which are steep.

    A step at an input of 10 multiplies the error by about 1 - 100 rate.
    """
    rng = np.random.default_rng(5)
    X = rng.uniform(-1, 1, size=(800 * threads, 2))
    X[:, 1] = 1
    quarter = np.arange(800 * threads) % 800 // 200
    X[quarter == 2, 0] = 10
    return X.astype(np.float32), (X[:, 0] + rng.normal(size=len(X)) / 8).astype(np.float32)


def last_sound_round(loss: NDArray[np.float64]) -> int:
    """Return the last round with a loss that is not above the first, or ten times the least."""
    sound = loss <= np.maximum(loss[0], 10 * np.minimum.accumulate(loss))
    return int(np.flatnonzero(sound)[-1])


def test_half_the_rate_from_the_round_that_diverged() -> None:
    X, y = steep(2)
    with pytest.raises(TrainingDivergedError) as caught:
        fixed.train_parallel(X, y, 2, **LINEAR, **MERGED)
    assert caught.value.round == 2
    message = (
        r"the training diverged, and went on from the last good master with half the learning "
        r"rate: 0\.03 -> 0\.015 \(round 2\)"
    )
    with pytest.warns(LearningRateWarning, match=message) as told:
        model = train(X, y, 2, **LINEAR, **MERGED)
    assert [one.filename for one in told] == [__file__]
    assert model.history.learning_rate.tolist() == [0.03, 0.03, 0.015, 0.015]
    assert model.history.samples.tolist() == [400, 800, 1200, 1600]
    # Round 1 was the last sound one, so the master that it began with was good.
    base = fixed.train_parallel(X, y, 2, **LINEAR, **MERGED, callback=lambda report: report.merged)
    assert len(base.history) == 1
    expected = oracle.train_parallel(
        X, y, 2, output_activation="identity", loss="squared_error",
        **{**LINEAR, **MERGED, "learning_rate": 0.015, "init": parameters_of(base)}, first_round=2,
    )  # fmt: skip
    assert_close(flat(model), oracle.flatten(expected.parameters))
    np.testing.assert_allclose(model.history.loss[2:], expected.losses, rtol=1e-4)


@pytest.mark.parametrize(
    "changed",
    [
        {"learning_rate_schedule": "linear", "learning_rate": 0.078},
        {"outer_momentum": 0.5, "outer_optimizer": "nesterov"},
        {"outer_momentum": 0.5, "outer_optimizer": "slowmo", "learning_rate_schedule": "cosine",
         "learning_rate": 0.085},
        {"optimizer": "momentum", "momentum": 0.5, "learning_rate": 0.04},
        {"merge_every": (100, 300)},
    ],
    ids=str,
)  # fmt: skip
def test_schedules_and_rounds_go_on_and_states_begin_anew(changed: dict[str, Any]) -> None:
    X, y = steep(2)
    options = {**LINEAR, **MERGED, **changed}
    with pytest.raises(TrainingDivergedError) as caught:
        fixed.train_parallel(X, y, 2, **options)
    failed = caught.value.round
    assert failed >= 2
    begun = last_sound_round(caught.value.history.loss)
    with pytest.warns(LearningRateWarning) as told:
        model = train(X, y, 2, **options)
    retreats = said(told).count("->")
    rate = options["learning_rate"] / 2**retreats
    assert said(told).count(f"(round {failed})") == retreats
    base = fixed.train_parallel(
        X, y, 2, **options,
        callback=lambda report: report.merged and report.round == begun - 1,
    )  # fmt: skip
    expected = oracle.train_parallel(
        X, y, 2, output_activation="identity", loss="squared_error",
        **{**options, "learning_rate": rate, "init": parameters_of(base)}, first_round=failed,
    )  # fmt: skip
    assert len(model.history) == len(expected.losses) + failed
    assert_close(flat(model), oracle.flatten(expected.parameters))


@pytest.mark.parametrize("strategy, threads", STRATEGIES)
def test_from_the_start_it_is_a_training_with_a_smaller_rate(strategy: str, threads: int) -> None:
    X, y = steep()
    options = {**LINEAR, "strategy": strategy, "learning_rate": 1.5, "batch_size": 2}
    # With a hidden layer and a rate that falls. There is one round.
    options |= {"hidden_layer_sizes": (9,), "learning_rate_schedule": "linear"}
    if strategy == "replica":
        options["merge_every"] = 800
    with pytest.warns(LearningRateWarning) as told:
        model = train(X, y, threads, **options)
    rates = model.history.learning_rate
    halvings = said(told).count("(round 0)")
    assert halvings == said(told).count("->") >= 1
    lower = fixed.train_parallel(X, y, threads, **{**options, "learning_rate": 1.5 / 2**halvings})
    assert flat(model).tobytes() == flat(lower).tobytes()
    np.testing.assert_array_equal(model.history.loss, lower.history.loss)
    np.testing.assert_array_equal(rates, lower.history.learning_rate)


@pytest.mark.parametrize("strategy", ["section", "synchronous", "hogwild"])
def test_one_network_goes_back_to_the_epoch_that_was_good(strategy: str) -> None:
    X, y = steep()
    threads = 1 if strategy == "hogwild" else 2
    # The rate rises over 6 epochs, and is too large from some epoch on.
    options = {**LINEAR, "strategy": strategy, "epochs": 8, "warmup_share": 0.75}
    options["learning_rate"] = 0.038
    with pytest.raises(TrainingDivergedError) as caught:
        fixed.train_parallel(X, y, threads, **options)
    failed = caught.value.round
    assert 2 <= failed < 6
    with pytest.warns(LearningRateWarning) as told:
        model = train(X, y, threads, **options)
    assert said(told).count("->") == 1
    begun = last_sound_round(caught.value.history.loss)
    base = fixed.train_parallel(
        X, y, threads, **options,
        callback=lambda report: report.merged and report.round == begun - 1,
    )  # fmt: skip
    del options["strategy"]
    expected = oracle.train_parallel(
        X, y, 1, "average", output_activation="identity", loss="squared_error",
        **{**options, "learning_rate": 0.019, "init": parameters_of(base)},
        first_round=failed, merge_every=800, outer_momentum=0.0,
    )  # fmt: skip
    assert len(model.history) == 8
    assert_close(flat(model), oracle.flatten(expected.parameters))


@pytest.mark.parametrize("strategy, threads", [("replica", 5), ("section", 5), ("synchronous", 5)])
def test_any_number_of_workers_gives_the_same_bits(strategy: str, threads: int) -> None:
    X, y = steep()
    options = {**LINEAR, "strategy": strategy, "learning_rate": 1.5, "epochs": 4}
    options |= {"hidden_layer_sizes": (40,), "optimizer": "momentum"}
    if strategy == "replica":
        options["merge_every"] = 50
    found = set()
    for workers in (1, 2, 5):
        with pytest.warns(LearningRateWarning) as told:
            model = train(X, y, threads, workers=workers, **options)
        found.add((flat(model).tobytes(), model.history.loss.tobytes(), said(told)))
    assert len(found) == 1


def test_independent_starts_are_drawn_once_more() -> None:
    X, y = steep(3)
    options = {**LINEAR, "merge": "average", "merge_every": None, "outer_momentum": 0.0}
    options |= {"init": "independent", "learning_rate": 0.1}
    with pytest.warns(LearningRateWarning):
        model = train(X, y, 3, **options)
    rate = float(model.history.learning_rate[0])
    assert rate < 0.1
    lower = fixed.train_parallel(X, y, 3, **{**options, "learning_rate": rate})
    assert flat(model).tobytes() == flat(lower).tobytes()


def test_a_warm_up_that_diverges_is_done_once_more() -> None:
    X, y = steep(2)
    options = {**LINEAR, **MERGED, "warmup_samples": 700}
    with pytest.warns(LearningRateWarning, match=r"0\.03 -> 0\.015 \(round 0\)$"):
        model = train(X, y, 2, **options)
    lower = fixed.train_parallel(X, y, 2, **{**options, "learning_rate": 0.015})
    assert flat(model).tobytes() == flat(lower).tobytes()
    assert len(model.history) == 5


def test_a_merge_that_diverges_is_done_once_more() -> None:
    # Twice the sum of two replicas is infinite, whatever the rate.
    start = omp_mlp.Model([[[3e38]]], [[0.0]])
    with pytest.warns(LearningRateWarning), pytest.raises(TrainingDivergedError) as caught:
        train(
            np.zeros((4, 1)), np.ones(4), 2, 3, merge="sum", hidden_layer_sizes=(), init=start,
            epochs=1, batch_size=1, learning_rate=0.1,
        )  # fmt: skip
    assert (caught.value.round, caught.value.replica) == (0, None)
    assert flat(caught.value.model).tolist() == flat(start).tolist()


def test_the_mean_of_the_masters_begins_anew() -> None:
    X, y = steep(2)
    found: list[NDArray[np.float32]] = []

    def keep(report: omp_mlp.Progress) -> None:
        if report.merged:
            found.append(flat(report.model))

    with pytest.warns(LearningRateWarning, match=r"\(round 2\)$"):
        train(X, y, 2, **LINEAR, **MERGED, callback=keep)
    assert len(found) == 4
    # Both have weight 1/2 with a span of 3, too.
    expected = np.mean(np.array(found[2:], np.float64), axis=0)
    for averaging, span in (("lawa", 50), ("ema", 3)):
        options = {**LINEAR, **MERGED, "averaging": averaging, "averaging_span": span}
        with pytest.warns(LearningRateWarning, match=r"\(round 2\)$"):
            model = train(X, y, 2, **options)
        np.testing.assert_allclose(flat(model), expected, rtol=2**-23)


def test_so_many_retreats_and_no_more() -> None:
    X, y = steep(2)
    X[500] = 1e30
    for retreats in (1, 4):
        with (
            pytest.warns(LearningRateWarning) as told,
            pytest.raises(TrainingDivergedError) as caught,
        ):
            train(X, y, 2, retreats, **LINEAR, **MERGED)
        assert said(told).count("(round 2)") == retreats
        assert caught.value.round == 2
        assert len(caught.value.history) == 2
    # A rate that was given stays.
    with warnings.catch_warnings():
        warnings.simplefilter("error", LearningRateWarning)
        with pytest.raises(TrainingDivergedError):
            train(X, y, 2, 0, **LINEAR, **MERGED)


def test_callbacks_and_early_stopping_see_every_round_once() -> None:
    X, y = steep(2)
    rounds = []
    with pytest.warns(LearningRateWarning):
        model = train(
            X, y, 2, **LINEAR, **MERGED, validation_data=(X[:50], y[:50]), early_stopping=True,
            callback=lambda report: rounds.append(report.round) if report.merged else None,
        )  # fmt: skip
    assert rounds == [0, 1, 2, 3]
    assert np.isfinite(model.history.validation_loss).all()
    assert model.history.best_round == np.argmin(model.history.validation_loss)
