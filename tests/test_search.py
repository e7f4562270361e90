"""Epochs and learning rate by cross-validation."""

import math

import numpy as np
import pytest

import omp_mlp
from omp_mlp import automatic, search
from omp_mlp.data import read_data
from omp_mlp.options import DEFAULTS, check_options

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 3))
LABELS = np.repeat([0, 1, 2], [200, 150, 50])


def options_and_data(y=LABELS, **given):
    settings = {"threads": 2, "batch_size": 2, "learning_rate": 0.1, "epochs": 1}
    options = check_options({**DEFAULTS, "center_inputs": False, **settings, **given})
    return options, read_data(options, X, y)


def searched(options, data, candidates, work, **limits):
    found, same = search.search([(options, data)], candidates, work, **limits)
    assert same is data
    return found.epochs, found.learning_rate


# The errors of (epochs, rate) that trainings would have; all others have 9.
@pytest.mark.parametrize(
    ("errors", "found"),
    [
        ({(5, 0.1): 3, (20, 0.1): 1, (80, 0.1): 2}, (20, 0.1)),
        ({(20, 0.1): 1, (20, 0.2): 0.5, (20, 0.05): 0.1}, (20, 0.2)),
        ({(20, 0.1): 1, (20, 0.2): 1, (20, 0.05): 0.5}, (20, 0.05)),
        ({(20, 0.1): 1, (20, 0.2): math.inf, (20, 0.05): 2}, (20, 0.1)),
        ({(5, 0.1): 1, (20, 0.1): 1, (80, 0.1): 1}, (5, 0.1)),  # the least work
        ({(e, r): math.inf for e in (5, 20, 80) for r in (0.1, 0.05)}, (5, 0.025)),
    ],
)
def test_the_least_error_is_found(monkeypatch, errors, found):
    monkeypatch.setattr(
        search, "_error", lambda o, *_: errors.get((o.epochs, round(o.learning_rate, 6)), 9)
    )
    options, data = options_and_data()
    assert searched(options, data, [5, 20, 80], 1.0, changes_rate=True) == found


@pytest.mark.parametrize(
    ("errors", "most", "found"),
    [
        ({80: 3, 320: 2, 1280: 1}, 1280, 1280),
        ({80: 3, 320: 2, 1280: 1}, 1279, 320),
        ({80: 3, 320: 3, 1280: 1}, 5120, 80),  # no better: longer ones are not tried
        ({20: 1, 80: 3, 320: 0}, 5120, 20),  # the longest was not the best
        ({80: 3, 320: 2}, 0, 80),
    ],
)
def test_longer_trainings_are_tried_while_the_longest_is_the_best(monkeypatch, errors, most, found):
    monkeypatch.setattr(search, "_error", lambda o, *_: errors.get(o.epochs, 9))
    options, data = options_and_data()
    given = {"changes_rate": True, "most_epochs": most}
    assert searched(options, data, [5, 20, 80], 1.0, **given) == (found, 0.1)


# More than a sixth of the shortest training's error went with the last four times as many epochs.
@pytest.mark.parametrize(
    ("errors", "most", "found"),
    [
        ({5: 12, 20: 8, 80: 5, 320: 2, 1280: 1, 5120: 0}, 5120, 1280),  # 1280 is a twelfth better
        ({5: 12, 20: 8, 80: 5, 320: 2, 1280: 1}, 320, 320),
        ({5: 12, 20: 8, 80: 5, 320: 2, 1280: 1}, 319, 80),
        ({5: 12, 20: 8, 80: 6, 320: 2}, 1280, 80),  # exactly a sixth
        ({5: 12, 20: 8, 80: 5, 320: 6, 1280: 0}, 1280, 80),
        ({5: math.inf, 20: 12, 80: 5, 320: 2}, 320, 80),
    ],
)
def test_a_training_that_still_learns_much_is_tried_longer(monkeypatch, errors, most, found):
    monkeypatch.setattr(search, "_error", lambda o, *_: errors.get(o.epochs, 99))
    options, data = options_and_data()
    given = {"changes_rate": False, "most_while_learning": most}
    assert searched(options, data, [5, 20, 80], 1.0, **given) == (found, 0.1)


# All errors are within a twentieth, as where learning has not begun.
@pytest.mark.parametrize(
    ("errors", "most", "found"),
    [
        (
            {5: 100, 20: 101, 80: 104, 320: 50, 1280: 40, 5120: 9},
            5120,
            1280,
        ),  # goes on as others do
        ({5: 100, 20: 101, 80: 104, 320: 50, 1280: 40}, 1279, 320),
        ({5: 100, 20: 101, 80: 104, 320: 50}, 319, 5),
        ({5: 100, 20: 101, 80: 105, 320: 50}, 1280, 5),  # noise is learned by heart
        ({5: 100, 20: 101, 80: 104, 320: 99, 1280: 1}, 5120, 5),  # not clearly better
        ({5: 104, 20: 101, 80: 100, 320: 99, 1280: 1}, 5120, 80),
        ({5: 104, 20: 101, 80: 100, 320: 98, 1280: 98}, 5120, 320),
        ({5: 0, 20: 0, 80: 0}, 5120, 5),
    ],
)
def test_a_training_that_has_not_begun_to_learn_is_tried_longer(monkeypatch, errors, most, found):
    monkeypatch.setattr(search, "_error", lambda o, *_: errors[o.epochs])
    options, data = options_and_data()
    given = {"changes_rate": False, "most_while_learning": most}
    assert searched(options, data, [5, 20, 80], 1.0, **given) == (found, 0.1)


# Five folds of labels have a Brier score below 0.01, or values a small loss.
@pytest.mark.parametrize(
    ("y", "least", "found"),
    [
        (LABELS, 0.0099, 80),
        (LABELS, 0.0101, 320),
        (LABELS.astype(np.float64) / 3, 0.0099, 320),
    ],
)
def test_classes_that_are_told_apart_are_not_trained_longer(monkeypatch, y, least, found):
    errors = {5: 0.6, 20: 0.3, 80: least, 320: least / 2}
    monkeypatch.setattr(search, "_error", lambda o, *_: errors[o.epochs])
    options, data = options_and_data(y)
    given = {"changes_rate": False, "most_epochs": 320, "most_while_learning": 320}
    assert searched(options, data, [5, 20, 80], 1.0, **given) == (found, 0.1)


def test_a_rate_that_is_given_stays(monkeypatch):
    monkeypatch.setattr(search, "_error", lambda o, *_: o.learning_rate / o.epochs)
    options, data = options_and_data()
    assert searched(options, data, [5, 20], 1.0, changes_rate=False) == (20, 0.1)


def test_small_data_hold_out_each_fifth_and_large_data_one(monkeypatch):
    seen = []
    monkeypatch.setattr(search, "_error", lambda _, kept, held: seen.append((kept, held)) or 1.0)
    options, data = options_and_data()
    searched(options, data, [5], 1.0, changes_rate=False)
    assert len(seen) == 5
    rows = np.sort(np.concatenate([held.inputs.rows for _, held in seen]), axis=0)
    np.testing.assert_array_equal(rows, np.sort(data.inputs.rows, axis=0))
    for kept, held in seen:
        np.testing.assert_array_equal(np.bincount(held.targets.indices), [40, 30, 10])
        np.testing.assert_array_equal(np.bincount(kept.targets.indices), [160, 120, 40])
    seen.clear()
    searched(options, data, [5], 3e10, changes_rate=False)  # five folds would be too much work
    assert len(seen) == 1


def test_the_error_of_classes_is_that_of_brier():
    options, data = options_and_data(hidden_layer_sizes=(4,))
    kept, held = search._split(data, search._folds(data, 0) == 0)
    model = omp_mlp.train_parallel(
        kept.inputs.rows,
        LABELS[kept.targets.indices * 0 + np.flatnonzero(search._folds(data, 0) != 0)],
        2,
        epochs=1,
        batch_size=2,
        learning_rate=0.1,
        scale_inputs=False,
        hidden_layer_sizes=(4,),
    )
    p = model.predict_proba(held.inputs.rows)
    one_hot = np.eye(3)[held.targets.indices]
    assert search._error(options, kept, held) == pytest.approx(
        np.mean(np.sum((p - one_hot) ** 2, axis=1)), rel=1e-5
    )


def test_the_error_of_values_is_their_loss_in_the_units_of_y():
    y = 100 + 10 * X[:, 0]
    options, data = options_and_data(y, hidden_layer_sizes=(), learning_rate=0.0)
    kept, held = search._split(data, search._folds(data, 0) == 1)
    # Without steps the network is a draw; its error is that of the same draw on y.
    error = search._error(options, kept, held)
    assert error > 0.5 * 10**2 * 0.5
    trained = search._error(
        check_options(
            {
                **DEFAULTS,
                "threads": 1,
                "center_inputs": False,
                "batch_size": 2,
                "learning_rate": 0.05,
                "epochs": 10,
                "hidden_layer_sizes": (),
            }
        ),
        kept,
        held,
    )
    assert trained < 1e-3 * error


def test_a_training_that_diverges_has_no_finite_error():
    options, data = options_and_data(100.0 * X[:, 0], learning_rate=1e6)
    kept, held = search._split(data, search._folds(data, 0) == 0)
    assert search._error(options, kept, held) == math.inf


def test_noise_gets_few_epochs_and_a_clean_rule_many():
    noise = RNG.integers(2, size=400)
    rule = (np.sin(3 * X[:, 0]) * X[:, 1] > 0).astype(np.int64)
    for y, epochs in ((noise, 5), (rule, 80)):
        options, data = options_and_data(y, threads=1)
        found, _ = searched(options, data, [5, 80], 1.0, changes_rate=False)
        assert found == epochs


# The trainings on 400 samples are little work for one network; the merges of large ones are more.
@pytest.mark.parametrize(
    ("threads", "hidden", "trainings"),
    [(1, 5_000, 15), (8, 400, 15), (8, 20_000, 3), (32, 40_000, 0)],
)
def test_merges_are_work_of_a_search(monkeypatch, threads, hidden, trainings):
    seen = []
    monkeypatch.setattr(search, "_error", lambda o, *_: seen.append(o.epochs) or float(o.epochs))
    options, data = options_and_data(
        threads=threads, epochs="auto", hidden_layer_sizes=(hidden,), loss="cross_entropy"
    )
    automatic.settle(options, data, read=lambda others: read_data(others, X, LABELS))
    assert len(seen) == trainings


# -------------------------------------------------------------------------- columns with long tails


def test_the_contender_with_the_least_error_is_searched_on(monkeypatch):
    errors = {"auto": {5: 9, 20: 5, 80: 6}, "compress": {5: 9, 20: 6, 80: 4}}
    monkeypatch.setattr(search, "_error", lambda o, *_: errors[o.scale_inputs][o.epochs])
    contenders = [options_and_data(scale_inputs=word, threads=1) for word in errors]
    options, data = search.search(contenders, [5, 20, 80], 1e10, changes_rate=False)
    assert (options.scale_inputs, options.epochs) == ("compress", 80)
    assert data is contenders[1][1]
    errors["auto"][20] = 4.03  # hardly worse
    options, data = search.search(contenders, [5, 20, 80], 1e10, changes_rate=False)
    assert (options.scale_inputs, options.epochs) == ("auto", 20)
    assert data is contenders[0][1]


def test_no_training_is_made_twice(monkeypatch):
    seen = []
    monkeypatch.setattr(
        search, "_error", lambda o, *_: seen.append((o.scale_inputs, o.epochs)) or 1.0
    )
    contenders = [options_and_data(scale_inputs=word, threads=1) for word in ("auto", "compress")]
    search.search(contenders, [5, 20, 80], 1e10, changes_rate=False)  # one fold
    assert seen == [(word, epochs) for word in ("auto", "compress") for epochs in (5, 20, 80)]
