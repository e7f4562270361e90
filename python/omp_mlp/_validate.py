"""Checks of what users pass in: before any work, saying what was got and what was expected."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from omp_mlp import _core

Matrix = Any  # array-like of shape (n_samples, n_features), or a SciPy sparse matrix
FloatArray = npt.NDArray[np.float32]
Option = TypeVar("Option")


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


@dataclass(frozen=True)
class Inputs:
    """X as the core reads it: ``scale`` times the values that the user gave."""

    core: _core.Samples
    n_samples: int
    n_features: int
    scale: float


def inputs(
    X: Matrix,
    *,
    name: str = "X",
    n_features: int | None = None,
    for_training: bool = False,
    for_replicas: bool = False,
    workers: int = 1,
) -> Inputs:
    """Check X and hand it to the core, without a copy where it already is what the core wants.

    Bytes are scaled by a power of two for training, so that the largest is at most 1; folding that
    into the first layer's weights is exact. For replicas, floats that are bytes divided by 255 or
    the like are kept as bytes besides, which are quicker to read.
    """
    if hasattr(X, "tocsr"):
        core, shape = _sparse_inputs(X, name)
        scale = 1.0
    else:
        array = _numeric(X, name)
        if array.ndim != 2:
            raise ValueError(
                f"{name} must have shape (n_samples, n_features); got {array.ndim} dimension(s), "
                f"shape {array.shape}"
            )
        shape = array.shape
        scale = 1.0
        if array.dtype == np.uint8:
            array = np.ascontiguousarray(array)
            if for_training and array.size:
                scale = 0.5 ** math.ceil(math.log2(max(_largest_byte(array), 1)))
            core = _core.Samples.dense_uint8(X=array, scale=scale)
        else:
            core = _core.Samples.dense_float32(X=_float32(array))
    if 0 in shape:
        raise ValueError(
            f"{name} must have at least one sample and one feature; got shape {tuple(shape)}"
        )
    if n_features is not None and shape[1] != n_features:
        raise ValueError(
            f"{name} has {shape[1]} features, but the network was trained on {n_features}"
        )
    if for_replicas and core.keep_pixels(workers=workers):
        return Inputs(core, shape[0], shape[1], scale)
    nonfinite = core.first_nonfinite(workers=workers)
    if nonfinite is not None:
        row, column = nonfinite
        # Not every sparse format can be asked for an entry.
        value = (X.tocsr() if hasattr(X, "tocsr") else np.asarray(X))[row, column]
        raise ValueError(
            f"{name} must be finite in float32; got {value} in row {row}, column {column}"
        )
    return Inputs(core, shape[0], shape[1], scale)


def _largest_byte(array: npt.NDArray[np.uint8]) -> int:
    """Return the largest, or 255 as soon as one is above 128: both are at most 2^8."""
    largest = 0
    for begin in range(0, len(array), 256):
        largest = max(largest, int(array[begin : begin + 256].max()))
        if largest > 128:
            return 255
    return largest


def _sparse_inputs(X: Matrix, name: str) -> tuple[_core.Samples, tuple[int, int]]:
    if X.ndim != 2:
        raise ValueError(f"{name} must have shape (n_samples, n_features); got {X.shape}")
    if X.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers; got dtype {X.dtype}")
    csr = X.tocsr()
    n_features = csr.shape[1]
    if n_features > np.iinfo(np.int32).max:
        raise ValueError(f"{name} must have fewer than 2^31 features; got {n_features}")
    # SciPy looks at all of these only when it is asked to, and memory is read where they point.
    starts = csr.indptr
    if starts[0] != 0 or starts[-1] > min(csr.indices.size, csr.data.size) or _falls(starts):
        raise ValueError(
            f"{name} has row starts (indptr) that do not ascend from 0 within its data"
        )
    if csr.indices.size and not 0 <= csr.indices.min() <= csr.indices.max() < n_features:
        raise ValueError(f"{name} has column indices outside 0..{n_features - 1}")
    if not csr.has_canonical_format:  # the core wants the indices of a row in ascending order
        csr = csr.copy()
        csr.sum_duplicates()
    core = _core.Samples.csr(
        starts=np.ascontiguousarray(csr.indptr, dtype=np.int64),
        indices=np.ascontiguousarray(csr.indices, dtype=np.int32),
        values=_float32(csr.data),
        columns=n_features,
    )
    return core, csr.shape


def _falls(array: npt.NDArray[Any]) -> bool:
    return bool((array[1:] < array[:-1]).any())


def _numeric(values: object, name: str) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers; got dtype {array.dtype}")
    return array


def _float32(array: npt.NDArray[Any]) -> FloatArray:
    # A number too large for float32 becomes infinite here, and is reported as such afterwards.
    with np.errstate(over="ignore"):
        return np.asarray(array, dtype=np.float32, order="C")


@dataclass(frozen=True)
class Targets:
    """Y as the core reads it: class indices with their labels, or values."""

    labels: npt.NDArray[Any] | None  # what class index k stands for
    indices: npt.NDArray[np.int32] | None
    values: FloatArray | None  # (n_samples, n_outputs)

    @property
    def n_outputs(self) -> int:
        if self.labels is not None:
            return len(self.labels)
        assert self.values is not None
        return int(self.values.shape[1])


def targets(
    y: object,
    n_samples: int,
    *,
    name: str = "y",
    like: tuple[npt.NDArray[Any] | None, int] | None = None,
) -> Targets:
    """Check y and turn labels into class indices.

    ``like``: the labels (None for regression) and number of outputs that y has to go with; without
    it, they are learned from y.
    """
    array = _text_if_objects(np.asarray(y), name)
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} must have one or two dimensions; got shape {array.shape}")
    if len(array) != n_samples:
        raise ValueError(
            f"{name} must have one entry for each of the {n_samples} samples in X; got {len(array)}"
        )
    if array.dtype.kind not in "biufUS":
        raise TypeError(
            f"{name} must hold integers, strings, booleans or floats; got dtype {array.dtype}"
        )
    is_regression = array.dtype.kind == "f" if like is None else like[0] is None
    if is_regression:
        return _value_targets(array, name, None if like is None else like[1])
    return _class_targets(array, name, None if like is None else like[0])


def _text_if_objects(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Read an object array of strings, as pandas has them, as one of strings."""
    if array.dtype.kind != "O":
        return array
    strangers = {type(entry).__name__ for entry in array.flat if not isinstance(entry, str)}
    if strangers:
        raise TypeError(
            f"{name} of dtype object must hold strings only; got entries of type "
            + ", ".join(sorted(strangers))
        )
    return array.astype(np.str_)


def _value_targets(array: npt.NDArray[Any], name: str, n_outputs: int | None) -> Targets:
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers for a regression; got dtype {array.dtype}")
    values = _float32(array.reshape(len(array), -1))
    if values.shape[1] == 0 or (n_outputs is not None and values.shape[1] != n_outputs):
        raise ValueError(
            f"{name} must have {n_outputs or 'at least one'} column(s); got shape {array.shape}"
        )
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{name} must be finite in float32; got {array.reshape(len(array), -1)[row, column]} "
            f"in row {row}, column {column}"
        )
    return Targets(None, None, values)


def _class_targets(array: npt.NDArray[Any], name: str, labels: npt.NDArray[Any] | None) -> Targets:
    if array.ndim != 1:
        raise ValueError(
            f"{name} must have one dimension for a classification; got shape {array.shape}"
        )
    if labels is None:
        labels, indices = _small_integers(array) or np.unique(array, return_inverse=True)
        return Targets(labels, indices.astype(np.int32), None)
    if _text_kind(array) != _text_kind(labels):
        raise TypeError(
            f"{name} must hold labels like those of the training, of dtype {labels.dtype}; "
            f"got dtype {array.dtype}"
        )
    indices = np.searchsorted(labels, array).clip(max=len(labels) - 1)
    unseen = np.unique(array[labels[indices] != array])
    if len(unseen):
        shown = ", ".join(repr(label) for label in unseen[:5].tolist())
        raise ValueError(
            f"{name} has labels that the training did not have: {shown}"
            f"{', ...' if len(unseen) > 5 else ''}; expected some of {labels.tolist()}"
        )
    return Targets(labels, indices.astype(np.int32), None)


def _small_integers(array: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    """Return what np.unique does for integers from a small range, but without sorting."""
    if array.dtype.kind not in "iu" or not len(array):
        return None
    smallest, largest = int(array.min()), int(array.max())
    if largest - smallest >= len(array) or max(-smallest, largest) >= 2**62:
        return None
    offsets = array.astype(np.int64) - smallest
    present = np.zeros(largest - smallest + 1, dtype=bool)
    present[offsets] = True
    labels = (np.flatnonzero(present) + smallest).astype(array.dtype)
    return labels, (np.cumsum(present) - 1)[offsets]


def parameters(values: object, name: str) -> FloatArray:
    """Check that values are real numbers, and return them in float32."""
    return _float32(_numeric(values, name))


def _text_kind(labels: npt.NDArray[Any]) -> str:
    """Tell strings, bytes and all else apart: they are never equal, and NumPy may refuse to ask."""
    return labels.dtype.kind if labels.dtype.kind in "US" else ""


def same_labels(one: npt.NDArray[Any] | None, other: npt.NDArray[Any] | None) -> bool:
    """Tell whether two networks have the same classes."""
    if one is None or other is None:
        return one is other
    return _text_kind(one) == _text_kind(other) and np.array_equal(one, other)


def class_labels(classes: object, n_outputs: int) -> npt.NDArray[Any]:
    """Check the labels of a network's outputs, and return a copy of them."""
    labels = _text_if_objects(np.array(classes), "classes")
    if labels.dtype.kind not in "biufUS":
        raise TypeError(
            f"classes must be integers, strings, booleans or floats; got dtype {labels.dtype}"
        )
    if labels.shape != (n_outputs,) or not np.array_equal(labels, np.unique(labels)):
        raise ValueError(
            f"classes must be {n_outputs} different labels in ascending order, one for each "
            f"output; got {labels.tolist()}"
        )
    return labels


def sample_weight(weight: object, n_samples: int) -> FloatArray | None:
    """Check the weights of the samples: one each, finite, not negative."""
    if weight is None:
        return None
    array = _float32(_numeric(weight, "sample_weight"))
    if array.shape != (n_samples,):
        raise ValueError(f"sample_weight must have shape ({n_samples},); got {array.shape}")
    bad = np.flatnonzero(~((array >= 0) & (array < np.inf)))
    if len(bad):
        raise ValueError(
            f"sample_weight must be finite and not negative; got {array[bad[0]]} "
            f"for sample {bad[0]}"
        )
    return array
