"""Which samples a replica sees, and in which order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import oracle
from omp_mlp import _core

SHUFFLES = ["global", "shards", "none"]


def order(
    samples: int, replicas: int, replica: int, epoch: int, shuffle: str, seed: int
) -> NDArray[np.int64]:
    return _core.epoch_order(
        samples=samples,
        replicas=replicas,
        replica=replica,
        epoch=epoch,
        shuffle=shuffle,
        seed=seed,
    )


def oracle_order(
    samples: int, replicas: int, replica: int, epoch: int, shuffle: str, seed: int
) -> NDArray[np.int64]:
    return oracle.sample_order(
        samples, replicas, replica, epoch, False if shuffle == "none" else shuffle, seed
    )


@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize(
    "samples, replicas",
    [
        (1, 1),
        (1, 3),
        (2, 1),
        (2, 2),
        (3, 2),
        (4, 1),
        (5, 7),
        (64, 3),
        (65, 4),
        (1000, 1),
        (999, 16),
    ],
)
def test_order_is_the_oracles(samples: int, replicas: int, shuffle: str, seed: int) -> None:
    for replica in range(replicas):
        for epoch in (0, 1, 7):
            given_order = order(samples, replicas, replica, epoch, shuffle, seed)
            expected = oracle_order(samples, replicas, replica, epoch, shuffle, seed)
            np.testing.assert_array_equal(given_order, expected)


def test_order_of_late_epochs_and_replicas_is_the_oracles() -> None:
    # Keys are derived from 64-bit numbers: nothing may be cut off on the way.
    for shuffle in SHUFFLES:
        for replica, epoch in ((0, 2**33 + 1), (69_999, 3), (69_999, 2**33 + 1)):
            arguments = (140_001, 70_000, replica, epoch, shuffle, 2**64 - 5)
            np.testing.assert_array_equal(order(*arguments), oracle_order(*arguments))


def test_order_of_many_samples_is_the_oracles() -> None:
    for shuffle in SHUFFLES:
        arguments = (200_003, 3, 1, 2, shuffle, 12345)
        np.testing.assert_array_equal(order(*arguments), oracle_order(*arguments))


sizes = st.integers(1, 300)
seeds = st.integers(0, 2**64 - 1)
epochs = st.integers(0, 2**40)


@given(sizes, st.integers(1, 40), epochs, st.sampled_from(SHUFFLES), seeds)
def test_an_epoch_shows_every_sample_once(
    samples: int, replicas: int, epoch: int, shuffle: str, seed: int
) -> None:
    orders = [order(samples, replicas, i, epoch, shuffle, seed) for i in range(replicas)]
    blocks = np.array_split(np.arange(samples), replicas)
    assert [len(o) for o in orders] == [len(block) for block in blocks]
    np.testing.assert_array_equal(np.sort(np.concatenate(orders)), np.arange(samples))
    for own, block in zip(orders, blocks, strict=True):
        if shuffle == "none":
            np.testing.assert_array_equal(own, block)
        if shuffle == "shards":
            np.testing.assert_array_equal(np.sort(own), block)


@given(sizes, st.integers(1, 40), st.integers(0, 39), epochs, st.sampled_from(SHUFFLES), seeds)
def test_any_order_is_the_oracles(
    samples: int, replicas: int, replica: int, epoch: int, shuffle: str, seed: int
) -> None:
    arguments = (samples, replicas, replica % replicas, epoch, shuffle, seed)
    np.testing.assert_array_equal(order(*arguments), oracle_order(*arguments))


@given(sizes, st.integers(1, 40), epochs, seeds)
def test_global_order_is_one_permutation_dealt_out(
    samples: int, replicas: int, epoch: int, seed: int
) -> None:
    # How many replicas there are changes who sees a sample, not when it comes.
    dealt = [order(samples, replicas, i, epoch, "global", seed) for i in range(replicas)]
    together = order(samples, 1, 0, epoch, "global", seed)
    np.testing.assert_array_equal(np.concatenate(dealt), together)


@pytest.mark.parametrize("shuffle", ["global", "shards"])
def test_orders_differ_between_epochs_and_seeds(shuffle: str) -> None:
    orders = [
        tuple(order(60, 3, 1, epoch, shuffle, seed).tolist())
        for epoch in range(20)
        for seed in range(20)
    ]
    assert len(set(orders)) == 400


def test_replicas_shuffle_their_shards_differently() -> None:
    orders = {tuple((order(60, 3, i, 0, "shards", 0) - 20 * i).tolist()) for i in range(3)}
    assert len(orders) == 3


def test_global_shuffle_moves_samples_between_replicas() -> None:
    # Sample 0 is in each of four shards of equal size a quarter of the time: 100 +- 8.7 of 400.
    homes = [
        next(i for i in range(4) if 0 in order(40, 4, i, epoch, "global", 7))
        for epoch in range(400)
    ]
    assert all(60 <= homes.count(i) <= 140 for i in range(4))  # 4.6 standard deviations
