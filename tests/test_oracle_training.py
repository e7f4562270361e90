"""The oracle's blocks, orders, rounds and batches, and the training that goes through them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import oracle

SHUFFLES = ["global", "shards", False]


# ------------------------------------------------------------------------- shards, rounds, batches


@pytest.mark.parametrize("threads", range(1, 20))
def test_blocks_are_those_of_array_split(threads: int) -> None:
    for n_samples in range(45):
        expected = np.array_split(np.arange(n_samples), threads)
        for i, block in enumerate(expected):
            start, stop = oracle.block(n_samples, threads, i)
            assert block.tolist() == list(range(start, stop))


@given(
    n_samples=st.integers(1, 80),
    threads=st.integers(1, 20),
    seed=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 5),
    shuffle=st.sampled_from(SHUFFLES),
)
def test_every_sample_is_seen_once_an_epoch(
    n_samples: int, threads: int, seed: int, epoch: int, shuffle: str | bool
) -> None:
    orders = [
        oracle.sample_order(n_samples, threads, i, epoch, shuffle, seed) for i in range(threads)
    ]
    assert sorted(np.concatenate(orders).tolist()) == list(range(n_samples))
    blocks = np.array_split(np.arange(n_samples), threads)
    for order, block in zip(orders, blocks, strict=True):
        assert len(order) == len(block)
        if shuffle == "shards":
            assert sorted(order.tolist()) == block.tolist()
        if shuffle is False:
            assert order.tolist() == block.tolist()


def test_order_entry_by_entry() -> None:
    # 11 samples on 3 replicas: blocks 0-3, 4-7, 8-10.
    stream = oracle.derive(99, 1)
    own = oracle.derive(oracle.derive(stream, 2), 6)
    common = oracle.derive(oracle.derive(stream, 0), 6)
    assert oracle.sample_order(11, 3, 2, 6, "shards", 99).tolist() == [
        8 + oracle.permute(j, 3, own) for j in range(3)
    ]
    assert oracle.sample_order(11, 3, 2, 6, "global", 99).tolist() == [
        oracle.permute(8 + j, 11, common) for j in range(3)
    ]
    assert oracle.sample_order(11, 3, 2, 6, False, 99).tolist() == [8, 9, 10]


@pytest.mark.parametrize("shuffle", ["global", "shards"])
def test_epochs_replicas_and_seeds_differ_in_order(shuffle: str) -> None:
    # Blocks of 200, as places in the block resp. among all samples.
    def order(replica: int, epoch: int, seed: int) -> list[int]:
        start = oracle.block(400, 2, replica)[0] if shuffle == "shards" else 0
        samples = oracle.sample_order(400, 2, replica, epoch, shuffle, seed)
        return [int(sample) for sample in samples - start]

    orders = [order(0, 0, 0), order(1, 0, 0), order(0, 1, 0), order(0, 0, 1)]
    for one, other in itertools.combinations(orders, 2):
        assert one != other


def test_rounds_by_hand() -> None:
    # 7 samples on 2 replicas: blocks of 4 and 3. Two epochs: streams of 8 and 6.
    # H = 3: ceil(8 / 3) = 3 rounds; the second replica has nothing left for the last.
    assert oracle.rounds(7, 2, epochs=2, merge_every=3) == [
        [(0, 3), (0, 3)],
        [(3, 6), (3, 6)],
        [(6, 8), (6, 6)],
    ]
    assert oracle.rounds(7, 2, epochs=2, merge_every=8) == [[(0, 8), (0, 6)]]
    assert oracle.rounds(7, 2, epochs=2, merge_every=7) == [[(0, 7), (0, 6)], [(7, 8), (6, 6)]]
    assert oracle.rounds(7, 2, epochs=2, merge_every=None) == [[(0, 8), (0, 6)]]
    assert oracle.rounds(7, 2, epochs=0, merge_every=3) == []
    assert oracle.rounds(7, 2, epochs=0, merge_every=None) == []
    # 2 samples on 3 replicas: the third has none.
    assert oracle.rounds(2, 3, epochs=2, merge_every=1) == [
        [(0, 1), (0, 1), (0, 0)],
        [(1, 2), (1, 2), (0, 0)],
    ]


def test_batches_by_hand() -> None:
    # The rounds above, batches of 2. Epochs of 4 end at 4 and 8: the round [3, 6) has one sample up
    # to the epoch's end and then a full batch.
    assert oracle.batches(0, 3, 4, 2) == [(0, 2), (2, 1)]
    assert oracle.batches(3, 6, 4, 2) == [(3, 1), (4, 2)]
    assert oracle.batches(6, 8, 4, 2) == [(6, 2)]
    # Epochs of 3 end at 3 and 6.
    assert oracle.batches(0, 3, 3, 2) == [(0, 2), (2, 1)]
    assert oracle.batches(3, 6, 3, 2) == [(3, 2), (5, 1)]
    assert oracle.batches(6, 6, 3, 2) == []
    # One round over two epochs, with batches of 3 and with batches larger than an epoch.
    assert oracle.batches(0, 8, 4, 3) == [(0, 3), (3, 1), (4, 3), (7, 1)]
    assert oracle.batches(0, 8, 4, 100) == [(0, 4), (4, 4)]
    # A replica without samples.
    assert oracle.batches(0, 0, 0, 2) == []


@given(
    n_samples=st.integers(1, 60),
    threads=st.integers(1, 9),
    epochs=st.integers(1, 3),
    merge_every=st.none() | st.integers(1, 70),
    batch_size=st.integers(1, 20),
)
def test_rounds_and_batches_cover_each_stream_once(
    n_samples: int, threads: int, epochs: int, merge_every: int | None, batch_size: int
) -> None:
    all_rounds = oracle.rounds(n_samples, threads, epochs, merge_every)
    for i, block in enumerate(np.array_split(np.arange(n_samples), threads)):
        position = 0
        for spans in all_rounds:
            for first, size in oracle.batches(*spans[i], len(block), batch_size):
                assert first == position
                assert 1 <= size <= batch_size
                # Within one epoch, and within one round.
                assert first // len(block) == (first + size - 1) // len(block)
                if merge_every is not None:
                    assert first // merge_every == (first + size - 1) // merge_every
                position += size
        assert position == epochs * len(block)
    # Somebody works in every round.
    assert all(any(stop > start for start, stop in spans) for spans in all_rounds)


def test_growing_rounds() -> None:
    # H = 4 to 16 over 48: r(p) = 48 / (4 log 4) (1 - 4^(-p / 48)), r(48) = 6.49: seven rounds.
    # p(r) = -48 log_4(1 - r log(4) / 12) = 4.25, 9.09, 14.7, 21.4, 29.9, 40.9.
    ends = [4, 9, 14, 21, 29, 40, 48]
    assert oracle.growing_ends(48, 4, 16, 1) == ends
    assert oracle.growing_ends(48, 4, 16, 4) == [4, 8, 12, 20, 28, 40, 48]
    assert oracle.rounds(48, 1, 1, (20, 20), 3) == oracle.rounds(48, 1, 1, 20)
    spans = oracle.rounds(95, 2, 1, (4, 16), 1)
    assert [span[0][1] for span in spans] == ends
    assert [span[1] for span in spans][-1] == (40, 47)


# ---------------------------------------------------------------------------------------- training


def data(n_samples: int = 23, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Three classes, of which a linear function of four features decides."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 4))
    y = (X @ rng.normal(size=(4, 3))).argmax(axis=1)
    y[-1] = 2  # so that there are three outputs, however few the samples
    return X, y


def train(
    X: NDArray[Any], y: NDArray[Any], threads: int, merge: str, **changes: Any
) -> oracle.TrainingResult:
    options: dict[str, Any] = {
        "hidden_layer_sizes": (5,),
        "activation": "tanh",
        "output_activation": "softmax",
        "loss": "cross_entropy",
        "epochs": 2,
        "batch_size": 3,
        "learning_rate": 0.1,
        "learning_rate_schedule": "constant",
        "merge_every": None,
        "outer_momentum": 0.0,
        "init_scale": "glorot",
        "seed": 4,
        **changes,
    }
    return oracle.train_parallel(X, y, threads, merge, **options)


def flat(parameters: oracle.Parameters) -> oracle.FloatArray:
    return oracle.flatten(parameters)


def test_one_replica_in_order_is_plain_sgd() -> None:
    X, y = data(7)
    X32 = X.astype(np.float32)
    result = train(X, y, 1, "average", shuffle=False, learning_rate_schedule="linear")

    parameters = oracle.initial_parameters([4, 5, 3], seed=4, replica=0, init_scale="glorot")
    network = {"activation": "tanh", "output_activation": "softmax", "loss": "cross_entropy"}
    losses: list[float] = []
    # Two epochs of 7 samples in batches of 3, 3, 1; the stream has 14 positions.
    for position in (0, 3, 6, 7, 10, 13):
        first = position % 7
        i = slice(first, min(first + 3, 7))
        decision = oracle.forward(parameters, X32[i], "tanh", "softmax").decision
        losses.extend(oracle.sample_losses(decision, y[i], "cross_entropy", "softmax").tolist())
        ones = np.ones(len(y[i]), dtype=np.float32)
        gradients = oracle.gradient(parameters, X32[i], y[i], ones, **network)
        parameters = oracle.sgd_step(parameters, gradients, 0.1 * (1 - position / 14))

    np.testing.assert_array_equal(flat(result.parameters), flat(parameters))
    assert result.losses.tolist() == pytest.approx([np.mean(losses)], rel=1e-12)
    assert result.sample_counts.tolist() == [[14]]
    assert result.parameters[0][0].dtype == np.float32


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("merge", list(oracle.MERGES))
def test_one_replica_is_the_same_under_every_merge(merge: str, shuffle: str | bool) -> None:
    # With n = 1 every method returns the replica, and merging in between changes nothing, as long
    # as no batch is cut (H a multiple of the batch size within an epoch of 24 samples). Base plus
    # difference is rounded to float32 again, hence equality up to that rounding.
    X, y = data(24)
    once = train(X, y, 1, "average", shuffle=shuffle)
    often = train(X, y, 1, merge, shuffle=shuffle, merge_every=6)
    np.testing.assert_allclose(flat(often.parameters), flat(once.parameters), rtol=1e-6)
    assert len(often.losses) == 8
    assert often.losses.mean() == pytest.approx(once.losses[0], rel=1e-6)


@pytest.mark.parametrize("merge", list(oracle.MERGES))
def test_the_master_is_the_merge_of_the_replicas(merge: str) -> None:
    # 23 samples on 3 replicas: blocks of 8, 8, 7; one round.
    X, y = data(23)
    start = oracle.initial_parameters([4, 5, 3], seed=4, replica=0, init_scale="glorot")
    result = train(X, y, 3, merge)
    expected = oracle.MERGES[merge](
        oracle.MergeInput(
            base=flat(start),
            replicas=[flat(replica) for replica in result.replicas],
            sample_share=[16 / 46, 16 / 46, 14 / 46],
            boundaries=[0, 25, 43],
        )
    )
    np.testing.assert_array_equal(flat(result.parameters), expected)
    assert result.sample_counts.tolist() == [[16, 16, 14]]


def test_replicas_are_trained_on_their_own_blocks() -> None:
    # Without shuffling, replica i is what one replica becomes alone on block i.
    X, y = data(23)
    start = oracle.initial_parameters([4, 5, 3], seed=8, replica=0, init_scale=0.5)
    result = train(X, y, 3, "average", shuffle=False, init=start)
    for i, block in enumerate(np.array_split(np.arange(23), 3)):
        alone = train(X[block], y[block], 1, "average", shuffle=False, init=start)
        np.testing.assert_array_equal(flat(result.replicas[i]), flat(alone.parameters))


@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_replicas_follow_their_order_epoch_by_epoch(shuffle: str | bool) -> None:
    X, y = data(11)
    result = train(X, y, 3, "average", shuffle=shuffle, batch_size=1)
    network = {"activation": "tanh", "output_activation": "softmax", "loss": "cross_entropy"}
    one = np.ones(1, dtype=np.float32)
    for replica in range(3):
        parameters = oracle.initial_parameters([4, 5, 3], seed=4, replica=0, init_scale="glorot")
        for epoch in range(2):
            for sample in oracle.sample_order(11, 3, replica, epoch, shuffle, 4):
                x, target = X[[sample]].astype(np.float32), y[[sample]]
                gradients = oracle.gradient(parameters, x, target, one, **network)
                parameters = oracle.sgd_step(parameters, gradients, 0.1)
        np.testing.assert_array_equal(flat(result.replicas[replica]), flat(parameters))


def test_rounds_go_on_from_the_master() -> None:
    # A merge after each of two epochs is training twice, the second time from the first's master.
    X, y = data(24)
    twice = train(X, y, 4, "sum", shuffle=False, merge_every=6)
    first = train(X, y, 4, "sum", shuffle=False, epochs=1)
    second = train(X, y, 4, "sum", shuffle=False, epochs=1, init=first.parameters)
    np.testing.assert_array_equal(flat(twice.parameters), flat(second.parameters))
    np.testing.assert_array_equal(twice.losses, [first.losses[0], second.losses[0]])


def test_outer_momentum_lives_through_a_training() -> None:
    X, y = data(24)
    options: dict[str, Any] = {"shuffle": False, "epochs": 1}
    momentum = 0.5
    both = train(X, y, 2, "gradient_diversity", merge_every=6, outer_momentum=momentum, **options)
    # The first round alone: each replica on the first half of its block.
    halves = np.r_[0:6, 12:18]
    start = oracle.initial_parameters([4, 5, 3], seed=4, replica=0, init_scale="glorot")
    first = train(X[halves], y[halves], 2, "gradient_diversity", init=start, **options)
    step = flat(first.parameters).astype(np.float64) - flat(start)
    without = train(
        X[halves + 6], y[halves + 6], 2, "gradient_diversity", init=first.parameters, **options
    )
    # M = step, then W_2 = W_1 + step_2 + beta M. Differences of float32 numbers of order 1: 1e-6.
    expected = flat(without.parameters) + momentum * step
    np.testing.assert_allclose(flat(both.parameters), expected, atol=1e-6)
    assert np.abs(momentum * step).max() > 1e-3


def test_velocity_lives_through_merges_but_not_through_a_warm_up() -> None:
    X, y = data(24)
    options: dict[str, Any] = {"optimizer": "momentum", "shuffle": False}
    # A merge of one replica changes nothing, so nothing but the velocity could.
    merged = train(X, y, 1, "average", merge_every=6, **options)
    np.testing.assert_array_equal(
        flat(merged.parameters), flat(train(X, y, 1, "average", **options).parameters)
    )
    warm = train(X, y, 2, "average", warmup_samples=9, epochs=0, **options)
    np.testing.assert_array_equal(
        flat(train(X, y, 2, "average", warmup_samples=9, **options).parameters),
        flat(train(X, y, 2, "average", init=warm.parameters, **options).parameters),
    )


def test_more_threads_than_samples() -> None:
    # 3 samples on 5 replicas: two stay at the start and count in the average as the others do.
    X, y = data(3)
    start = oracle.initial_parameters([4, 5, 3], seed=4, replica=0, init_scale="glorot")
    result = train(X, y, 5, "average")
    for idle in result.replicas[3:]:
        np.testing.assert_array_equal(flat(idle), flat(start))
    for busy in result.replicas[:3]:
        assert not np.array_equal(flat(busy), flat(start))
    mean = np.mean([flat(replica).astype(np.float64) for replica in result.replicas], axis=0)
    np.testing.assert_allclose(flat(result.parameters), mean, rtol=1e-6)
    assert result.sample_counts.tolist() == [[2, 2, 2, 0, 0]]


def test_independent_starts() -> None:
    X, y = data(2)
    # The third replica has no samples: it shows its own start. The base is the first's.
    result = train(X, y, 3, "average", init="independent")
    starts = [oracle.initial_parameters([4, 5, 3], 4, i, "glorot") for i in range(3)]
    np.testing.assert_array_equal(flat(result.replicas[2]), flat(starts[2]))
    result = train(X, y, 3, "gradient_diversity", init="independent")
    expected = oracle.MERGES["gradient_diversity"](
        oracle.MergeInput(
            base=flat(starts[0]),
            replicas=[flat(replica) for replica in result.replicas],
            sample_share=[0.5, 0.5, 0],
            boundaries=[0, 25, 43],
        )
    )
    np.testing.assert_array_equal(flat(result.parameters), expected)
    none = train(X, y, 3, "average", init="independent", epochs=0)
    np.testing.assert_array_equal(flat(none.parameters), flat(starts[0]))


def test_no_epochs_return_the_start() -> None:
    X, y = data(5)
    start = oracle.initial_parameters([4, 6, 3], seed=1, replica=0, init_scale=0.5)
    result = train(X, y, 2, "sum", epochs=0, init=start)
    np.testing.assert_array_equal(flat(result.parameters), flat(start))
    assert result.replicas == []
    assert result.losses.shape == (0,)
    assert result.sample_counts.shape == (0, 2)


def test_sample_weight_scales_loss_and_steps() -> None:
    X, y = data(10)
    one = train(X, y, 2, "average", batch_size=1, shuffle=False, learning_rate=0.2)
    # Weight 2 at half the rate takes the same steps, and reports twice the loss. Both are exact:
    # powers of two.
    two = train(
        X, y, 2, "average", batch_size=1, shuffle=False, learning_rate=0.1, sample_weight=[2] * 10
    )
    np.testing.assert_array_equal(flat(two.parameters), flat(one.parameters))
    np.testing.assert_array_equal(two.losses, 2 * one.losses)
    # Weight 0 switches a sample off, but it keeps its place in the batches and in the mean.
    switched = y.copy()
    switched[4] = (y[4] + 1) % 3
    weight = np.ones(10)
    weight[4] = 0
    off = [train(X, labels, 1, "average", sample_weight=weight) for labels in (y, switched)]
    np.testing.assert_array_equal(flat(off[0].parameters), flat(off[1].parameters))
    assert off[0].sample_counts.tolist() == [[20]]


@pytest.mark.parametrize("shape", [(30,), (30, 1), (30, 2)])
def test_real_targets_are_learned(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(30, 4))
    y = (X @ rng.normal(size=(4, 2)))[:, : shape[1] if len(shape) > 1 else 1].reshape(shape)
    result = train(
        X,
        y,
        2,
        "gradient_diversity",
        epochs=100,
        merge_every=15,
        hidden_layer_sizes=(),
        output_activation="identity",
        loss="squared_error",
        dtype=np.float64,
    )
    # A linear map without noise is found exactly.
    decision = oracle.forward(result.parameters, X, "tanh", "identity").decision
    np.testing.assert_allclose(decision, y.reshape(30, -1), atol=1e-3)
    assert len(result.losses) == 100
    assert result.losses[0] > 0.1
    assert result.losses[-1] < 1e-6


def test_classes_are_learned_by_a_deep_network_on_several_replicas() -> None:
    X, y = data(200, seed=1)
    result = train(
        X,
        y,
        4,
        "average",
        hidden_layer_sizes=(16, 8),
        activation="relu",
        init_scale="he",
        epochs=60,
        merge_every=10,
        learning_rate_schedule="linear",
    )
    X32 = X.astype(np.float32)
    decision = oracle.forward(result.parameters, X32, "relu", "softmax").decision
    assert (decision.argmax(axis=1) == y).mean() > 0.97
    assert result.losses[-1] < 0.2 * result.losses[0]
    assert oracle.layer_sizes_of(result.parameters) == [4, 16, 8, 3]
