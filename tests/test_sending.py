"""Updates that are sent with fewer bits: the bits of the sums, and the trainings that use them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import omp_mlp
import oracle
import threads_as_ranks
from omp_mlp import _core
from omp_mlp.distributed.bfloat16 import as_floats, rounded
from omp_mlp.distributed.train import train_over
from omp_mlp.errors import TrainingDivergedError
from rows_of_ranks import BY_SUMS, OPTIONS, REPLICAS, cut, samples, where_the_last_replica_diverges
from threads_as_ranks import ThreadTransport, run_ranks, tcp_transports, train_on_ranks


def train(ranks: int, send: str | float, *, every: int = 1, **changed: Any) -> Any:
    """Return the network of all ranks."""
    options = {**OPTIONS, "threads": REPLICAS // ranks, **changed}
    if changed.get("resume") is not None:
        options = {"workers": 1, **changed}
    got = train_on_ranks(cut(ranks), options, merge_ranks_every=every, send=send)
    for one in got:
        if not isinstance(one, omp_mlp.Model):
            raise one
        assert (one._packed == got[0]._packed).all()
        assert (one.history.loss == got[0].history.loss).all()
    return got[0]


def drawn(ranks: int, calls: int, size: int = 1003) -> NDArray[np.float32]:
    """Draw updates of each rank in each call, of many magnitudes."""
    rng = np.random.default_rng(5)
    scale = np.exp2(rng.integers(-20, 5, (calls, ranks, size)))
    return (scale * rng.normal(size=(calls, ranks, size))).astype(np.float32)


def bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    return values.view(np.uint32)


# ------------------------------------------------------------------------------------------ numbers


def test_numbers_are_rounded_to_the_nearest_of_bfloat16() -> None:
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    values = (upper[:, None] | lower).reshape(-1).view(np.float32)
    expected = oracle.to_bfloat16(values)
    left = np.full_like(values, -0.0)  # which adds nothing, to -0 either
    got = as_floats(rounded(values, left))
    is_number = ~np.isnan(values)
    assert (bits(got)[is_number] == bits(expected)[is_number]).all()
    assert np.isnan(got[~is_number]).all()
    is_finite = np.isfinite(got)
    assert (left[~is_finite] == 0).all()
    assert (got[is_finite].astype(np.float64) + left[is_finite] == values[is_finite]).all()


def test_what_is_left_is_a_part_of_the_next_number() -> None:
    left = np.zeros(1, np.float32)
    step = 2.0**-10  # an eighth of the distance of bfloat16 numbers from 1 on
    got = [as_floats(rounded(np.float32([1 + step]), left)).item() for _ in range(8)]
    assert got == [1, 1, 1, 1, 1 + 8 * step, 1, 1, 1]
    assert left.item() == 0
    assert sum(got) == 8 + 8 * step


def test_arrays_of_other_sizes_are_refused() -> None:
    two, three = np.zeros(2, np.float32), np.zeros(3, np.float32)
    words = "values, left and rounded must have the same size; got 2, 3 and 2"
    with pytest.raises(ValueError, match=words):
        _core.round_to_bfloat16(two, three, np.zeros(2, np.uint16))
    with pytest.raises(ValueError, match="numbers and floats must have the same size; got 2 and 3"):
        _core.widen_bfloat16(np.zeros(2, np.uint16), three)


# --------------------------------------------------------------------------------------------- sums


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 6])
def test_sums_over_tcp_have_the_bits_of_the_oracle(ranks: int) -> None:
    updates = drawn(ranks, 4)

    def work(transport: Any) -> Any:
        left = np.zeros(updates.shape[2], np.float32)
        found = []
        for call in updates:
            values = call[transport.rank].copy()
            transport.add_up_rounded(values.data, left.data)
            found.append((values, left.copy()))
        return found

    got = run_ranks(ranks, work, tcp_transports(ranks))
    left = [np.zeros(updates.shape[2], np.float32)] * ranks
    for call, of_call in enumerate(updates):
        expected, left = oracle.sum_up_a_tree(list(of_call), left)
        for rank in range(ranks):
            values, kept = got[rank][call]
            assert (bits(values) == bits(expected)).all()
            assert (kept == left[rank]).all()


@pytest.mark.parametrize("add_up", [oracle.sum_up_a_tree, oracle.sum_up_in_parts])
def test_nothing_is_lost_but_what_is_left(add_up: Any) -> None:
    updates = drawn(4, 30)
    left = [np.zeros(updates.shape[2], np.float32)] * 4
    total = np.zeros(updates.shape[2])
    for of_call in updates:
        got, left = add_up(list(of_call), left)
        total += got
    expected = updates.sum((0, 1), dtype=np.float64)
    # What float32 rounds off in each addition.
    atol = 2.0**-23 * np.abs(updates).sum((0, 1))
    assert (np.abs(total + np.sum(left, axis=0, dtype=np.float64) - expected) <= atol).all()
    # Without what is left, most numbers are off by far more.
    assert (np.abs(total - expected) > 8 * atol).mean() > 0.5


def test_bfloat16_numbers_are_sent() -> None:
    size = 1000

    def work(transport: Any) -> int:
        sent = 0
        send = transport._send

        def count(rank: int, data: memoryview, deadline: float) -> None:
            nonlocal sent
            sent += len(data)
            send(rank, data, deadline)

        transport._send = count
        values, left = np.ones(size, np.float32), np.zeros(size, np.float32)
        transport.add_up(values.data)
        of_float32, sent = sent, 0
        transport.add_up_rounded(values.data, left.data)
        assert 2 * sent == of_float32
        return sent

    assert run_ranks(4, work, tcp_transports(4)) == [4 * size, 2 * size, 4 * size, 2 * size]


# ---------------------------------------------------------------------------------------- trainings


class Recording(ThreadTransport):
    """Keeps what each rounded sum was made of, and what it is."""

    def __init__(self, meeting: Any, rank: int) -> None:
        super().__init__(meeting, rank)
        self.calls: list[tuple[NDArray[np.float32], ...]] = []

    def add_up_rounded(self, values: memoryview, left: memoryview) -> None:
        given, before = np.array(values), np.array(left)
        super().add_up_rounded(values, left)
        self.calls.append((given, before, np.array(values), np.array(left)))


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("ranks", [2, 4])
def test_masters_are_made_of_the_sums_that_were_sent(
    ranks: int, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Recording] = []

    def recording(size: int) -> Any:
        meeting = threads_as_ranks.Meeting(size)
        made.extend(Recording(meeting, rank) for rank in range(size))
        return lambda rank: made[rank]

    monkeypatch.setitem(threads_as_ranks.TRANSPORTS, "memory", recording)
    masters: list[NDArray[Any]] = []

    def watch(progress: omp_mlp.Progress) -> None:
        if progress.merged:
            model = progress.model
            layers = list(zip(model.weights, model.biases, strict=True))
            masters.append(oracle.flatten(layers))

    # With 16 units and 16 classes, the core's rows have no padding.
    shards = [(X, np.arange(len(X)) % 16) for X, _ in cut(ranks)]
    options = {
        **OPTIONS, "threads": REPLICAS // ranks, "hidden_layer_sizes": (16,), "merge": "delta_sum",
        "merge_options": {"alpha": 1}, "outer_momentum": 0.0, "outer_learning_rate": 1.0,
    }  # fmt: skip
    of_ranks = [{**options, "callback": watch}, *[options] * (ranks - 1)]
    got = train_on_ranks(shards, of_ranks, merge_ranks_every=every, send="bfloat16")
    assert all(isinstance(one, omp_mlp.Model) for one in got), got
    assert len(masters) == len(made[0].calls) > 4
    left = [np.zeros_like(masters[0])] * ranks
    base: NDArray[Any] | None = None
    for k, master in enumerate(masters):
        calls = [one.calls[k] for one in made]
        sent = [oracle.to_bfloat16(given + before) for given, before, _, _ in calls]
        for rank, (given, before, total, after) in enumerate(calls):
            assert (before == left[rank]).all()
            assert (total == np.sum(sent, axis=0)).all()
            left[rank] = given + before - sent[rank]
            assert (after == left[rank]).all()
        if base is not None:
            exact = base.astype(np.float64) + calls[0][2]
            assert (master == exact.astype(np.float32)).all()
        base = master


@pytest.mark.parametrize("over", ["memory", "TCP"])
@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("merge", BY_SUMS)
def test_rounded_updates_train_nearly_the_same_network(
    merge: str, ranks: int, over: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads_as_ranks, "over", over)
    changed: dict[str, Any] = {"merge": merge}
    if merge == "sum":  # n times the weights in every merge soon leaves float32
        changed |= {"epochs": 1, "init_scale": 0.02, "merge_every": 9}
    exact, got = (train(ranks, send, **changed) for send in ("float32", "bfloat16"))
    moved = np.abs(exact._packed - train(ranks, "float32", **{**changed, "epochs": 0})._packed)
    off = np.abs(got._packed - exact._packed)
    assert 0 < off.max() < 0.02 * moved.max()
    np.testing.assert_allclose(got.history.loss, exact.history.loss, rtol=5e-3)


def test_a_rank_that_is_alone_sends_nothing_less() -> None:
    exact, *got = (train(1, send) for send in ("float32", "bfloat16", 0.1))
    assert all((one._packed == exact._packed).all() for one in got)


def test_the_last_merge_of_another_method_is_whole() -> None:
    # With one merge, it is the last one.
    changed = {"merge_every": None, "merge": "average"}
    exact, got = (
        train(2, send, **changed, last_merge="average") for send in ("float32", "bfloat16")
    )
    assert (got._packed == exact._packed).all()
    usual = train(2, "bfloat16", **changed)
    assert (usual._packed != exact._packed).any()


@pytest.mark.parametrize(
    "changed",
    [
        {"outer_momentum": 0.4},
        {"outer_optimizer": "nesterov", "outer_momentum": 0.5, "outer_learning_rate": 0.7},
        {"optimizer": "adam", "learning_rate": 0.01},
        {"merge_every": (2, 12)},
        {"init": "independent", "merge": "average"},
    ],
    ids=str,
)
def test_other_options_go_with_it(changed: dict[str, Any]) -> None:
    exact, got = (train(2, send, every=2, **changed) for send in ("float32", "bfloat16"))
    assert 0 < np.abs(got._packed - exact._packed).max() < 0.02
    np.testing.assert_allclose(got.history.loss, exact.history.loss, rtol=5e-3)


@pytest.mark.parametrize("sent", ["bfloat16", 0.1])
def test_a_replica_that_diverges_is_the_same_error_on_all_ranks(sent: str | float) -> None:
    shards, options = where_the_last_replica_diverges()
    for error in train_on_ranks(shards, options, send=sent):
        assert isinstance(error, TrainingDivergedError), error
        assert error.replica == 3
    options = [{**one, "on_nonfinite": "skip"} for one in options]
    with pytest.warns(omp_mlp.SkippedReplicaWarning, match="replica 3"):
        skipped = train_on_ranks(shards, options, send=sent)
    for model in skipped:
        assert (model._packed == skipped[0]._packed).all()
        assert np.isfinite(model._packed).all()


# ------------------------------------------------------------------------------ the largest updates


def check_largest(ranks: int, every: int, share: float, merge: str, **changed: Any) -> None:
    """Compare a training that sends the largest updates with the oracle's."""
    got = train(ranks, share, every=every, merge=merge, outer_learning_rate=1.0, **changed)
    X, y = samples()
    of_oracle = {name: OPTIONS[name] for name in OPTIONS if name not in OF_THE_LIBRARY}
    expected = oracle.train_parallel(
        X, y, REPLICAS, merge, ranks=ranks, merge_ranks_every=every, sent_share=share,
        **{**OF_THE_ORACLE, **of_oracle, **changed},
    )  # fmt: skip
    layers = list(zip(got.weights, got.biases, strict=True))
    largest = max(1.0, float(np.abs(oracle.flatten(expected.parameters)).max()))
    np.testing.assert_allclose(
        oracle.flatten(layers), oracle.flatten(expected.parameters), rtol=0, atol=1e-5 * largest
    )
    np.testing.assert_allclose(got.history.loss, expected.losses, rtol=2e-6, atol=1e-7)


OF_THE_LIBRARY = ("center_inputs", "scale_inputs", "workers")
OF_THE_ORACLE: dict[str, Any] = {
    "output_activation": "softmax", "loss": "cross_entropy", "learning_rate_schedule": "linear",
    "outer_momentum": 0.0, "init_scale": "glorot", "shuffle": "shards",
}  # fmt: skip


@pytest.mark.covering(2)
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("merge", BY_SUMS)
def test_the_largest_updates_are_those_of_the_oracle(
    merge: str, ranks: int, every: int, share: float
) -> None:
    changed: dict[str, Any] = {"outer_momentum": 0.0, "init_scale": "glorot"}
    if merge == "sum":  # n times the weights in every merge soon leaves float32
        changed |= {"epochs": 1, "init_scale": 0.02, "merge_every": 9}
    check_largest(ranks, every, share, merge, **changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"outer_momentum": 0.4},
        {"last_merge": "average"},
        {"optimizer": "adam", "learning_rate": 0.01},
        {"merge_every": (2, 12)},
    ],
    ids=str,
)
def test_the_largest_updates_go_with_other_options(changed: dict[str, Any]) -> None:
    changed = {"outer_momentum": 0.0, "init_scale": "glorot", **changed}
    check_largest(2, 1, 0.2, "delta_sum", **changed)


def test_only_the_largest_are_sent_with_their_places() -> None:
    sizes: list[int] = []

    class Counting(ThreadTransport):
        def gather(self, mine: memoryview, everyone: memoryview) -> None:
            sizes.append(len(mine))
            super().gather(mine, everyone)

        def add_up(self, values: memoryview) -> None:
            assert len(values) < 10, "the network was sent"
            super().add_up(values)

    meeting = threads_as_ranks.Meeting(2)

    def work(transport: Any) -> Any:
        X, y = cut(2)[transport.rank]
        return train_over(transport, X, y, {**OPTIONS, "threads": 2}, deterministic=False, send=0.1)

    models = run_ranks(2, work, lambda rank: Counting(meeting, rank))
    assert all(isinstance(one, omp_mlp.Model) for one in models), models
    # 7 x 5 + 5 and 5 x 3 + 3 parameters are 58, of which 6 are sent by each rank in each merge.
    assert sizes.count(6 * 8) == 2 * len(models[0].history)


def test_equal_magnitudes_are_sent_from_the_first_on() -> None:
    sent, left = oracle.choose_largest(np.float32([1, -3, 3, 0, -1, 3]), 4)
    assert sent.tolist() == [1, -3, 3, 0, 0, 3]
    assert left.tolist() == [0, 0, 0, 0, -1, 0]


# ------------------------------------------------------------------------------ states and refusals


@pytest.mark.parametrize("sent", ["bfloat16", 0.1])
@pytest.mark.parametrize("every", [1, 3])
def test_a_training_goes_on_with_the_same_bits(every: int, sent: str | float) -> None:
    states: list[Any] = []
    changed = {"checkpoint": states.append, "checkpoint_every": 1, "outer_momentum": 0.4}
    whole = train(2, sent, every=every, **changed)
    for state in states[: len(states) - 1 : 3]:
        got = train(2, sent, every=every, resume=state)
        assert (got._packed == whole._packed).all()
        assert (got.history.loss == whole.history.loss).all()
    for ranks, send, words in [
        (4, sent, "ranks was 2, and is 4"),
        (2, "float32", f"send was {sent}, and is float32"),
    ]:
        with pytest.raises(ValueError, match=words):
            train(ranks, send, every=every, resume=states[0])


def test_a_state_that_does_not_say_what_was_sent_is_of_float32() -> None:
    states: list[Any] = []
    whole = train(2, "float32", checkpoint=states.append, checkpoint_every=2)
    del states[0].settled["send"]
    assert (train(2, "float32", resume=states[0])._packed == whole._packed).all()
    with pytest.raises(ValueError, match="send was float32, and is bfloat16"):
        train(2, "bfloat16", resume=states[0])


@pytest.mark.parametrize(
    ("send", "deterministic", "words"),
    [
        (
            "float16", False,
            "send must be one of 'float32', 'bfloat16' or a share of the numbers, between 0 and 1; "
            "got 'float16'",
        ),
        (0.0, False, "send must be a share of the numbers, above 0 and below 1; got 0.0"),
        (1.0, False, "send must be at least 0 and less than 1; got 1.0"),
        (
            0.1, True,
            "send must be 'float32' where deterministic=True sends the parameters of all replicas; "
            "got 0.1",
        ),
        (
            "bfloat16", True,
            "send must be 'float32' where deterministic=True sends the parameters of all replicas; "
            "got 'bfloat16'",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_is_an_error_on_all_ranks(
    send: str | float, deterministic: bool, words: str
) -> None:
    options = {**OPTIONS, "threads": 2}
    for error in train_on_ranks(cut(2), options, deterministic=deterministic, send=send):
        assert isinstance(error, ValueError)
        assert str(error) == words


def test_what_differs_between_ranks_is_an_error_on_all() -> None:
    options = {**OPTIONS, "threads": 2}
    sent: Sequence[str | float] = ["float32", "bfloat16"]
    for error in train_on_ranks(cut(2), options, send=sent):
        assert isinstance(error, ValueError)
        assert str(error) == (
            "send must be the same on all ranks; got float32 on rank 0 and bfloat16 on rank 1"
        )
