"""Sparse X whose arrays do not fit each other: an error, before anything follows them."""

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import fixed
import omp_mlp
from omp_mlp import _core
from omp_mlp.losses import LossKind
from omp_mlp.sparse import read_csr

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = np.arange(12) % 3
MODEL = fixed.train_parallel(X, Y, 1, epochs=0, hidden_layer_sizes=(4,))


def changed(kind: str, **parts: Callable[[Any], Any]) -> Any:
    """Return X in that format, with some of its arrays replaced behind SciPy's back."""
    matrix = scipy.sparse.coo_array(X).asformat(kind)
    for name, change in parts.items():
        setattr(matrix, name, change(getattr(matrix, name).copy()))
    return matrix


def dok_with(place: tuple[int, int]) -> Any:
    matrix = scipy.sparse.dok_array(X)
    matrix._dict[place] = 1.0
    return matrix


def put(place: int, value: int) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array[place] = value
        return array

    return change


BAD = {
    "more starts than rows": (
        changed("csr", indptr=lambda starts: np.r_[starts, [36] * 5000]),
        "X must have an indptr of 13 entries, one more than its 12 rows; got 5013",
    ),
    "fewer starts than rows": (
        changed("csr", indptr=lambda starts: starts[:9]),
        "X must have an indptr of 13 entries, one more than its 12 rows; got 9",
    ),
    "no starts": (
        changed("csr", indptr=lambda starts: starts[:0]),
        "X must have an indptr of 13 entries, one more than its 12 rows; got 0",
    ),
    "starts in two dimensions": (
        changed("csr", indptr=lambda starts: starts[:, None]),
        "X must have an indptr of 13 entries, one more than its 12 rows; got 13 x 1",
    ),
    "more indices than data": (
        changed("csr", indices=lambda indices: np.r_[indices, 0]),
        "X must have as many column indices as it has data; got 37 column indices and 36 entries",
    ),
    "fewer indices than data": (
        changed("csr", indices=lambda indices: indices[:30]),
        "X must have as many column indices as it has data; got 30 column indices and 36 entries",
    ),
    "less data than starts": (
        changed("csr", indices=lambda indices: indices[:30], data=lambda data: data[:30]),
        "X has row starts (indptr) that do not ascend from 0 within its data",
    ),
    "a column too many": (changed("csr", indices=put(4, 3)), "X has column indices outside 0..2"),
    "a negative column": (changed("csr", indices=put(4, -1)), "X has column indices outside 0..2"),
    "starts that fall": (changed("csr", indptr=put(4, 35)), "X has row starts (indptr) that do"),
    "starts from 3": (changed("csr", indptr=put(0, 3)), "X has row starts (indptr) that do"),
    "an end beyond the data": (
        changed("csr", indptr=put(12, 37)),
        "X has row starts (indptr) that do",
    ),
    "a negative start": (changed("csr", indptr=put(5, -1)), "X has row starts (indptr) that do"),
    "coo with a row too many": (changed("coo", row=put(7, 12)), "X has row indices outside 0..11"),
    "coo with a negative row": (changed("coo", row=put(7, -1)), "X has row indices outside 0..11"),
    "coo with a column too many": (changed("coo", col=put(7, 3)), "X has column indices outside"),
    "coo with less data": (
        changed("coo", data=lambda data: data[:20]),
        "X must have as many row indices as it has data; got 36 row indices and 20 entries of data",
    ),
    "csc with a row too many": (
        changed("csc", indices=put(7, 12)),
        "X has row indices outside 0..11",
    ),
    "csc with more starts than columns": (
        changed("csc", indptr=lambda starts: np.r_[starts, 36]),
        "X must have an indptr of 4 entries, one more than its 3 columns; got 5",
    ),
    "bsr with a column too many": (
        changed("bsr", indices=put(0, 3)),
        "X has column indices outside",
    ),
    "bsr with more starts than rows": (
        changed("bsr", indptr=lambda starts: np.r_[starts, starts[-1]]),
        "entries, one more than its",
    ),
    "dia with more offsets than data": (
        changed("dia", offsets=lambda offsets: np.r_[offsets, 1]),
        "X must have as many offsets as it has data; got 15 offsets and 14 entries of data",
    ),
    "dok with a row too many": (
        dok_with((12, 0)),
        "X is no sound sparse matrix: axis 0 index 12 exceeds matrix dimension 12",
    ),
    "a matrix of another shape": (
        SimpleNamespace(shape="ab", tocsr=None),
        "X must have shape (n_samples, n_features); got ab",
    ),
    "a matrix without a shape": (
        SimpleNamespace(tocsr=None),
        "X must have shape (n_samples, n_features); got None",
    ),
    "a matrix with a shape of floats": (
        SimpleNamespace(shape=(12.0, 3.0), tocsr=None),
        "X must have shape (n_samples, n_features); got (12.0, 3.0)",
    ),
    "a matrix that cannot be converted": (
        SimpleNamespace(shape=(12, 3), tocsr=lambda: 1 / 0),
        "X is no sound sparse matrix: division by zero",
    ),
    "lil with fewer rows": (
        changed("lil", rows=lambda rows: rows[:5]),
        "X must have one list of column indices for each of its 12 rows; got 5",
    ),
    "lil with lists of different lengths": (
        changed("lil", data=put(3, [1.0])),
        "X must have as many column indices in a row as it has data; got 3",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_arrays_that_do_not_fit_each_other(name: str) -> None:
    bad, message = BAD[name]
    calls = {
        "train": lambda: fixed.train_parallel(bad, Y, 2),
        "strategy": lambda: fixed.train_parallel(bad, Y, 2, strategy="synchronous"),
        "predict": lambda: MODEL.predict(bad),
        "score": lambda: MODEL.score(bad, Y),
        "refit": lambda: omp_mlp.merge([MODEL, MODEL], "refit_output", X=bad, y=Y),
    }
    for call in calls.values():
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    named = re.escape(message.replace("X", "validation_data[0]", 1))
    with pytest.raises(ValueError, match=named):
        fixed.train_parallel(X, Y, 2, validation_data=(bad, Y))


def test_indices_that_are_no_integers() -> None:
    with pytest.raises(TypeError, match=r"integers for its row starts \(indptr\); got dtype float"):
        read_csr(changed("csr", indptr=lambda starts: starts.astype(np.float64)), "X")
    with pytest.raises(TypeError, match="integers for its column indices; got dtype float64"):
        read_csr(changed("csr", indices=lambda indices: indices.astype(np.float64)), "X")


class Foreign:
    """A sparse matrix of somebody else's."""

    def __init__(self, csr: Any, shape: tuple[int, ...] = (12, 3)) -> None:
        self.shape = shape
        self._csr = csr

    def tocsr(self) -> Any:
        return self._csr


def test_what_tocsr_returns_is_looked_at() -> None:
    good = scipy.sparse.csr_array(X)
    np.testing.assert_array_equal(MODEL.predict(Foreign(good)), MODEL.predict(X))
    bad, message = BAD["more starts than rows"]
    with pytest.raises(ValueError, match=re.escape(message)):
        fixed.train_parallel(Foreign(bad), Y, 2)
    with pytest.raises(ValueError, match=r"X\.tocsr\(\) must have the shape \(13, 3\) of X"):
        fixed.train_parallel(Foreign(good, (13, 3)), Y, 2)
    with pytest.raises(TypeError, match="got SimpleNamespace without indptr, indices, data"):
        fixed.train_parallel(Foreign(SimpleNamespace(shape=(12, 3))), Y, 2)


def test_room_behind_the_data_is_not_looked_at() -> None:
    """SciPy lets the arrays be longer than what the starts say."""
    csr = changed(
        "csr",
        indices=lambda indices: np.r_[indices, 999],
        data=lambda data: np.r_[data, np.float32(np.nan)],
    )
    np.testing.assert_array_equal(MODEL.decision_function(csr), MODEL.decision_function(X))


def test_order_within_rows_is_looked_at_not_remembered() -> None:
    csr = scipy.sparse.csr_array(X)
    assert csr.has_canonical_format  # SciPy remembers
    csr.indices[:3] = [2, 0, 0]
    csr.data[:3] = [1.0, 2.0, 3.0]
    read = read_csr(csr, "X")
    np.testing.assert_array_equal(read.starts[:3], [0, 2, 5])
    np.testing.assert_array_equal(read.indices[:5], [0, 2, 0, 1, 2])
    np.testing.assert_array_equal(read.values[:2], [5.0, 1.0])
    np.testing.assert_array_equal(csr.indices[:3], [2, 0, 0])  # as it was


def test_rows_without_entries() -> None:
    dense = np.zeros((6, 4), np.float32)
    dense[[1, 1, 4], [0, 3, 2]] = [1, 2, 3]
    read = read_csr(scipy.sparse.csr_array(dense), "X")
    np.testing.assert_array_equal(read.starts, [0, 0, 2, 2, 2, 3, 3])
    np.testing.assert_array_equal(read.indices, [0, 3, 2])
    empty = read_csr(scipy.sparse.csr_array((6, 4), dtype=np.float32), "X")
    np.testing.assert_array_equal(empty.starts, np.zeros(7))


@pytest.mark.parametrize("rows", [11, 13])
def test_the_core_counts_the_starts_too(rows: int) -> None:
    csr = scipy.sparse.csr_array(X)
    with pytest.raises(ValueError, match=f"CSR of {rows} rows must have {rows + 1} starts"):
        _core.Samples.csr(
            starts=csr.indptr.astype(np.int64),
            indices=csr.indices.astype(np.int32),
            values=csr.data,
            rows=rows,
            columns=3,
        )


def test_indices_that_change_meanwhile_reach_no_other_memory() -> None:
    csr = scipy.sparse.csr_array(X)
    read = read_csr(csr, "X")
    for ours, theirs in ((read.indices, csr.indices), (read.starts, csr.indptr)):
        assert not np.shares_memory(ours, theirs)
    assert np.shares_memory(read.values, csr.data)  # which are numbers and nothing else


def test_classes_beyond_the_outputs_are_refused_by_the_core() -> None:
    targets = _core.Targets(
        classes=np.full(12, 3, np.int32),
        values=None,
        weights=None,
        loss=LossKind("cross_entropy").core(),
    )
    with pytest.raises(ValueError, match="classes must be from 0 to 2"):
        MODEL._network.gradient(
            samples=_core.Samples.dense_float32(X=X), targets=targets, first_layer="dense"
        )


@pytest.mark.parametrize("sizes", [[32, 376464164769582672], [2**62, 2**62], [2**31, 2**31, 2]])
def test_sizes_whose_product_wraps_around(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"a network must have at most .* GB of parameters; got"):
        _core.Network(layer_sizes=sizes, activation="relu", output="softmax", parameters=None)


def test_memory_that_is_not_there() -> None:
    with pytest.raises(
        MemoryError, match=r"2 network.s. of layers .3, 1000000, 1000000, 3. have 8e"
    ):
        fixed.train_parallel(X, Y, 2, epochs=1, hidden_layer_sizes=(10**6, 10**6))
