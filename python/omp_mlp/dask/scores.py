"""Scores of predictions on the workers: sums over each part, which the client puts together."""

from __future__ import annotations

from functools import reduce
from typing import Any

import dask
import numpy as np

from omp_mlp.dask.parts import zipped_blocks

Moments = tuple[float, Any, Any, Any]
"""Of some rows: the sum of the weights; of each output, the weighted mean of the values, the sum of
their squared distances from it, and that of the squared residuals."""


def accuracy(client: Any, classifier: Any, X: Any, y: Any, sample_weight: Any) -> float:  # noqa: ANN401
    """Return the weighted share of rows whose every label is right."""
    parts = _on_parts(client, _right, classifier, X, y, sample_weight)
    return float(np.sum([right for right, _ in parts]) / np.sum([weight for _, weight in parts]))


def r2(client: Any, regressor: Any, X: Any, y: Any, sample_weight: Any) -> float:  # noqa: ANN401
    """Return the weighted R^2, the mean over the outputs."""
    parts = _on_parts(client, _moments, regressor, X, y, sample_weight)
    _, _, total, residual = reduce(together, [part for part in parts if part is not None])
    # A constant output has no variance to explain: 1 if it is met, else 0, as scikit-learn has it.
    constant = total == 0
    explained = np.where(constant, residual == 0, 1 - residual / np.where(constant, 1, total))
    return float(explained.mean())


def together(one: Moments, other: Moments) -> Moments:
    """Return the moments of the rows of both (Chan, Golub and LeVeque, 1979)."""
    weight = one[0] + other[0]
    if weight == 0:
        return one
    apart = other[1] - one[1]
    mean = one[1] + apart * (other[0] / weight)
    squares = one[2] + other[2] + apart**2 * (one[0] * other[0] / weight)
    return weight, mean, squares, one[3] + other[3]


def _on_parts(
    client: Any,  # noqa: ANN401
    score: Any,  # noqa: ANN401
    predictor: Any,  # noqa: ANN401
    X: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    sample_weight: Any,  # noqa: ANN401
) -> list[Any]:
    blocks = zipped_blocks(X=X, y=y, sample_weight=sample_weight)
    n_parts = len(blocks["X"] or ())
    columns = [blocks[name] or [None] * n_parts for name in ("X", "y", "sample_weight")]
    sent = dask.delayed(predictor, pure=False)
    lazy = [dask.delayed(score, pure=False)(sent, *part) for part in zip(*columns, strict=True)]
    found: list[Any] = client.gather(client.compute(lazy))
    return found


def _right(
    classifier: Any,  # noqa: ANN401
    X: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    sample_weight: Any,  # noqa: ANN401
) -> tuple[float, float]:
    if X.shape[0] == 0:
        return 0.0, 0.0
    weight = _weights(sample_weight, X.shape[0])
    total = float(weight.sum())
    share = classifier.score(X, y, weight) if total > 0 else 0.0
    return share * total, total


def _moments(
    regressor: Any,  # noqa: ANN401
    X: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    sample_weight: Any,  # noqa: ANN401
) -> Moments | None:
    if X.shape[0] == 0:
        return None
    weight = _weights(sample_weight, X.shape[0])[:, None]
    total = float(weight.sum())
    values = np.asarray(y, dtype=np.float64).reshape(len(weight), -1)
    answers = np.asarray(regressor.predict(X), dtype=np.float64).reshape(values.shape)
    mean = (weight * values).sum(axis=0) / total if total > 0 else np.zeros(values.shape[1])
    squares = (weight * (values - mean) ** 2).sum(axis=0)
    return total, mean, squares, (weight * (values - answers) ** 2).sum(axis=0)


def _weights(sample_weight: Any, n_rows: int) -> np.ndarray[Any, np.dtype[np.float64]]:  # noqa: ANN401
    if sample_weight is None:
        return np.ones(n_rows)
    return np.asarray(sample_weight, dtype=np.float64)
