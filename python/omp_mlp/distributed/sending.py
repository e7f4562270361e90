"""What ranks send of their updates in a merge."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from omp_mlp import checks
from omp_mlp.distributed.job import Transport

Send = str | float
"""The name of a type of numbers, or a share of the numbers, of which the largest are sent."""

WHOLE = "float32"
BFLOAT16 = "bfloat16"
_BYTES_OF_ONE = 8  # of the largest: its place and its value


def checked_send(send: object) -> Send:
    """Return the option ``send``; raise TypeError or ValueError if it is none."""
    if isinstance(send, str):
        return checks.choice(
            "send", send, (WHOLE, BFLOAT16), "a share of the numbers, between 0 and 1"
        )
    share = checks.real("send", send, 0.0, 1.0)
    if share == 0.0:
        raise ValueError(f"send must be a share of the numbers, above 0 and below 1; got {send!r}")
    return share


def of_core(send: Send) -> tuple[str, float]:
    """Return what the core calls it, and the share."""
    return (send, 1.0) if isinstance(send, str) else ("largest", send)


def message_of_sums(transport: Transport, numbers: int, send: Send) -> Callable[[], None]:
    """Return what sends as many numbers as a merge does."""
    sums, left = np.zeros(numbers, np.float32), np.zeros(numbers, np.float32)
    if isinstance(send, str):
        if send == BFLOAT16:
            return lambda: transport.add_up_rounded(sums.data, left.data)
        return lambda: transport.add_up(sums.data)
    mine = bytearray(_BYTES_OF_ONE * math.ceil(send * numbers))
    everyone = bytearray(len(mine) * transport.size)
    return lambda: transport.gather(memoryview(mine), memoryview(everyone))
