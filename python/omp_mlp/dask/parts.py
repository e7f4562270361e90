"""X, y and weights of Dask as parts: blocks of rows, zipped, and the worker that holds each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import dask
import dask.array
import distributed
import numpy as np

from omp_mlp.frames import is_frame, is_series
from omp_mlp.sparse import is_sparse


def is_array(collection: object) -> bool:
    """Tell whether this is a Dask array."""
    return isinstance(collection, dask.array.Array)


def is_dask_frame(collection: object) -> bool:
    """Tell whether this is a Dask dataframe or one of its columns."""
    return (
        not is_array(collection)
        and dask.is_dask_collection(collection)
        and hasattr(collection, "divisions")
    )


def row_blocks(collection: Any, name: str) -> list[Any]:  # noqa: ANN401
    """Return what computes each block of rows: a Delayed for each.

    Raises
    ------
    TypeError
        If it is no Dask array or dataframe.
    """
    if is_array(collection):
        if collection.ndim == 2 and collection.numblocks[1] > 1:
            collection = collection.rechunk({1: -1})
        return list(collection.to_delayed().ravel())
    if is_dask_frame(collection):
        return list(collection.to_delayed())
    raise TypeError(
        f"{name} must be a Dask array or a Dask dataframe; got a "
        f"{type(collection).__name__}, which dask.array.from_array or dask.dataframe.from_pandas "
        "cuts into parts"
    )


def zipped_blocks(**collections: Any) -> dict[str, list[Any] | None]:  # noqa: ANN401
    """Return the blocks of several collections, which have the same rows; of None, None.

    The first has the blocks that all are cut into. Arrays whose rows are known are cut anew, if
    they are cut in other places; the others are taken to be cut in the same places.

    Raises
    ------
    TypeError
        If one is no Dask array or dataframe.
    ValueError
        If one has another number of rows or of blocks than the first.
    """
    (first_name, first), *_ = collections.items()
    blocks: dict[str, list[Any] | None] = {first_name: row_blocks(first, first_name)}
    expected = blocks[first_name] or []
    for name, collection in collections.items():
        if collection is None or name == first_name:
            blocks.setdefault(name, None)
            continue
        if is_array(first) and is_array(collection):
            collection = _cut_alike(first, collection, first_name, name)
        blocks[name] = found = row_blocks(collection, name)
        if len(found) != len(expected):
            raise ValueError(
                f"{name} must have as many partitions as {first_name}, {len(expected)}; got "
                f"{len(found)}"
            )
    return blocks


def _cut_alike(first: Any, other: Any, first_name: str, name: str) -> Any:  # noqa: ANN401
    wanted, found = first.chunks[0], other.chunks[0]
    if np.isnan(wanted).any() or np.isnan(found).any() or wanted == found:
        return other
    if sum(wanted) != sum(found):
        raise ValueError(
            f"{name} must have a row for each of the {sum(wanted)} rows of {first_name}; got "
            f"{sum(found)}"
        )
    return other.rechunk({0: wanted})


Blocks = Sequence[Any]
"""A part: a block of rows of X, of y and of the weights, or futures of them. None: no weights."""


def count_rows(X: Any, y: Any, sample_weight: Any, number: int) -> int:  # noqa: ANN401
    """Return the rows of a part.

    Raises
    ------
    ValueError
        If its blocks differ in their rows.
    """
    rows = _rows(X)
    for name, block in (("y", y), ("sample_weight", sample_weight)):
        if block is not None and _rows(block) != rows:
            raise ValueError(
                f"{name} must have as many rows as X in each partition; got {_rows(block)} where X "
                f"has {rows}, in partition {number}"
            )
    return rows


def _rows(block: Any) -> int:  # noqa: ANN401
    return int(block.shape[0]) if hasattr(block, "shape") else len(block)


def place(
    client: distributed.Client, blocks_of_X: Sequence[distributed.Future]
) -> dict[str, list[int]]:
    """Return the numbers of the parts that each worker holds, by its address.

    The worker with the block of X has the part; of several such workers, the one with fewest parts
    so far. The workers are in the order of their first parts.
    """
    holders: Mapping[str, Sequence[str]] = client.who_has(blocks_of_X)
    parts: defaultdict[str, list[int]] = defaultdict(list)
    for number, block in enumerate(blocks_of_X):
        having = holders.get(block.key) or ()
        if not having:
            raise RuntimeError(f"no worker holds partition {number} of X any more")
        parts[min(having, key=lambda worker: (len(parts.get(worker, ())), worker))].append(number)
    return dict(parts)


def joined(blocks: Sequence[Any]) -> Any:  # noqa: ANN401
    """Return blocks of rows as one; blocks without rows are left out, where others have some."""
    if any(block is None for block in blocks):
        return None
    filled = [block for block in blocks if _rows(block)] or list(blocks[:1])
    first = filled[0]
    if len(filled) == 1:
        return first
    if is_sparse(first):
        import scipy.sparse

        return scipy.sparse.vstack(filled, format="csr")
    if is_frame(first) or is_series(first):
        import pandas as pd

        return pd.concat(filled)
    return np.concatenate(filled)
