"""Train with several processes over MPI, on one machine or on a cluster.

It needs mpi4py (``pip install "omp_mlp[mpi]"``) and an MPI. A program that runs in every rank::

    from omp_mlp import mpi
    X, y = mpi.load_shard("X*.npy"), mpi.load_shard("y*.npy")
    model = mpi.train_parallel(X, y, threads=4)

is started with ``mpiexec -n 8 python program.py``.
"""

from __future__ import annotations

import atexit
import glob
import os
import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import extras
from omp_mlp.checks import Matrix
from omp_mlp.distributed.train import train_over
from omp_mlp.errors import RankError
from omp_mlp.model import Model

MPI = extras.imported("mpi4py.MPI", "omp_mlp.mpi", "mpi4py", "mpi")

__all__ = ["RankError", "load_shard", "train_parallel"]

_TAG = 24_681  # of the words of a rank that leaves
_AWAKE = 0.002  # seconds of a wait before it sleeps between looks
_NAP = 5e-5  # seconds
_GRACE = 1.0  # seconds in which what a rank did before it left may still arrive
_LAST_WORDS = 1.0  # seconds in which the other ranks may say why they end, before all are ended


def train_parallel(
    X_local: Matrix | None,
    y_local: object,
    threads: int | None = None,
    merge: str = "gradient_diversity",
    *,
    comm: Any = None,  # noqa: ANN401 - mpi4py's Intracomm
    deterministic: bool = False,
    timeout: float | None = None,
    **options: Any,  # noqa: ANN401 - those of train_parallel
) -> Model:
    """Train one network with all ranks of a communicator; each has a part of the rows.

    The result is that of :func:`omp_mlp.train_parallel` with as many replicas as all ranks have
    together and ``shuffle="shards"``, up to the rounding of float32. For that, the rows of the
    ranks, one after another, are X, and each rank has the rows of its replicas, as
    :func:`load_shard` cuts them. Other parts train, too.

    Parameters
    ----------
    X_local : array-like, SciPy sparse matrix or table, of shape (n_local, n_features)
        The rows of this rank. None, or no rows, if it has none. All ranks have the same columns,
        and the same kind: bytes, other numbers, or a sparse matrix. Columns of text are errors.
    y_local : array-like, of shape (n_local,) or (n_local, n_outputs)
        Their targets. The classes are all labels that some rank has.
    threads : int, optional
        Replicas of each rank. Default: the workers of the rank that has fewest.
    merge : str, default "gradient_diversity"
        "average", "sum", "weighted_average", "delta_sum" or "gradient_diversity", which need sums
        over the replicas alone. "adasum" and "median" go with ``deterministic=True``.
    comm : mpi4py.MPI.Intracomm, optional
        Default: ``MPI.COMM_WORLD``. All of its ranks make this call.
    deterministic : bool, default False
        Give a merge the parameters of all replicas, and so the bits that one process has. Each rank
        then receives and keeps as many copies of the network as there are replicas; without it, a
        merge sends one. Scales of columns of numbers that are no image are sums over the ranks,
        and may differ in the last bits of double precision. Give ``scale_inputs`` and
        ``scale_targets`` to be sure.
    timeout : float, optional
        Seconds that this rank waits for the others, in a round or before it. Default: for ever.
    **options
        Those of :func:`omp_mlp.train_parallel`, the same on all ranks, but for ``callback``,
        ``progress``, ``workers`` and ``sample_weight``, which are the rank's own. ``shuffle`` is
        "shards" or False. ``validation_data`` are the same rows on all ranks. ``workers`` is the
        rank's share of the cores of its node. ``epochs="auto"`` makes no search. If a callback
        returns True on one rank, all stop at the end of the round.

    Returns
    -------
    Model
        The same network on every rank. Its history has the losses of all ranks, and the times of
        this one.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, before any work. What differs between ranks is an error on all of
        them that names both values.
    RankError
        If another rank fails or leaves. The job then cannot train any more; when the program of a
        rank ends, all ranks are ended.
    TrainingDivergedError
        On all ranks. ``error.replica`` counts over all ranks.
    TimeoutError
        If the others keep this rank waiting for longer than ``timeout``.
    """
    transport = _Transport(MPI.COMM_WORLD if comm is None else comm, timeout)
    given = {"merge": merge, **options}
    if threads is not None:
        given["threads"] = threads
    try:
        model = train_over(transport, X_local, y_local, given, deterministic=deterministic)
    except (RankError, TimeoutError):
        _job.is_broken = True
        raise
    return model


def load_shard(
    pattern: str,
    *,
    threads: int = 1,
    comm: Any = None,  # noqa: ANN401 - mpi4py's Intracomm
) -> npt.NDArray[Any]:
    """Return this rank's part of the rows of .npy files, without reading the others.

    Parameters
    ----------
    pattern : str
        Such as "X*.npy". The files are taken in the order of their names.
    threads : int, default 1
        Replicas of each rank. The rows of a rank are then those of its replicas in one process,
        where row counts do not divide evenly.
    comm : mpi4py.MPI.Intracomm, optional
        Default: ``MPI.COMM_WORLD``.

    Returns
    -------
    ndarray
        In place of the file (a memory map), if the rows are in one file.

    Raises
    ------
    FileNotFoundError
        If no file matches.
    ValueError
        If the files differ in dtype or in the shape of a row.
    """
    comm = MPI.COMM_WORLD if comm is None else comm
    names = sorted(glob.glob(pattern))
    if not names:
        raise FileNotFoundError(f"no file matches {pattern!r}")
    files: list[npt.NDArray[Any]] = [np.load(name, mmap_mode="r") for name in names]
    for name, file in zip(names, files, strict=True):
        if (file.dtype, file.shape[1:]) != (files[0].dtype, files[0].shape[1:]):
            raise ValueError(
                f"files must have rows of one kind; {names[0]} has {files[0].dtype} of shape "
                f"{files[0].shape[1:]}, and {name} {file.dtype} of shape {file.shape[1:]}"
            )
    rank, size = int(comm.Get_rank()), int(comm.Get_size())
    shards = size * threads
    quotient, rest = divmod(sum(len(file) for file in files), shards)

    def begin(shard: int) -> int:
        return shard * quotient + min(shard, rest)

    first, last = (begin((rank + k) * threads) for k in (0, 1))
    parts: list[npt.NDArray[Any]] = []
    start = 0
    for file in files:
        part = file[max(first - start, 0) : max(last - start, 0)]
        if len(part):
            parts.append(part)
        start += len(file)
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else files[0][:0]


# ------------------------------------------------------------------------------------ between ranks


class _Job:
    """What this process knows of those that left. Words are sent over COMM_WORLD, and kept."""

    def __init__(self) -> None:
        self.is_broken = False
        self._left: dict[int, str] = {}  # by rank of COMM_WORLD
        self._sent: list[Any] = []
        atexit.register(self._end)

    def leave(self, reason: str) -> None:
        """Tell all others, once, that this rank takes part in no training any more."""
        if self._sent:
            return
        words = reason.encode()[:1000]
        world = MPI.COMM_WORLD
        for rank in range(world.Get_size()):
            if rank != world.Get_rank():
                request = world.Isend([words, MPI.BYTE], dest=rank, tag=_TAG)
                self._sent.append((request, words))

    def those_who_left(self) -> dict[int, str]:
        world, status = MPI.COMM_WORLD, MPI.Status()
        while world.Iprobe(source=MPI.ANY_SOURCE, tag=_TAG, status=status):
            words = bytearray(status.Get_count(MPI.BYTE))
            world.Recv([words, MPI.BYTE], source=status.Get_source(), tag=_TAG)
            self._left[status.Get_source()] = words.decode(errors="replace")
        return self._left

    def _end(self) -> None:
        """Say that this rank ends; end all ranks, if a training was left in the middle."""
        if MPI.Is_finalized() or MPI.COMM_WORLD.Get_size() == 1:
            return
        error = getattr(sys, "last_value", None)
        if error is None:
            self.leave("its program ended")
        else:
            self.leave(f"{type(error).__name__}: {error}")
        if self.is_broken or error is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            time.sleep(_GRACE + _LAST_WORDS)
            MPI.COMM_WORLD.Abort(1)
        # The others end now, too, if all is well. What they sent is then received.
        until = time.monotonic() + _GRACE
        while len(self.those_who_left()) + 1 < MPI.COMM_WORLD.Get_size():
            if time.monotonic() > until:
                break
            time.sleep(_NAP)


_job = _Job()


class _Transport:
    """Collective calls that look, while they wait, whether a rank has left."""

    def __init__(self, comm: Any, timeout: float | None) -> None:  # noqa: ANN401
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self._timeout = timeout
        self._group = comm.Get_group()
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.node = f"{MPI.Get_processor_name()} {cores}"
        self._comm, request = comm.Idup()
        self._wait(request)

    def gather(self, mine: memoryview, everyone: memoryview) -> None:
        self._wait(self._comm.Iallgather([mine, MPI.BYTE], [everyone, MPI.BYTE]))

    def add_up(self, values: memoryview) -> None:
        kind = MPI.FLOAT if values.format == "f" else MPI.DOUBLE
        self._wait(self._comm.Iallreduce(MPI.IN_PLACE, [values, kind]))

    def leave(self, reason: str) -> None:
        _job.is_broken = True
        _job.leave(reason)

    def _wait(self, request: Any) -> None:  # noqa: ANN401
        began = time.monotonic()
        raise_at: float | None = None
        while not request.Test():
            waited = time.monotonic() - began
            if waited < _AWAKE:
                continue
            left = self._left()
            if left is not None:
                raise_at = waited + _GRACE if raise_at is None else raise_at
                if waited > raise_at:
                    raise RankError(left[0], self.size, left[1])
            if self._timeout is not None and waited > self._timeout:
                self.leave(f"it waited longer than its timeout of {self._timeout:g} s")
                raise TimeoutError(
                    f"rank {self.rank} of {self.size} waited for the others for longer than "
                    f"timeout={self._timeout:g} s"
                )
            time.sleep(_NAP)

    def _left(self) -> tuple[int, str] | None:
        """Return a rank of this communicator that left, and why."""
        world = MPI.COMM_WORLD.Get_group()
        for rank, reason in _job.those_who_left().items():
            (own,) = MPI.Group.Translate_ranks(world, [rank], self._group)
            if own != MPI.UNDEFINED:
                return own, reason
        return None
