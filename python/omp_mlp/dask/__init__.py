"""Train on the workers of a Dask cluster, with the rows that they hold.

It needs dask and distributed (``pip install "omp_mlp[dask]"``)::

    from distributed import Client
    from omp_mlp import dask

    client = Client(n_workers=2, threads_per_worker=1)  # or the address of a scheduler
    model = dask.train(client, X, y)                    # X, y: Dask arrays or dataframes
    labels = dask.predict(model, X)                     # lazily, a partition at a time
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from omp_mlp import extras
from omp_mlp.errors import RankError
from omp_mlp.model import Model

extras.imported("distributed", "omp_mlp.dask", "dask and distributed", "dask")

if TYPE_CHECKING:
    from omp_mlp.dask.estimators import DaskOmpMLPClassifier, DaskOmpMLPRegressor

__all__ = [
    "DaskOmpMLPClassifier",
    "DaskOmpMLPRegressor",
    "RankError",
    "predict",
    "predict_proba",
    "train",
]


def train(
    client: Any,  # noqa: ANN401 - distributed's Client
    X: Any,  # noqa: ANN401 - a Dask array or dataframe
    y: Any,  # noqa: ANN401 - a Dask array or dataframe
    threads: int | None = None,
    merge: str = "gradient_diversity",
    *,
    sample_weight: Any = None,  # noqa: ANN401 - a Dask array or dataframe
    deterministic: bool = False,
    merge_ranks_every: int | str = "auto",
    send: str | float = "float32",
    overlap: bool = False,
    timeout: float | None = None,
    ports: Sequence[int] = (0,),
    **options: Any,  # noqa: ANN401 - those of train_parallel
) -> Model:
    """Train one network on the workers of a Dask cluster; each has the rows that it holds.

    One rank of the training runs on each worker that holds rows, in one of the worker's threads.
    The ranks merge their networks over connections of their own, from worker to worker. It is the
    training of :func:`omp_mlp.mpi.train_parallel`. Trainings that share a worker run one after
    another.

    Parameters
    ----------
    client : distributed.Client or None
        None: the client that was made last.
    X : Dask array or dataframe of shape (n_samples, n_features)
        Of numbers. The blocks of an array may be NumPy arrays or SciPy sparse matrices. What is not
        computed yet is computed first, once. Partitions without rows may be there.
    y : Dask array, Series or dataframe of shape (n_samples,) or (n_samples, n_outputs)
        With the partitions of X. An array whose rows are known is cut as X is. The classes are all
        labels that some worker has.
    threads : int, optional
        Replicas of each worker. Default: the ``workers`` of the worker that has fewest.
    merge : str, default "gradient_diversity"
        As in :func:`omp_mlp.mpi.train_parallel`.
    sample_weight : Dask array or Series of shape (n_samples,), optional
        With the partitions of X.
    deterministic : bool, default False
        As in :func:`omp_mlp.mpi.train_parallel`. The bits then depend on which worker holds what,
        and on how often they merge.
    merge_ranks_every : int or "auto", default "auto"
        Each worker merges its own replicas so many times before all workers merge, as in
        :func:`omp_mlp.mpi.train_parallel`. "auto" measures how long a message takes between the
        workers, and has so few merges of all that they take a tenth of the time; but as many as
        epochs, and 16, at least. Where a worker has one replica, ``merge_every="auto"`` is longer
        instead. Give numbers to have the same network each time.
    send : "float32", "bfloat16" or a float between 0 and 1, default "float32"
        What the workers send of their updates, as in :func:`omp_mlp.mpi.train_parallel`.
    overlap : bool, default False
        Train on while updates travel between the workers, as in
        :func:`omp_mlp.mpi.train_parallel`. "auto" of ``merge_ranks_every`` then lets messages take
        half of the time.
    timeout : float, optional
        Seconds that a rank waits for the others in a message. Default: as long as Dask's scheduler
        counts their workers among its own.
    ports : sequence of int, default (0,)
        The ports that the ranks may listen on, for a network with a firewall. 0 is any. A worker
        takes the first that is free.
    **options
        Those of :func:`omp_mlp.train_parallel`. ``workers`` are the operating-system threads of
        each rank; default: the threads of its Dask worker. ``validation_data`` is a pair of
        arrays, which each worker gets, or of Dask collections; ``early_stopping`` needs it.
        ``callback`` is called on the first worker. ``shuffle`` is "shards" or False.
        ``progress`` is False, and ``checkpoint`` and ``resume`` are None. ``epochs="auto"`` makes
        no search.

    Returns
    -------
    Model
        In the client. Its history has the losses of all workers, and the times of the first.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, before any work, or the rows of a worker are.
    RankError
        If a worker leaves the cluster, is killed, or cannot be reached by the others. The error
        names it. The other workers stop, and can train again.
    TrainingDivergedError
        As in :func:`omp_mlp.train_parallel`. ``error.replica`` counts over all workers.
    TimeoutError
        If a rank waits for longer than ``timeout``.
    """
    from omp_mlp.dask.job import checked_client, train_on_workers

    given = {"merge": merge, **options}
    if threads is not None:
        given["threads"] = threads
    model, _ = train_on_workers(
        checked_client(client),
        X,
        y,
        sample_weight,
        given,
        deterministic=deterministic,
        merge_ranks_every=merge_ranks_every,
        send=send,
        overlap=overlap,
        timeout=timeout,
        ports=ports,
    )
    return model


def predict(model: Model, X: Any) -> Any:  # noqa: ANN401
    """Return the labels, or the values, of the rows of X, to be computed.

    Parameters
    ----------
    model : Model
    X : Dask array or dataframe of shape (n_samples, n_features)

    Returns
    -------
    Dask array or Series
        With the partitions of X; of several outputs, a Dask array or dataframe. For a dataframe, it
        has the index of X.
    """
    from omp_mlp.dask.predictions import mapped

    return mapped(model, "predict", X)


def predict_proba(model: Model, X: Any) -> Any:  # noqa: ANN401
    """Return the probability of each class for the rows of X, to be computed.

    Parameters
    ----------
    model : Model
    X : Dask array or dataframe of shape (n_samples, n_features)

    Returns
    -------
    Dask array or dataframe of shape (n_samples, n_classes)
        With the partitions of X. For a dataframe, it has the index of X, and the classes are the
        names of its columns.
    """
    from omp_mlp.dask.predictions import mapped

    return mapped(model, "predict_proba", X)


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # The estimators need scikit-learn, and a training does not.
    if name in ("DaskOmpMLPClassifier", "DaskOmpMLPRegressor"):
        from omp_mlp.dask import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
