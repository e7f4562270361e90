"""Ranks that are threads of one process: the seam below MPI, without MPI."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

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

    def leave(self, reason: str) -> None:
        self.meeting.left = (self.rank, reason)
        self.meeting.barrier.abort()


def run_ranks(size: int, work: Callable[[ThreadTransport], Any]) -> list[Any]:
    """Run work on each rank; return the results or errors in their order."""
    meeting = Meeting(size)

    def one(rank: int) -> Any:
        try:
            return work(ThreadTransport(meeting, rank))
        except Exception as error:  # a result as any other
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


def train_on_ranks(
    shards: Sequence[tuple[Any, Any]],
    options: dict[str, Any] | Sequence[dict[str, Any]],
    *,
    deterministic: bool = False,
) -> list[Any]:
    """Train with a rank for each pair (X, y); return what each rank returns or raises."""
    of_ranks = [options] * len(shards) if isinstance(options, dict) else options

    def work(transport: ThreadTransport) -> Any:
        X, y = shards[transport.rank]
        given = of_ranks[transport.rank]
        return train_over(transport, X, y, given, deterministic=deterministic)

    return run_ranks(len(shards), work)
