"""What ranks have to agree on before they train: version, options and the kind of their data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import _core, checks
from omp_mlp.checks import Matrix
from omp_mlp.distributed.job import Job
from omp_mlp.distributed.sending import WHOLE, Send
from omp_mlp.encoding import Columns, find_columns
from omp_mlp.frames import Label
from omp_mlp.merging.methods import MergeMethod, PythonMethod, merge_methods
from omp_mlp.model import Model
from omp_mlp.options import DEFAULTS, LBFGS, Options
from omp_mlp.scaling import Scaling
from omp_mlp.sparse import is_sparse
from omp_mlp.targets import as_target

DEFAULTS_OF_RANKS: Mapping[str, Any] = {
    **DEFAULTS,
    "shuffle": "shards",
    "categorical_features": None,
}
"""The defaults of a training of several ranks: their rows stay where they are."""

_OF_ONE_RANK = (
    "callback", "checkpoint", "progress", "workers", "sample_weight", "validation_data"
)  # fmt: skip
"""Options that may differ from rank to rank, or whose data are compared once they are read."""

_MUST_BE: Mapping[str, tuple[tuple[object, ...], str]] = {
    "strategy": (("replica", "pattern"), "ranks merge replicas"),
    "shuffle": (("shards", False), "rows stay on the rank that has them"),
    "preset": ((None,), "its network is trained without replicas"),
    "categorical_features": ((None,), "a rank does not know the labels of the others"),
    "warmup_samples": ((0,), "no replica sees the rows of all ranks"),
    "state_at_merge": (("keep", "reset"), "the states stay on the rank that has them"),
    "keep_replicas": ((False,), "the replicas stay on the rank that has them"),
    "costs": ((None, False), "the cost model is one of a single machine"),
}


def check_goes_with_ranks(
    options: Options, *, deterministic: bool, send: Send = WHOLE, overlap: bool = False
) -> None:
    """Raise ValueError if an option is for one process alone."""
    if deterministic and send != WHOLE:
        raise ValueError(
            f"send must be {WHOLE!r} where deterministic=True sends the parameters of all "
            f"replicas; got {send!r}"
        )
    if deterministic and overlap:
        raise ValueError(
            "overlap must be False where deterministic=True gives a merge the parameters of all "
            "replicas; got True"
        )
    for name, (allowed, reason) in _MUST_BE.items():
        value = getattr(options, name)
        if not any(value is one or value == one for one in allowed):
            expected = " or ".join(map(repr, allowed))
            raise ValueError(
                f"{name} must be {expected} in a training of several ranks, because {reason}; "
                f"got {value!r}"
            )
    if options.optimizer == LBFGS:
        raise ValueError(
            "optimizer='lbfgs' trains one network in one process; a training of several ranks goes "
            "with the other optimizers"
        )
    if options.early_stopping and options.validation_data is None:
        raise ValueError(
            "early_stopping=True needs validation_data, the same on all ranks, in a training of "
            "several ranks; got none"
        )
    if not _fits(options.method, deterministic) or options.searches:
        names = [repr(row.name) for row in merge_methods() if _fits(row, deterministic)]
        also = "" if deterministic else "; 'adasum' and 'median' need deterministic=True"
        raise ValueError(
            f"merge must be one of {', '.join(names)} in a training of several ranks{also}; got "
            f"{options.merge!r}"
            + (" with merge_options={'alpha': 'line_search'}" if options.searches else "")
        )


def _fits(method: MergeMethod, deterministic: bool) -> bool:
    if isinstance(method, PythonMethod):
        return False
    return deterministic or _core.merge_method(method.name).merges_by_sums


def agree_on_options(job: Job, options: Options, **besides: object) -> None:
    """Check that all ranks have the same version and options.

    Raises
    ------
    ValueError
        On all ranks, if an option differs; it names two ranks and their values.
    """
    mine = {"version": _core.build_config()["version"], **besides}
    for name in DEFAULTS:
        if name not in _OF_ONE_RANK:
            mine[name] = _shown(getattr(options, name))
    for name in ("checkpoint", "validation_data"):
        mine[name] = "given" if getattr(options, name) is not None else None
    check_same(job, mine)


def check_same(job: Job, mine: Mapping[str, object]) -> None:
    """Raise ValueError on all ranks if something differs between them."""
    everyone = job.gather(dict(mine))
    for name, value in everyone[0].items():
        for rank, other in enumerate(everyone):
            if other[name] != value:
                raise ValueError(
                    f"{name} must be the same on all ranks; got {value} on rank 0 and "
                    f"{other[name]} on rank {rank}"
                )


def _shown(value: object) -> str:
    """Return a text that is the same for equal values alone."""
    if isinstance(value, Model):
        return f"a Model with parameters of digest {digest(value._packed)}"
    if isinstance(value, Scaling):
        return f"a Scaling of digest {digest(*value.parts().values())}"
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return repr(value)


def digest(*arrays: npt.NDArray[Any] | None) -> str:
    """Return a short text that tells arrays apart."""
    found = hashlib.sha256()
    for array in arrays:
        if array is not None:
            found.update(f"{array.dtype.str}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


# --------------------------------------------------------------------------------- the kind of data


@dataclass(frozen=True)
class Kind:
    """What the rows of a rank are like."""

    columns: Columns | None  # of a table
    n_columns: int
    X: str
    y: str
    y_shape: tuple[int, ...]  # of a row
    y_dtype: str


def agree_on_kind(job: Job, X: Matrix | None, y: object) -> tuple[Any, Any, Columns | None]:
    """Return X and y, and what is known of the columns of a table.

    A rank without rows gets an X and a y without rows, of the kind that the others have.

    Raises
    ------
    ValueError
        On all ranks, if their rows are not alike, or if there are none.
    """
    mine: Kind | None = None
    if X is not None and _count_rows(X) > 0:
        X, columns = find_columns(X, encodes=False, name="X_local")
        y = as_target(y, "y_local")
        mine = _kind_of(X, y, columns)
    everyone = job.gather(mine)
    known = [(rank, kind) for rank, kind in enumerate(everyone) if kind is not None]
    if not known:
        raise ValueError("X_local must have rows on one rank at least; got none on all ranks")
    first_rank, first = known[0]
    for rank, kind in known:
        for what, expected, got in _differences(first, kind):
            raise ValueError(
                f"{what} must be the same on all ranks; got {expected} on rank {first_rank} and "
                f"{got} on rank {rank}"
            )
    if mine is None:
        X, y = _no_rows(first), np.empty((0, *first.y_shape), first.y_dtype)
    return X, y, first.columns


def _count_rows(X: Any) -> int:  # noqa: ANN401
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


_KINDS_OF_Y = {
    "b": "booleans", "i": "integers", "u": "integers", "f": "floats", "U": "text", "S": "bytes"
}  # fmt: skip


def _kind_of(X: Any, y: npt.NDArray[Any], columns: Columns | None) -> Kind:  # noqa: ANN401
    if is_sparse(X):
        kind, n_columns = "a sparse matrix", int(X.shape[1])
    else:
        matrix = checks.numeric(X, "X_local")
        if matrix.ndim != 2:
            raise ValueError(
                "X_local must have shape (n_samples, n_features); got shape " + str(matrix.shape)
            )
        kind = "an array of bytes" if matrix.dtype == np.uint8 else "an array of numbers"
        n_columns = matrix.shape[1]
    kind_of_y = _KINDS_OF_Y.get(y.dtype.kind, f"dtype {y.dtype}")
    return Kind(columns, n_columns, kind, kind_of_y, y.shape[1:], y.dtype.str)


def _differences(one: Kind, other: Kind) -> Sequence[tuple[str, object, object]]:
    compared = {
        "the number of columns of X_local": (one.n_columns, other.n_columns),
        "the names of the columns of X_local": (_names_of(one), _names_of(other)),
        "the kind of X_local": (one.X, other.X),
        "the kind of y_local": (one.y, other.y),
        "the shape of a row of y_local": (one.y_shape, other.y_shape),
    }
    return [(what, *pair) for what, pair in compared.items() if pair[0] != pair[1]]


def _names_of(kind: Kind) -> tuple[Label, ...] | None:
    return None if kind.columns is None else kind.columns.called


def _no_rows(kind: Kind) -> Any:  # noqa: ANN401
    if kind.X == "a sparse matrix":
        import scipy.sparse

        return scipy.sparse.csr_matrix((0, kind.n_columns), dtype=np.float32)
    return np.empty((0, kind.n_columns), np.uint8 if "bytes" in kind.X else np.float32)
