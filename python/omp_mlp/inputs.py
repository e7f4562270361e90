"""X as the core reads it: the only place that looks into the samples that users pass in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omp_mlp import _core
from omp_mlp.checks import Matrix, float32, numeric
from omp_mlp.sparse import Csr, is_sparse, read_csr


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
    scale = 1.0
    csr: Csr | None = None
    if is_sparse(X):
        csr = read_csr(X, name)
        shape = csr.shape
        core = _core.Samples.csr(
            starts=csr.starts,
            indices=csr.indices,
            values=csr.values,
            rows=shape[0],
            columns=shape[1],
        )
    else:
        array = numeric(X, name)
        if array.ndim != 2:
            raise ValueError(
                f"{name} must have shape (n_samples, n_features); got {array.ndim} dimension(s), "
                f"shape {array.shape}"
            )
        shape = array.shape
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
        value = np.asarray(X)[row, column] if csr is None else csr.value(row, column)
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
