"""Early stopping: what is held out, when a training stops, and what it gives back."""

import re

import numpy as np
import pytest
import scipy.sparse

import fixed
from omp_mlp.early_stopping import Judge, patience_of, split
from omp_mlp.scaling import dense_scaling
from omp_mlp.targets import read_targets

RNG = np.random.default_rng(8)
X = RNG.integers(0, 200, size=(90, 6)).astype(np.uint8)
Y = ((X[:, 0] > 100) ^ (RNG.random(90) < 0.3)).astype(int)  # noise that a network learns by heart
DATA = X[60:], Y[60:]
OPTIONS = {
    "hidden_layer_sizes": (16,), "epochs": 30, "batch_size": 2, "learning_rate": 0.3,
    "learning_rate_schedule": "constant", "validate_every": 1, "seed": 1,
}  # fmt: skip


def train(strategy="replica", **options):
    options = {"validation_data": DATA, **options}
    return fixed.train_parallel(X[:60], Y[:60], 2, strategy=strategy, **{**OPTIONS, **options})


def stops_at(losses, patience, min_delta):
    """Say where to stop, from the losses of a training that is not stopped."""
    for r in range(len(losses)):
        improved = [0]
        for k in range(1, r + 1):
            if losses[k] < losses[improved[-1]] - min_delta:
                improved.append(k)
        if r - improved[-1] >= patience:
            return r
    return len(losses) - 1


@pytest.mark.parametrize("strategy", ["replica", "section", "synchronous", "pattern"])
@pytest.mark.parametrize(("patience", "min_delta"), [(3, 0.0), (5, 0.01)])
def test_the_best_round_of_a_training_that_is_not_stopped(strategy, patience, min_delta):
    every = {"merge_every": 30} if strategy == "replica" else {}
    whole = train(strategy, **every)
    losses = whole.history.validation_loss
    last = stops_at(losses, patience, min_delta)
    assert last < len(losses) - 1
    best = int(np.argmin(losses[: last + 1]))
    stop = {"callback": lambda report: report.merged and report.round == best}
    expected = train(strategy, **every, **stop)
    for workers in (1, 2):
        model = train(
            strategy, **every, early_stopping=True, patience=patience, min_delta=min_delta,
            workers=workers,
        )  # fmt: skip
        assert model.history.best_round == best
        assert model.history.validation_loss.tolist() == losses[: last + 1].tolist()
        for got, wanted in zip(model.weights, expected.weights, strict=True):
            np.testing.assert_array_equal(got, wanted)
        assert model.evaluate(*DATA)[0] == losses[best]
    assert whole.history.best_round is None


@pytest.mark.filterwarnings("ignore:after the first round:omp_mlp.SettingsWarning")
@pytest.mark.parametrize(
    "convert", [lambda A: A, lambda A: A.astype(np.float32), scipy.sparse.csr_array]
)
def test_held_out_rows_are_those_of_the_split(convert):
    kept, held = split(read_targets(Y, 90), 90, 0.2, seed=1)
    given = convert(X)
    options = {**OPTIONS, "epochs": 3, "learning_rate": 0.01, "early_stopping": True}
    model = fixed.train_parallel(given, Y, 2, validation_fraction=0.2, **options)
    expected = fixed.train_parallel(
        convert(X[kept]), Y[kept], 2, validation_data=(convert(X[held]), Y[held]), **options
    )
    np.testing.assert_array_equal(model.weights[0], expected.weights[0])
    assert model.history.validation_loss.tolist() == expected.history.validation_loss.tolist()


@pytest.mark.parametrize("convert", [lambda A: A, lambda A: A * (A < 0.5), scipy.sparse.csr_array])
@pytest.mark.parametrize("regression", [False, True])
def test_held_out_rows_take_no_part_in_the_scales(convert, regression):
    columns = RNG.random((90, 6))
    y = Y * 10.0 + columns[:, 1] if regression else Y
    kept, held = split(read_targets(y, 90), 90, 0.2, seed=1)
    columns[held] *= 5.0
    if regression:
        y[held] += 100.0
    given = convert(columns)
    options = {**OPTIONS, "epochs": 3, "learning_rate": 0.01, "early_stopping": True}
    options |= {"scale_inputs": "auto", "scale_targets": "auto"}
    model = fixed.train_parallel(given, y, 2, validation_fraction=0.2, **options)
    expected = fixed.train_parallel(
        given[kept], y[kept], 2, validation_data=(given[held], y[held]), **options
    )
    for got, wanted in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert model.history.validation_loss.tolist() == expected.history.validation_loss.tolist()


def test_held_out_rows_take_no_part_in_labels_and_medians():
    pandas = pytest.importorskip("pandas")
    kept, held = split(read_targets(Y, 90), 90, 0.2, seed=1)
    size, text = RNG.normal(size=90), np.array(["a", "b", "c"])[np.arange(90) % 3]
    size[kept[:5]] = np.nan
    size[held[1:]] = 50.0
    text[held[:2]] = "new"
    late = RNG.normal(size=90)
    late[held[0]] = np.nan
    table = pandas.DataFrame({"size": size, "text": text, "late": late})
    options = {**OPTIONS, "epochs": 3, "learning_rate": 0.01, "early_stopping": True}
    options["scale_inputs"] = "auto"
    model = fixed.train_parallel(table, Y, 2, validation_fraction=0.2, **options)
    assert model.columns.encodings[0].median == np.median(size[kept[5:]])
    assert model.columns.encodings[1].labels == ("a", "b", "c")
    assert model.columns.encodings[2].median == np.median(late[kept])
    encoded = model.columns.read(table)
    assert not encoded[held[:2], 2:5].any()
    expected = fixed.train_parallel(
        encoded[kept], Y[kept], 2, validation_data=(encoded[held], Y[held]), **options
    )
    np.testing.assert_array_equal(model.weights[0], expected.weights[0])
    assert model.history.validation_loss.tolist() == expected.history.validation_loss.tolist()


@pytest.mark.parametrize("weighted", [False, True])
def test_held_out_rows_take_no_part_in_balanced_weights(weighted):
    kept, held = split(read_targets(Y, 90), 90, 0.3, seed=1)
    weight = RNG.random(90) if weighted else None
    options = {**OPTIONS, "epochs": 3, "learning_rate": 0.01, "early_stopping": True}
    model = fixed.train_parallel(
        X, Y, 2, validation_fraction=0.3, class_weight="balanced", sample_weight=weight, **options
    )
    rows = np.bincount(Y[kept])
    balanced = (len(kept) / (2 * rows))[Y[kept]].astype(np.float32)
    assert not np.array_equal(balanced, (90 / (2 * np.bincount(Y)))[Y[kept]].astype(np.float32))
    expected = fixed.train_parallel(
        X[kept], Y[kept], 2, validation_data=(X[held], Y[held]), **options,
        sample_weight=balanced if weight is None else weight[kept].astype(np.float32) * balanced,
    )  # fmt: skip
    for got, wanted in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_what_an_image_is_depends_on_all_rows():
    pixels = (RNG.random((90, 6)) < 0.4) * RNG.integers(100, 256, size=(90, 6)).astype(float)
    kept, held = split(read_targets(Y, 90), 90, 0.2, seed=1)
    pixels[held[0], 0] = 0.5  # no byte
    options = {**OPTIONS, "epochs": 2, "early_stopping": True, "scale_inputs": "auto"}
    model = fixed.train_parallel(pixels, Y, 1, validation_fraction=0.2, **options)
    found, _ = dense_scaling(pixels, kept)
    expected = fixed.train_parallel(
        pixels[kept], Y[kept], 1, validation_data=(pixels[held], Y[held]),
        **{**options, "scale_inputs": found},
    )  # fmt: skip
    np.testing.assert_array_equal(model.weights[0], expected.weights[0])


def test_split_is_stratified_and_disjoint():
    y = np.repeat([3, 5, 9], [50, 20, 11])
    kept, held = split(read_targets(y, 81), 81, 0.1, seed=4)
    assert np.unique(y[held], return_counts=True)[1].tolist() == [5, 2, 1]
    assert sorted([*kept, *held]) == list(range(81))
    assert not np.array_equal(held, split(read_targets(y, 81), 81, 0.1, seed=5)[1])


BAD = [
    ({"patience": 3}, "patience goes with early_stopping=True; got early_stopping=False"),
    ({"early_stopping": True, "validation_fraction": 0.001}, "holds out 0 of the"),
    ({"early_stopping": True, "validation_fraction": 0.999}, "rows of class 0"),
    ({"early_stopping": True, "validation_fraction": 0.0}, "greater than 0 and less than 1"),
    ({"early_stopping": True, "keep_replicas": True}, "goes with keep_replicas=False"),
    ({"early_stopping": True, "merge": "ensemble"}, "got merge='ensemble', which merges once"),
    ({"early_stopping": True, "merge_every": None}, "needs at least two of them"),
    (
        {"early_stopping": True, "validation_data": DATA, "validation_fraction": 0.2},
        "got both, with validation_fraction=0.2",
    ),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        fixed.train_parallel(X, Y, 2, **options)


def test_patience_of_auto():
    assert [patience_of("auto", n, 10) for n in (5, 50, 400)] == [10, 10, 80]
    assert patience_of(3, 400, 10) == 3


def test_a_loss_that_is_not_a_number_is_never_the_best():
    judge = Judge(patience=2, min_delta=0.0)
    assert [judge.judge(r, np.nan, None) for r in range(2)] == [False, True]
    assert judge.best_round is None
