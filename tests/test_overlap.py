"""Updates that travel while the ranks train on: the rule, and what may happen on the way."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import omp_mlp
import oracle
import threads_as_ranks
from omp_mlp import _core
from omp_mlp.distributed.overlap import Aside
from omp_mlp.distributed.train import train_over
from omp_mlp.errors import RankError, TrainingDivergedError
from rows_of_ranks import (
    BY_SUMS,
    OPTIONS,
    REPLICAS,
    ROWS,
    cut,
    samples,
    where_the_last_replica_diverges,
)
from threads_as_ranks import ThreadTransport, run_ranks, tcp_transports, train_on_ranks

OF_THE_LIBRARY = ("center_inputs", "scale_inputs", "workers")
OF_THE_ORACLE: dict[str, Any] = {
    "output_activation": "softmax", "loss": "cross_entropy", "learning_rate_schedule": "linear",
    "outer_momentum": 0.0, "init_scale": "glorot", "shuffle": "shards",
}  # fmt: skip


def train(ranks: int, *, replicas: int = REPLICAS, every: int = 1, **changed: Any) -> Any:
    """Return the network of all ranks, which train on while updates travel."""
    send = changed.pop("send", "float32")
    options = {**OPTIONS, "threads": replicas // ranks, **changed}
    if changed.get("resume") is not None:
        options = {"workers": 1, **changed}
    got = train_on_ranks(
        cut(ranks, replicas), options, merge_ranks_every=every, send=send, overlap=True
    )
    for one in got:
        if not isinstance(one, omp_mlp.Model):
            raise one
        assert (one._packed == got[0]._packed).all()
        for column in ("samples", "loss", "learning_rate"):
            of_rank, first = (getattr(model.history, column) for model in (one, got[0]))
            np.testing.assert_array_equal(of_rank, first)
    return got[0]


def flat(model: omp_mlp.Model) -> NDArray[Any]:
    return oracle.flatten(list(zip(model.weights, model.biases, strict=True)))


# ----------------------------------------------------------------------------------------- the rule


def check(ranks: int, every: int, merge: str, *, replicas: int = REPLICAS, **changed: Any) -> None:
    """Compare a training with the oracle's."""
    changed = {"outer_momentum": 0.0, "outer_learning_rate": 1.0, "init_scale": "glorot", **changed}
    got = train(ranks, replicas=replicas, every=every, merge=merge, **changed)
    X, y = samples()
    of_oracle = {name: OPTIONS[name] for name in OPTIONS if name not in OF_THE_LIBRARY}
    share = changed.pop("send", None)
    expected = oracle.train_parallel(
        X, y, replicas, merge, ranks=ranks, merge_ranks_every=every, overlap=True,
        sent_share=share, **{**OF_THE_ORACLE, **of_oracle, **changed},
    )  # fmt: skip
    largest = max(1.0, float(np.abs(oracle.flatten(expected.parameters)).max()))
    np.testing.assert_allclose(
        flat(got), oracle.flatten(expected.parameters), rtol=0, atol=1e-5 * largest
    )
    np.testing.assert_allclose(got.history.loss, expected.losses, rtol=2e-6, atol=1e-7)
    assert got.history.samples.tolist() == expected.sample_counts.sum(1).cumsum().tolist()


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("merge", BY_SUMS)
def test_merges_are_those_of_the_oracle(merge: str, ranks: int, every: int) -> None:
    changed: dict[str, Any] = {}
    if merge == "sum":  # n times the weights in every merge soon leaves float32
        changed = {"epochs": 1, "init_scale": 0.02, "merge_every": 9}
    check(ranks, every, merge, **changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"outer_momentum": 0.4},
        {"outer_optimizer": "nesterov", "outer_momentum": 0.5, "outer_learning_rate": 0.7},
        {"optimizer": "adam", "learning_rate": 0.01},
        {"optimizer": "adam", "learning_rate": 0.01, "state_at_merge": "reset"},
        {"merge_every": (2, 12)},
        {"merge_every": None},
        {"merge_every": 1000, "epochs": 1},
        {"learning_rate_schedule": "adaptive", "tol": 0.3, "epochs": 8},
        {"last_merge": "average"},
        {"send": 0.2},
    ],
    ids=str,
)
def test_other_options_go_with_it(changed: dict[str, Any]) -> None:
    check(2, 2, "delta_sum", **changed)


def test_independent_starts_go_with_it() -> None:
    check(2, 2, "average", init="independent")


def test_three_ranks_of_one_replica_are_those_of_the_oracle() -> None:
    check(3, 1, "average", replicas=3)


def test_the_recurrence_of_two_ranks_is_the_one_that_the_docs_tell() -> None:
    """Train round by round with one process, and merge here."""
    options = {**OPTIONS, "learning_rate_schedule": "constant", "shuffle": False, "epochs": 1}
    options |= {"threads": 1, "merge": "average", "outer_momentum": 0.0, "init_scale": "glorot"}
    shards = cut(2, 2)
    rounds = 4
    shards = [(X[: 4 * rounds], y[: 4 * rounds]) for X, y in shards]
    got = train_on_ranks(shards, options, overlap=True)[0]
    assert isinstance(got, omp_mlp.Model), got
    assert len(got.history) == rounds

    def one_round(start: NDArray[Any], rank: int, number: int) -> NDArray[Any]:
        X, y = (part[4 * number : 4 * number + 4] for part in shards[rank])
        network = oracle.unflatten(start.astype(np.float32), [7, 5, 3])
        result = oracle.train_parallel(
            X, y, 1, "average",
            **{
                **OF_THE_ORACLE, "learning_rate_schedule": "constant", "shuffle": False,
                "epochs": 1, "batch_size": 2, "learning_rate": 0.1, "merge_every": None,
                "activation": "tanh", "init": network, "hidden_layer_sizes": (5,),
            },
        )  # fmt: skip
        return oracle.flatten(result.parameters).astype(float)

    W = oracle.flatten(oracle.initial_parameters([7, 5, 3], 11, 0, "glorot", np.float32))
    starts, late = [W, W], np.zeros_like(W)
    for number in range(rounds):
        ends = [one_round(start, rank, number) for rank, start in enumerate(starts)]
        W = W + late
        late = np.mean([end - start for end, start in zip(ends, starts, strict=True)], axis=0)
        starts = [W + 0.85 * (end - W) for end in ends]
    np.testing.assert_allclose(flat(got), W + late, rtol=0, atol=2e-6)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_sums_over_tcp_train_the_same_network(ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    replicas = 3 if ranks == 3 else 4
    in_memory = train(ranks, replicas=replicas)
    monkeypatch.setattr(threads_as_ranks, "over", "TCP")
    over_tcp = train(ranks, replicas=replicas)
    np.testing.assert_allclose(over_tcp._packed, in_memory._packed, rtol=0, atol=1e-6)


@pytest.mark.parametrize("send", ["bfloat16", 0.3])
def test_updates_with_fewer_bits_go_with_it(send: str | float) -> None:
    exact, got = (train(2, send=one) for one in ("float32", send))
    assert 0 < np.abs(exact._packed - got._packed).max() < 0.2


def test_a_rank_that_is_alone_waits_for_nobody() -> None:
    (plain,) = train_on_ranks(cut(1), {**OPTIONS, "threads": 4})
    assert (train(1)._packed == plain._packed).all()


def test_ranks_without_rows_take_part() -> None:
    X, y = samples()
    shards = [(X, y), (None, None), (X[:30], y[:30])]
    got = train_on_ranks(shards, {**OPTIONS, "threads": 2}, overlap=True)
    for model in got:
        assert isinstance(model, omp_mlp.Model), model
        assert (model._packed == got[0]._packed).all()
    assert got[0].history.samples[-1] == 3 * (ROWS + 30)


def test_the_result_has_all_updates() -> None:
    """A round alone, and the last one, is merged without delay."""
    of_one_round = {"merge_every": None, "merge": "average", "threads": 1}
    plain, got = (
        train_on_ranks(cut(2, 2), {**OPTIONS, **of_one_round}, overlap=overlap)[0]
        for overlap in (False, True)
    )
    assert (plain._packed == got._packed).all()


# --------------------------------------------------------------------------------- what is awaited


def test_training_goes_on_while_messages_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message is sent when its rank has trained for the next round, and waits for the message."""
    met, waits, sent = threading.Condition(), [0, 0], [0, 0]
    rank_of = threading.local()
    wait = Aside.wait

    def come(aside: Aside) -> None:
        with met:
            waits[rank_of.rank] += 1
            met.notify_all()
        wait(aside)

    monkeypatch.setattr(Aside, "wait", come)

    class Watched(ThreadTransport):
        def add_up(self, values: memoryview) -> None:
            if threading.current_thread().name == "omp_mlp messages":
                sent[self.rank] += 1
                with met:
                    came = met.wait_for(lambda: waits[self.rank] == sent[self.rank], 60)
                assert came, "the training waits for the message"
            super().add_up(values)

    meeting = threads_as_ranks.Meeting(2)

    def work(transport: Any) -> Any:
        rank_of.rank = transport.rank
        X, y = cut(2)[transport.rank]
        options = {**OPTIONS, "threads": 2, "merge": "average"}
        return train_over(transport, X, y, options, deterministic=False, overlap=True)

    got = run_ranks(2, work, lambda rank: Watched(meeting, rank))
    assert all(isinstance(one, omp_mlp.Model) for one in got), got
    assert waits == sent == [len(got[0].history)] * 2


@pytest.mark.parametrize("over", ["memory", "TCP"])
@pytest.mark.parametrize("when", ["in a round", "after a round"])
def test_a_callback_that_raises_while_messages_travel_ends_all_ranks(
    when: str, over: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads_as_ranks, "over", over)

    def fail(progress: omp_mlp.Progress) -> None:
        if progress.merged == (when == "after a round"):
            raise KeyError("lost")

    X = np.random.default_rng(0).normal(size=(60_000, 40)).astype(np.float32)
    shards = [(X, np.arange(60_000) % 3)] * 3
    both = {
        **OPTIONS, "threads": 1, "epochs": 2, "hidden_layer_sizes": (64,), "batch_size": 1,
        "merge_every": 20_000,
    }  # fmt: skip
    of_ranks = [both, {**both, "callback": fail}, both]
    errors = train_on_ranks(shards, of_ranks, overlap=True)
    assert isinstance(errors[1], KeyError)
    for rank in (0, 2):
        assert isinstance(errors[rank], RankError), errors[rank]
        assert errors[rank].rank == 1
        assert "KeyError: 'lost'" in str(errors[rank])
    names = [thread.name for thread in threading.enumerate()]
    assert "omp_mlp messages" not in names


@pytest.mark.parametrize("over", ["memory", "TCP"])
def test_a_message_that_fails_ends_all_ranks(over: str) -> None:
    meeting = threads_as_ranks.Meeting(2)
    make: Any = tcp_transports(2) if over == "TCP" else lambda rank: ThreadTransport(meeting, rank)

    def work(transport: Any) -> Any:
        X, y = cut(2)[transport.rank]
        if transport.rank == 1:
            add_up = transport.add_up
            calls: list[int] = []

            def fail(values: memoryview) -> None:
                calls.append(1)
                if len(calls) > 5:
                    raise OSError("no way")
                add_up(values)

            transport.add_up = fail
        options = {**OPTIONS, "threads": 2}
        return train_over(transport, X, y, options, deterministic=False, overlap=True)

    errors = run_ranks(2, work, make)
    assert isinstance(errors[1], OSError)
    assert isinstance(errors[0], RankError)
    assert errors[0].rank == 1
    assert "OSError: no way" in str(errors[0])


def test_work_aside_raises_where_it_is_awaited() -> None:
    aside = Aside()

    def fail() -> None:
        raise ValueError("in the work")

    aside.start(fail)
    with pytest.raises(ValueError, match="in the work"):
        aside.wait()
    done: list[int] = []
    aside.start(lambda: done.append(1))
    aside.wait()
    assert done == [1]


# ------------------------------------------------------------------------------- stops, divergence


def test_a_wish_to_stop_ends_all_ranks_after_the_round() -> None:
    seen: list[int] = []

    def stop(progress: omp_mlp.Progress) -> bool:
        if progress.merged:
            seen.append(progress.samples)
        return progress.merged and progress.round == 3

    options = {**OPTIONS, "threads": 2}
    got = train_on_ranks(cut(2), [options, {**options, "callback": stop}], overlap=True)
    whole = train(2)
    for model in got:
        assert isinstance(model, omp_mlp.Model), model
        assert (model._packed == got[0]._packed).all()
        assert model.history.loss.tolist() == whole.history.loss[:4].tolist()
    assert seen == got[0].history.samples.tolist()


def test_early_stopping_returns_the_best_network() -> None:
    X, _ = samples()
    # The labels to be judged on are random: the loss soon rises.
    judged = (X, np.random.default_rng(1).integers(0, 3, ROWS))
    networks: list[NDArray[Any]] = []

    def watch(progress: omp_mlp.Progress) -> None:
        if progress.merged:
            networks.append(progress.model._packed.copy())

    options = {
        **OPTIONS, "threads": 2, "epochs": 40, "validation_data": judged, "early_stopping": True,
        "patience": 3, "learning_rate": 0.3, "callback": watch,
    }  # fmt: skip
    got = train_on_ranks(cut(2), [options, {**options, "callback": None}], overlap=True)
    history = got[0].history
    assert len(history) < 40 * 7
    best = int(np.nanargmin(history.validation_loss))
    assert history.best_round == best
    for model in got:
        assert (model._packed == networks[best]).all()


@pytest.mark.parametrize("on_nonfinite", ["stop", "skip"])
def test_a_replica_that_diverges_is_the_same_on_all_ranks(on_nonfinite: str) -> None:
    shards, options = where_the_last_replica_diverges()
    if on_nonfinite == "stop":
        for error in train_on_ranks(shards, options, overlap=True):
            assert isinstance(error, TrainingDivergedError), error
            assert error.replica == 3
            assert np.isfinite(error.model._packed).all()
        return
    options = [{**one, "on_nonfinite": "skip"} for one in options]
    with pytest.warns(omp_mlp.SkippedReplicaWarning, match="replica 3"):
        skipped = train_on_ranks(shards, options, overlap=True)
    for model in skipped:
        assert (model._packed == skipped[0]._packed).all()
        assert np.isfinite(model._packed).all()


def test_a_rank_without_a_finite_replica_is_left_out() -> None:
    X, _ = samples()
    y = X[:, 0] * 10
    shards = [(X[:50], y[:50]), (X[50:], y[50:])]
    both = {**OPTIONS, "threads": 1, "merge": "average", "learning_rate": 0.01}
    both |= {"on_nonfinite": "skip", "epochs": 1}
    options = [both, {**both, "sample_weight": np.full(51, 3e38)}]
    with pytest.warns(omp_mlp.SkippedReplicaWarning, match="replica 1 in round 0"):
        got = train_on_ranks(shards, options, overlap=True)
    for model in got:
        assert isinstance(model, omp_mlp.Model), model
        assert (model._packed == got[0]._packed).all()
        assert np.isfinite(model._packed).all()


# ------------------------------------------------------------------------------ states and refusals


@pytest.mark.parametrize("changed", [{}, {"optimizer": "adam", "learning_rate": 0.01}], ids=str)
@pytest.mark.parametrize("send", ["float32", "bfloat16"])
@pytest.mark.parametrize("every", [1, 3])
def test_a_training_goes_on_with_the_same_bits(
    every: int, send: str, changed: dict[str, Any]
) -> None:
    states: list[Any] = []
    kept = {"checkpoint": states.append, "checkpoint_every": 1, "outer_momentum": 0.4, **changed}
    whole = train(2, send=send, every=every, **kept)
    unkept = train(2, send=send, every=every, outer_momentum=0.4, **changed)
    assert (whole._packed == unkept._packed).all()
    states = states[::2]  # both ranks keep them
    for state in states[: len(states) - 1 : 2]:
        got = train(2, send=send, every=every, resume=state)
        assert (got._packed == whole._packed).all()
        assert (got.history.loss == whole.history.loss).all()


def test_a_state_in_a_file_goes_on(tmp_path: Any) -> None:
    path = tmp_path / "state.safetensors"

    def stop(progress: omp_mlp.Progress) -> bool:
        return progress.merged and progress.round == 5

    whole = train(2)
    options = {**OPTIONS, "threads": 2, "checkpoint": path, "checkpoint_every": 100}
    train_on_ranks(cut(2), {**options, "callback": stop}, overlap=True)
    got = train(2, resume=path)
    assert (got._packed == whole._packed).all()


def test_states_go_on_as_they_began() -> None:
    states: list[Any] = []
    train(2, checkpoint=states.append, checkpoint_every=2)
    with pytest.raises(ValueError, match="ranks was 2, and is 4"):
        train(4, resume=states[0])
    (error, _) = train_on_ranks(cut(2), {"workers": 1, "resume": states[0]})
    assert isinstance(error, ValueError)
    assert "overlap was True, and is False" in str(error)
    plain: list[Any] = []
    options = {**OPTIONS, "threads": 2, "checkpoint": plain.append, "checkpoint_every": 2}
    whole = train_on_ranks(cut(2), options)[0]
    with pytest.raises(ValueError, match="overlap was False, and is True"):
        train(2, resume=plain[0])
    # States of before there was a choice.
    del plain[0].settled["overlap"]
    got = train_on_ranks(cut(2), {"workers": 1, "resume": plain[0]})[0]
    assert (got._packed == whole._packed).all()


def test_a_longer_training_goes_on_from_the_end_of_the_shorter_one() -> None:
    states: list[Any] = []
    both = {"learning_rate_schedule": "constant", "shuffle": "shards"}
    train(2, checkpoint=states.append, checkpoint_every=100, epochs=2, **both)
    got = train(2, resume=states[-1], epochs=4)
    plain: list[Any] = []
    options = {**OPTIONS, "threads": 2, "checkpoint_every": 100, "epochs": 2, **both}
    train_on_ranks(cut(2), {**options, "checkpoint": plain.append})
    expected = train_on_ranks(cut(2), {"workers": 1, "resume": plain[-1], "epochs": 4})[0]
    assert got.history.samples.tolist() == expected.history.samples.tolist()
    assert got.history.loss[-1] < got.history.loss[len(got.history) // 2]


def test_a_state_of_a_damaged_overlap_is_refused() -> None:
    states: list[Any] = []
    train(2, checkpoint=states.append, checkpoint_every=2)
    for change, words in [
        ({"overlap.end": np.array([3])}, "overlap.end must be the end of a round"),
        ({"overlap.results": np.zeros(18)}, "overlap.results must have 5 numbers"),
        ({"overlap.results": np.full(20, -1.0)}, "overlap.results must have counts"),
        ({"overlap.start": np.zeros(2, np.float32)}, "overlap.start must have"),
    ]:
        state = states[0]
        before = dict(state._core)
        state._core.update(change)
        errors = train_on_ranks(cut(2), {"workers": 1, "resume": state}, overlap=True)
        # One that comes first tells the other, which may not have looked at the state by then.
        found = [str(error) for error in errors if isinstance(error, ValueError)]
        assert len(found) > 0, errors
        assert all(words in one for one in found), found
        state._core.clear()
        state._core.update(before)


@pytest.mark.parametrize(
    ("overlap", "changed", "words"),
    [
        (1, {}, "overlap must be one of False, True; got 1"),
        ("yes", {}, "overlap must be one of False, True; got 'yes'"),
        (
            True, {"deterministic": True},
            "overlap must be False where deterministic=True gives a merge the parameters of all "
            "replicas; got True",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_is_an_error_on_all_ranks(
    overlap: Any, changed: dict[str, Any], words: str
) -> None:
    options = {**OPTIONS, "threads": 2}
    for error in train_on_ranks(cut(2), options, overlap=[overlap] * 2, **changed):
        assert isinstance(error, ValueError)
        assert str(error) == words


def test_the_core_refuses_what_overlaps_where_parameters_are_gathered() -> None:
    with pytest.raises(ValueError, match="aside must be None where merges gather parameters"):
        _core.Ranks(
            transport=None, rank=0, size=2, replicas_a_rank=1, longest_shard=1, first_row=0,
            density=1.0, gathers=True, may_stop=False, merges_a_round=1, sent_as="float32",
            sent_share=1.0, aside=Aside(),
        )  # fmt: skip


def test_a_transport_of_one_thread_is_refused() -> None:
    class OneThread(ThreadTransport):
        def why_one_thread(self) -> str | None:
            return "it is shy"

    meeting = threads_as_ranks.Meeting(2)

    def work(transport: Any) -> Any:
        X, y = cut(2)[transport.rank]
        options = {**OPTIONS, "threads": 2}
        return train_over(transport, X, y, options, deterministic=False, overlap=True)

    for error in run_ranks(2, work, lambda rank: OneThread(meeting, rank)):
        assert isinstance(error, ValueError)
        assert str(error) == "overlap must be False, because it is shy; got True"


def test_what_differs_between_ranks_is_an_error_on_all() -> None:
    overlap: Sequence[bool] = [False, True]
    for error in train_on_ranks(cut(2), {**OPTIONS, "threads": 2}, overlap=overlap):
        assert isinstance(error, ValueError)
        assert str(error) == (
            "overlap must be the same on all ranks; got False on rank 0 and True on rank 1"
        )
