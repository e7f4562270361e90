"""What looks on while a training runs."""

import sys

import numpy as np
import pytest

import fixed
from omp_mlp import cadence
from omp_mlp.watch import Watcher


def test_progress_bar_without_tqdm(train_without_work, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(
        ImportError, match=r'progress=True needs tqdm: pip install "omp_mlp\[progress\]"'
    ):
        train_without_work(progress=True)


def test_rounds_that_are_merged_later_are_not_over_yet():
    """Of a training that is merged in Python, the core's report of a warm-up alone is a round."""
    seen = []
    watcher = Watcher(
        rounds=2, total_samples=30, unmerged_after=10, progress=False, score=None,
        score_every=1, judge=None,
        callback=lambda progress: seen.append((progress.round, progress.samples, progress.loss)),
    )  # fmt: skip
    with watcher:
        assert not watcher.after_round({"samples": 10, "loss": 3.0}, None)
        assert not watcher.after_round({"samples": 30, "loss": 2.0}, None)
        assert seen == [(0, 10, 3.0)]
        assert not watcher.merged(30, 2.0, None)
    assert seen == [(0, 10, 3.0), (1, 30, 2.0)]


# ------------------------------------------------------------- how often validation data are scored

X = np.random.default_rng(5).normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
# Two replicas of 20 samples for 2 epochs: 5 rounds of 8 samples.
OPTIONS = {"hidden_layer_sizes": (5,), "epochs": 2, "merge_every": 8, "batch_size": 4}


def train(strategy="replica", **options):
    base = OPTIONS if strategy == "replica" else {**OPTIONS, "merge_every": "auto", "epochs": 5}
    return fixed.train_parallel(
        X[:40], Y[:40], 2, validation_data=(X[40:], Y[40:]), strategy=strategy,
        **{**base, **options},
    )  # fmt: skip


def scored(model):
    loss, score = model.history.validation_loss, model.history.validation_score
    assert np.array_equal(np.isnan(loss), np.isnan(score))
    return np.flatnonzero(~np.isnan(loss)).tolist()


@pytest.mark.parametrize("strategy", ["replica", "section", "synchronous", "pattern"])
@pytest.mark.parametrize(
    ("every", "rounds"), [(1, [0, 1, 2, 3, 4]), (2, [1, 3, 4]), (3, [2, 4]), (9, [4])]
)
@pytest.mark.parametrize("workers", [1, 2])
def test_every_so_many_rounds_and_the_last_are_scored(strategy, every, rounds, workers):
    all_rounds = train(strategy, validate_every=1, workers=1)
    some = train(strategy, validate_every=every, workers=workers)
    assert scored(some) == rounds
    for column in ("validation_loss", "validation_score"):
        expected = getattr(all_rounds.history, column)[rounds]
        assert getattr(some.history, column)[rounds].tolist() == expected.tolist()
    np.testing.assert_array_equal(some.weights[0], all_rounds.weights[0])


def test_callbacks_get_nan_in_rounds_that_are_not_scored():
    reports = []
    model = train(validate_every=2, callback=reports.append)
    got = [report.validation_loss for report in reports if report.merged]
    np.testing.assert_array_equal(got, model.history.validation_loss)
    assert "last validation score" in repr(model.history)


def test_the_round_in_which_a_callback_stops_is_scored():
    model = train(validate_every=4, callback=lambda report: report.merged and report.round == 1)
    assert scored(model) == [1]
    last = model.history.validation_loss[-1], model.history.validation_score[-1]
    assert last == model.evaluate(X[40:], Y[40:])


def test_little_work_is_scored_every_round():
    assert scored(train()) == [0, 1, 2, 3, 4]


def period(rounds, epochs, rows, samples):
    sizes = (784, 128, 10)
    return cadence.validation_period(
        rounds, epochs=epochs, rows=rows, nonzeros=150.0, layer_sizes=sizes,
        training_work=samples * cadence.work_a_sample(150.0, sizes),
    )  # fmt: skip


@pytest.mark.parametrize(("rounds", "rows"), [(813, 10_000), (8000, 10_000), (813, 500)])
def test_auto_takes_a_tenth_of_the_multiply_adds_at_most(rounds, rows):
    samples = 600_000
    every = period(rounds, 10, rows, samples)
    # Counted apart: one multiply-add forward for each weight that is touched; backward doubles the
    # first layer, and the second has its gradient and what it hands down.
    forward = 150 * 128 + 128 * 10
    training = samples * (2 * 150 * 128 + 3 * 128 * 10)
    assert rounds / every * rows * forward <= 0.1 * training
    assert every > 1
    # It does not shun much more than it has to.
    assert rounds / every * rows * forward >= 0.05 * training


def test_auto_scores_every_round_that_is_an_epoch():
    assert period(10, 10, 1_000_000, 10_000) == 1
    assert period(11, 10, 1_000_000, 10_000) == 11
