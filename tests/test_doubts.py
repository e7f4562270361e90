"""What is warned of: scales that differ by far, few rows a replica, a first round gone wrong."""

import re
import warnings

import numpy as np
import pytest
import scipy.sparse

import fixed
import omp_mlp
from omp_mlp import SettingsWarning
from omp_mlp.activations import ACTIVATIONS
from omp_mlp.doubts import _learns_nothing, _pre_activations
from omp_mlp.inputs import read_inputs

RNG = np.random.default_rng(5)
X = RNG.normal(size=(600, 5)).astype(np.float32)
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 0)
VALUES = (X[:, 0] + X[:, 1] ** 2).astype(np.float64)
STRATEGIES = ["replica", "section", "synchronous", "pattern"]


def messages(given, y, threads=2, **options):
    """Return what a training warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fixed.train_parallel(given, y, threads, **{"epochs": 2, **options})
    assert {one.category for one in caught} <= {SettingsWarning}
    assert {one.filename for one in caught} <= {fixed.__file__}  # the line that called
    return [str(one.message) for one in caught]


def test_a_sound_training_is_not_warned_of():
    for strategy in STRATEGIES:
        assert messages(X, LABELS, strategy=strategy) == []
    assert messages(X, VALUES, learning_rate=0.01) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        omp_mlp.train_parallel(X * [1e6, 1, 1e-6, 1, 1], 1e5 * VALUES, 4)


# ----------------------------------------------------------------------------------- few rows


@pytest.mark.parametrize(("threads", "rows"), [(5, "120"), (300, "2")])
def test_few_rows_a_replica(threads, rows):
    (message,) = messages(X, LABELS, threads)
    assert message.startswith(f"threads={threads} leaves a replica {rows} of the 600 rows")
    assert message.endswith("threads=4 leaves enough")


@pytest.mark.parametrize("options", [{"threads": 4}, {"strategy": "section"}, {"epochs": 0}])
def test_enough_rows_a_replica(options):
    assert messages(X, LABELS, **{"threads": 64, **options}) == []


def test_rows_that_are_held_out_are_no_rows_of_a_replica():
    held_out = {"early_stopping": True, "validation_fraction": 0.2, "merge_every": 16}
    assert len(messages(X, LABELS, 4, **held_out)) == 1
    assert messages(X, LABELS, 3, **held_out) == []


# ------------------------------------------------------------------------------------- scales


FACTORS = np.array([1.0, 3e5, 1.0, 2e5, 30.0], np.float32)
LARGEST = np.abs(X * FACTORS).max(axis=0)


def scales(given, **options):
    found = messages(given, LABELS, **{"learning_rate": 1e-15, **options})
    return [message for message in found if message.startswith("the columns of X")]


@pytest.mark.parametrize(
    "convert", [lambda A: A, lambda A: A.astype(float), scipy.sparse.csr_array]
)
def test_columns_whose_scales_differ_by_far_are_named(convert):
    (message,) = scales(convert(X * FACTORS))
    large = f"up to {LARGEST[1]:.3g} in column 1, {LARGEST[3]:.3g} in column 3, and only "
    small = ", ".join(
        f"{LARGEST[k]:.3g} in column {k}" for k in sorted([0, 2, 4], key=lambda k: LARGEST[k])
    )
    assert large + small in message


def test_columns_of_a_table_are_named_as_they_are_called():
    pandas = pytest.importorskip("pandas")
    (message,) = scales(pandas.DataFrame(X * FACTORS, columns=["a", "seconds", "c", "d", "e"]))
    assert "in column 'seconds'" in message
    assert "in column 'a'" in message


def test_scales_that_are_alike_or_seen_to_are_no_matter():
    assert scales(X * np.array([1, 0, 200, 1, 1], np.float32)) == []  # a column of zeros
    assert scales(1e6 * X) == []
    few = X.copy()
    few[:, 1] = 0
    few[:15, 1] = 1e-6
    assert scales(few) == []  # so few entries tell no scale
    few[15, 1] = 1e-6
    assert len(scales(few)) == len(scales(scipy.sparse.csr_array(few))) == 1
    assert messages(X * FACTORS, LABELS, scale_inputs="auto") == []
    assert scales(np.tile(np.arange(5, dtype=np.uint8), (600, 1)) ** 3) == []  # bytes


def test_a_quick_look_at_wide_inputs_is_no_reason_to_warn():
    # Of 600 rows of 5,000 columns, every tenth is looked at first.
    wide = RNG.normal(size=(600, 5_000)).astype(np.float32)
    wide[::10, 7] *= 1e-5
    assert scales(wide) == []
    wide[:, 7] *= 1e-5
    (message,) = scales(wide)
    assert f"and only {np.abs(wide[:, 7]).max():.3g} in column 7" in message


def test_up_to_1024_rows_at_equal_distances_tell_scales():
    many, labels = np.tile(X, (4, 1)), np.tile(LABELS, 4)  # every third row is looked at
    many[:, 1] = 0
    many[:45, 1] = 1e-6  # 15 of them
    found = [messages(given, labels) for given in (many, scipy.sparse.csr_array(many))]
    assert found == [[], []]
    many[45, 1] = 1e-6
    for given in (many, scipy.sparse.csr_array(many)):
        (message,) = messages(given, labels)
        assert f"only {1e-6:.3g} in column 1" in message


# --------------------------------------------------------------------------------- the first round


def test_an_absurd_loss_of_two_layers():
    options = {"hidden_layer_sizes": (32, 16), "learning_rate": 0.0}
    (message,) = messages(1000 * X, LABELS, **options)
    said = float(re.match(r"after the first round, the loss is (\S+),", message)[1])
    start = fixed.train_parallel(1000 * X, LABELS, 2, **{**options, "epochs": 0})
    assert said == pytest.approx(start.evaluate(1000 * X[::2], LABELS[::2])[0], rel=5e-3)


def test_outputs_that_float32_does_not_hold_are_seen():
    model = omp_mlp.Model([np.eye(5), np.full((5, 3), 1e3)], [np.zeros(5), np.zeros(3)])
    large = np.float32(1e37) * np.abs(X[:20])
    hidden, outputs = _pre_activations(model, read_inputs(large))
    np.testing.assert_array_equal(hidden, large)
    expected = 1e3 * large.astype(np.float64).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs, np.repeat(expected, 3, axis=1), rtol=1e-6)
    assert outputs.max() > np.finfo(np.float32).max


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_absurd_loss(strategy):
    every = {"merge_every": 100} if strategy == "replica" else {}
    found = messages(1000 * X, LABELS, strategy=strategy, learning_rate=0.0, **every)
    (message,) = found
    said = re.match(r"after the first round, the loss is (\S+), and that of .* is (\S+)\.", message)
    start = fixed.train_parallel(1000 * X, LABELS, 2, epochs=0)
    # Of every second row, so that 512 rows at most are looked at.
    assert float(said[1]) == pytest.approx(start.evaluate(1000 * X[::2], LABELS[::2])[0], rel=5e-3)
    assert float(said[2]) == pytest.approx(np.log(3), abs=0.01)


def test_an_absurd_loss_of_values():
    near, far = VALUES + 5 * VALUES.std(), VALUES + 30 * VALUES.std()
    assert messages(X, near, learning_rate=0.0) == []
    (message,) = messages(X, far, learning_rate=0.0)
    assert f"one answer for all rows is {0.5 * far[::2].var():.3g}" in message
    assert messages(X, far, learning_rate=0.001, scale_targets="auto") == []
    assert messages(X, far, learning_rate=0.0, loss="absolute")
    counts = RNG.poisson(1e4, size=600).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", omp_mlp.TaskWarning)
        assert messages(X, counts, learning_rate=0.0, loss="poisson") == []
        assert messages(20 * X, counts, learning_rate=0.0, init_scale="he", loss="poisson")


@pytest.mark.parametrize("strategy", [*STRATEGIES, "lbfgs"])
def test_units_that_are_dead(strategy):
    dead = omp_mlp.Model(
        [np.ones((5, 4)), np.eye(4), np.ones((4, 3))],
        [np.zeros(4), np.full(4, -1e3), np.zeros(3)],
        classes=[0, 1, 2],
    )
    if strategy == "lbfgs":
        options = {"optimizer": "lbfgs", "batch_size": "auto", "learning_rate": "auto"}
    else:
        options = {"strategy": strategy}
    (message,) = messages(X, LABELS, init=dead, hidden_layer_sizes=(4, 4), **options)
    assert message.startswith("after the first round, all 4 units of hidden layer 1 are dead")
    assert "'relu' has no slope there, in almost all of 300 rows" in message


@pytest.mark.parametrize(
    ("density", "units", "rows"), [(1.0, 1, 60), (0.5, 1, 60), (0.001, 1, 150), (1.0, 100, 16)]
)
def test_rows_of_wide_inputs_that_are_looked_at(density, units, rows):
    # 600 rows of 10,000 columns. 64 rows have enough entries, and every tenth row is taken. The
    # multiply-adds of a network take every fourth row alone, or every 38th.
    wide = RNG.random((600, 10_000), np.float32) * (RNG.random((600, 10_000)) < density)
    dead = omp_mlp.Model(
        [np.ones((10_000, units)), np.ones((units, 3))],
        [np.full(units, -1e6), np.zeros(3)],
        classes=[0, 1, 2],
    )
    options = {"init": dead, "hidden_layer_sizes": (units,), "learning_rate": 0.0, "epochs": 1}
    for given in [wide, scipy.sparse.csr_array(wide)][density < 1 :]:
        (message,) = messages(given, LABELS, **options)
        assert f"in almost all of {rows} rows" in message


def test_sparse_inputs_are_looked_at_as_dense_ones_are():
    X = np.where(RNG.random((600, 300)) < 0.01, 1e4 * RNG.normal(size=(600, 300)), 0.0)
    X[::2, 7:] = 0.0  # of the rows that are looked at, few columns have entries, and some rows none
    options = {"learning_rate": 0.0, "hidden_layer_sizes": (9,), "merge_every": 100}
    (message,) = messages(X, LABELS, **options)
    assert messages(scipy.sparse.csr_array(X), LABELS, **options) == [message]
    empty = scipy.sparse.csr_array((600, 300))
    assert messages(empty, LABELS, **options) == []


def test_dead_units_below_an_output_that_knows_how_often_each_class_is():
    rare = np.where(np.arange(600) % 20 == 0, np.arange(600) // 20 % 2 + 1, 0)
    shares = np.bincount(rare) / len(rare)
    dead = omp_mlp.Model(
        [np.ones((5, 4)), np.ones((4, 3))],
        [np.full(4, -1e3), np.log(shares)],
        classes=[0, 1, 2],
    )
    (message,) = messages(X, rare, init=dead, hidden_layer_sizes=(4,), learning_rate=0.0)
    assert message.startswith("after the first round, all 4 units of hidden layer 0 are dead")


@pytest.mark.parametrize("merge", ["weight_matching", "ensemble"])
def test_the_first_round_of_a_merge_in_python(merge):
    options = {"merge": merge, "learning_rate": 0.0}
    assert messages(X, LABELS, **options) == []
    (message,) = messages(1000 * X, LABELS, **options)
    said = re.match(r"after the merge, the loss is (\S+), and that of .* is (\S+)\.", message)
    start = fixed.train_parallel(1000 * X, LABELS, 2, epochs=0)
    assert float(said[1]) == pytest.approx(start.evaluate(1000 * X[::2], LABELS[::2])[0], rel=5e-3)


def test_units_that_are_saturated():
    (message,) = messages(
        X, LABELS, activation="tanh", init_scale=1e6, learning_rate=0.0, loss="squared_error"
    )
    assert message.startswith("after the first round, all 128 units of hidden layer 0 are")
    sound = {"activation": "tanh", "init_scale": 1.0, "loss": "squared_error"}
    assert messages(X, LABELS, **sound) == []


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_unit_learns_nothing_where_its_activation_is_flat(activation):
    ends = {"relu": [-1], "gelu": [-5], "selu": [-8], "tanh": [-5, 5], "logistic": [-8, 8]}
    flat = [] if activation in ("leaky_relu", "identity") else ends.get(activation, [-12])
    for z in (-12.0, -8.0, -5.0, -1.0, 1.0, 5.0, 8.0, 12.0):
        is_flat = any(z <= end < 0 or z >= end > 0 for end in flat)
        assert _learns_nothing(activation, np.full((10, 2), z)) == is_flat, z
    one_of_two = np.stack([np.full(10, -20.0), np.full(10, 0.5)], axis=1)
    assert not _learns_nothing(activation, one_of_two)


@pytest.mark.parametrize("merge_every", ["auto", None])
def test_a_warning_that_is_an_error_ends_the_training_with_what_it_has(merge_every):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SettingsWarning) as caught:
            fixed.train_parallel(1000 * X, LABELS, 2, learning_rate=0.0, merge_every=merge_every)
    assert len(caught.value.history.loss) == 1
    assert caught.value.model.history.loss.tolist() == caught.value.history.loss.tolist()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_look_at_the_first_round_changes_no_bit(strategy, monkeypatch):
    def train():
        return fixed.train_parallel(X, LABELS, 2, strategy=strategy, epochs=3)._packed

    looked_at = train()
    monkeypatch.setattr(omp_mlp.run.Run, "_judge_first_round", lambda *_: None)
    np.testing.assert_array_equal(train(), looked_at)
