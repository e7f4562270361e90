"""Check what users pass in, before any work. Errors say what was got and what was expected."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Matrix = Any  # array-like of shape (n_samples, n_features), or a SciPy sparse matrix
FloatArray = npt.NDArray[np.float32]
Option = TypeVar("Option")


def require_scipy(for_what: str, extra: str) -> None:
    """Raise an error that says how to get SciPy, if it is missing."""
    try:
        import scipy.optimize  # noqa: F401
    except ImportError as error:
        raise ImportError(f'{for_what} needs SciPy: pip install "omp_mlp[{extra}]"') from error


def integer(name: str, value: object, minimum: int) -> int:
    """Check that a value is an integer of at least ``minimum``."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer; got {value!r} of type {type(value).__name__}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}; got {value}")
    return int(value)


def real(name: str, value: object, minimum: float, below: float = math.inf) -> float:
    """Check that a value is a number in [minimum, below)."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number; got {value!r} of type {type(value).__name__}")
    number = float(value)
    if not minimum <= number < below:
        upper = "finite" if below == math.inf else f"less than {below:g}"
        raise ValueError(f"{name} must be at least {minimum:g} and {upper}; got {value}")
    return number


def choice(name: str, value: object, options: Iterable[Option]) -> Option:
    """Check that a value is one of the options, and return that option."""
    options = list(options)
    for option in options:
        # The type is asked for too: 0 is not False, and arrays do not compare to a single bool.
        if isinstance(value, type(option)) and value == option:
            return option
    listed = ", ".join(repr(option) for option in options)
    raise ValueError(f"{name} must be one of {listed}; got {value!r}")


def numeric(values: object, name: str) -> npt.NDArray[Any]:
    """Check that values are real numbers, and return them as an array."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers; got dtype {array.dtype}")
    return array


def float32(array: npt.NDArray[Any]) -> FloatArray:
    """Return the array in float32 and C order; without a copy if it is that already."""
    # A number too large for float32 becomes infinite here, and is reported as such afterwards.
    with np.errstate(over="ignore"):
        return np.asarray(array, dtype=np.float32, order="C")


def parameters(values: object, name: str) -> FloatArray:
    """Check that values are real numbers, and return them in float32."""
    return float32(numeric(values, name))
