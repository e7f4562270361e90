"""Ranks that are connected by TCP: sums and gathers, strangers, and ranks that leave."""

from __future__ import annotations

import socket
import threading
from typing import Any

import numpy as np
import pytest

from omp_mlp.distributed import tcp
from omp_mlp.distributed.tcp import CancelledError, TcpTransport, listen
from omp_mlp.errors import RankError
from threads_as_ranks import run_ranks, tcp_transports

SIZES = [1, 2, 3, 4, 5, 8, 13]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("length", [1, 7, 200_000])
def test_gather_has_the_bytes_of_all_in_their_order(size: int, length: int) -> None:
    given = np.random.default_rng(0).integers(0, 256, (size, length)).astype(np.uint8)

    def work(transport: TcpTransport) -> Any:
        everyone = bytearray(size * length)
        transport.gather(memoryview(given[transport.rank].tobytes()), memoryview(everyone))
        return everyone

    assert run_ranks(size, work, tcp_transports(size)) == [bytearray(given.tobytes())] * size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_are_the_same_bits_on_all_ranks(size: int, dtype: Any) -> None:
    given = np.random.default_rng(1).normal(size=(size, 50_001)).astype(dtype)

    def work(transport: TcpTransport) -> Any:
        values = given[transport.rank].copy()
        for _ in range(2):
            transport.add_up(memoryview(values))
        return values

    first, *others = run_ranks(size, work, tcp_transports(size))
    assert all((other == first).all() for other in others)
    tolerance = 8 * np.finfo(dtype).eps * np.abs(given).sum(0) * size
    assert (np.abs(first - size * given.sum(0, dtype=np.float64)) <= tolerance).all()


@pytest.mark.parametrize("leaves", [0, 1, 3, 4])
def test_all_others_learn_who_left_and_why(leaves: int) -> None:
    def work(transport: TcpTransport) -> None:
        if transport.rank == leaves:
            transport.leave("KeyError: 7")
            return
        transport.add_up(memoryview(np.zeros(100_000)))

    got = run_ranks(6, work, tcp_transports(6))
    assert got[leaves] is None
    for error in got[:leaves] + got[leaves + 1 :]:
        assert isinstance(error, RankError)
        assert str(error) == f"rank {leaves} of 6 failed: KeyError: 7"


@pytest.mark.parametrize("leaves", [0, 1])
def test_no_words_come_in_the_middle_of_a_message(
    leaves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "_LAST_WORDS", 0.05)

    def work(transport: TcpTransport) -> None:
        if transport.rank != leaves:
            transport.add_up(memoryview(np.zeros(9)))
            return
        with transport._sends:  # as another thread does that has sent a part of a message
            peer = transport._peers[1 - leaves]
            peer.sendall(tcp._HEADER.pack(tcp._DATA, 72) + b"half")
            transport.leave("KeyError: 7")

    error = run_ranks(2, work, tcp_transports(2))[1 - leaves]
    assert isinstance(error, RankError), error
    assert str(error) == f"rank {leaves} of 2 failed: its connection closed (end of data)"


@pytest.mark.parametrize("leaves", [0, 2, 3])
def test_a_connection_that_closes_without_a_word_is_named(leaves: int) -> None:
    def work(transport: TcpTransport) -> None:
        if transport.rank != leaves:  # the other's connections are closed, as by a kill
            transport.gather(memoryview(b"1"), memoryview(bytearray(4)))

    got = run_ranks(4, work, tcp_transports(4, None))
    for rank, error in enumerate(got):
        if rank != leaves:
            assert isinstance(error, RankError)
            assert error.rank == leaves
            assert "its connection closed" in error.reason


def test_a_rank_that_is_waited_for_too_long_is_named() -> None:
    others_ended = threading.Event()

    def work(transport: TcpTransport) -> None:
        if transport.rank == 1:
            others_ended.wait(60)
            return
        try:
            transport.add_up(memoryview(np.zeros(3)))
        finally:
            others_ended.set()

    late, _ = run_ranks(2, work, tcp_transports(2, 0.2))
    assert isinstance(late, TimeoutError)
    assert "rank 0 of 2 waited for rank 1" in str(late)
    assert "timeout=0.2 s" in str(late)


def test_a_rank_that_never_comes_is_waited_for_no_longer_than_the_timeout() -> None:
    with listen("127.0.0.1") as other:
        own = listen("127.0.0.1")
        addresses = [own.getsockname()[:2], other.getsockname()[:2]]
        transport = TcpTransport(own, 0, addresses, b"secret", node="", timeout=0.2)
        with pytest.raises(TimeoutError, match="rank 0 of 2 waited for rank 1"):
            transport.connect()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_waits_for_its_connections_is_cancelled(rank: int) -> None:
    with listen("127.0.0.1") as other:  # which never answers
        transport = TcpTransport(
            listen("127.0.0.1"), rank, [other.getsockname()[:2]] * 2, b"secret", node=""
        )
        timer = threading.Timer(0.05, transport.cancel, ["the user's wish"])
        timer.start()
        with pytest.raises(CancelledError, match="the user's wish"):
            transport.connect()
        timer.join()


def test_a_rank_that_waits_in_a_sum_is_cancelled() -> None:
    both_ended = threading.Barrier(2)

    def work(transport: TcpTransport) -> None:
        try:
            if transport.rank == 1:
                timer = threading.Timer(0.05, transport.cancel, ["the user's wish"])
                timer.start()
                transport.add_up(memoryview(np.zeros(3)))
        finally:
            both_ended.wait(60)

    error = run_ranks(2, work, tcp_transports(2, None))[1]
    assert isinstance(error, CancelledError)


def test_strangers_are_turned_away_and_the_ranks_go_on() -> None:
    listeners = [listen("127.0.0.1") for _ in range(2)]
    addresses = [listener.getsockname()[:2] for listener in listeners]
    mute = socket.create_connection(addresses[0])
    mute.close()
    liar = socket.create_connection(addresses[0])
    liar.sendall(b"x" * 200)

    def work(transport: TcpTransport) -> Any:
        values = np.ones(3)
        transport.add_up(memoryview(values))
        return values.tolist()

    def connected(rank: int) -> TcpTransport:
        transport = TcpTransport(listeners[rank], rank, addresses, b"secret", node="", timeout=60)
        transport.connect()
        return transport

    with liar:
        assert run_ranks(2, work, connected) == [[2.0] * 3] * 2


def test_another_secret_is_no_rank_of_the_job() -> None:
    listeners = [listen("127.0.0.1") for _ in range(2)]
    addresses = [listener.getsockname()[:2] for listener in listeners]

    def connected(rank: int) -> TcpTransport:
        secret = b"secret" if rank == 0 else b"another"
        transport = TcpTransport(listeners[rank], rank, addresses, secret, node="", timeout=0.5)
        transport.connect()
        return transport

    first, second = run_ranks(2, lambda _: None, connected)
    assert isinstance(first, TimeoutError)
    assert isinstance(second, RankError)


def test_ports_that_are_taken_are_passed_over() -> None:
    with listen("127.0.0.1") as first:
        taken = first.getsockname()[1]
        with listen("127.0.0.1", [taken, 0]) as second:
            assert second.getsockname()[1] != taken
        with pytest.raises(OSError, match=f"no port of \\[{taken}\\]"):
            listen("127.0.0.1", [taken])
