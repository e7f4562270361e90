"""Rounds that are longer where messages take long."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from omp_mlp.distributed import pace
from omp_mlp.distributed.train import train_over
from threads_as_ranks import run_ranks


@pytest.mark.parametrize(
    ("merges", "needed", "fewest", "factor"),
    [
        (1000, 0.3, 16, 1),
        (1000, 1.0, 16, 1),
        (1000, 1.01, 16, 2),
        (1000, 5.0, 16, 8),
        (1000, 1e9, 16, 32),  # 31 merges remain, and 15 would be too few
        (1000, 1e9, 500, 2),
        (1000, 1e9, 501, 1),
        (10, 1e9, 16, 1),
    ],
)
def test_rounds_are_longer_by_a_power_of_two(
    merges: int, needed: float, fewest: int, factor: int
) -> None:
    assert pace.longer_rounds(merges, needed=needed, fewest=fewest) == factor


def rounds(ranks: int, *, overlap: bool = False, **changed: Any) -> int:
    """Train so many ranks with 500 rows each; return the number of their rounds."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (1000, 20)).astype(np.uint8)
    y = np.arange(1000) % 3
    given = {"threads": 1, "epochs": 20, "batch_size": 4, **changed}

    def work(transport: Any) -> int:
        own = slice(transport.rank * 500, (transport.rank + 1) * 500)
        model = train_over(
            transport,
            X[own],
            y[own],
            given,
            deterministic=False,
            merge_ranks_every="auto",
            overlap=overlap,
        )
        return len(model.history)

    first, *others = run_ranks(ranks, work)
    assert others == [first] * (ranks - 1)
    return first


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "largest", "parameters"])
def test_a_message_is_measured_on_all_ranks(kind: str) -> None:
    """The slowest rank's time is that of all."""

    def work(transport: Any) -> float:
        gathered = 2 if kind == "parameters" else 0
        send = {"bfloat16": "bfloat16", "largest": 0.01}.get(kind, "float32")
        seconds = pace._seconds_of_a_merge(pace.Job(transport), 1000, gathered, send)
        assert seconds > 0.0
        return seconds

    assert len(set(run_ranks(3, work))) == 1


def test_the_slower_a_message_the_fewer_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for seconds in (0.0, 5e-7, 1.0):
        monkeypatch.setattr(pace, "_seconds_of_a_merge", lambda *_, s=seconds: s)
        found.append(rounds(2))
    usual, fewer, fewest = found
    assert usual > fewer > fewest >= 20  # one an epoch
    assert rounds(2, merge_every=100) == 100
    assert rounds(1) == 20


def test_where_a_rank_has_several_replicas_they_merge_as_often_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for seconds in (0.0, 1.0):
        monkeypatch.setattr(pace, "_seconds_of_a_merge", lambda *_, s=seconds: s)
        found.append(rounds(2, threads=2, merge_every=20))
    assert found == [250, 32]  # each rank merges its two replicas 250 times


def test_messages_that_nobody_waits_for_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_seconds_of_a_merge", lambda *_: 2e-6)
    usual, overlapping = (rounds(2, overlap=overlap) for overlap in (False, True))
    assert usual < overlapping
