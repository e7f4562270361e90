"""Messages that travel while a rank trains: they are waited for on a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from omp_mlp.distributed.job import Transport

_LAST_WORDS = 3.0  # seconds in which the thread ends by itself, once this rank has left


class Aside:
    """A thread for one piece of work at a time; the caller goes on, and waits for it later."""

    def __init__(self) -> None:
        self._is_over: threading.Event | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin work on the thread."""
        is_over = self._is_over = threading.Event()
        self._error = None

        def run() -> None:
            try:
                work()
            except BaseException as error:
                self._error = error
            finally:
                is_over.set()

        self._thread = threading.Thread(target=run, name="omp_mlp messages", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for the end of the work, and raise what it raised. Ctrl-C ends the wait."""
        assert self._is_over is not None
        assert self._thread is not None
        self._is_over.wait()
        self._thread.join()
        self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def end(self, transport: Transport) -> None:
        """See that no work goes on after this rank has left, so that nobody uses the transport."""
        if self._thread is None or self._is_over is None:
            return
        if not self._is_over.wait(_LAST_WORDS):
            transport.cancel("this rank has left")
            self._is_over.wait(_LAST_WORDS)


class OwnBuffers:
    """A transport whose messages have buffers of their own.

    A message may be on its way when a rank leaves, and the core's memory is freed then.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def gather(self, mine: memoryview, everyone: memoryview) -> None:
        """As of the transport."""
        received = bytearray(len(everyone))
        self._transport.gather(memoryview(bytes(mine)), memoryview(received))
        everyone[:] = received

    def add_up(self, values: memoryview) -> None:
        """As of the transport."""
        own = np.array(values)
        self._transport.add_up(own.data)
        np.asarray(values)[:] = own

    def add_up_rounded(self, values: memoryview, left: memoryview) -> None:
        """As of the transport."""
        own, kept = np.array(values), np.array(left)
        self._transport.add_up_rounded(own.data, kept.data)
        np.asarray(values)[:], np.asarray(left)[:] = own, kept
