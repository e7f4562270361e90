"""A training of several ranks goes on from its state: on any number of them, with the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

import omp_mlp
from omp_mlp.errors import TrainingDivergedError
from threads_as_ranks import train_on_ranks

ROWS, REPLICAS = 203, 6
OPTIONS: dict[str, Any] = {
    "hidden_layer_sizes": (13,), "epochs": 2, "batch_size": 4, "merge_every": 16, "seed": 2,
    "learning_rate": 0.01, "shuffle": "shards", "workers": 1, "outer_momentum": 0.4,
}  # fmt: skip


def samples() -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (ROWS, 23)).astype(np.uint8)
    X[rng.random(X.shape) < 0.7] = 0
    return X, np.arange(ROWS) % 3


def cut(X: Any, y: NDArray[Any], ranks: int) -> list[tuple[Any, Any]]:
    shards = np.array_split(np.arange(ROWS), REPLICAS)
    own = REPLICAS // ranks
    rows = [np.concatenate(shards[r * own : (r + 1) * own]) for r in range(ranks)]
    return [(X[mine], y[mine]) for mine in rows]


def train(X: Any, y: Any, ranks: int, *, every: int = 1, **changed: Any) -> Any:
    """Train deterministically; return the model of the first rank."""
    options = {**OPTIONS, "threads": REPLICAS // ranks, **changed}
    if changed.get("resume") is not None:
        options = {"workers": 1, **changed}
    got = train_on_ranks(cut(X, y, ranks), options, deterministic=True, merge_ranks_every=every)
    for model in got:
        if not isinstance(model, omp_mlp.Model):
            raise model
        assert (model._packed == got[0]._packed).all()
    return got[0]


def states_of(X: Any, y: Any, ranks: int, **changed: Any) -> tuple[Any, list[Any]]:
    """Return the model, and a state after each round; only the first rank gets them."""
    kept: list[Any] = []
    model = train(X, y, ranks, checkpoint=kept.append, checkpoint_every=1, **changed)
    assert len(kept) == len(model.history)
    return model, kept


def same(got: omp_mlp.Model, expected: omp_mlp.Model) -> None:
    assert (got._packed == expected._packed).all()
    assert (got.history.loss == expected.history.loss).all()
    assert (got.history.samples == expected.history.samples).all()


@pytest.mark.parametrize("ranks", [1, 2, 3, 6])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"optimizer": "adam", "learning_rate": 0.002},
        {"optimizer": "momentum", "input_gain_rate": 0.1, "averaging": "ema"},
        {"outer_optimizer": "slowmo", "learning_rate_schedule": "cosine"},
        {"learning_rate_schedule": "adaptive"},
    ],
    ids=str,
)
def test_any_number_of_ranks_goes_on_with_the_same_bits(
    changed: dict[str, Any], ranks: int
) -> None:
    X, y = samples()
    whole, states = states_of(X, y, 3, **changed)
    for state in states[:: len(states) // 3]:
        same(train(X, y, ranks, resume=state), whole)


def test_replicas_that_nobody_counted_are_those_of_the_state() -> None:
    X, y = samples()
    thirds = list(zip(np.array_split(X, 3), np.array_split(y, 3), strict=True))
    kept: list[Any] = []
    options = {**OPTIONS, "checkpoint": kept.append, "checkpoint_every": 3}
    whole = train_on_ranks(thirds, options, deterministic=True)[0]
    assert whole.history.threads == 3
    got = train_on_ranks([(X, y)], {"workers": 1, "resume": kept[1]}, deterministic=True)[0]
    same(got, whole)


def test_sparse_rows_and_weights_are_known_again() -> None:
    X, y = samples()
    sparse = scipy.sparse.csr_matrix(X.astype(np.float32))
    whole, states = states_of(sparse, y, 2)
    same(train(sparse, y, 3, resume=states[1]), whole)
    other = sparse.copy()
    other.data[-1] += 1
    with pytest.raises(ValueError, match=r"X values was .* with SHA-256"):
        train(other, y, 3, resume=states[1])


def test_a_file_is_written_by_one_rank_and_read_by_one(tmp_path: Path) -> None:
    X, y = samples()
    path = tmp_path / "state.safetensors"
    whole = train(X, y, 2, checkpoint=path, checkpoint_every=5)
    # The last state is that of the end; a state of the middle is written by hand.
    _, states = states_of(X, y, 2)
    states[2].save(path)
    options = [{"workers": 1, "resume": path}, {"workers": 1, "resume": tmp_path / "missing"}]
    got = train_on_ranks(cut(X, y, 2), options, deterministic=True)
    for model in got:
        same(model, whole)


def test_levels_go_on_between_two_merges_of_ranks() -> None:
    X, y = samples()
    whole, states = states_of(X, y, 3, every=2, optimizer="adam", learning_rate=0.002)
    for state in states:
        same(train(X, y, 3, every=2, resume=state), whole)
    with pytest.raises(ValueError, match="ranks was 3, and is 2"):
        train(X, y, 2, every=2, resume=states[0])
    with pytest.raises(ValueError, match="merge_ranks_every was 2, and is 1"):
        train(X, y, 3, resume=states[0])


def test_early_stopping_goes_on() -> None:
    X, y = samples()
    changed = {
        "validation_data": (X[::5], y[::5]), "early_stopping": True, "patience": 3,
        "validate_every": 2,
    }  # fmt: skip
    whole, states = states_of_some(X, y, **changed)
    got = train(X, y, 3, resume=states[3], validation_data=changed["validation_data"])
    same(got, whole)
    assert got.history.best_round == whole.history.best_round


def states_of_some(X: Any, y: Any, **changed: Any) -> tuple[Any, list[Any]]:
    kept: list[Any] = []
    return train(X, y, 2, checkpoint=kept.append, checkpoint_every=1, **changed), kept


def test_a_stop_of_one_rank_keeps_the_state_of_all() -> None:
    X, y = samples()
    whole, _ = states_of(X, y, 2)
    kept: list[Any] = []
    both = {**OPTIONS, "threads": 3, "checkpoint": kept.append, "checkpoint_every": 100}

    def stop(progress: omp_mlp.Progress) -> bool:
        return progress.round == 2 and progress.merged

    got = train_on_ranks(cut(X, y, 2), [both, {**both, "callback": stop}], deterministic=True)
    assert [len(model.history) for model in got] == [3, 3]
    assert [state.round for state in kept] == [3]
    same(train(X, y, 3, resume=kept[0]), whole)


def test_a_training_that_diverges_gives_the_last_state_to_all() -> None:
    X, y = samples()
    weight = np.ones(ROWS)
    weight[-1] = 3e38  # the last of its shard, unshuffled
    kept: list[Any] = []
    both = {
        **OPTIONS, "threads": 3, "shuffle": False, "checkpoint": kept.append, "checkpoint_every": 1
    }  # fmt: skip
    options = [{**both, "sample_weight": rows} for rows, _ in cut(weight, y, 2)]
    got = train_on_ranks(cut(X, y + 0.5, 2), options, deterministic=True)
    assert kept
    for error in got:
        assert isinstance(error, TrainingDivergedError)
        assert error.state is not None
        assert error.state.round == kept[-1].round == error.round


def test_what_does_not_fit_is_an_error_on_all_ranks() -> None:
    X, y = samples()
    _, states = states_of(X, y, 2)
    four = list(zip(np.array_split(X, 4), np.array_split(y, 4), strict=True))
    for error in train_on_ranks(four, {"workers": 1, "resume": states[0]}, deterministic=True):
        assert isinstance(error, ValueError)
        assert "the 6 replicas of the state in resume must be shared out evenly" in str(error)
    with pytest.raises(ValueError, match="deterministic was True, and is False"):
        raise train_on_ranks(cut(X, y, 2), {"workers": 1, "resume": states[0]})[1]
    with pytest.raises(ValueError, match=r"learning_rate was 0.01, and is 0.5"):
        train(X, y, 2, resume=states[0], learning_rate=0.5)
    with pytest.raises(ValueError, match=r"y was .* with SHA-256"):
        train(X, y[::-1], 2, resume=states[0])
    options = [{"workers": 1, "resume": states[0]}, {"workers": 1}]
    for error in train_on_ranks(cut(X, y, 2), options, deterministic=True):
        assert isinstance(error, ValueError)
        assert "resume must be the same on all ranks; got given on rank 0" in str(error)
    with pytest.raises(ValueError, match="got the state of one of several ranks"):
        omp_mlp.train_parallel(X, y, resume=states[0])
    kept: list[Any] = []
    omp_mlp.train_parallel(X, y, REPLICAS, checkpoint=kept.append, **OPTIONS)
    with pytest.raises(ValueError, match="got the state of one of one process"):
        train(X, y, 2, resume=kept[0])
