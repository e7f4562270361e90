"""What a training tells about itself: the history, and the reports to a callback."""

import copy
import dataclasses
import json
import math
import pickle

import numpy as np
import pytest

import fixed
from omp_mlp import History, Progress, _core

COLUMNS = [
    "samples",
    "loss",
    "validation_loss",
    "validation_score",
    "learning_rate",
    "train_seconds",
    "merge_seconds",
    "slowest_replica_seconds",
    "mean_replica_seconds",
    "predicted_seconds",
]


@pytest.fixture(scope="module")
def data():
    X = np.random.default_rng(3).normal(size=(60, 4)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


@pytest.fixture(scope="module")
def trained(data):
    """Two replicas of 30 samples, 3 epochs: 90 samples each, merged at 40, 80 and 90."""
    X, y = data
    return fixed.train_parallel(
        X, y, 2, epochs=3, merge_every=40, batch_size=4, validation_data=(X[:20], y[:20])
    )


def by_hand():
    return History(
        samples=np.array([10, 25]),
        loss=np.array([0.5, 0.25]),
        validation_loss=np.array([0.75, np.nan]),
        validation_score=np.array([0.5, np.nan]),
        learning_rate=np.array([0.5, 0.25]),
        train_seconds=np.array([1.0, 2.0]),
        merge_seconds=np.array([0.25, 0.25]),
        slowest_replica_seconds=np.array([0.5, 1.5]),
        mean_replica_seconds=np.array([0.5, 1.25]),
        predicted_seconds=np.array([1.5, np.nan]),
    )


def test_columns_in_the_order_of_the_documentation():
    fields = [field.name for field in dataclasses.fields(History)]
    assert fields == [*COLUMNS, "strategy", "threads", "best_round"]
    documented = [History.__doc__.index(name) for name in COLUMNS]
    assert documented == sorted(documented)


def test_one_entry_a_round(trained):
    history = trained.history
    assert len(history) == 3
    for name in COLUMNS:
        column = getattr(history, name)
        assert column.shape == (3,)
        assert column.dtype == (np.int64 if name == "samples" else np.float64)


def test_samples_are_cumulative_over_all_replicas(trained):
    assert trained.history.samples.tolist() == [80, 160, 180]


def test_losses_and_scores_are_what_the_networks_have(trained, data):
    X, y = data
    history = trained.history
    assert np.isfinite(history.loss).all()
    assert (history.loss > 0).all()
    last = history.validation_loss[-1], history.validation_score[-1]
    assert last == trained.evaluate(X[:20], y[:20])


def test_times_are_those_of_the_run(trained):
    history = trained.history
    replica = ("slowest_replica_seconds", "mean_replica_seconds")
    for name in ("train_seconds", "merge_seconds", *replica):
        assert (getattr(history, name) > 0).all()
        assert (getattr(history, name) < 60).all()
    slowest, mean = (getattr(history, name) for name in replica)
    # Of two replicas: the mean is no less than half of the slower one's.
    assert (slowest / 2 * (1 - 1e-12) <= mean).all()
    assert (mean <= slowest * (1 + 1e-12)).all()


def test_no_mean_of_replicas_without_replicas(data):
    X, y = data
    alone = fixed.train_parallel(X, y, 2, strategy="synchronous", epochs=1).history
    assert np.isnan(alone.mean_replica_seconds).all()
    one = fixed.train_parallel(X, y, 1, epochs=1).history
    np.testing.assert_array_equal(one.mean_replica_seconds, one.slowest_replica_seconds)


def test_merge_share(trained):
    history = trained.history
    merging, training = history.merge_seconds.sum(), history.train_seconds.sum()
    assert history.merge_share == pytest.approx(merging / (merging + training))
    assert 0 < history.merge_share < 1
    assert by_hand().merge_share == pytest.approx(0.5 / 3.5)
    assert np.isnan(History.empty().merge_share)


def test_nan_without_validation_data(data):
    history = fixed.train_parallel(*data, 2, epochs=1, merge_every=16).history
    assert len(history) == 2
    assert np.isnan(history.validation_loss).all()
    assert np.isnan(history.validation_score).all()
    assert np.isfinite(history.loss).all()


def test_no_rounds(data):
    history = fixed.train_parallel(*data, 2, epochs=0).history
    assert len(history) == 0
    assert history.samples.dtype == np.int64
    assert history.as_dict() == History.empty().as_dict() == {name: [] for name in COLUMNS}


def test_repr():
    assert repr(History.empty()) == "History(no rounds)"
    history = by_hand()
    assert repr(history) == "History(2 rounds, 25 samples, last loss 0.25, 3.5 s)"
    scored = dataclasses.replace(history, validation_score=np.array([0.5, 0.875]))
    assert repr(scored) == (
        "History(2 rounds, 25 samples, last loss 0.25, last validation score 0.875, 3.5 s)"
    )


def test_as_dict_is_plain_and_from_dict_undoes_it(trained):
    columns = trained.history.as_dict()
    assert list(columns) == COLUMNS
    assert {type(value) for value in columns.pop("samples")} == {int}
    assert {type(value) for column in columns.values() for value in column} == {float}

    through_json = json.loads(json.dumps(trained.history.as_dict()))
    again = History.from_dict(through_json)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(again, name), getattr(trained.history, name))
        assert getattr(again, name).dtype == getattr(trained.history, name).dtype


def test_from_dict_keeps_nan_and_needs_every_column():
    again = History.from_dict(json.loads(json.dumps(by_hand().as_dict())))
    assert math.isnan(again.validation_loss[1])
    columns = by_hand().as_dict()
    del columns["merge_seconds"]
    with pytest.raises(KeyError, match="merge_seconds"):
        History.from_dict(columns)


def test_history_is_frozen_and_can_be_copied(trained):
    with pytest.raises(dataclasses.FrozenInstanceError):
        trained.history.loss = np.zeros(3)
    for again in (copy.deepcopy(trained.history), pickle.loads(pickle.dumps(trained.history))):
        for name in COLUMNS:
            np.testing.assert_array_equal(getattr(again, name), getattr(trained.history, name))


# ---------------------------------------------------------------------------------------- callbacks


def test_reports_after_each_round_are_the_history(data):
    X, y = data
    reports = []
    model = fixed.train_parallel(
        X, y, 2, epochs=3, merge_every=40, validation_data=(X[:20], y[:20]), callback=reports.append
    )
    merged = [report for report in reports if report.merged]
    assert [report.round for report in merged] == [0, 1, 2]
    assert {report.rounds for report in reports} == {3}
    assert {report.total_samples for report in reports} == {180}
    for name in ("samples", "loss", "validation_loss", "validation_score"):
        reported = [getattr(report, name) for report in merged]
        assert reported == getattr(model.history, name).tolist()


def test_report_is_frozen():
    report = Progress(0, 3, True, 10, 30, 0.5)
    assert math.isnan(report.validation_loss)
    assert math.isnan(report.validation_score)
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.round = 1


def test_reports_within_a_round_add_up():
    # Long enough for some looks into its only round, one about every 50 ms.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2_000, 200)).astype(np.float32)
    y = rng.integers(0, 10, 2_000)
    reports = []

    def stop_after_three_looks(report):
        reports.append(report)
        return len(reports) == 3

    model = fixed.train_parallel(
        X,
        y,
        2,
        merge="average",
        epochs=10_000,
        batch_size=1,
        learning_rate=0.001,
        callback=stop_after_three_looks,
    )
    looks = [report for report in reports if not report.merged]
    assert len(looks) == 3
    assert {(look.round, look.rounds) for look in looks} == {(0, 1)}
    assert 0 < looks[0].samples < looks[1].samples < looks[2].samples <= model.history.samples[0]
    for look in looks:
        assert 0 < look.loss < 10
        assert look.total_samples == 10_000 * 2_000
        assert math.isnan(look.validation_score)


def test_the_core_has_a_column_for_each_but_those_of_python():
    of_python = {"validation_loss", "validation_score", "predicted_seconds"}
    meanings = _core.history_columns()
    assert set(meanings) == set(COLUMNS) - of_python
    assert all(len(meaning) > 10 for meaning in meanings.values())


def test_a_history_is_made_of_named_columns():
    columns = {name: np.array([1.0, 2.0]) for name in _core.history_columns()}
    columns["samples"] = np.array([10, 40])
    history = History.of_training(
        columns, validation=[(0.5, 0.25), (0.125, 1.0)], predicted=8.0, total_samples=80,
        strategy="section", threads=3, best_round=1,
    )  # fmt: skip
    np.testing.assert_array_equal(history.predicted_seconds, [1.0, 3.0])
    np.testing.assert_array_equal(history.validation_score, [0.25, 1.0])
    assert (history.strategy, history.threads, len(history)) == ("section", 3, 2)
    assert history.best_round == 1
    for name in _core.history_columns():
        assert getattr(history, name) is columns[name]
    with pytest.raises(TypeError, match="unexpected keyword argument 'more'"):
        History.of_training(
            {**columns, "more": columns["loss"]}, validation=(), predicted=np.nan,
            total_samples=80, strategy="replica", threads=1, best_round=None,
        )  # fmt: skip
