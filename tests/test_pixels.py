"""Float inputs that are bytes divided by one number: recognised, and trained on as such."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

import fixed
import omp_mlp
from omp_mlp import _core


def thin_bytes(rows: int, columns: int) -> np.ndarray:
    """Draw bytes, a third of them not zero, every value among them if there are enough."""
    rng = np.random.default_rng(rows)
    X = np.zeros(rows * columns, np.uint8)
    places = rng.permutation(X.size)[: max(1, X.size // 3)]
    X[places] = np.arange(1, len(places) + 1) % 256
    return X.reshape(rows, columns)


def is_kept(X: np.ndarray) -> bool:
    kept: bool = _core.Samples.dense_float32(X=X).keep_pixels(workers=1)
    return kept


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 16), (50, 33), (20, 784)], ids=str)
@pytest.mark.parametrize("divisor", [1, 16, 255, 256])
def test_every_byte_is_recognised(divisor: int, shape: tuple[int, int]) -> None:
    X = thin_bytes(*shape) / np.float32(divisor)
    if X.size == 1:
        X[:] = 0  # one entry that is not zero is a dense matrix
    assert X.dtype == np.float32
    assert is_kept(X)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    "entry",
    [np.nan, np.inf, -np.inf, -1 / 255, 256 / 255, 0.5, 1e30, -1e30, 2.0**31 / 255, 1e-30],
    ids=str,
)
@pytest.mark.parametrize("place", [(0, 0), (1, 7), (199, 36), (100, 20)], ids=str)
def test_one_other_entry_is_enough(entry: float, place: tuple[int, int]) -> None:
    X = thin_bytes(200, 37) / np.float32(255)
    X[place] = entry
    assert not is_kept(X)


@pytest.mark.usefixtures("kernels")
def test_the_last_bit_counts() -> None:
    X = thin_bytes(200, 37) / np.float32(255)
    i, j = np.argwhere(X > 0.3)[5]
    X[i, j] = np.nextafter(X[i, j], np.float32(1))
    assert not is_kept(X)


def test_what_is_read_otherwise_is_not_kept() -> None:
    dense = np.full((40, 9), 3, np.float32)
    assert not is_kept(dense)
    assert not _core.Samples.dense_uint8(X=thin_bytes(40, 9), scale=1.0).keep_pixels(workers=1)
    csr = sparse.csr_matrix(thin_bytes(40, 9).astype(np.float32))
    samples = _core.Samples.csr(
        starts=csr.indptr.astype(np.int64), indices=csr.indices, values=csr.data, rows=40, columns=9
    )
    assert not samples.keep_pixels(workers=1)


def test_the_first_divisor_that_fits_all_rows_is_taken() -> None:
    X = thin_bytes(200, 37) % 2 / np.float32(1)  # 0 and 1 are bytes divided by 255 and by 1
    X[1, 4] = 7.0  # in a row that is not looked at first
    assert is_kept(X)


def divisors_of(X: np.ndarray, **changed: float) -> list[float]:
    known: Any = {"entries": X.size, "density": 0.5, **changed}
    return _core.Samples.dense_float32(X=X).pixel_divisors(workers=1, **known)


@pytest.mark.usefixtures("kernels")
def test_processes_learn_which_divisors_fit_their_rows() -> None:
    ones = thin_bytes(200, 37) % 2 / np.float32(1)
    assert divisors_of(ones) == [255, 1, 16]  # 256 / 256 is no byte any more
    assert divisors_of(ones / np.float32(16)) == [256, 16]
    assert divisors_of(thin_bytes(200, 37) / np.float32(255)) == [255]
    ones[199, 36] = 0.3
    assert divisors_of(ones) == []
    none = np.empty((0, 37), np.float32)
    assert divisors_of(none, entries=400) == [255, 1, 256, 16]
    assert _core.Samples.dense_float32(X=none).keep_pixels(workers=1, divisor=16)
    # What counts is what all processes have.
    thin = thin_bytes(200, 37) / np.float32(255)
    assert divisors_of(thin, density=0.8) == []
    assert divisors_of(thin, entries=56 * 2**20) == [255]
    assert divisors_of(thin, entries=56 * 2**20 + 1) == []
    dense = np.full((40, 9), 3, np.float32)
    assert divisors_of(dense) == [1, 16]
    assert not is_kept(dense)
    assert _core.Samples.dense_float32(X=dense).keep_pixels(workers=1, divisor=1)
    assert not _core.Samples.dense_float32(X=dense).keep_pixels(workers=1, divisor=16.5)


# Larger inputs need smaller steps.
RATES = {1: 1e-6, 16: 2e-4, 255: 0.05, 256: 0.05}


def train(X: np.ndarray, *, divisor: int = 255, **options: Any) -> omp_mlp.Model:
    y = np.arange(len(X)) % 3
    rate = RATES[divisor]
    return fixed.train_parallel(X, y, 2, epochs=2, seed=7, learning_rate=rate, **options)


@pytest.mark.usefixtures("kernels")
@pytest.mark.filterwarnings("ignore:after the first round:omp_mlp.SettingsWarning")
@pytest.mark.parametrize("divisor", [1, 16, 255, 256])
@pytest.mark.parametrize("batch_size", [1, 8, 32])
def test_training_is_that_on_the_floats(
    batch_size: int, divisor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bits for batches that are read alone; small ones need products of samples besides.

    Those are sums of integers for bytes and of floats else: equal up to the rounding of float32.
    """
    X = thin_bytes(230, 70) / np.float32(divisor)
    kept = train(X, divisor=divisor, batch_size=batch_size)
    with monkeypatch.context() as patch:
        patch.setattr(_core.Samples, "keep_pixels", lambda *_args, **_more: False)
        floats = train(X, divisor=divisor, batch_size=batch_size)
    for a, b in zip([*kept.weights, *kept.biases], [*floats.weights, *floats.biases], strict=True):
        if batch_size == 32:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * max(1, np.abs(b).max()))


def test_an_entry_that_is_not_finite_is_still_named() -> None:
    X = thin_bytes(60, 37) / np.float32(255)
    X[41, 5] = np.nan
    with pytest.raises(
        ValueError, match="X must be finite in float32; got NaN in row 41, column 5"
    ):
        train(X)


def test_any_number_of_workers_gives_the_same_bits() -> None:
    X = thin_bytes(400, 21) / np.float32(255)
    one, two = (train(X, workers=workers) for workers in (1, 2))
    for a, b in zip(one.weights, two.weights, strict=True):
        np.testing.assert_array_equal(a, b)
