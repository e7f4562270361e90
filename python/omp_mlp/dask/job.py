"""A training on the workers of a Dask cluster, from the client: begin, watch, end, in any case."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError as CancelledFutures
from typing import Any

import dask
import distributed

from omp_mlp import checks
from omp_mlp.dask.parts import Blocks, count_rows, place, zipped_blocks
from omp_mlp.dask.workers import Rank, cancel, open_seat, train_rank
from omp_mlp.distributed.agreement import DEFAULTS_OF_RANKS, check_goes_with_ranks
from omp_mlp.distributed.sending import WHOLE, Send, checked_send
from omp_mlp.distributed.tcp import CancelledError
from omp_mlp.errors import RankError
from omp_mlp.model import Model
from omp_mlp.options import check_options
from omp_mlp.warned import warn

_LOOK = 0.5  # seconds from one look at the workers to the next
_LOOK_AFTER = 0.1  # seconds, once a rank has failed
_LAST_WORDS = 2.0  # seconds in which the ranks end by themselves once one has failed
_GRACE = 10.0  # seconds that they may take at most


def checked_client(client: Any) -> Any:  # noqa: ANN401
    """Return the client, or the one that was made last; one that can be waited for.

    Raises
    ------
    TypeError
        If it is no client, or an asynchronous one.
    ValueError
        If there is none.
    """
    client = distributed.default_client() if client is None else client
    if not isinstance(client, distributed.Client):
        raise TypeError(f"client must be a distributed.Client; got a {type(client).__name__}")
    if client.asynchronous:
        raise TypeError("client must not be asynchronous: a training waits for its end")
    return client


def train_on_workers(
    client: distributed.Client,
    X: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    sample_weight: Any,  # noqa: ANN401
    options: Mapping[str, Any],
    *,
    deterministic: bool = False,
    merge_ranks_every: int | str = "auto",
    send: Send = WHOLE,
    overlap: bool = False,
    timeout: float | None = None,
    ports: Sequence[int] = (0,),
) -> tuple[Model, int]:
    """Train with a rank on each worker that has rows of X; return the network, and the rows."""
    overlap = checks.choice("overlap", overlap, (False, True))
    _check(options, deterministic, send, overlap)
    if merge_ranks_every != "auto":
        merge_ranks_every = checks.integer("merge_ranks_every", merge_ranks_every, 1)
    if timeout is not None:
        timeout = checks.real("timeout", timeout, 0.0)
    ports = [checks.integer("ports", port, 0, 2**16 - 1) for port in ports]
    blocks = zipped_blocks(X=X, y=y, sample_weight=sample_weight)
    options, validation_blocks = _validation_of(client, options)
    parts = _computed(client, blocks)
    validation = None if validation_blocks is None else _computed(client, validation_blocks)
    placed = place(client, [X for X, *_ in parts])
    rows = _rows_of(client, parts, placed)
    ranks = [worker for worker, numbers in placed.items() if sum(rows[k] for k in numbers)]
    if not ranks:
        raise ValueError(f"X must have rows; got {len(parts)} partitions without any")
    check_not_encrypted(ranks)
    with _alone_on(client, ranks):
        model = _Training(client, ranks, timeout).run(
            [[parts[k] for k in placed[worker]] for worker in ranks],
            validation,
            options,
            deterministic=deterministic,
            merge_ranks_every=merge_ranks_every,
            send=send,
            overlap=overlap,
            ports=ports,
        )
    return model, sum(rows)


def _check(options: Mapping[str, Any], deterministic: bool, send: Send, overlap: bool) -> None:
    """Check the options before any work. The ranks check them with their data."""
    unknown = [name for name in options if name not in DEFAULTS_OF_RANKS]
    if unknown:
        raise TypeError(f"{unknown[0]!r} is not an option of a training")
    if options.get("progress"):
        raise ValueError("progress must be False: a worker would show it, and not the client")
    for name in ("checkpoint", "resume"):
        if options.get(name) is not None:
            raise ValueError(f"{name} must be None on a cluster; got {options[name]!r}")
    checked = check_options({**DEFAULTS_OF_RANKS, **options})
    check_goes_with_ranks(
        checked, deterministic=deterministic, send=checked_send(send), overlap=overlap
    )


def check_not_encrypted(workers: Sequence[str]) -> None:
    """Raise ValueError if the cluster encrypts its messages, which a training does not."""
    encrypted = [worker for worker in workers if worker.startswith("tls://")]
    if encrypted:
        raise ValueError(
            "the connections of a training are not encrypted, and this cluster encrypts its own; "
            f"got the worker {encrypted[0]}"
        )


def _validation_of(
    client: distributed.Client, options: Mapping[str, Any]
) -> tuple[Mapping[str, Any], dict[str, list[Any] | None] | None]:
    """Take data to validate on out of the options; arrays are sent to one worker."""
    given = options.get("validation_data")
    if given is None:
        return options, None
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise TypeError(f"validation_data must be a pair (X, y); got {type(given).__name__}")
    others = {name: value for name, value in options.items() if name != "validation_data"}
    if any(map(dask.is_dask_collection, given)):
        X, y = given
        blocks = zipped_blocks(**{"validation_data[0]": X, "validation_data[1]": y})
        return others, dict(zip("Xy", blocks.values(), strict=True))
    X, y = client.scatter(list(given), hash=False)
    return others, {"X": [X], "y": [y]}


def _computed(
    client: distributed.Client, blocks: Mapping[str, Sequence[Any] | None]
) -> list[Blocks]:
    """Return the parts, once their blocks are there."""
    columns = [blocks.get(name) for name in ("X", "y", "sample_weight")]
    wanted = [block for column in columns if column is not None for block in column]
    is_lazy = not all(isinstance(block, distributed.Future) for block in wanted)
    futures = client.compute(wanted) if is_lazy else wanted
    distributed.wait(futures)
    for future in futures:
        if future.status != "finished":
            future.result()  # raises what went wrong
    at = iter(futures)
    full = [[next(at) for _ in column] if column is not None else None for column in columns]
    numbers = range(len(full[0] or ()))
    return [[None if column is None else column[k] for column in full] for k in numbers]


def _rows_of(
    client: distributed.Client, parts: Sequence[Blocks], placed: Mapping[str, Sequence[int]]
) -> list[int]:
    """Return the rows of each part, counted where it is."""
    counts = {
        number: client.submit(
            count_rows,
            *parts[number],
            number,
            workers=[worker],
            allow_other_workers=True,  # or a worker that leaves would be waited for
            pure=False,
        )
        for worker, numbers in placed.items()
        for number in numbers
    }
    found: list[int] = client.gather([counts[number] for number in range(len(parts))])
    return found


@contextlib.contextmanager
def _alone_on(client: distributed.Client, workers: Sequence[str]) -> Iterator[None]:
    """Wait until no other training of this module runs on the workers, and keep it so.

    All who wait take the workers in one order, so that nobody waits in a circle.
    """
    with contextlib.ExitStack() as held:
        for worker in sorted(workers):
            lock = distributed.Lock(
                f"omp_mlp on {worker}", scheduler_rpc=client.scheduler, loop=client.loop
            )
            lock.acquire()
            held.callback(lock.release)
        yield


class _Training:
    def __init__(
        self, client: distributed.Client, workers: Sequence[str], timeout: float | None
    ) -> None:
        self._client = client
        self._workers = workers  # by ranks
        self._ranks = {worker: rank for rank, worker in enumerate(workers)}
        self._timeout = timeout
        self._job = secrets.token_hex(8)
        self._failed_at: float | None = None  # when the client learned that a rank had failed

    def run(
        self,
        parts: Sequence[Sequence[Blocks]],
        validation: Sequence[Blocks] | None,
        options: Mapping[str, Any],
        *,
        deterministic: bool,
        merge_ranks_every: int | str,
        send: Send,
        overlap: bool,
        ports: Sequence[int],
    ) -> Model:
        futures: list[distributed.Future] = []
        reason = "the training was ended by its client"
        try:
            addresses = self._open_seats(ports)
            secret, threads = secrets.token_bytes(32), self._client.nthreads()
            for rank, worker in enumerate(self._workers):
                own = dict(options)
                if own.get("workers") is None:
                    own["workers"] = max(1, threads.get(worker, 1))
                if rank > 0:
                    own["callback"] = None
                futures.append(
                    self._client.submit(
                        train_rank,
                        Rank(self._job, rank, addresses, secret, self._timeout),
                        parts[rank],
                        validation,
                        own,
                        deterministic=deterministic,
                        merge_ranks_every=merge_ranks_every,
                        send=send,
                        overlap=overlap,
                        key=f"omp_mlp-train-{self._job}-{rank}",
                        workers=[worker],
                        pure=False,
                        retries=0,
                    )
                )
            self._wait(futures)
            model, kept = futures[0].result()
            for message, category in kept:
                warn(message, category)
            assert isinstance(model, Model)
            return model
        except (RankError, TimeoutError) as error:
            reason = str(error)
            raise
        finally:
            now = time.monotonic()
            # A worker that stands still was waited for already.
            until = max(now + _LAST_WORDS, (self._failed_at or now) + _GRACE)
            for thread in self._end_ranks(futures, reason, self._lost()):
                thread.join(max(0.0, until - time.monotonic()))
            self._client.cancel(futures, force=True)

    def _open_seats(self, ports: Sequence[int]) -> list[tuple[str, int]]:
        try:
            found = self._client.run(
                open_seat, self._job, self._ranks, list(ports), workers=list(self._workers)
            )
        except Exception:
            self._raise_if_lost()
            raise
        self._raise_if_lost(found)
        return [found[worker] for worker in self._workers]

    def _wait(self, futures: Sequence[distributed.Future]) -> None:
        """Wait until all ranks have ended; raise what ended the first of them too early."""
        are_told = False
        while True:
            waits = {k for k, future in enumerate(futures) if not future.done()}
            lost = self._lost()
            if all(future.status == "finished" for future in futures):
                return
            if lost or any(future.status in ("error", "cancelled") for future in futures):
                self._failed_at = self._failed_at or time.monotonic()
                after = time.monotonic() - self._failed_at
                # Work is cancelled where a worker took its data along; soon its loss is known, too.
                explained = lost or all(future.status != "cancelled" for future in futures)
                has_ended = {self._workers[k] for k in waits} <= lost
                if (has_ended and (explained or after > _LAST_WORDS)) or after > _GRACE:
                    raise self._error(futures, lost)
                # Most learn it from each other. One that has no connections yet cannot.
                if after > _LAST_WORDS and not are_told:
                    are_told = True
                    self._end_ranks(futures, "another rank failed", lost)
            if self._failed_at is not None:
                time.sleep(_LOOK_AFTER)
                continue
            with contextlib.suppress(TimeoutError, distributed.TimeoutError, CancelledFutures):
                distributed.wait(
                    [futures[k] for k in waits], timeout=_LOOK, return_when="FIRST_COMPLETED"
                )

    def _lost(self) -> set[str]:
        return set(self._workers) - set(self._client.nthreads())

    def _raise_if_lost(self, there: Mapping[str, Any] | None = None) -> None:
        lost = self._lost()
        if there is not None:
            lost |= set(self._workers) - set(there)
        for worker in sorted(lost, key=self._ranks.__getitem__):
            raise self._loss_of(worker)

    def _loss_of(self, worker: str) -> RankError:
        return RankError(
            self._ranks[worker], len(self._workers), f"its worker {worker} left the cluster"
        )

    def _error(self, futures: Sequence[distributed.Future], lost: set[str]) -> BaseException:
        """Return what of all that went wrong came first, and say where."""
        errors = {
            rank: future.exception()
            for rank, future in enumerate(futures)
            if future.status == "error"
        }
        if lost:
            return self._loss_of(min(lost, key=self._ranks.__getitem__))
        # A rank's own error is the cause of what the others say of it.
        consequences = (CancelledError, RankError, TimeoutError)
        causes = sorted(
            errors, key=lambda rank: [isinstance(errors[rank], kind) for kind in consequences]
        )
        if causes:
            return self._with_place(causes[0], errors[causes[0]])
        rank = next(k for k, future in enumerate(futures) if future.status != "finished")
        reason = f"its worker {self._workers[rank]} was told to do something else"
        return RankError(rank, len(self._workers), reason)

    def _with_place(self, rank: int, error: BaseException) -> BaseException:
        if isinstance(error, RankError):
            worker = self._workers[error.rank]
            return RankError(error.rank, error.size, f"{error.reason}, on worker {worker}")
        if hasattr(error, "add_note"):  # from Python 3.11 on
            error.add_note(f"on worker {self._workers[rank]}, rank {rank} of {len(self._workers)}")
        return error

    def _end_ranks(
        self,
        futures: Sequence[distributed.Future],
        reason: str,
        lost: set[str],
    ) -> list[threading.Thread]:
        """Tell the ranks that still run to end. Return who tells them: a worker may not answer."""
        is_done = {
            worker for worker, future in zip(self._workers, futures, strict=False) if future.done()
        }

        def tell(worker: str) -> None:
            with contextlib.suppress(Exception):
                self._client.run(
                    cancel, self._job, self._ranks, reason, workers=[worker], on_error="ignore"
                )

        threads = [
            threading.Thread(target=tell, args=[worker], daemon=True)
            for worker in self._workers
            if worker not in is_done | lost
        ]
        for thread in threads:
            thread.start()
        return threads
