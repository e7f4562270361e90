"""Merges of two levels, of a rank's replicas and of the ranks, against the NumPy oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import omp_mlp
import oracle
from omp_mlp import _core
from omp_mlp.errors import TrainingDivergedError
from threads_as_ranks import train_on_ranks

BY_SUMS = ("average", "sum", "weighted_average", "delta_sum", "gradient_diversity")
BY_NETWORKS = (*BY_SUMS, "adasum", "median")
# As in tests/test_train.py; the sums of the ranks are rounded to float32 besides.
TOLERANCE = 1e-5
ROWS, REPLICAS = 101, 6

OPTIONS: dict[str, Any] = {
    "hidden_layer_sizes": (5,), "activation": "tanh", "output_activation": "softmax",
    "loss": "cross_entropy", "epochs": 3, "batch_size": 2, "learning_rate": 0.1,
    "learning_rate_schedule": "linear", "merge_every": 4, "outer_momentum": 0.0,
    "init_scale": "glorot", "shuffle": "shards", "seed": 11,
}  # fmt: skip
OF_THE_LIBRARY: dict[str, Any] = {
    "outer_learning_rate": 1.0, "last_merge": None, "center_inputs": False, "scale_inputs": False,
    "workers": 1,
}  # fmt: skip


def inputs(rows: int = ROWS) -> NDArray[np.float32]:
    """Make inputs of unit size, of which a third is zero."""
    rng = np.random.default_rng(3)
    X = rng.uniform(-1, 1, (rows, 7)).astype(np.float32)
    X[rng.random(X.shape) < 1 / 3] = 0
    return X


def classes(rows: int = ROWS) -> NDArray[np.int64]:
    return np.arange(rows) % 3


def values() -> NDArray[np.float64]:
    X = inputs().astype(np.float64)
    return X[:, :2] @ [1.0, -2.0] + 10.0


OF_VALUES = {"loss": "squared_error", "output_activation": "identity", "activation": "relu"}


def cut(X: Any, y: Any, ranks: int) -> list[tuple[Any, Any]]:
    """Return the rows of each rank: the shards of its replicas in one process."""
    ends = [oracle.block(len(X), REPLICAS, r * REPLICAS // ranks)[0] for r in range(1, ranks)]
    return list(zip(np.split(X, ends), np.split(y, ends), strict=True))


def on_ranks(
    X: Any, y: Any, ranks: int, every: int, *, deterministic: bool = False, **changed: Any
) -> Any:
    options = {**OPTIONS, **OF_THE_LIBRARY, "threads": REPLICAS // ranks, **changed}
    first, *others = train_on_ranks(
        cut(X, y, ranks), options, deterministic=deterministic, merge_ranks_every=every
    )
    assert isinstance(first, omp_mlp.Model), first
    for other in others:
        assert (other._packed == first._packed).all()
        assert (other.history.loss == first.history.loss).all()
    return first


def check(
    X: Any, y: Any, ranks: int, every: int, merge: str, *, deterministic: bool, **changed: Any
) -> None:
    """Train both ways, and compare."""
    got = on_ranks(X, y, ranks, every, deterministic=deterministic, merge=merge, **changed)
    expected = oracle.train_parallel(
        X, y, REPLICAS, merge, ranks=ranks, merge_ranks_every=every, **{**OPTIONS, **changed}
    )
    largest = max(1.0, float(np.abs(oracle.flatten(expected.parameters)).max()))
    layers = list(zip(got.weights, got.biases, strict=True))
    np.testing.assert_allclose(
        oracle.flatten(layers),
        oracle.flatten(expected.parameters),
        rtol=0,
        atol=TOLERANCE * largest,
    )
    assert got.history.samples.tolist() == expected.sample_counts.sum(axis=1).cumsum().tolist()
    np.testing.assert_allclose(got.history.loss, expected.losses, rtol=2e-6, atol=1e-7)


# 101 rows in 6 shards of 17 or 16, for 3 epochs: 51 positions, and 13 merges.
@pytest.mark.covering(2)
@pytest.mark.parametrize("deterministic", [False, True], ids="deterministic_{}".format)
@pytest.mark.parametrize("every", [1, 2, 3, 5, 13, 50], ids="every_{}".format)
@pytest.mark.parametrize("ranks", [1, 2, 3, 6])
@pytest.mark.parametrize("merge", BY_NETWORKS)
def test_levels_are_those_of_the_oracle(
    merge: str, ranks: int, every: int, deterministic: bool
) -> None:
    changed: dict[str, Any] = {}
    if merge == "sum":
        # n times the weights in every merge soon leaves float32.
        changed = {"epochs": 1, "init_scale": 0.02, "merge_every": 9}
    check(
        inputs(), classes(), ranks, every, merge,
        deterministic=deterministic or merge not in BY_SUMS, **changed,
    )  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"outer_momentum": 0.4},
        {"outer_optimizer": "slowmo", "outer_momentum": 0.5, "learning_rate_schedule": "cosine"},
        {"outer_optimizer": "nesterov", "outer_momentum": 0.5, "outer_learning_rate": 0.7},
        {"last_merge": "average", "merge": "gradient_diversity"},
        {"merge_every": (2, 12)},
        {"optimizer": "adam", "learning_rate": 0.01},
        {
            "optimizer": "momentum",
            "momentum": 0.8,
            "state_at_merge": "reset",
            "learning_rate": 0.05,
        },
        {"dropout": 0.3},
        {"learning_rate_schedule": "adaptive", "tol": 10.0, "epochs": 6},
        {"init": "independent", "merge": "average"},
    ],
    ids=str,
)
@pytest.mark.parametrize("deterministic", [False, True])
def test_options_go_with_levels(deterministic: bool, changed: dict[str, Any]) -> None:
    merge = changed.get("merge", "delta_sum")
    changed = {name: value for name, value in changed.items() if name != "merge"}
    check(inputs(), classes(), 3, 2, merge, deterministic=deterministic, **changed)


def test_sparse_rows_that_replicas_did_not_touch_go_with_levels() -> None:
    # Bytes are read as lists of what is not zero, and replicas leave work to the merge.
    X = (inputs() * 2).round().clip(0, 1).astype(np.uint8)
    check(X, classes(), 2, 3, "gradient_diversity", deterministic=False)


@pytest.mark.parametrize("outer_momentum", [0.0, 0.4])
@pytest.mark.parametrize("merge", BY_SUMS)
def test_loops_for_every_instruction_set_give_ranks_the_same_bits(
    merge: str, outer_momentum: float
) -> None:
    """The processors of the ranks may differ."""
    networks = set()
    try:
        for name in _core.merge_loop_names():
            _core.select_merge_loops(name)
            model = on_ranks(
                inputs(), classes(), 2, 1, merge=merge, outer_momentum=outer_momentum, epochs=1
            )
            networks.add(model._packed.tobytes())
    finally:
        _core.select_merge_loops("best")
    assert len(networks) == 1


def test_ranks_of_unequal_rows_weigh_by_their_samples() -> None:
    X, y = inputs(), classes()
    options = {**OPTIONS, **OF_THE_LIBRARY, "threads": 1, "merge": "weighted_average"}
    shards = [(X[:80], y[:80]), (X[80:], y[80:]), (None, None)]
    got = train_on_ranks(shards, options, merge_ranks_every=2)
    assert all(isinstance(one, omp_mlp.Model) for one in got), got
    for other in got[1:]:
        assert (other._packed == got[0]._packed).all()


def test_early_stopping_judges_what_the_ranks_have_merged() -> None:
    X, y = inputs(), classes()
    seen: list[tuple[int, int]] = []

    def watch(progress: omp_mlp.Progress) -> None:
        if progress.merged:
            seen.append((progress.round, progress.rounds))

    changed = {"validation_data": (X[::5], y[::5]), "early_stopping": True, "patience": 2}
    options = {**OPTIONS, **OF_THE_LIBRARY, "threads": 3, **changed}
    got = train_on_ranks(
        cut(X, y, 2), [{**options, "callback": watch}, options], merge_ranks_every=3
    )
    for model in got:
        assert model.history.best_round == got[0].history.best_round
        assert (model._packed == got[0]._packed).all()
    assert seen[0] == (0, 5)  # 13 merges, 3 to a round
    assert len(seen) == len(got[0].history) == len(got[0].history.validation_loss)


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_replica_that_diverges_within_a_round_keeps_nobody_waiting(deterministic: bool) -> None:
    X, y = inputs(), values()
    weight = np.ones(ROWS)
    weight[-1] = 3e38
    both = {**OPTIONS, **OF_THE_LIBRARY, **OF_VALUES, "threads": 2, "merge": "average"}
    options = [{**both, "sample_weight": one} for one, _ in cut(weight, y, 3)]
    got = train_on_ranks(cut(X, y, 3), options, deterministic=deterministic, merge_ranks_every=5)
    for error in got:
        assert isinstance(error, TrainingDivergedError)
        # If its very last step made it infinite, the merge within its rank made the other so, too.
        assert error.replica in (4, 5)
        assert error.round == 0
    options = [{**one, "on_nonfinite": "skip"} for one in options]
    with pytest.warns(omp_mlp.SkippedReplicaWarning, match="replica 5 in round 0"):
        skipped = train_on_ranks(
            cut(X, y, 3), options, deterministic=deterministic, merge_ranks_every=5
        )
    for model in skipped:
        assert (model._packed == skipped[0]._packed).all()
        assert all(np.isfinite(W).all() for W in model.weights)


def test_a_rank_whose_replicas_all_diverge_starts_anew_from_the_others() -> None:
    X, y = inputs(), values()
    weight = np.ones(ROWS)
    weight[68:] = 3e38
    both = {**OPTIONS, **OF_THE_LIBRARY, **OF_VALUES, "threads": 2, "merge": "average"}
    options = [
        {**both, "sample_weight": rows, "on_nonfinite": "skip"} for rows, _ in cut(weight, y, 3)
    ]
    with pytest.warns(
        omp_mlp.SkippedReplicaWarning, match="replica 4 in round 0, replica 5 in round 0"
    ):
        got = train_on_ranks(cut(X, y, 3), options, merge_ranks_every=5)
    for model in got:
        assert (model._packed == got[0]._packed).all()
        assert all(np.isfinite(W).all() for W in model.weights)


def test_a_callback_that_stops_within_a_round_stops_all_at_its_end() -> None:
    X, y = inputs(), classes()
    both = {**OPTIONS, **OF_THE_LIBRARY, "threads": 3}
    stops = {**both, "callback": lambda progress: progress.round == 1 and progress.merged}
    got = train_on_ranks(cut(X, y, 2), [both, stops], merge_ranks_every=2)
    assert [len(model.history) for model in got] == [2, 2]
    assert (got[0]._packed == got[1]._packed).all()


def test_a_period_that_differs_is_an_error_on_all_ranks() -> None:
    X, y = inputs(), classes()
    options = {**OPTIONS, **OF_THE_LIBRARY, "threads": 3}
    for error in train_on_ranks(cut(X, y, 2), options, merge_ranks_every=[1, 2]):
        assert isinstance(error, ValueError)
        assert str(error) == (
            "merge_ranks_every must be the same on all ranks; got 1 on rank 0 and 2 on rank 1"
        )
    for error in train_on_ranks(cut(X, y, 2), options, merge_ranks_every=0):
        assert isinstance(error, ValueError)
        assert "merge_ranks_every must be at least 1" in str(error)
