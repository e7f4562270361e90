"""Ranks that are threads of one process: the seam below MPI, without MPI; or connections by TCP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from omp_mlp.distributed.bfloat16 import as_floats, rounded
from omp_mlp.distributed.tcp import TcpTransport, listen
from omp_mlp.distributed.train import train_over
from omp_mlp.errors import RankError


class Meeting:
    """Where ranks meet in every call."""

    def __init__(self, size: int) -> None:
        self.parts: list[Any] = [None] * size
        self.barrier = threading.Barrier(size)
        self.left: tuple[int, str] | None = None


class ThreadTransport:
    """A transport as MPI's, of one rank."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        self.meeting, self.rank, self.size = meeting, rank, len(meeting.parts)
        self.node = str(rank)

    def _meet(self, mine: object) -> list[Any]:
        self.meeting.parts[self.rank] = mine
        try:
            self.meeting.barrier.wait(60)
            everyone = list(self.meeting.parts)
            self.meeting.barrier.wait(60)
        except threading.BrokenBarrierError:
            assert self.meeting.left is not None, "a rank waited in vain"
            rank, reason = self.meeting.left
            raise RankError(rank, self.size, reason) from None
        return everyone

    def gather(self, mine: memoryview, everyone: memoryview) -> None:
        everyone[:] = b"".join(self._meet(bytes(mine)))

    def add_up(self, values: memoryview) -> None:
        array = np.asarray(values)
        array[:] = np.sum(self._meet(array.copy()), axis=0)

    def add_up_rounded(self, values: memoryview, left: memoryview) -> None:
        halves = rounded(np.asarray(values), np.asarray(left))
        np.asarray(values)[:] = np.sum([as_floats(one) for one in self._meet(halves)], axis=0)

    def leave(self, reason: str) -> None:
        self.meeting.left = (self.rank, reason)
        self.meeting.barrier.abort()

    def cancel(self, reason: str) -> None:
        self.leave(reason)

    def why_one_thread(self) -> str | None:
        return None

    def close(self) -> None:
        pass


def meeting_transports(size: int) -> Callable[[int], ThreadTransport]:
    """Return what makes the transport of each rank, of ranks that meet in memory."""
    meeting = Meeting(size)
    return lambda rank: ThreadTransport(meeting, rank)


def tcp_transports(size: int, timeout: float | None = 60) -> Callable[[int], TcpTransport]:
    """Return what makes the transport of each rank, of ranks that talk over this machine's TCP."""
    listeners = [listen("127.0.0.1") for _ in range(size)]
    addresses = [listener.getsockname()[:2] for listener in listeners]

    def connected(rank: int) -> TcpTransport:
        made = TcpTransport(
            listeners[rank], rank, addresses, b"secret", node=str(rank), timeout=timeout
        )
        made.connect()
        return made

    return connected


TRANSPORTS = {"memory": meeting_transports, "TCP": tcp_transports}
over = "memory"  # the transports that run_ranks takes, if it is not told


def run_ranks(
    size: int, work: Callable[[Any], Any], make: Callable[[int], Any] | None = None
) -> list[Any]:
    """Run work on each rank; return the results or errors in their order."""
    transport_of = make or TRANSPORTS[over](size)

    def one(rank: int) -> Any:
        transport = None
        try:
            transport = transport_of(rank)
            return work(transport)
        except Exception as error:  # a result as any other
            return error
        finally:
            if transport is not None:
                transport.close()

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


def train_on_ranks(
    shards: Sequence[tuple[Any, Any]],
    options: dict[str, Any] | Sequence[dict[str, Any]],
    *,
    deterministic: bool = False,
    merge_ranks_every: int | Sequence[int] = 1,
    send: str | float | Sequence[str | float] = "float32",
    overlap: bool | Sequence[bool] = False,
) -> list[Any]:
    """Train with a rank for each pair (X, y); return what each rank returns or raises."""
    of_ranks = [options] * len(shards) if isinstance(options, dict) else options
    periods = merge_ranks_every
    if isinstance(periods, int):
        periods = [periods] * len(shards)

    overlaps = [overlap] * len(shards) if isinstance(overlap, bool) else overlap
    sent = [send] * len(shards) if isinstance(send, (str, float)) else send

    def work(transport: Any) -> Any:
        X, y = shards[transport.rank]
        given = of_ranks[transport.rank]
        return train_over(
            transport,
            X,
            y,
            given,
            deterministic=deterministic,
            merge_ranks_every=periods[transport.rank],
            send=sent[transport.rank],
            overlap=overlaps[transport.rank],
        )

    return run_ranks(len(shards), work)
