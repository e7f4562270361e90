"""The columns of a dense matrix: statistics and scaled copies of the core, against NumPy."""

import numpy as np
import pytest

from omp_mlp import _core
from omp_mlp.scaling import Scaling, dense_scaling

RNG = np.random.default_rng(2)
NORMAL = RNG.normal(size=(97, 5)) * [1.0, 40.0, 7.0, 0.5, 90.0] + [0.0, 10.0, -50.0, 0.0, 3.0]
NORMAL[::3, 3] = 0.0
DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
LAYOUTS = {
    "C": lambda A: A,
    "Fortran": np.asfortranarray,
    "every other column": lambda A: np.repeat(A, 2, axis=1)[:, ::2],
    "backwards": lambda A: A[::-1, ::-1].copy()[::-1, ::-1],
    "one row again and again": lambda A: np.broadcast_to(A[0], A.shape),
}


def numbers(dtype):
    return np.abs(NORMAL).astype(dtype) if dtype in "?u1u2u4u8" else NORMAL.astype(dtype)


def measure(X, workers=1):
    return _core.measure_columns(X=X, workers=workers)


def squares(X, center, unit, workers=1):
    return _core.mean_squares(X=X, center=center, unit=unit, workers=workers)


def scale(X, offset, unit, workers=1):
    return _core.scale_columns(X=X, offset=offset, scale=unit, workers=workers)


@pytest.mark.covering(2)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows", [1, 31, 32, 97])
def test_all_types_and_layouts_against_numpy(dtype, layout, rows):
    X = LAYOUTS[layout](numbers(dtype)[:rows])
    exact = X.astype(np.float64)
    found = measure(X)
    # A sum of 97 numbers of up to 300, in double.
    np.testing.assert_allclose(found["mean"], exact.mean(axis=0), rtol=1e-13, atol=1e-12)
    np.testing.assert_array_equal(found["smallest"], exact.min(axis=0))
    np.testing.assert_array_equal(found["largest"], exact.max(axis=0))
    np.testing.assert_array_equal(found["zeros"], (exact == 0).sum(axis=0))
    center, unit = found["mean"], np.arange(1.0, 6.0)
    expected = (((exact - center) / unit) ** 2).mean(axis=0)
    np.testing.assert_allclose(squares(X, center, unit), expected, rtol=1e-13)
    np.testing.assert_array_equal(
        scale(X, center, unit), ((exact - center) / unit).astype(np.float32)
    )


@pytest.mark.parametrize("rows", [1, 2, 33, 97])
def test_the_same_bits_for_any_number_of_workers(rows):
    X, unit = NORMAL[:rows], np.full(5, 3.0)
    alone = measure(X), squares(X, NORMAL[0], unit), scale(X, NORMAL[0], unit)
    for workers in (2, 5, 64):
        found = measure(X, workers)
        for name, value in alone[0].items():
            np.testing.assert_array_equal(found[name], value)
        np.testing.assert_array_equal(squares(X, NORMAL[0], unit, workers), alone[1])
        np.testing.assert_array_equal(scale(X, NORMAL[0], unit, workers), alone[2])


def test_a_large_mean_costs_no_digits():
    X = 1.6e9 + 1e-3 * RNG.normal(size=(1000, 2))
    found = measure(X)
    exact = X.astype(np.longdouble)
    assert (np.abs(found["mean"] - exact.mean(axis=0)) <= 2.0**-23).all()  # half a digit of 1.6e9
    of_squares = squares(X, found["mean"], np.ones(2)) ** 0.5
    # NumPy adds up 1.6e12, and its mean is off by some millionths; the difference here is exact.
    np.testing.assert_allclose(of_squares, (X - 1.6e9).std(axis=0), rtol=1e-6)
    equal = np.full((1000, 2), 0.1)
    assert measure(equal)["mean"].tolist() == [0.1, 0.1]  # so that a constant column is told


@pytest.mark.parametrize("divisor", [1, 16, 255, 256])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bytes_that_were_divided_are_told(divisor, dtype):
    levels = RNG.integers(0, 256, size=(40, 30))
    levels[0] = 255
    levels[1] = 1  # of 16 and of 256, some other divisors make bytes, too
    X = levels.astype(dtype) / dtype(divisor)
    # Only halves, quarters, ... are exact for several divisors, and 255 / 16 is no byte by 256.
    assert measure(X)["byte_divisors"] == [divisor]
    for wrong in (-1e-3, 1e-4, 256 / divisor, 1e300):
        other = X.astype(np.float64)
        other[-1, -1] = wrong
        assert divisor not in measure(other)["byte_divisors"]
    assert measure(np.zeros((3, 2)))["byte_divisors"] == [1, 16, 255, 256]


def test_numbers_at_the_ends_of_their_types():
    largest, tiny = 1e308, 5e-324
    X = np.array([[largest, tiny], [-largest, 0.0]])
    found = measure(X)
    np.testing.assert_array_equal(found["largest"], X[0])
    assert found["zeros"].tolist() == [0, 1]  # a number that is not normal is none
    scaled = scale(X, np.zeros(2), np.array([1.0, tiny]))
    np.testing.assert_array_equal(scaled, [[np.inf, 1.0], [-np.inf, 0.0]])
    halves = np.array([[2.0**-140, 1.0]], np.float32)
    assert measure(halves)["mean"].tolist() == [2.0**-140, 1.0]
    assert scale(halves, np.zeros(2), np.ones(2)).tolist() == [[2.0**-140, 1.0]]


@pytest.mark.parametrize(
    "convert",
    [
        lambda A: A.astype(np.float16),
        lambda A: A.astype(np.longdouble),
        lambda A: A.astype(">f8"),
        lambda A: np.frombuffer(b"x" + A.tobytes(), np.uint8)[1:].view(np.float64).reshape(A.shape),
        lambda A: A.astype([("x", "f8"), ("flag", "?")])["x"],  # 9 bytes from number to number
    ],
)
def test_types_and_places_that_the_core_cannot_read_are_copied(convert):
    X = convert(np.rint(NORMAL))
    expected, is_image = dense_scaling(np.rint(NORMAL))
    found, _ = dense_scaling(X)
    assert not is_image
    np.testing.assert_array_equal(found.offset, expected.offset)
    np.testing.assert_array_equal(found.scale, expected.scale)
    np.testing.assert_array_equal(found.apply(X), expected.apply(np.rint(NORMAL)))


def test_what_is_no_matrix_of_numbers_is_refused():
    for X in (np.zeros(3), np.zeros((0, 3)), np.zeros((3, 2), complex), np.zeros((3, 2), ">f8")):
        with pytest.raises(TypeError, match="X must be a matrix of numbers"):
            measure(X)
    with pytest.raises(ValueError, match="there must be 5 numbers; got 4"):
        scale(NORMAL, np.zeros(5), np.ones(4))
    with pytest.raises(ValueError, match="there must be 5 numbers; got 6"):
        Scaling(np.zeros(6), np.ones(6)).apply(NORMAL)
