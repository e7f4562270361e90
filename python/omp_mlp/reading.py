"""X as a network reads it whose columns are known: to predict, to score, to validate."""

from __future__ import annotations

from typing import Any

from omp_mlp.checks import Matrix
from omp_mlp.encoding import Columns
from omp_mlp.inputs import Inputs, read_inputs


def read_known(
    columns: Columns | None,
    X: Matrix,
    *,
    name: str = "X",
    **options: Any,  # noqa: ANN401 - those of read_inputs
) -> Inputs:
    """Return X as a network with these columns reads it; ``options``: of ``read_inputs``.

    Numbers that a table lacks are looked for where X is refused, so a table that lacks none takes
    no time more.
    """
    matrix = X if columns is None else columns.read(X, name)
    try:
        return read_inputs(matrix, name=name, columns=columns, **options)
    except ValueError:
        filled = None if columns is None else columns.filled(X, matrix, name)
        if filled is None:
            raise
    return read_inputs(filled, name=name, columns=columns, **options)
