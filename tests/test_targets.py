"""y in all its forms: labels and values, those of a training and those of a network."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import omp_mlp
from omp_mlp import Model
from omp_mlp.targets import read_targets

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
        "one dimension for a classification; got shape (12, 2)",
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
    ("none", [None] * 12, TypeError, "must hold strings only; got entries of type NoneType"),
    (
        "mixed",
        np.array(["a", 1, 2.0] * 4, object),
        TypeError,
        "y of dtype object must hold strings only; got entries of type float, int",
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
    assert targets.n_outputs == len(labels)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3)])
def test_floats_are_values(shape):
    y = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    targets = read_targets(y, 4)
    assert targets.labels is None
    assert targets.values.dtype == np.float32
    np.testing.assert_array_equal(targets.values, y.reshape(4, -1))
    assert targets.n_outputs == targets.values.shape[1]


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
        "y has labels that the training did not have: 1; expected some of [0, 2, 5]",
    ),
    (
        INTEGERS,
        np.arange(12),
        ValueError,
        "did not have: 1, 3, 4, 6, 7, ...; expected some of [0, 2, 5]",
    ),
    (INTEGERS, Y * 0 - 1, ValueError, "did not have: -1; expected"),
    (INTEGERS, np.full(12, np.nan), ValueError, "did not have: nan"),
    (INTEGERS, np.full(12, 0.5), ValueError, "did not have: 0.5"),
    (
        INTEGERS,
        ["no"] * 12,
        TypeError,
        "labels like those of the training, of dtype int64; got dtype <U2",
    ),
    (INTEGERS, Y[:5], ValueError, "one entry for each of the 12 samples in X; got 5"),
    (INTEGERS, Y[:, None], ValueError, "one dimension for a classification; got shape (12, 1)"),
    (
        STRINGS,
        ["maybe", "no"] * 6,
        ValueError,
        "did not have: 'maybe'; expected some of ['no', 'yes']",
    ),
    (STRINGS, ["n"] * 12, ValueError, "did not have: 'n'"),
    (STRINGS, ["yes!"] * 12, ValueError, "did not have: 'yes!'"),
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
