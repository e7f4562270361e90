"""X in all its forms: what is refused, and what the core gets."""

import re

import numpy as np
import pytest
import scipy.sparse

from omp_mlp import Model
from omp_mlp.inputs import read_inputs

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
A_MODEL = Model(
    [np.zeros((3, 128)), np.zeros((128, 3))], [np.zeros(128), np.zeros(3)], classes=[0, 1, 2]
)


def spoiled(value, row=7, column=1, dtype=np.float64):
    array = X.astype(dtype)
    array[row, column] = value
    return array


BAD_X = [
    ("nan", spoiled(np.nan), ValueError, "X must be finite in float32; got NaN in row 7, column 1"),
    ("inf", spoiled(np.inf), ValueError, "X must be finite in float32; got inf in row 7, column 1"),
    ("-inf", spoiled(-np.inf, 0, 0), ValueError, "got -inf in row 0, column 0"),
    ("float32", spoiled(np.nan, 11, 2, np.float32), ValueError, "got NaN in row 11, column 2"),
    ("float16", spoiled(np.inf, 3, 0, np.float16), ValueError, "got inf in row 3, column 0"),
    ("large", spoiled(1e39), ValueError, "finite in float32; got 1e+39 in row 7, column 1"),
    ("fortran", np.asfortranarray(spoiled(np.nan)), ValueError, "got NaN in row 7, column 1"),
    ("list", spoiled(np.nan).tolist(), ValueError, "got NaN in row 7, column 1"),
    ("csr", scipy.sparse.csr_array(spoiled(np.nan)), ValueError, "got NaN in row 7, column 1"),
    ("csc", scipy.sparse.csc_matrix(spoiled(np.inf)), ValueError, "got inf in row 7, column 1"),
    ("coo", scipy.sparse.coo_array(spoiled(-np.inf)), ValueError, "got -inf in row 7, column 1"),
    ("bsr", scipy.sparse.bsr_array(spoiled(np.nan)), ValueError, "got NaN in row 7, column 1"),
    ("vector", X[0], ValueError, "shape (n_samples, n_features); got 1 dimension(s), shape (3,)"),
    (
        "cube",
        X[None],
        ValueError,
        "shape (n_samples, n_features); got 3 dimension(s), shape (1, 12, 3)",
    ),
    ("number", 5.0, ValueError, "shape (n_samples, n_features); got 0 dimension(s), shape ()"),
    ("no samples", X[:0], ValueError, "at least one sample and one feature; got shape (0, 3)"),
    ("no features", X[:, :0], ValueError, "at least one sample and one feature; got shape (12, 0)"),
    ("empty list", [[]], ValueError, "at least one sample and one feature; got shape (1, 0)"),
    ("empty bytes", np.zeros((0, 3), np.uint8), ValueError, "got shape (0, 3)"),
    ("empty csr", scipy.sparse.csr_array((0, 3)), ValueError, "got shape (0, 3)"),
    ("complex", X + 1j, TypeError, "X must hold real numbers; got dtype complex64"),
    ("none", None, TypeError, "X must hold real numbers; got dtype object"),
    ("strings", X.astype(str), TypeError, "X must hold real numbers; got dtype <U32"),
    ("uneven", [[1.0, 2.0], [3.0]], ValueError, "X cannot be read as an array: setting an array"),
    ("beyond floats", [[10**400, 1, 2]] * 12, ValueError, "X cannot be read as an array: int too"),
    ("dates", X.astype("M8[D]"), TypeError, "X must hold real numbers; got dtype datetime64[D]"),
    ("complex csr", scipy.sparse.csr_array(X + 1j), TypeError, "real numbers; got dtype complex64"),
]


@pytest.mark.parametrize(
    ("bad", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in BAD_X]
)
def test_bad_X(train_without_work, bad, error, message):
    with pytest.raises(error, match=re.escape(message)):
        train_without_work(X=bad)
    if not isinstance(bad, list) and np.ndim(bad) == 2 and np.shape(bad)[1] == 3:
        # The same words from a network that is trained.
        with pytest.raises(error, match=re.escape(message)):
            A_MODEL.predict(bad)


@pytest.mark.parametrize("row", [0, 11, 4095, 4096, 9_999])
@pytest.mark.parametrize("column", [0, 15, 16, 36])
def test_the_first_bad_number_is_found_wherever_it_is(row, column):
    dense = np.zeros((10_000, 37), np.float32)
    dense[row, column] = np.nan
    dense[-1, -1] = np.inf
    with pytest.raises(ValueError, match=f"in row {row}, column {column}$"):
        read_inputs(dense)
    with pytest.raises(ValueError, match=f"in row {row}, column {column}$"):
        read_inputs(scipy.sparse.csr_array(dense))


def test_largest_numbers_of_float32_are_finite():
    largest = np.finfo(np.float32).max
    assert read_inputs(np.array([[largest, -largest, 1e-45]])).n_features == 3


def test_bytes_are_scaled_by_a_power_of_two():
    for largest, scale in [(0, 1), (1, 1), (2, 1 / 2), (3, 1 / 4), (128, 1 / 128), (255, 1 / 256)]:
        array = np.array([[0, largest]], np.uint8)
        assert read_inputs(array, for_training=True).scale == scale
        assert read_inputs(array).scale == 1


@pytest.mark.parametrize("largest", [0, 1, 128, 129, 255])
def test_scale_of_bytes_follows_the_largest(largest: int) -> None:
    """It may be anywhere, the last rows of a large array included."""
    X = np.zeros((1000, 3), dtype=np.uint8)
    X[-1, 1] = largest
    expected = {0: 1.0, 1: 1.0, 128: 2.0**-7, 129: 2.0**-8, 255: 2.0**-8}
    assert read_inputs(X, for_training=True).scale == expected[largest]


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
@pytest.mark.parametrize(
    "convert", [np.asarray, scipy.sparse.csr_array, lambda X: X.astype(np.uint8)]
)
def test_features_that_differ_from_training(method, convert):
    for columns in (2, 4):
        wrong = convert(np.ones((5, columns), np.float32))
        with pytest.raises(
            ValueError, match=f"X has {columns} features, but the network was trained on 3"
        ):
            getattr(A_MODEL, method)(wrong)
    with pytest.raises(ValueError, match="X has 2 features, but the network was trained on 3"):
        A_MODEL.score(convert(np.ones((5, 2))), np.zeros(5, int))


@pytest.mark.parametrize("convert", [np.asarray, scipy.sparse.csr_array, scipy.sparse.csc_array])
def test_nonzeros_are_those_of_the_first_256_samples(convert):
    dense = np.zeros((300, 5), np.float32)
    dense[:256:2, 1:3] = 1
    dense[256:] = 7
    read = read_inputs(convert(dense))
    assert read.nonzeros_a_sample() == 1.0
    assert read.is_sparse == scipy.sparse.issparse(convert(dense))
    assert read_inputs(convert(dense[:4])).nonzeros_a_sample() == 1.0


@pytest.mark.parametrize(
    "convert", [np.asarray, scipy.sparse.csr_array, lambda X: (X * 3).astype(np.uint8)]
)
def test_blocks_are_the_samples_in_order(convert):
    given = convert(np.random.default_rng(3).integers(0, 3, (25, 3)).astype(np.float32))
    inputs = read_inputs(given, for_training=True).as_given()
    assert inputs.scale == 1
    dense = inputs.dense()
    np.testing.assert_array_equal(dense, given.toarray() if inputs.is_sparse else given)
    places = []
    for place, block in inputs.blocks(10):
        places.append((place.start, place.stop))
        np.testing.assert_array_equal(block.dense(), dense[place])
        np.testing.assert_array_equal(
            A_MODEL._run(block, raw=True), A_MODEL._run(inputs, raw=True)[place]
        )
    assert places == [(0, 10), (10, 20), (20, 25)]


def test_what_a_mask_hides_is_no_input() -> None:
    hidden = np.ma.masked_array(np.ones((3, 2)), np.eye(3)[:, :2] == 1)
    for given in (hidden, list(hidden)):
        with pytest.raises(ValueError, match="X must not hide entries behind a mask"):
            read_inputs(given)
    assert read_inputs(np.ma.masked_array(np.ones((3, 2)))).n_samples == 3


def test_misaligned_arrays_are_copied() -> None:
    memory = np.zeros(4 * 12 + 1, np.uint8)
    X = memory[1:].view(np.float32).reshape(4, 3)
    X[...] = np.arange(12).reshape(4, 3)
    assert not X.flags.aligned
    rows = read_inputs(X).rows
    assert isinstance(rows, np.ndarray)
    assert rows.flags.aligned
    np.testing.assert_array_equal(rows, X)


# 5,000 rows are more than are looked at, and wide ones are looked at some at a time.
@pytest.mark.parametrize("shape", [(12, 3), (5_000, 3), (300, 1_000), (3, 200_000)], ids=str)
@pytest.mark.parametrize("form", ["float32", "uint8", "csr"])
def test_moments_are_sums_in_double_precision(form, shape):
    rows = (np.random.default_rng(1).random(shape) * 200).astype(np.float32)
    rows = rows.astype(np.uint8) if form == "uint8" else rows
    found = read_inputs(scipy.sparse.csr_array(rows) if form == "csr" else rows).moments()
    looked_at = rows[:: -(-shape[0] // 4096)].astype(np.float64)
    assert found.n_samples == len(looked_at)
    np.testing.assert_allclose(found.sums, looked_at.sum(axis=0), rtol=1e-12)
    square = np.mean(np.sum(looked_at**2, axis=1))
    assert found.mean_square_norm(centered=False) == pytest.approx(square, rel=1e-12)
    spread = np.mean(np.sum((looked_at - looked_at.mean(axis=0)) ** 2, axis=1))
    assert found.mean_square_norm(centered=True) == pytest.approx(spread, rel=1e-9)
