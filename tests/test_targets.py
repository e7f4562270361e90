"""y in all its forms: labels and values, those of a training and those of a network."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fixed
import omp_mlp
from omp_mlp import Model
from omp_mlp.targets import TargetKind, read_sample_weight, read_targets, same_labels

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = np.arange(12) % 3  # classes 0, 1, 2


BAD_Y = [
    ("short", Y[:11], ValueError, "y must have one entry for each of the 12 samples in X; got 11"),
    ("long", np.arange(13), ValueError, "one entry for each of the 12 samples in X; got 13"),
    ("empty", [], ValueError, "one entry for each of the 12 samples in X; got 0"),
    ("scalar", 1, ValueError, "y must have one or two dimensions; got shape ()"),
    ("cube", np.zeros((12, 1, 1)), ValueError, "one or two dimensions; got shape (12, 1, 1)"),
    (
        "columns",
        np.stack([Y, Y], 1),
        ValueError,
        "y with several columns must hold 0 and 1, for a multilabel classification; got 2 in row 2",
    ),
    (
        "no columns",
        np.zeros((12, 0)),
        ValueError,
        "y must have at least one column(s); got shape (12, 0)",
    ),
    (
        "nan",
        np.where(Y == 1, np.nan, 0),
        ValueError,
        "y must be finite in float32; got nan in row 1, column 0",
    ),
    ("inf", np.where(np.eye(12, 4, 1), -np.inf, 0), ValueError, "got -inf in row 0, column 1"),
    ("large", np.full(12, -1e40), ValueError, "got -1e+40 in row 0, column 0"),
    ("complex", Y + 1j, TypeError, "integers, strings, booleans or floats; got dtype complex128"),
    ("dates", Y.astype("M8[D]"), TypeError, "booleans or floats; got dtype datetime64[D]"),
    (
        "nothing",
        None,
        TypeError,
        "y must be an array of integers, strings, booleans",
    ),
    ("uneven", [[0], [0, 1]] * 6, ValueError, "y cannot be read as an array: setting an array"),
    ("beyond floats", [10**400] * 12, ValueError, "y cannot be read as an array: int too large"),
    ("none", [None] * 12, ValueError, "y must have a label or a value in every row; got None"),
    (
        "mixed",
        np.array(["a", 1, 2.0] * 4, object),
        TypeError,
        "y must hold labels of one type, strings or numbers; got entries of type float, int, str",
    ),
]


@pytest.mark.parametrize(
    ("bad", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in BAD_Y]
)
def test_bad_y(train_without_work, bad, error, message):
    with pytest.raises(error, match=re.escape(message)):
        train_without_work(y=bad)


def test_objects_that_are_strings_are_strings():
    targets = read_targets(np.array(["b", "a", "b"], object), 3)
    assert targets.labels.tolist() == ["a", "b"]
    assert targets.labels.dtype == "<U1"
    assert targets.indices.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("y", "labels", "indices"),
    [
        ([3, -1, 3], [-1, 3], [1, 0, 1]),
        ([True, False, True], [False, True], [1, 0, 1]),
        (["b", "a", "c"], ["a", "b", "c"], [1, 0, 2]),
        ([7, 7, 7], [7], [0, 0, 0]),
    ],
)
def test_labels_are_sorted(y, labels, indices):
    targets = read_targets(y, 3)
    assert targets.labels.tolist() == labels
    assert targets.indices.tolist() == indices
    assert targets.indices.dtype == np.int32
    assert targets.values is None
    assert targets.kind.n_outputs == len(labels)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3)])
def test_floats_are_values(shape):
    y = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    targets = read_targets(y, 4)
    assert targets.labels is None
    assert targets.values.dtype == np.float32
    np.testing.assert_array_equal(targets.values, y.reshape(4, -1))
    assert targets.kind.n_outputs == targets.values.shape[1]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
@given(data=st.data())
def test_labels_of_integers_are_those_of_unique(dtype: str, data: st.DataObject) -> None:
    """With gaps, negative, one label only, and at the ends of the type."""
    limits = np.iinfo(dtype)
    first = data.draw(st.sampled_from([limits.min, limits.max - 20, 7]))
    offsets = data.draw(st.lists(st.integers(0, 20), min_size=1, max_size=40))
    far = data.draw(st.booleans())
    y = np.array([first + offset for offset in offsets] + [3] * far, dtype=dtype)
    got = read_targets(y, len(y))
    labels, indices = np.unique(y, return_inverse=True)
    assert got.labels is not None
    assert got.indices is not None
    assert got.labels.dtype == labels.dtype
    np.testing.assert_array_equal(got.labels, labels)
    np.testing.assert_array_equal(got.indices, indices)


# ------------------------------------------------------------------------ a network that is trained


def classifier(classes):
    return Model([np.zeros((3, len(classes)))], [np.zeros(len(classes))], classes=classes)


INTEGERS = classifier([0, 2, 5])
STRINGS = classifier(["no", "yes"])
VALUES = Model([np.zeros((3, 2))], [np.zeros(2)])


BAD_SCORES = [
    (
        INTEGERS,
        Y,
        ValueError,
        "y has labels that are not among the classes: 1; expected some of [0, 2, 5]",
    ),
    (
        INTEGERS,
        np.arange(12),
        ValueError,
        "not among the classes: 1, 3, 4, 6, 7, ...; expected some of [0, 2, 5]",
    ),
    (INTEGERS, Y * 0 - 1, ValueError, "not among the classes: -1; expected"),
    (INTEGERS, np.full(12, np.nan), ValueError, "not among the classes: nan"),
    (INTEGERS, np.full(12, 0.5), ValueError, "not among the classes: 0.5"),
    (
        INTEGERS,
        ["no"] * 12,
        TypeError,
        "labels like those of the training, of dtype int64; got dtype <U2",
    ),
    (INTEGERS, Y[:5], ValueError, "one entry for each of the 12 samples in X; got 5"),
    (
        INTEGERS,
        np.stack([Y, Y], 1),
        ValueError,
        "one dimension for a classification; got shape (12, 2)",
    ),
    (
        STRINGS,
        ["maybe", "no"] * 6,
        ValueError,
        "not among the classes: 'maybe'; expected some of ['no', 'yes']",
    ),
    (STRINGS, ["n"] * 12, ValueError, "not among the classes: 'n'"),
    (STRINGS, ["yes!"] * 12, ValueError, "not among the classes: 'yes!'"),
    (STRINGS, Y, TypeError, "labels like those of the training, of dtype <U3; got dtype int64"),
    (VALUES, np.zeros(12), ValueError, "y must have 2 column(s); got shape (12,)"),
    (VALUES, np.zeros((12, 3)), ValueError, "y must have 2 column(s); got shape (12, 3)"),
    (VALUES, ["a"] * 12, TypeError, "y must hold numbers for a regression; got dtype <U1"),
    (
        VALUES,
        np.full((12, 2), np.inf),
        ValueError,
        "y must be finite in float32; got inf in row 0, column 0",
    ),
]


@pytest.mark.parametrize(("model", "y", "error", "message"), BAD_SCORES)
def test_bad_y_in_score(model, y, error, message):
    for method in (model.score, model.evaluate):
        with pytest.raises(error, match=re.escape(message)):
            method(X, y)


def test_strings_and_bytes_are_different_labels():
    with pytest.raises(TypeError, match=r"of the training, of dtype <U3; got dtype \|S3"):
        STRINGS.score(X[:2], [b"no", b"yes"])
    in_bytes = classifier([b"no", b"yes"])
    with pytest.raises(TypeError, match=r"of the training, of dtype \|S3; got dtype <U3"):
        in_bytes.score(X[:2], ["no", "yes"])
    with pytest.raises(ValueError, match=r"must have the classes of models\[0\], \['no' 'yes'\]"):
        omp_mlp.merge([STRINGS, in_bytes])


# ----------------------------------------------------------------------------- classes or values


N = 60
WIDE = np.random.default_rng(1).normal(size=(N, 3)).astype(np.float32)
QUICK = {"epochs": 1, "hidden_layer_sizes": (3,)}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_whole_floats_are_labels_if_the_task_is_classes(dtype):
    y = (np.arange(N) % 3 - 1).astype(dtype)
    model = fixed.train_parallel(WIDE, y, 1, task="classes", **QUICK)
    assert model.classes.tolist() == [-1, 0, 1]
    assert model.classes.dtype == dtype
    assert model.output_activation == "softmax"
    as_integers = fixed.train_parallel(WIDE, y.astype(int), 1, **QUICK)
    np.testing.assert_array_equal(model.weights[0], as_integers.weights[0])
    assert model.score(WIDE, y) == as_integers.score(WIDE, y.astype(int))
    assert model.predict(WIDE).dtype == dtype


@pytest.mark.parametrize("y", [np.arange(N), np.arange(N) % 2 == 0, np.arange(N, dtype=np.uint8)])
def test_integers_and_booleans_are_values_if_the_task_is_values(y):
    model = fixed.train_parallel(WIDE, y, 1, task="values", learning_rate=1e-6, **QUICK)
    assert model.classes is None
    as_floats = fixed.train_parallel(
        WIDE, y.astype(float), 1, task="values", learning_rate=1e-6, **QUICK
    )
    np.testing.assert_array_equal(model.weights[0], as_floats.weights[0])


def test_validation_data_are_of_the_task():
    y = (np.arange(N) % 3).astype(float)
    for task, other in (("classes", y.astype(int)), ("values", y.astype(int))):
        model = fixed.train_parallel(
            WIDE, y, 1, task=task, validation_data=(WIDE, other), learning_rate=1e-3, **QUICK
        )
        assert model.history.validation_score[-1] == model.score(WIDE, y)


DOUBTS = [  # (what, y, the doubt)
    ("few kinds", np.arange(20) % 2 / 1.0, "floats that are whole numbers of 2 kinds in 20 rows"),
    ("20 kinds", np.arange(200) % 20 * 5.0, "whole numbers of 20 kinds in 200 rows"),
    ("negative", 1.0 - np.arange(30) % 3, "whole numbers of 3 kinds in 30 rows"),
    ("many kinds", np.arange(21), "integers of 21 kinds in 21 rows"),
    ("many rows", np.arange(209) % 21 * 7, "integers of 21 kinds in 209 rows"),
    ("few rows", np.arange(19) % 2 / 1.0, None),
    ("21 kinds", np.arange(210) % 21 / 1.0, None),
    ("one kind", np.ones(50), None),
    ("not whole", np.arange(200) % 4 / 2.0, None),
    ("not whole, late", np.append(np.arange(1100) % 4 / 1.0, 0.5), None),
    ("enough rows", np.arange(210) % 21, None),
    ("20 integers", np.arange(20), None),
    ("strings", np.arange(30).astype(str), None),
    ("two columns", np.ones((40, 2)) * (np.arange(40) % 3)[:, None], None),
]


@pytest.mark.parametrize(("y", "doubt"), [pytest.param(*row[1:], id=row[0]) for row in DOUBTS])
def test_a_doubtful_task_is_a_warning(y, doubt):
    X = np.random.default_rng(2).normal(size=(len(y), 2)).astype(np.float32)
    options = {"epochs": 0, "hidden_layer_sizes": ()}
    if doubt is None:
        fixed.train_parallel(X, y, 1, **options)  # a warning is an error
        return
    with pytest.warns(omp_mlp.TaskWarning, match=doubt) as caught:
        omp_mlp.train_parallel(X, y, 1, **options)
    assert caught[0].filename == __file__
    assert "task='values'" in str(caught[0].message)
    assert "task='classes'" in str(caught[0].message)
    for task in ("classes", "values"):
        fixed.train_parallel(X, y, 1, task=task, **options)


BAD_TASKS = [
    ("floats", Y / 2.0, "classes", ValueError, "for task='classes'; got 0.5 in row 1"),
    ("nan", np.where(Y == 2, np.nan, 0.0), "classes", ValueError, "'classes'; got nan in row 2"),
    ("inf", np.where(Y == 2, np.inf, 0.0), "classes", ValueError, "'classes'; got inf in row 2"),
    ("strings", Y.astype(str), "values", TypeError, "numbers for a regression; got dtype <U21"),
    ("name", Y, "regression", ValueError, "task must be one of 'auto', 'classes', 'values'; got"),
]


@pytest.mark.parametrize(
    ("bad", "task", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in BAD_TASKS]
)
def test_bad_task(train_without_work, bad, task, error, message):
    with pytest.raises(error, match=re.escape(message)):
        train_without_work(y=bad, task=task)


# ------------------------------------------------------- classes that y lacks, weights of a score


def test_classes_that_y_lacks_are_classes_of_the_network():
    few = np.where(Y == 2, 1, Y)
    model = fixed.train_parallel(X, few, 2, classes=[2, 0, 1], epochs=1, batch_size=4)
    assert model.classes.tolist() == [0, 1, 2]
    assert model.layer_sizes[-1] == 3
    # The labels go to the outputs that they have in a training with all of them: the same bits.
    as_strings = fixed.train_parallel(
        X, np.array(["a", "b"])[few], 2, classes=["b", "c", "a"], epochs=1, batch_size=4
    )
    np.testing.assert_array_equal(as_strings.weights[0], model.weights[0])
    assert as_strings.classes.tolist() == ["a", "b", "c"]
    # A start of three classes may be trained further with two of them, or one.
    for y in (few, Y * 0 + 2):
        further = fixed.train_parallel(X, y, 2, init=model, epochs=1, batch_size=4)
        assert further.classes.tolist() == [0, 1, 2]
    only = np.full(12, 2)
    balanced = fixed.train_parallel(
        X, only, 2, init=model, class_weight="balanced", epochs=1, batch_size=4
    )
    np.testing.assert_array_equal(balanced.weights[0], further.weights[0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"classes": [0, 1]},
            ValueError,
            "y has labels that are not among the classes: 2; expected",
        ),
        ({"classes": [0, 1, 1, 2]}, ValueError, "one or more different labels; got 0, 1, 1, 2"),
        ({"classes": []}, ValueError, "classes must be one or more different labels"),
        ({"classes": 3}, ValueError, "classes must be labels in one dimension; got shape ()"),
        ({"classes": np.nan}, ValueError, "classes must be labels in one dimension; got shape ()"),
        ({"classes": [0.0, np.nan]}, ValueError, "classes must be finite; got 0.0, nan"),
        ({"classes": ["a", "b"]}, TypeError, "labels like those of the training, of dtype <U1"),
        (
            {"classes": [0, 1, 2], "task": "values"},
            ValueError,
            "classes goes with task='auto' or 'classes'; got task='values'",
        ),
        (
            {"sample_weight": np.zeros(12)},
            ValueError,
            "sample_weight must have a weight above zero; got zero for every sample",
        ),
    ],
)
def test_bad_classes_and_weights(train_without_work, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        train_without_work(**options)


def test_labels_in_one_column_are_labels():
    options = {"epochs": 1, "batch_size": 4}
    expected = fixed.train_parallel(X, Y, 2, **options)
    model = fixed.train_parallel(X, Y[:, None], 2, **options)
    np.testing.assert_array_equal(model.weights[0], expected.weights[0])
    assert model.classes.tolist() == [0, 1, 2]
    assert model.score(X, Y[:, None]) == model.score(X, Y)


@pytest.mark.parametrize("y", [Y, X[:, :2], X[:, 0], np.stack([Y > 0, Y > 1], 1)])
def test_weights_of_a_score_are_repeated_rows(y):
    model = fixed.train_parallel(X, y, 2, epochs=2, batch_size=4)
    weight = np.arange(12) % 4
    rows = np.repeat(np.arange(12), weight)
    expected = model.evaluate(X[rows], y[rows])
    # Sums of at most 18 terms in double precision.
    np.testing.assert_allclose(model.evaluate(X, y, weight), expected, rtol=1e-12)
    assert model.score(X, y, sample_weight=weight) == model.evaluate(X, y, weight)[1]
    assert model.evaluate(X, y)[0] != pytest.approx(expected[0])
    with pytest.raises(ValueError, match="got zero for every sample"):
        model.score(X, y, np.zeros(12))


# -------------------------------------------------------- what NumPy would confuse, hide or round


@pytest.mark.parametrize(
    "labels",
    [
        ["a", "a\0", "b"],
        [b"a", b"a\0", b"b"],
        np.array(["a", "a\0", "b"], dtype=object),
    ],
    ids=["str", "bytes", "object"],
)
def test_labels_that_end_in_a_zero_byte(labels):
    with pytest.raises(ValueError, match="y must not hold text that ends in a zero byte"):
        read_targets(labels, 3)


def test_integers_of_any_size_are_compared_exactly():
    labels = np.array([2**53, 2**53 + 1])
    kind = TargetKind(labels, 2)
    for dtype in (np.int64, np.uint64):
        read = read_targets(labels.astype(dtype)[::-1], 2, like=kind)
        np.testing.assert_array_equal(read.indices, [1, 0])
        with pytest.raises(ValueError, match="are not among the classes: 9007199254740994;"):
            read_targets(np.array([2**53, 2**53 + 2], dtype), 2, like=kind)
    with pytest.raises(ValueError, match=r"are not among the classes: 1\.5;"):
        read_targets(np.array([1.5]), 1, like=TargetKind(np.array([1, 2]), 2))
    with pytest.raises(ValueError, match="are not among the classes: 18446744073709551615;"):
        read_targets(np.array([2**64 - 1], np.uint64), 1, like=TargetKind(np.array([-1, 2]), 2))
    with pytest.raises(ValueError, match="are not among the classes: -1;"):
        read_targets(np.array([-1]), 1, like=TargetKind(np.array([1, 2**64 - 1], np.uint64), 2))
    assert not same_labels(np.array([2**53]), np.array([2**53 + 1], np.uint64))
    assert same_labels(np.array([1, 2]), np.array([1, 2], np.uint64))


def test_integers_that_only_an_unsigned_type_holds_are_labels():
    read = read_targets([0, 2**64 - 1, 0], 3)
    np.testing.assert_array_equal(read.labels, np.array([0, 2**64 - 1], np.uint64))
    np.testing.assert_array_equal(read.indices, [0, 1, 0])
    with pytest.raises(ValueError, match="y must hold integers of 64 bits"):
        read_targets([-1, 2**64 - 1], 2)


def test_what_a_mask_hides_is_not_trained_on():
    hidden = np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False])
    with pytest.raises(ValueError, match="y must not hide entries behind a mask; got 1 masked"):
        read_targets(hidden, 3)
    with pytest.raises(ValueError, match="sample_weight must not hide entries"):
        read_sample_weight(hidden, 3)
    np.testing.assert_array_equal(
        read_targets(np.ma.masked_array([1.5, 2]), 2).values.T, [[1.5, 2]]
    )


def test_values_are_scored_as_they_are_given():
    y = 1e8 + np.array([0.0, 1.0, 3.0, 4.0])
    read = read_targets(y, 4)
    np.testing.assert_array_equal(read.compared[:, 0], y)
    np.testing.assert_array_equal(read.take(np.array([2])).compared, [[y[2]]])
    # Mean 1e8 + 2, variance 2.5; the network says 1e8.
    model = omp_mlp.Model([np.zeros((1, 1))], [np.array([1e8])])
    loss, score = model.evaluate(np.zeros((4, 1)), y)
    assert loss == 0.5 * (0 + 1 + 9 + 16) / 4
    assert score == pytest.approx(1 - 26 / 10)
