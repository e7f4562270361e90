"""Checks of one value: what was got, and what was expected."""

import re
from fractions import Fraction

import numpy as np
import pytest

from omp_mlp import checks


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_integers_are_pythons_own_afterwards(value):
    assert checks.integer("n", value, 3) == 3
    assert type(checks.integer("n", value, 3)) is int


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (2, ValueError, "n must be at least 3; got 2"),
        (3.0, TypeError, "n must be an integer; got 3.0 of type float"),
        (True, TypeError, "n must be an integer; got True of type bool"),
        ("3", TypeError, "n must be an integer; got '3' of type str"),
        (np.array([3]), TypeError, "n must be an integer; got array([3]) of type ndarray"),
    ],
)
def test_other_integers(value, error, message):
    with pytest.raises(error, match=re.escape(message)):
        checks.integer("n", value, 3)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float16(0.5)])
def test_numbers_are_pythons_own_afterwards(value):
    assert type(checks.real("r", value, 0.5, below=1.0)) is float


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-1, ValueError, "r must be at least 0 and less than 2; got -1"),
        (2.0, ValueError, "r must be at least 0 and less than 2; got 2.0"),
        (np.nan, ValueError, "r must be at least 0 and less than 2; got nan"),
        (np.True_, TypeError, "r must be a number; got"),
        (1j, TypeError, "r must be a number; got 1j of type complex"),
    ],
)
def test_other_numbers(value, error, message):
    with pytest.raises(error, match=re.escape(message)):
        checks.real("r", value, 0.0, below=2.0)
    for value in (np.inf, 10**400, Fraction(10**400, 3)):  # beyond all floats
        with pytest.raises(ValueError, match="r must be at least 0 and finite; got "):
            checks.real("r", value, 0.0)


def test_subnormal_numbers_are_zeros():
    for value in (1e-320, -5e-324, np.float64(2e-308)):
        assert checks.real("r", value, 0.0) == 0.0
    assert checks.real("r", 2.3e-308, 0.0) == 2.3e-308
    assert checks.real("r", np.float32(1e-45), 0.0) > 0  # which is normal as a double


@pytest.mark.parametrize(
    ("value", "entries"),
    [((1, 2), [1, 2]), (np.array([1, 2]), [1, 2]), (range(2), [0, 1]), (iter([3]), [3]), ([], [])],
)
def test_sequences(value, entries):
    assert checks.sequence("s", value, "numbers") == entries


@pytest.mark.parametrize(
    "value",
    [None, 1, "ab", b"ab", bytearray(2), memoryview(b"a"), {1}, {1: 2}, np.array(3), int, object()],
)
def test_what_has_no_order_or_is_one_value_is_no_sequence(value):
    with pytest.raises(TypeError, match="s must be a sequence of numbers; got "):
        checks.sequence("s", value, "numbers")


@pytest.mark.parametrize(
    "value", ["x" * 10**6, 10**5000, [0] * 10**5], ids=["text", "digits", "list"]
)
def test_messages_stay_short(value):
    assert len(checks.shown(value)) < 250
    for check in (
        lambda: checks.choice("c", value, ("a",)),
        lambda: checks.integer("c", value, 0, 9),
        lambda: checks.real("c", value, 0.0, 9.0),
    ):
        with pytest.raises((TypeError, ValueError), match=r"^c must be ") as caught:
            check()
        assert len(str(caught.value)) < 400


def test_a_choice_is_of_the_type_that_it_has():
    assert checks.choice("c", "a", ("a", None, False)) == "a"
    assert type(checks.choice("c", np.str_("a"), ("a",))) is str
    assert checks.choice("c", None, ("a", None)) is None
    assert checks.choice("c", np.False_, ("a", False)) is False
    for value in (0, np.array(["a"]), "b", ["a"]):
        with pytest.raises(ValueError, match=r"c must be one of 'a', None, False; got "):
            checks.choice("c", value, ("a", None, False))


def test_arrays_are_taken_as_they_are_where_they_are_float32_already():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert checks.float32(array) is array
    assert checks.float32(array.T).flags.c_contiguous
    assert np.isinf(checks.float32(np.array([1e39]))).all()  # reported where it matters
    with pytest.raises(TypeError, match="w must hold real numbers; got dtype <U1"):
        checks.parameters(["a"], "w")
