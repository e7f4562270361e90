"""A transport over TCP: the ranks are a tree, and each has a connection to its parent.

Rank r's parent is r without its lowest set bit, so that the ranks below r follow it. What goes up
is joined in the order of the ranks, and what rank 0 then has goes down to all. With R ranks, this
takes 2 log2 R messages in turn, each of the whole.

A secret of the job is proved from both ends of a connection, because ranks unpickle what they get.
What is sent after that is not encrypted.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import math
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp.distributed.bfloat16 import as_floats, rounded
from omp_mlp.errors import RankError

Address = tuple[str, int]
"""Host and port."""

_HEADER = struct.Struct("<BQ")  # of a message: what it is, and its length in bytes
_DATA, _LEFT = 0, 1
_LEFT_FORMAT = struct.Struct("<q")  # the rank that left; its reason follows
_PROOF = hashlib.sha256().digest_size
_NONCE = 32
_HELLO = struct.Struct("<q")  # the rank of a child

_SMALL = 1 << 16  # bytes that are copied to be sent with their header
# Numbers that are added as they come, while they are in the caches. Room for them takes no call of
# the system, where room for a whole network may: Dask lets its workers keep no freed memory.
_TOGETHER = 1 << 14

_LOOK = 0.1  # seconds from one look to the next at whether the job was cancelled
_HANDSHAKE = 30.0  # seconds that a connection may take to prove itself
_LAST_WORDS = 1.0  # seconds that a rank takes to say why it leaves
# A machine that is lost without a word is noticed after about so many seconds.
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 5}
_UNANSWERED = 15_000  # milliseconds that what was sent may wait for its receipt


def listen(host: str, ports: Iterable[int] = (0,)) -> socket.socket:
    """Open a socket that other ranks can connect to, on the first port that is free.

    Parameters
    ----------
    host : str
        The name or address by which the others reach this machine. Where no interface has this
        address, as behind a NAT, the socket is open to all interfaces.
    ports : iterable of int, default (0,)
        0 is any port.

    Raises
    ------
    OSError
        If no port is free.
    """
    error: OSError | None = None
    tried = list(ports)
    for port in tried:
        for name in (host, ""):
            try:
                family = socket.getaddrinfo(name or host, port, type=socket.SOCK_STREAM)[0][0]
                return socket.create_server((name, port), family=family, backlog=128)
            except OSError as found:
                error = found
    raise OSError(f"no port of {tried} can be listened on at {host}: {error}")


class CancelledError(RuntimeError):
    """Whoever started the ranks ended this one."""


class TcpTransport:
    """The connections of one rank.

    Parameters
    ----------
    listener : socket
        Of :func:`listen`. The transport closes it.
    rank : int
    addresses : sequence of (str, int)
        Where each rank listens.
    secret : bytes
        What only the ranks of this job know.
    node : str
        Ranks of one name share the cores that this process may use.
    timeout : float, optional
        Seconds that this rank waits for the others in one call. Default: for ever.
    """

    def __init__(
        self,
        listener: socket.socket,
        rank: int,
        addresses: Sequence[Address],
        secret: bytes,
        *,
        node: str,
        timeout: float | None = None,
    ) -> None:
        self.rank, self.size, self.node = rank, len(addresses), node
        self._listener = listener
        self._addresses = addresses
        self._secret = secret
        self._timeout = timeout
        self._parent, self._children = _neighbours(rank, self.size)
        self._peers: dict[int, socket.socket] = {}
        self._left: RankError | None = None
        self._cancelled: str | None = None
        self._lock = threading.Lock()
        self._sends = threading.Lock()  # held while a message is written, which has to be whole

    def why_one_thread(self) -> str | None:
        """Return why no other thread may make calls: any thread may, one at a time."""
        return None

    def connect(self) -> None:
        """Wait until this rank has its connections; close all of them if it cannot.

        Raises
        ------
        RankError
            If the parent does not listen.
        CancelledError
            If :meth:`cancel` is called in the meantime.
        TimeoutError
            If a rank does not come within the timeout.
        """
        try:
            with self._listener:
                deadline = self._deadline()
                if self._parent is not None:
                    self._connect_to(self._parent, deadline)
                while len(self._peers) < len(self._children) + (self._parent is not None):
                    self._accept(deadline)
        except BaseException:
            self.close()
            raise

    def gather(self, mine: memoryview, everyone: memoryview) -> None:
        """Write the bytes of all ranks, in their order; each gives as many."""
        deadline, own = self._deadline(), len(mine)
        everyone[self.rank * own : (self.rank + 1) * own] = mine

        def below(rank: int) -> memoryview:
            return everyone[rank * own : _end_below(rank, self.size) * own]

        for child in self._children:
            self._receive(child, below(child), deadline)
        if self._parent is not None:
            self._send(self._parent, below(self.rank), deadline)
            self._receive(self._parent, everyone, deadline)
        for child in self._children:
            self._send(child, everyone, deadline)

    def add_up(self, values: memoryview) -> None:
        """Replace float32 or float64 numbers by their sums over the ranks, the same on all.

        A rank adds to its own values those of its children, in their order.
        """
        deadline = self._deadline()
        total = np.asarray(values)
        for child in self._children:
            for part, of_child in self._parts_of(child, total, total.dtype, deadline):
                part += of_child
        if self._parent is not None:
            self._send(self._parent, _bytes_of(total), deadline)
            self._receive(self._parent, _bytes_of(total), deadline)
        for child in self._children:
            self._send(child, _bytes_of(total), deadline)

    def add_up_rounded(self, values: memoryview, left: memoryview) -> None:
        """Replace float32 numbers by sums of which all messages have bfloat16 numbers.

        A rank adds those of its children to its own, and to what it rounded off in the last call.
        It rounds the sum, and sends that. What rank 0 has rounded goes down to all.
        """
        deadline = self._deadline()
        total, kept = np.asarray(values), np.asarray(left)
        for child in self._children:
            for part, of_child in self._parts_of(child, total, np.dtype(np.uint16), deadline):
                part += as_floats(of_child)
        sent = rounded(total, kept)
        if self._parent is not None:
            self._send(self._parent, _bytes_of(sent), deadline)
            self._receive(self._parent, _bytes_of(sent), deadline)
        for child in self._children:
            self._send(child, _bytes_of(sent), deadline)
        as_floats(sent, total)

    def leave(self, reason: str) -> None:
        """Tell the other ranks that this one does not come any more, and why."""
        self._pass_on(RankError(self.rank, self.size, reason))

    def cancel(self, reason: str) -> None:
        """End what another thread waits for in this transport, with :class:`CancelledError`."""
        self._cancelled = reason
        with self._lock:
            for peer in self._peers.values():
                with contextlib.suppress(OSError):
                    peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close all connections. Nobody may wait for anything any more."""
        self._listener.close()
        with self._lock:
            for peer in self._peers.values():
                # A connection that is closed on unread data may lose the last words on the way.
                if self._left is not None:
                    with contextlib.suppress(OSError):
                        peer.settimeout(_LAST_WORDS)
                        while peer.recv(_SMALL):
                            pass
                peer.close()

    # ------------------------------------------------------------------------------- connections

    def _deadline(self) -> float:
        self._check()
        return math.inf if self._timeout is None else time.monotonic() + self._timeout

    def _check(self) -> None:
        if self._cancelled is not None:
            raise CancelledError(self._cancelled)
        if self._left is not None:
            raise self._left

    def _connect_to(self, rank: int, deadline: float) -> None:
        try:
            peer = socket.create_connection(self._addresses[rank], timeout=_HANDSHAKE)
        except OSError as error:
            raise self._pass_on(RankError(rank, self.size, f"it cannot be reached: {error}")) from (
                error
            )
        self._keep(rank, peer)
        # The parent answers once it runs, which may take as long as the work before it.
        nonce = self._read(rank, _NONCE, deadline)
        hello, own = _HELLO.pack(self.rank), os.urandom(_NONCE)
        self._with(
            rank,
            deadline,
            lambda peer: peer.sendall(hello + self._proof(b"child", nonce + hello) + own),
        )
        if not hmac.compare_digest(self._read(rank, _PROOF, deadline), self._proof(b"parent", own)):
            raise self._pass_on(RankError(rank, self.size, "another job answers at its address"))

    def _accept(self, deadline: float) -> None:
        """Accept one of the children; whoever cannot prove to be one is turned away."""
        self._check()
        if time.monotonic() > deadline:
            waiting = [child for child in self._children if child not in self._peers]
            raise self._late(waiting[0])
        self._listener.settimeout(_LOOK)
        try:
            peer, _ = self._listener.accept()
        except TimeoutError:
            return
        try:
            peer.settimeout(_HANDSHAKE)
            nonce = os.urandom(_NONCE)
            peer.sendall(nonce)
            hello = _read_exactly(peer, _HELLO.size)
            proof, other = _read_exactly(peer, _PROOF), _read_exactly(peer, _NONCE)
            (rank,) = _HELLO.unpack(hello)
            expected = self._proof(b"child", nonce + hello)
            if not hmac.compare_digest(proof, expected) or rank not in self._children:
                raise ConnectionError("not of this job")
            peer.sendall(self._proof(b"parent", other))
        except OSError:
            peer.close()
            return
        self._keep(rank, peer)

    def _proof(self, role: bytes, nonce: bytes) -> bytes:
        return hmac.digest(self._secret, role + nonce, "sha256")

    def _keep(self, rank: int, peer: socket.socket) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in {**_KEEPALIVE, "TCP_USER_TIMEOUT": _UNANSWERED}.items():
            if hasattr(socket, name):  # not on every system
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        with self._lock:
            self._peers[rank] = peer
        self._check()  # it may have been cancelled before it could be ended there

    # ----------------------------------------------------------------------------------- messages

    def _send(self, rank: int, data: memoryview, deadline: float) -> None:
        header = _HEADER.pack(_DATA, len(data))

        def send(peer: socket.socket) -> None:
            with self._sends:
                if len(data) <= _SMALL:
                    peer.sendall(header + data)
                else:
                    peer.sendall(header)
                    peer.sendall(data)

        self._with(rank, deadline, send)

    def _receive(self, rank: int, into: memoryview, deadline: float) -> None:
        self._begin_receiving(rank, len(into), deadline)
        self._fill(rank, into, deadline)

    def _parts_of(
        self, child: int, total: npt.NDArray[Any], dtype: np.dtype[Any], deadline: float
    ) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
        """Receive a number for each of ``total``; yield parts of it, and what came for them."""
        self._begin_receiving(child, len(total) * dtype.itemsize, deadline)
        room = np.empty(min(_TOGETHER, len(total)), dtype)
        for begin in range(0, len(total), _TOGETHER):
            part = total[begin : begin + _TOGETHER]
            came = room[: len(part)]
            self._fill(child, _bytes_of(came), deadline)
            yield part, came

    def _begin_receiving(self, rank: int, due: int, deadline: float) -> None:
        """Read the header of a message of so many bytes."""
        kind, length = _HEADER.unpack(self._read(rank, _HEADER.size, deadline))
        if kind == _LEFT:
            words = self._read(rank, length, deadline)
            raise self._pass_on(self._who_left(words))
        if length != due:
            raise RuntimeError(
                f"rank {rank} of {self.size} is at another step than rank {self.rank}: it sent "
                f"{length} bytes where {due} were due"
            )

    def _read(self, rank: int, length: int, deadline: float) -> bytes:
        data = bytearray(length)
        self._fill(rank, memoryview(data), deadline)
        return bytes(data)

    def _fill(self, rank: int, into: memoryview, deadline: float) -> None:
        self._with(rank, deadline, lambda peer: _read_into(peer, into))

    def _with(self, rank: int, deadline: float, work: Callable[[socket.socket], None]) -> None:
        """Do work with a connection; name the rank at its other end if it is closed."""
        peer = self._peers[rank]
        remaining = deadline - time.monotonic()
        peer.settimeout(None if remaining == math.inf else max(remaining, 1e-3))
        try:
            work(peer)
        except OSError as error:
            self._check()
            # A machine that does not answer any more is also a TimeoutError, of the system.
            if isinstance(error, TimeoutError) and error.errno is None:
                raise self._late(rank) from None
            raise self._pass_on(self._why_closed(rank, error)) from error

    def _late(self, rank: int) -> TimeoutError:
        self.leave(f"it waited longer than its timeout of {self._timeout:g} s")
        return TimeoutError(
            f"rank {self.rank} of {self.size} waited for rank {rank}, or one that rank {rank} "
            f"waits for, for longer than timeout={self._timeout:g} s"
        )

    def _who_left(self, words: bytes) -> RankError:
        (rank,) = _LEFT_FORMAT.unpack_from(words)
        return RankError(rank, self.size, words[_LEFT_FORMAT.size :].decode(errors="replace"))

    def _why_closed(self, rank: int, error: OSError) -> RankError:
        """Return what a rank said before it closed its connection, if it did."""
        peer = self._peers[rank]
        try:
            peer.settimeout(_LAST_WORDS)
            kind, length = _HEADER.unpack(_read_exactly(peer, _HEADER.size))
            if kind == _LEFT:
                return self._who_left(_read_exactly(peer, length))
        except OSError:
            pass
        return RankError(rank, self.size, f"its connection closed ({error})")

    def _pass_on(self, left: RankError) -> RankError:
        """Tell all neighbours once who left, and close this rank's side of the connections."""
        if self._left is not None:
            return self._left
        self._left = left
        words = _LEFT_FORMAT.pack(left.rank) + left.reason.encode()[:4000]
        # Words in the middle of another thread's message would be a part of that.
        may_send = self._sends.acquire(timeout=_LAST_WORDS)
        try:
            with self._lock:
                for peer in self._peers.values():
                    with contextlib.suppress(OSError):
                        peer.settimeout(_LAST_WORDS)
                        if may_send:
                            peer.sendall(_HEADER.pack(_LEFT, len(words)) + words)
                        peer.shutdown(socket.SHUT_WR)
        finally:
            if may_send:
                self._sends.release()
        return left


def _neighbours(rank: int, size: int) -> tuple[int | None, list[int]]:
    """Return the parent of a rank, and its children."""
    parent = None if rank == 0 else rank & (rank - 1)
    children, bit = [], 1
    while rank + bit < size and (rank == 0 or bit < rank & -rank):
        children.append(rank + bit)
        bit *= 2
    return parent, children


def _end_below(rank: int, size: int) -> int:
    """Return the rank after the last one below a rank, which is not 0."""
    return min(rank + (rank & -rank), size)


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    return array.data.cast("B")


def _read_into(peer: socket.socket, into: memoryview) -> None:
    at = 0
    while at < len(into):
        got = peer.recv_into(into[at:])
        if got == 0:
            raise ConnectionError("end of data")
        at += got


def _read_exactly(peer: socket.socket, length: int) -> bytes:
    data = bytearray(length)
    _read_into(peer, memoryview(data))
    return bytes(data)
