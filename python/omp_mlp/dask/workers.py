"""What runs on the workers of a Dask cluster: a rank of a training on each.

A rank has a seat on its worker from before the training begins until it ends: the socket at which
the other ranks reach it, and later its connections. So it can be told to end, too, before it runs.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import distributed
from distributed.comm import get_address_host

from omp_mlp.dask.parts import Blocks, joined
from omp_mlp.distributed.sending import Send
from omp_mlp.distributed.tcp import Address, CancelledError, TcpTransport, listen
from omp_mlp.distributed.train import train_over
from omp_mlp.model import Model
from omp_mlp.warned import Kept, keep_warnings


@dataclass
class _Seat:
    listener: Any
    transport: TcpTransport | None = None  # once the rank runs


# By the job and the rank: several workers may be threads of one process.
_seats: dict[tuple[str, int], _Seat] = {}
_lock = threading.Lock()


def open_seat(
    job: str,
    ranks: Mapping[str, int],
    ports: Sequence[int],
    dask_worker: distributed.Worker,
) -> Address:
    """Open the seat of the worker's rank; return where the other ranks reach it."""
    host = get_address_host(dask_worker.contact_address or dask_worker.address)
    listener = listen(host, ports)
    with _lock:
        _seats[job, ranks[dask_worker.address]] = _Seat(listener)
    return host, int(listener.getsockname()[1])


def cancel(
    job: str, ranks: Mapping[str, int], reason: str, dask_worker: distributed.Worker
) -> None:
    """End the worker's rank, if it has not ended yet, and close its seat."""
    with _lock:
        place = job, ranks[dask_worker.address]
        seat = _seats.get(place)
        if seat is None:
            return
        if seat.transport is None:
            seat.listener.close()
            del _seats[place]
        else:
            seat.transport.cancel(reason)


@dataclass(frozen=True)
class Rank:
    """What a rank is told of the job."""

    job: str
    rank: int
    addresses: Sequence[Address]
    secret: bytes
    timeout: float | None


def train_rank(
    told: Rank,
    parts: Sequence[Blocks],
    validation: Sequence[Blocks] | None,
    options: Mapping[str, Any],
    *,
    deterministic: bool,
    merge_ranks_every: int | str,
    send: Send,
    overlap: bool,
) -> tuple[Model, Sequence[Kept]] | None:
    """Train with the other ranks; rank 0 returns the network, and the warnings."""
    with _lock:
        seat = _seats.get((told.job, told.rank))
        if seat is None:
            raise CancelledError("the job was ended, or the worker started anew, before it ran")
        transport = seat.transport = TcpTransport(
            seat.listener,
            told.rank,
            told.addresses,
            told.secret,
            node=told.addresses[told.rank][0],
            timeout=told.timeout,
        )
    try:
        transport.connect()
        X, y, weight = _of_parts(parts)
        given = {**options, "sample_weight": weight}
        if validation is not None:
            given["validation_data"] = _of_parts(validation)[:2]
        with keep_warnings() as kept:
            model = train_over(
                transport,
                X,
                y,
                given,
                deterministic=deterministic,
                merge_ranks_every=merge_ranks_every,
                send=send,
                overlap=overlap,
            )
    finally:
        with _lock:
            _seats.pop((told.job, told.rank), None)
        transport.close()
    return (model, kept) if told.rank == 0 else None


def _of_parts(parts: Sequence[Blocks]) -> list[Any]:
    return [joined(blocks) for blocks in zip(*parts, strict=True)]
