"""X as the core reads it: the only place that looks into the samples that users pass in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import _core
from omp_mlp.checks import Matrix, float32, numeric


@dataclass(frozen=True)
class Inputs:
    """X as the core reads it: ``scale`` times the values that the user gave."""

    core: _core.Samples
    n_samples: int
    n_features: int
    scale: float


def read_inputs(
    X: Matrix,
    *,
    name: str = "X",
    n_features: int | None = None,
    for_training: bool = False,
    for_replicas: bool = False,
    workers: int = 1,
) -> Inputs:
    """Check X and hand it to the core, without a copy where it already is what the core wants.

    For training, bytes are scaled by a power of two that brings the largest to at most 1; folding
    the scale into the first layer's weights is exact. For replicas, floats that are bytes divided
    by 255 or the like are also kept as bytes, because bytes are quicker to read.
    """
    if hasattr(X, "tocsr"):
        core, shape = _sparse_inputs(X, name)
        scale = 1.0
    else:
        array = numeric(X, name)
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
            core = _core.Samples.dense_float32(X=float32(array))
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
    """Return the largest byte, or 255 once a byte above 128 is found: both give the same scale."""
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
        values=float32(csr.data),
        columns=n_features,
    )
    return core, csr.shape


def _falls(array: npt.NDArray[Any]) -> bool:
    return bool((array[1:] < array[:-1]).any())
