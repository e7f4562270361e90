"""Predictions for Dask arrays and dataframes: lazily, on the workers, a partition at a time."""

from __future__ import annotations

from typing import Any

import dask
import numpy as np

from omp_mlp.dask.parts import is_array, is_dask_frame


def mapped(predictor: Any, method: str, X: Any) -> Any:  # noqa: ANN401
    """Return a method's answers for the rows of X, to be computed.

    Parameters
    ----------
    predictor
        With methods as those of a model or an estimator.
    method : str
        Such as "predict".
    X : Dask array or dataframe
        What is not of Dask is answered at once.

    Returns
    -------
    Dask array, Series or DataFrame
        Of an array, an array with the same blocks of rows. Of a dataframe, a Series or a dataframe
        with the same index.
    """
    if not dask.is_dask_collection(X):
        return getattr(predictor, method)(X)
    if not (is_array(X) or is_dask_frame(X)):
        raise TypeError(f"X must be a Dask array or a Dask dataframe; got a {type(X).__name__}")
    if is_array(X) and X.ndim != 2:
        raise ValueError(f"X must have shape (n_samples, n_features); got shape {X.shape}")
    sample = _sample_of(X)
    example = np.asarray(getattr(predictor, method)(sample))
    labels = getattr(predictor, "classes_", getattr(predictor, "classes", None))
    names = None
    if example.ndim == 2 and labels is not None and len(labels) == example.shape[1]:
        names = labels.tolist()
    if is_array(X):
        if X.numblocks[1] > 1:
            X = X.rechunk({1: -1})
        # One copy of the network goes to a worker, not one a partition.
        sent = dask.delayed(predictor, pure=False)
        shape: dict[str, Any] = {"drop_axis": 1}
        if example.ndim == 2:
            shape = {"chunks": (X.chunks[0], (example.shape[1],))}
        return X.map_blocks(
            _answers, predictor=sent, method=method, dtype=example.dtype,
            meta=np.empty((0,) * example.ndim, example.dtype), **shape,
        )  # fmt: skip
    return X.map_partitions(  # whose older versions hand a Delayed over as it is
        _answers,
        predictor=predictor,
        method=method,
        names=names,
        meta=_like(X._meta, example[:0], names),
    )


def _sample_of(X: Any) -> Any:  # noqa: ANN401
    """Return a row of zeros of the kind of X."""
    if is_array(X):
        return np.zeros((1, X.shape[1]), X.dtype if X.dtype.kind in "biuf" else np.float32)
    import pandas as pd

    return pd.DataFrame({name: [0.0] for name in X.columns})


def _answers(
    block: Any,  # noqa: ANN401
    predictor: Any,  # noqa: ANN401
    method: str,
    names: list[Any] | None = None,
) -> Any:  # noqa: ANN401
    answer, is_frame = getattr(predictor, method), hasattr(block, "columns")
    if block.shape[0] == 0:  # which a network refuses
        zeros = np.zeros((1, block.shape[1]), np.float32)
        answers = answer(type(block)(zeros, columns=block.columns) if is_frame else zeros)[:0]
    else:
        answers = answer(block)
    return _like(block, answers, names) if is_frame else answers


def _like(frame: Any, answers: Any, names: list[Any] | None) -> Any:  # noqa: ANN401
    """Return answers as a Series or a dataframe with the index of a frame."""
    import pandas as pd

    if answers.ndim == 1:
        return pd.Series(answers, index=frame.index)
    return pd.DataFrame(answers, index=frame.index, columns=names)
