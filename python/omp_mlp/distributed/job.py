"""The processes that train together: what they tell each other before a training begins."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from omp_mlp.errors import RankError
from omp_mlp.gathering import Part

Result = TypeVar("Result")


class Transport(Protocol):
    """What carries numbers between the ranks. Every rank makes the same calls in the same order."""

    rank: int
    size: int
    node: str  # ranks of one name share the cores that this process may use

    def gather(self, mine: memoryview, everyone: memoryview) -> None:
        """Write the bytes of all ranks, in their order; each gives as many."""

    def add_up(self, values: memoryview) -> None:
        """Replace float32 or float64 numbers by their sums over the ranks, the same on all."""

    def add_up_rounded(self, values: memoryview, left: memoryview) -> None:
        """Replace float32 numbers by sums of which all messages have bfloat16 numbers.

        What this rank rounds off is in ``left``, and a part of what it sends in the next call. So
        the sums of many calls are those of float32, but for what is left in the end.
        """

    def leave(self, reason: str) -> None:
        """Tell the ranks that wait for this one, now or later, that it does not come.

        Another thread may be in one of the calls above. That call ends soon, with an error.
        """

    def cancel(self, reason: str) -> None:
        """End what another thread waits for in this transport, without a word to other ranks."""

    def why_one_thread(self) -> str | None:
        """Return why no other thread may make the calls above; None: one at a time may."""


@dataclass(frozen=True)
class _Failure:
    """What a rank gives to the others when it cannot go on."""

    message: str


class Job:
    """The ranks of one training."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.rank, self.size = transport.rank, transport.size

    def gather(self, part: Part) -> Sequence[Part]:
        """Return the parts of all ranks, in their order.

        Raises
        ------
        RankError
            On all ranks, if one of them has failed instead.
        """
        parts = self._gather_objects(part)
        failed = [k for k, other in enumerate(parts) if isinstance(other, _Failure)]
        if failed:
            message = parts[failed[0]].message
            raise RankError(failed[0], self.size, message)
        return parts

    def together(self, work: Callable[[], Result]) -> Result:
        """Do work that gathers, and see that it succeeds on all ranks or fails on all.

        A rank that fails gives its error where the others wait for its part: in their next gather.
        There is one, because all gather at the end.
        """
        try:
            result = work()
            self.gather(None)
        except RankError:
            raise
        except BaseException as error:
            self._gather_objects(_Failure(f"{type(error).__name__}: {error}"))
            raise
        return result

    def _gather_objects(self, part: object) -> list[Any]:
        given = pickle.dumps(part)
        sizes = np.zeros(self.size, np.int64)
        mine = np.array([len(given)], np.int64)
        self.transport.gather(mine.data.cast("B"), sizes.data.cast("B"))
        longest = int(sizes.max())
        everyone = bytearray(longest * self.size)
        self.transport.gather(memoryview(given.ljust(longest, b"\0")), memoryview(everyone))
        return [
            pickle.loads(everyone[k * longest : k * longest + int(size)])
            for k, size in enumerate(sizes)
        ]
