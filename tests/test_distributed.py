"""Trainings of several ranks against one process, with threads as ranks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

import omp_mlp
import threads_as_ranks
from omp_mlp.errors import RankError, TrainingDivergedError
from threads_as_ranks import TRANSPORTS, train_on_ranks


@pytest.fixture(autouse=True, params=TRANSPORTS)
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test over all transports that need no more than this process."""
    monkeypatch.setattr(threads_as_ranks, "over", request.param)


BY_SUMS = ("average", "sum", "weighted_average", "delta_sum", "gradient_diversity")
BY_REPLICAS = (*BY_SUMS, "adasum", "median")
# The ranks' sums are rounded to float32 before they are added up, once a round.
TOLERANCE = 2e-6

OPTIONS: dict[str, Any] = {
    "hidden_layer_sizes": (13,), "epochs": 2, "batch_size": 4, "merge_every": 16, "seed": 2,
    "learning_rate": 0.01, "shuffle": "shards", "workers": 1,
}  # fmt: skip
ROWS, REPLICAS = 203, 6


def bytes_and_classes() -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (ROWS, 23)).astype(np.uint8)
    X[rng.random(X.shape) < 0.7] = 0
    return X, np.arange(ROWS) % 3


def floats_and_values() -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(1)
    X = rng.normal(3.0, 2.0, (ROWS, 5))
    return X, X[:, :2] @ [1.0, -2.0] + 10.0


def blocks(ranks: int, rows: int = ROWS) -> list[NDArray[np.int64]]:
    """Return the rows of each rank: the shards of its replicas in one process."""
    shards = np.array_split(np.arange(rows), REPLICAS)
    own = REPLICAS // ranks
    return [np.concatenate(shards[r * own : (r + 1) * own]) for r in range(ranks)]


def cut(X: Any, y: NDArray[Any], ranks: int) -> list[tuple[Any, NDArray[Any]]]:
    return [(X[rows], y[rows]) for rows in blocks(ranks)]


def on_ranks(
    X: Any,
    y: Any,
    ranks: int,
    *,
    deterministic: bool = False,
    merge_ranks_every: int = 1,
    **changed: Any,
) -> Any:
    """Train on ranks; return the model of the first, after a look at the others."""
    options = {**OPTIONS, "threads": REPLICAS // ranks, **changed}
    first, *others = train_on_ranks(
        cut(X, y, ranks),
        options,
        deterministic=deterministic,
        merge_ranks_every=merge_ranks_every,
    )
    assert isinstance(first, omp_mlp.Model), first
    for other in others:
        assert_same_bits(other, first)
        assert (other.history.loss == first.history.loss).all()
    return first


def in_one_process(X: Any, y: Any, **changed: Any) -> omp_mlp.Model:
    model = omp_mlp.train_parallel(X, y, REPLICAS, **{**OPTIONS, **changed})
    assert isinstance(model, omp_mlp.Model)
    return model


def parts_of(model: omp_mlp.Model) -> list[NDArray[np.float32]]:
    return [*model.weights, *model.biases]


def assert_same_bits(got: omp_mlp.Model, expected: omp_mlp.Model) -> None:
    for mine, other in zip(parts_of(got), parts_of(expected), strict=True):
        assert (mine == other).all()


def assert_close(got: omp_mlp.Model, expected: omp_mlp.Model) -> None:
    for mine, other in zip(parts_of(got), parts_of(expected), strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=TOLERANCE * np.abs(other).max())


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("merge", BY_REPLICAS)
def test_deterministic_ranks_have_the_bits_of_one_process(merge: str, ranks: int) -> None:
    changed: dict[str, Any] = {"merge": merge}
    if merge == "sum":
        changed |= {"epochs": 1, "merge_every": None, "init": "independent"}
    X, y = bytes_and_classes()
    got = on_ranks(X, y, ranks, deterministic=True, **changed)
    expected = in_one_process(X, y, **changed)
    assert_same_bits(got, expected)
    assert (got.history.loss == expected.history.loss).all()
    assert (got.history.samples == expected.history.samples).all()


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("merge", BY_SUMS)
def test_sums_over_ranks_are_those_of_one_process(merge: str, ranks: int) -> None:
    changed: dict[str, Any] = {"merge": merge}
    if merge == "sum":
        changed |= {"epochs": 1, "merge_every": None, "init": "independent"}
    X, y = bytes_and_classes()
    assert_close(on_ranks(X, y, ranks, **changed), in_one_process(X, y, **changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"outer_momentum": 0.4},
        {"outer_optimizer": "slowmo", "learning_rate_schedule": "cosine"},
        {"outer_optimizer": "nesterov"},
        {"last_merge": "average", "merge_every": (8, 32)},
        {"optimizer": "adam", "state_at_merge": "reset", "learning_rate": 0.002},
        {"dropout": 0.3},
        {"class_weight": "balanced"},
        {"strategy": "pattern", "merge_every": "auto"},
        {"center_inputs": False, "first_layer": "dense"},
        {"learning_rate": "auto", "batch_size": "auto", "merge_every": "auto"},
    ],
    ids=str,
)
@pytest.mark.parametrize("deterministic", [False, True])
def test_options_mean_what_they_mean_in_one_process(
    deterministic: bool, changed: dict[str, Any]
) -> None:
    X, y = bytes_and_classes()
    got = on_ranks(X, y, 2, deterministic=deterministic, **changed)
    expected = in_one_process(X, y, **changed)
    (assert_same_bits if deterministic else assert_close)(got, expected)
    assert (got.history.samples == expected.history.samples).all()


@pytest.mark.parametrize("ranks", [2, 3])
def test_sparse_rows_and_scales_are_those_of_one_process(ranks: int) -> None:
    rng = np.random.default_rng(3)
    X = scipy.sparse.random(ROWS, 40, 0.1, "csr", rng=rng, dtype=np.float64)
    X.data *= 7.0
    y = np.arange(ROWS) % 2 == 0
    assert_close(on_ranks(X, y, ranks), in_one_process(X, y))


@pytest.mark.parametrize("ranks", [2, 3])
def test_values_and_scales_are_those_of_one_process(ranks: int) -> None:
    X, y = floats_and_values()
    assert_close(on_ranks(X, y, ranks), in_one_process(X, y))


def test_labels_that_one_rank_lacks_are_learned() -> None:
    X, y = bytes_and_classes()
    order = np.argsort(y, kind="stable")  # the first rank has no label 2, and the last no 0
    got = on_ranks(X[order], y[order], 3)
    assert got.classes is not None
    assert got.classes.tolist() == [0, 1, 2]
    assert_close(got, in_one_process(X[order], y[order]))


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("X", ["bytes", "floats", "sparse"])
@pytest.mark.parametrize("y", ["classes", "value", "values", "labels"])
def test_a_rank_without_rows_takes_part(X: str, y: str, place: int) -> None:
    images, classes = bytes_and_classes()
    floats, value = floats_and_values()
    rows: Any = {"bytes": images, "floats": floats, "sparse": scipy.sparse.csr_matrix(floats)}[X]
    targets: Any = {
        "classes": classes, "value": value, "values": floats[:, :2],
        "labels": np.stack([classes == 1, value > 10], axis=1).astype(int),
    }[y]  # fmt: skip
    # Each replica has an order of its own.
    options = {**OPTIONS, "threads": 1, "merge": "weighted_average", "shuffle": False}
    shards: list[Any] = [(rows, targets)]
    shards.insert(place, (None, None))
    got = train_on_ranks(shards, options)
    assert all(isinstance(one, omp_mlp.Model) for one in got), got
    assert_same_bits(*got)
    # Weighted by samples, a replica that saw none has no weight.
    assert_close(got[1], omp_mlp.train_parallel(rows, targets, **options))


def bytes_by(kind: str) -> NDArray[np.float32]:
    """Return floats that are bytes divided by one number; by itself, half of them is otherwise."""
    X, _ = bytes_and_classes()
    half = ROWS // 2
    if kind == "another number":
        X = X % 5
        X[half:] = np.minimum(X[half:], 1)  # 0 and 1 are also bytes divided by 255
        return X.astype(np.float32)
    if kind == "dense rows":
        X[half:] = np.maximum(X[half:], 1)
    floats = X / np.float32(255)
    if kind == "no bytes":
        floats[-1, 3] = 0.1234
    return floats


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("kind", ["bytes", "another number", "dense rows", "no bytes"])
def test_floats_that_are_bytes_are_those_of_one_process(kind: str, ranks: int) -> None:
    X, y = bytes_by(kind), bytes_and_classes()[1]
    changed = {"center_inputs": True, "scale_inputs": False}
    expected = in_one_process(X, y, **changed)
    # Means of bytes are exact, and means of other floats are not.
    alike = assert_close if kind == "no bytes" else assert_same_bits
    alike(on_ranks(X, y, ranks, deterministic=True, **changed), expected)
    assert_close(on_ranks(X, y, ranks, **changed), expected)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_rank_without_rows_merges_floats_that_are_bytes_like_the_others(place: int) -> None:
    X, y = bytes_by("bytes"), bytes_and_classes()[1]
    shards: list[Any] = [(X[:60], y[:60]), (X[60:], y[60:])]
    shards.insert(place, (None, None))
    options = {**OPTIONS, "threads": 1, "center_inputs": True, "scale_inputs": False}
    first, *others = train_on_ranks(shards, options, deterministic=True)
    assert isinstance(first, omp_mlp.Model), first
    for other in others:
        assert_same_bits(other, first)


def test_shards_of_unequal_length_end_together() -> None:
    X, y = bytes_and_classes()
    options = {**OPTIONS, "threads": 1, "merge": "average", "merge_every": None}
    got = train_on_ranks([(X[:150], y[:150]), (X[150:], y[150:])], options)
    assert len(got[0].history) == 1
    assert got[0].history.samples.tolist() == [2 * ROWS]
    assert_same_bits(*got)


def test_a_callback_of_one_rank_stops_all() -> None:
    X, y = bytes_and_classes()
    both = {**OPTIONS, "threads": 3}
    stops = {**both, "callback": lambda progress: progress.round == 1 and progress.merged}
    got = train_on_ranks(cut(X, y, 2), [both, stops])
    assert [len(model.history) for model in got] == [2, 2]
    assert_same_bits(*got)


def test_early_stopping_returns_the_same_master_everywhere() -> None:
    X, y = bytes_and_classes()
    changed = {"validation_data": (X[::5], y[::5]), "early_stopping": True, "patience": 2}
    got = on_ranks(X, y, 2, deterministic=True, **changed)
    expected = in_one_process(X, y, **changed)
    assert got.history.best_round == expected.history.best_round
    assert_same_bits(got, expected)


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_replica_that_diverges_is_named_on_all_ranks(deterministic: bool) -> None:
    X, y = floats_and_values()
    weight = np.ones(ROWS)
    weight[-1] = 3e38
    weights = [weight[rows] for rows in blocks(2)]
    options = [{**OPTIONS, "threads": 3, "sample_weight": one} for one in weights]
    got = train_on_ranks(cut(X, y, 2), options, deterministic=deterministic)
    for error in got:
        assert isinstance(error, TrainingDivergedError)
        assert error.replica == 5
    options = [{**one, "on_nonfinite": "skip"} for one in options]
    with pytest.warns(omp_mlp.SkippedReplicaWarning, match="replica 5 in round"):
        skipped = train_on_ranks(cut(X, y, 2), options, deterministic=deterministic)
    assert_same_bits(*skipped)
    assert all(np.isfinite(W).all() for W in skipped[0].weights)


def test_rank_0_alone_gives_the_warnings_of_all() -> None:
    X, y = floats_and_values()
    X[70, 2], y[150] = 1e9, 1e7
    weight = np.ones(ROWS)
    weight[-1] = 3e38
    options = {**OPTIONS, "threads": 2, "scale_inputs": "auto", "scale_targets": "auto"}
    options |= {"on_nonfinite": "skip"}
    of_ranks = [{**options, "sample_weight": weight[rows]} for rows in blocks(3)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train_on_ranks(cut(X, y, 3), of_ranks)
    found = [str(one.message) for one in caught]
    expected = ["1 of 203 values of y", "values of X are too far", "threads=6 leaves a replica 33"]
    expected.append("left out of the merge")
    assert [message[: len(start)] for message, start in zip(found, expected, strict=True)] == (
        expected
    )
    assert "of 203 in column 2" in found[1]


@pytest.mark.parametrize(("ends", "kinds"), [((100,), 2), ((60, 130), 2), ((90,), 60)])
def test_the_rows_of_all_ranks_are_a_doubt_about_y(ends: tuple[int, ...], kinds: int) -> None:
    X, _ = floats_and_values()
    y = (np.arange(ROWS) % kinds).astype(float if kinds == 2 else int)
    parts = list(zip(np.split(X, ends), np.split(y, ends), strict=True))
    with pytest.warns(omp_mlp.TaskWarning) as of_ranks:
        train_on_ranks(parts, {**OPTIONS, "threads": 1})
    with pytest.warns(omp_mlp.TaskWarning) as of_one:
        omp_mlp.train_parallel(X, y, 1, **OPTIONS)
    found = [[str(one.message) for one in some] for some in (of_ranks, of_one)]
    doubts, (doubt,) = ([one for one in some if one.startswith("y has")] for some in found)
    assert doubts == [doubt]


def test_an_exception_of_one_rank_is_told_to_the_others() -> None:
    X, y = bytes_and_classes()

    def fail(progress: omp_mlp.Progress) -> None:
        raise KeyError(f"round {progress.round}")

    both = {**OPTIONS, "threads": 2}
    got = train_on_ranks(cut(X, y, 3), [both, {**both, "callback": fail}, both])
    assert isinstance(got[1], KeyError)
    for error in (got[0], got[2]):
        assert isinstance(error, RankError)
        assert error.rank == 1
        assert str(error) == "rank 1 of 3 failed: KeyError: 'round 0'"


def test_options_that_differ_are_errors_on_all_ranks() -> None:
    X, y = bytes_and_classes()
    both = {**OPTIONS, "threads": 3}
    for error in train_on_ranks(cut(X, y, 2), [both, {**both, "learning_rate": 0.5}]):
        assert isinstance(error, ValueError)
        assert str(error) == (
            "learning_rate must be the same on all ranks; got 0.01 on rank 0 and 0.5 on rank 1"
        )


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.zeros((4, 22), np.uint8), [0, 1, 2, 0], "the number of columns of X_local must be"),
        (np.zeros((4, 23)), [0, 1, 2, 0], "the kind of X_local must be the same"),
        (np.zeros((4, 23), np.uint8), [0.5, 1, 2, 0], "the kind of y_local must be the same"),
        (np.zeros((4, 23), np.uint8), list("abcd"), "integers on rank 0 and text on rank 1"),
    ],
)
def test_rows_that_differ_in_kind_are_errors_on_all_ranks(X: Any, y: Any, message: str) -> None:
    shards = [bytes_and_classes(), (X, y)]
    for error in train_on_ranks(shards, {**OPTIONS, "threads": 1}):
        assert isinstance(error, ValueError)
        assert message in str(error)


def test_bad_rows_of_one_rank_are_told_to_the_others() -> None:
    X, y = floats_and_values()
    shards = cut(X, y, 2)
    shards[1][0][3, 2] = np.nan
    first, second = train_on_ranks(shards, {**OPTIONS, "threads": 3})
    assert isinstance(second, ValueError)
    assert isinstance(first, RankError)
    assert first.rank == 1
    assert "NaN in row 3, column 2" in first.reason


def test_no_rows_at_all_is_an_error() -> None:
    for error in train_on_ranks([(None, None), (None, None)], {"threads": 1}):
        assert isinstance(error, ValueError)
        assert "got none on all ranks" in str(error)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"strategy": "section"}, "strategy must be 'replica' or 'pattern'"),
        ({"shuffle": "global"}, "shuffle must be 'shards' or False .* rows stay on the rank"),
        ({"warmup_samples": 8}, "warmup_samples must be 0"),
        ({"keep_replicas": True}, "keep_replicas must be False"),
        ({"early_stopping": True}, "needs validation_data, the same on all ranks"),
        ({"merge": "adasum"}, "'gradient_diversity' .*need deterministic=True; got 'adasum'"),
        ({"merge": "ensemble"}, "merge must be one of 'average', .*got 'ensemble'"),
        ({"optimizer": "lbfgs", "strategy": "auto"}, "strategy must be|optimizer='lbfgs'"),
    ],
)
def test_options_of_one_process_are_refused(changed: dict[str, Any], message: str) -> None:
    X, y = bytes_and_classes()
    given = {"threads": 1, **changed}
    for error in train_on_ranks(cut(X, y, 2), given):
        assert isinstance(error, ValueError)
        with pytest.raises(ValueError, match=message):
            raise error
