"""Train with several processes over MPI, on one machine or on a cluster.

It needs mpi4py (``pip install "omp_mlp[mpi]"``) and an MPI. A program that runs in every rank::

    from omp_mlp import mpi
    X, y = mpi.load_shard("X*.npy"), mpi.load_shard("y*.npy")
    model = mpi.train_parallel(X, y, threads=4)

is started with ``mpiexec -n 8 python program.py``.
"""

from __future__ import annotations

import atexit
import contextlib
import glob
import os
import struct
import sys
import threading
import time
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import checks, extras
from omp_mlp.checks import Matrix
from omp_mlp.distributed import processes
from omp_mlp.distributed.bfloat16 import as_floats, rounded
from omp_mlp.distributed.data import share_of_rows
from omp_mlp.distributed.job import Job
from omp_mlp.distributed.processes import Process, this_process, why_silent
from omp_mlp.distributed.train import train_over
from omp_mlp.errors import RankError
from omp_mlp.model import Model

MPI = extras.imported("mpi4py.MPI", "omp_mlp.mpi", "mpi4py", "mpi")

__all__ = ["RankError", "load_shard", "train_parallel"]

_TAG = 24_681  # of the words of a rank that leaves
_AT_ONCE = 1e-4  # seconds of a wait before it lets others have the core between looks
_AWAKE = 0.002  # seconds of a wait before it sleeps between looks
_NAP = 5e-5  # seconds
_LONG_NAP = 1e-3  # seconds
_GRACE = 1.0  # seconds in which what a rank did before it left may still arrive
_LAST_WORDS = 1.0  # seconds in which the other ranks may say why they end, before all are ended
_ARRIVES = 0.05  # seconds in which words arrive that wait at a rank which did not look for long
_LISTENS = 3.0  # seconds that a rank that ends still takes what others send
_ANSWERED = 2.0  # seconds for which they send it words; the rest is for words on their way
_LATE = 0.25  # seconds of a wait after which the ranks ask who is missing
_LOOK_EVERY = 0.5  # seconds
_LOOKS_AT_STOPPED = 6  # so many looks in turn: all may be stopped for a moment, as by a debugger
_WITNESSES = 16  # the ranks that know who is missing


def train_parallel(
    X_local: Matrix | None,
    y_local: object,
    threads: int | None = None,
    merge: str = "gradient_diversity",
    *,
    comm: Any = None,  # noqa: ANN401 - mpi4py's Intracomm
    deterministic: bool = False,
    merge_ranks_every: int = 1,
    send: str | float = "float32",
    overlap: bool = False,
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
        ``scale_targets`` to be sure. So may the means of centred inputs that are not bytes.
    merge_ranks_every : int, default 1
        Merges of replicas from one merge of the ranks to the next. With more than 1, each rank
        merges its own replicas by itself in the meantime, without an outer step. A round of the
        training then ends with a merge of the ranks. 1: each merge is one over the replicas of all
        ranks.
    send : "float32", "bfloat16" or a float between 0 and 1, default "float32"
        What the ranks send of their updates in a merge. "bfloat16" rounds them to 16 bits, and so
        sends half the bytes. A number sends the largest updates of each rank with their places, as
        large a share of all; each takes 8 bytes, and goes to all ranks. What a rank does not send,
        it adds to its next updates (error feedback; Seide et al. 2014, Stich et al. 2018). Neither
        goes with ``deterministic=True``. A ``last_merge`` is sent whole, in float32.
    overlap : bool, default False
        Train on while the updates of the ranks travel, for slow networks. Each rank first merges
        its own replicas, as with ``merge_ranks_every`` above 1. It sends what its network has
        learned in the round, v - w, and trains on from master + 0.85 (v - master), with the master
        as it is without the updates on their way (Douillard et al. 2025). They are added after the
        next round. The result has all of them. Callbacks, validation and checkpoints see the master
        of a round once its updates are there. It needs an MPI with ``MPI_THREAD_MULTIPLE``, and
        does not go with ``deterministic=True``. A rank that is alone trains as without it.
    timeout : float, optional
        Seconds that this rank waits for the others, in a round or before it. Default: for ever, as
        long as the processes of the others run. Linux tells that of ranks on the same machine.
    **options
        Those of :func:`omp_mlp.train_parallel`, the same on all ranks, but for ``callback``,
        ``progress``, ``workers`` and ``sample_weight``, which are the rank's own. ``shuffle`` is
        "shards" or False. ``validation_data`` are the same rows on all ranks. Rank 0 writes the
        ``checkpoint``, or calls it, and reads what ``resume`` names. Rank 0 also gives the
        warnings, but for threads that the system refuses to another rank. ``workers`` is the rank's
        share of the cores of its node. ``epochs="auto"`` makes no search. If a callback returns
        True on one rank, all stop at the end of the round.

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
        If another rank fails or leaves, is killed, or is stopped. The job then cannot train any
        more; when the program of a rank ends, all ranks are ended.
    TrainingDivergedError
        On all ranks. ``error.replica`` counts over all ranks.
    TimeoutError
        If the others keep this rank waiting for longer than ``timeout``. The message names the
        ranks that did not come.
    """
    transport = _Transport(MPI.COMM_WORLD if comm is None else comm, timeout)
    given = {"merge": merge, **options}
    if threads is not None:
        given["threads"] = threads
    try:
        model = train_over(
            transport,
            X_local,
            y_local,
            given,
            deterministic=deterministic,
            merge_ranks_every=merge_ranks_every,
            send=send,
            overlap=overlap,
        )
    except (RankError, TimeoutError):
        _job.is_broken = True
        raise
    return model


def load_shard(
    pattern: str | os.PathLike[str],
    *,
    threads: int = 1,
    comm: Any = None,  # noqa: ANN401 - mpi4py's Intracomm
) -> npt.NDArray[Any]:
    """Return this rank's part of the rows of .npy files, without reading the others.

    Parameters
    ----------
    pattern : str or path
        Such as "X*.npy". The files are taken in the order of their names, by characters: "X10.npy"
        comes before "X2.npy".
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
    TypeError
        If the pattern is no text or path.
    ValueError
        If a file is no .npy file with rows of numbers, or if the files differ in dtype or in the
        shape of a row.
    """
    comm = MPI.COMM_WORLD if comm is None else comm
    threads = checks.integer("threads", threads, 1)
    if not isinstance(pattern, (str, os.PathLike)):
        raise TypeError(f"pattern must be a str or a path; got a {type(pattern).__name__}")
    names = sorted(glob.glob(os.fspath(pattern)))
    if not names:
        raise FileNotFoundError(f"no file matches {os.fspath(pattern)!r}")
    files = [_opened(name) for name in names]
    for name, file in zip(names, files, strict=True):
        if (file.dtype, file.shape[1:]) != (files[0].dtype, files[0].shape[1:]):
            raise ValueError(
                f"files must have rows of one kind; {names[0]} has {files[0].dtype} of shape "
                f"{files[0].shape[1:]}, and {name} {file.dtype} of shape {file.shape[1:]}"
            )
    n_rows = sum(len(file) for file in files)
    own = share_of_rows(n_rows, comm.Get_rank(), comm.Get_size(), threads)
    parts: list[npt.NDArray[Any]] = []
    start = 0
    for file in files:
        part = file[max(own.start - start, 0) : max(own.stop - start, 0)]
        if len(part):
            parts.append(part)
        start += len(file)
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else files[0][:0]


def _opened(name: str) -> npt.NDArray[Any]:
    try:
        file = np.load(name, mmap_mode="r")
    except (EOFError, OverflowError, SyntaxError, TokenError, TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a whole .npy file of numbers; {error}") from error
    if not isinstance(file, np.ndarray) or file.ndim == 0:
        found = "a single number" if isinstance(file, np.ndarray) else type(file).__name__
        raise ValueError(f"{name} must be an .npy file with rows; got {found}")
    if file.dtype.kind not in "biufUS":
        raise ValueError(f"{name} must be an .npy file of numbers or labels; got {file.dtype}")
    return file


def job(timeout: float | None = None) -> Job:
    """Return all ranks of the program, for what they do together besides a training."""
    return Job(_Transport(MPI.COMM_WORLD, timeout))


def is_told_here(job: Job, error: BaseException) -> bool:
    """Return whether this rank is the one to show an error that has ended its work.

    All ranks whose work failed make this call. An error that all have is shown by the first.
    """
    if _job.is_broken:
        # The ranks cannot ask each other. One that failed with an error of its own shows that.
        first = 1 if isinstance(error, RankError) and error.rank == 0 else 0
        return job.rank == first or not isinstance(error, RankError)
    text = None if isinstance(error, RankError) else f"{type(error).__name__}: {error}"
    everyone = job.gather(text)
    return text is not None and everyone.index(text) == job.rank


# ------------------------------------------------------------------------------------ between ranks


class _Job:
    """What this process knows of those that left. Words are sent over COMM_WORLD, and kept."""

    def __init__(self) -> None:
        self.is_broken = False
        self._left: dict[int, str] = {}  # by rank of COMM_WORLD
        self._said_at: dict[int, float] = {}  # when ranks sent words, by their own clocks
        self._has_said = False
        self._sent: list[Any] = []
        self._lock = threading.RLock()  # a rank may have a thread that waits for what travels
        self.unfinished: list[Any] = []
        atexit.register(self._end)

    def leave(self, reason: str, rank: int | None = None) -> None:
        """Tell the others, once, that a rank of COMM_WORLD, or this one, trains no more.

        A rank that has ended some time ago hears nothing: with a message that it has not received,
        its ``MPI_Finalize`` fails, and MPICH then kills all ranks, and may report success.
        """
        with self._lock:
            if self._has_said:
                return
            self._has_said = True
        with contextlib.suppress(MPI.Exception):  # the connection to a rank may be broken
            self._listen(_ARRIVES)
        world, now = MPI.COMM_WORLD, time.time()
        mine = world.Get_rank()
        words = f"{now!r} {mine if rank is None else rank} {reason}".encode()[:1000]
        for other in range(world.Get_size()):
            if other != mine and now - self._said_at.get(other, now) < _ANSWERED:
                with contextlib.suppress(MPI.Exception):  # it may be gone
                    request = world.Isend([words, MPI.BYTE], dest=other, tag=_TAG)
                    self._sent.append((request, words))

    def those_who_left(self) -> dict[int, str]:
        world, status = MPI.COMM_WORLD, MPI.Status()
        with self._lock:
            while world.Iprobe(source=MPI.ANY_SOURCE, tag=_TAG, status=status):
                words, source = bytearray(status.Get_count(MPI.BYTE)), status.Get_source()
                world.Recv([words, MPI.BYTE], source=source, tag=_TAG)
                said_at, rank, reason = words.decode(errors="replace").split(" ", 2)
                self._said_at[source] = float(said_at)
                self._left.setdefault(int(rank), reason)
        return self._left

    def _listen(self, seconds: float) -> None:
        """Take words until all others have sent theirs, or the time is over."""
        until, is_over = time.monotonic() + seconds, False
        while not is_over:
            is_over = time.monotonic() > until  # asked before the last look, which may be late
            self.those_who_left()
            is_over = is_over or len(self._said_at) + 1 == MPI.COMM_WORLD.Get_size()
            time.sleep(_NAP)

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
        self._listen(_LISTENS)


_job = _Job()


class _Roll:
    """Which ranks have come to a call: one that waits for long tells others that it is there."""

    def __init__(self, comm: Any) -> None:  # noqa: ANN401 - its own communicator
        self._comm, self._rank = comm, comm.Get_rank()
        self._last = [0] * comm.Get_size()  # the last call that a rank is known to have come to
        self._sent: list[Any] = []
        self._looked = 0.0

    def announce(self, call: int) -> None:
        """Tell the first ranks that this one waits in a call. The calls are counted from 1."""
        self._sent = [one for one in self._sent if not one[0].Test()]
        words = struct.pack("<q", call)
        for rank in range(min(len(self._last), _WITNESSES)):
            if rank != self._rank:
                with contextlib.suppress(MPI.Exception):  # it may be gone
                    request = self._comm.Isend([words, MPI.BYTE], dest=rank, tag=_TAG)
                    self._sent.append((request, words))

    def read(self) -> None:
        """Take what has come, so that it does not pile up."""
        self._looked = time.monotonic()
        status, words = MPI.Status(), bytearray(8)
        while self._comm.Iprobe(source=MPI.ANY_SOURCE, tag=_TAG, status=status):
            rank = status.Get_source()
            self._comm.Recv([words, MPI.BYTE], source=rank, tag=_TAG)
            self._last[rank] = max(self._last[rank], *struct.unpack("<q", words))

    def read_now_and_then(self) -> None:
        if time.monotonic() - self._looked > _LOOK_EVERY:
            self.read()

    def missing(self, call: int) -> list[int]:
        """Return the other ranks that have not said that they are there; of many, all are."""
        if self._rank >= _WITNESSES:
            return []
        return [rank for rank, last in enumerate(self._last) if last < call and rank != self._rank]


class _Transport:
    """Collective calls that look, while they wait, whether a rank has left."""

    def __init__(self, comm: Any, timeout: float | None) -> None:  # noqa: ANN401
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self._timeout = timeout
        self._thread = threading.current_thread()
        self._group = comm.Get_group()
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.node = f"{MPI.Get_processor_name()} {cores}"
        self._calls = 0
        self._ends: str | None = None  # why this rank has left, for a call of another thread
        self._roll: _Roll | None = None
        self._processes: list[Process] = []
        self._comm, request = comm.Idup()
        self._wait(request)
        self._roll = _Roll(self._comm)
        everyone = bytearray(self.size * processes.BYTES)
        self.gather(memoryview(this_process().to_bytes()), memoryview(everyone))
        self._processes = [
            Process.from_bytes(bytes(everyone[k * processes.BYTES : (k + 1) * processes.BYTES]))
            for k in range(self.size)
        ]

    def gather(self, mine: memoryview, everyone: memoryview) -> None:
        self._wait(self._comm.Iallgather([mine, MPI.BYTE], [everyone, MPI.BYTE]))

    def add_up(self, values: memoryview) -> None:
        kind = MPI.FLOAT if values.format == "f" else MPI.DOUBLE
        self._wait(self._comm.Iallreduce(MPI.IN_PLACE, [values, kind]))

    def add_up_rounded(self, values: memoryview, left: memoryview) -> None:
        """Add up a part of the numbers on each rank, and then give all parts to all.

        Both times, bfloat16 numbers are sent. So a rank sends half the bytes of an all-reduce.
        """
        total, kept = np.asarray(values), np.asarray(left)
        part = -(-len(total) // self.size)
        sent = np.zeros((self.size, part), np.uint16)
        sent.reshape(-1)[: len(total)] = rounded(total, kept)
        received = np.empty_like(sent)
        self._wait(self._comm.Ialltoall([sent, MPI.UINT16_T], [received, MPI.UINT16_T]))
        own = slice(self.rank * part, min((self.rank + 1) * part, len(total)))
        sums = as_floats(received[0])
        for one in received[1:]:
            sums += as_floats(one)
        mine = np.zeros(part, np.uint16)
        size = max(0, own.stop - own.start)
        mine[:size] = rounded(sums[:size], kept[own])
        self._wait(self._comm.Iallgather([mine, MPI.UINT16_T], [received, MPI.UINT16_T]))
        as_floats(received.reshape(-1)[: len(total)], total)

    def leave(self, reason: str) -> None:
        _job.is_broken = True
        _job.leave(reason)
        self._ends = reason

    def cancel(self, reason: str) -> None:
        self._ends = reason

    def why_one_thread(self) -> str | None:
        if MPI.Query_thread() == MPI.THREAD_MULTIPLE:
            return None
        return "this MPI does not let several threads make calls (MPI_THREAD_MULTIPLE)"

    def _wait(self, request: Any) -> None:  # noqa: ANN401
        # A thread that waits for what travels leaves the cores to those that train.
        is_aside = threading.current_thread() is not self._thread
        try:
            self._wait_for(request, is_aside)
        except BaseException:
            if is_aside:
                _job.unfinished.append(request)  # with the buffers that it may still write to
            raise

    def _wait_for(self, request: Any, is_aside: bool) -> None:  # noqa: ANN401
        self._calls += 1
        if self._roll is not None:
            self._roll.read_now_and_then()
        began = time.monotonic()
        raise_at: float | None = None
        look_at, stopped_at_looks = _LATE, 0
        while not self._is_over(request):
            waited = time.monotonic() - began
            if self._ends is not None and is_aside:
                raise RankError(self.rank, self.size, self._ends)
            if waited < _AWAKE and not is_aside:
                # It may be the rank waited for that wants this core.
                if waited > _AT_ONCE and hasattr(os, "sched_yield"):
                    os.sched_yield()
                continue
            left = self._left()
            if left is not None:
                raise_at = waited + _GRACE if raise_at is None else raise_at
                if waited > raise_at:
                    raise RankError(left[0], self.size, left[1])
            if left is None and self._roll is not None and waited > look_at:
                if look_at == _LATE:
                    self._roll.announce(self._calls)
                self._roll.read()
                stopped_at_looks = self._look_at_processes(stopped_at_looks)
                look_at = waited + _LOOK_EVERY
            if self._timeout is not None and waited > self._timeout:
                self._give_up(self._timeout)
            time.sleep(min(max(_NAP, waited / 20), _LONG_NAP) if is_aside else _NAP)

    def _is_over(self, request: Any) -> bool:  # noqa: ANN401
        try:
            return bool(request.Test())
        except MPI.Exception as error:
            # A connection that breaks tells of a rank that is gone, and not of which one.
            self._look_at_processes(0)
            reason = f"MPI reports {error}"
            self.leave(reason)
            raise RankError(self.rank, self.size, reason) from error

    def _look_at_processes(self, stopped_at_looks: int) -> int:
        """Raise RankError if a rank that is missing cannot come; count the looks at one stopped."""
        stopped: tuple[int, str] | None = None
        missing = [] if self._roll is None else self._roll.missing(self._calls)
        for rank in missing if self._processes else []:
            silent = why_silent(self._processes[rank])
            if silent == "was killed" and self._left() is None:
                self._leave_for(rank, f"its process {silent}")
            if silent is not None:
                stopped = rank, f"its process {silent}"
        if stopped is None:
            return 0
        if stopped_at_looks + 1 >= _LOOKS_AT_STOPPED and self._left() is None:
            self._leave_for(*stopped)
        return stopped_at_looks + 1

    def _tell_of(self, rank: int, reason: str) -> None:
        """Tell the others why a rank does not come any more."""
        world = MPI.COMM_WORLD.Get_group()
        (in_world,) = MPI.Group.Translate_ranks(self._group, [rank], world)
        _job.is_broken = True
        _job.leave(reason, in_world)

    def _leave_for(self, rank: int, reason: str) -> None:
        self._tell_of(rank, reason)
        raise RankError(rank, self.size, reason)

    def _give_up(self, timeout: float) -> None:
        missing: list[int] = []
        if self._roll is not None:
            self._roll.read()
            missing = self._roll.missing(self._calls)
        for_whom = "the others"
        if not missing:
            self.leave(f"it waited longer than its timeout of {timeout:g} s")
        else:
            reason = f"it did not come within {timeout:g} s, and rank {self.rank} waits no longer"
            self._tell_of(missing[0], reason)
            for_whom = f"rank{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing[:10]))}"
        raise TimeoutError(
            f"rank {self.rank} of {self.size} waited for {for_whom} for longer than "
            f"timeout={timeout:g} s"
        )

    def _left(self) -> tuple[int, str] | None:
        """Return a rank of this communicator that left, and why."""
        world = MPI.COMM_WORLD.Get_group()
        for rank, reason in _job.those_who_left().items():
            (own,) = MPI.Group.Translate_ranks(world, [rank], self._group)
            if own != MPI.UNDEFINED:
                return own, reason
        return None
