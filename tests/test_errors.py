"""Trainings that diverge: what the error tells, and what it saves."""

import pickle
from typing import Any

import numpy as np
import pytest

import fixed
from omp_mlp import Model, TrainingDivergedError

# These trainings are made to go wrong, and some do so in the first round.
pytestmark = pytest.mark.filterwarnings("ignore::omp_mlp.SettingsWarning")

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
OPTIONS = {"epochs": 1, "batch_size": 4}


def test_diverged_training_names_round_and_replica():
    bad_weight = np.where(np.arange(12) == 10, 3e38, 1)  # a sample of replica 1
    with pytest.raises(TrainingDivergedError) as caught:
        fixed.train_parallel(
            X, X[:, 0] * 1e3, 2, "average", sample_weight=bad_weight, shuffle=False, **OPTIONS
        )
    assert (caught.value.round, caught.value.replica) == (0, 1)
    assert "replica 1 has an infinite loss or weight" in str(caught.value)
    assert "in round 0; try a smaller learning_rate" in str(caught.value)
    assert isinstance(caught.value, ArithmeticError)


def test_diverged_merge_names_no_replica():
    error = TrainingDivergedError(3, None)
    assert "the merged network has an infinite loss or weight" in str(error)
    assert "in round 3" in str(error)


@pytest.mark.parametrize("replica", [0, None])
def test_error_survives_pickling(replica):
    error = TrainingDivergedError(3, replica)
    again = pickle.loads(pickle.dumps(error))
    assert (again.round, again.replica, str(again)) == (3, replica, str(error))


# ----------------------------------------------------------------------------- the last good master

ONE_NETWORK = ["section", "synchronous", "hogwild"]


def flat(model: Any) -> Any:
    return np.concatenate([part.ravel() for part in [*model.weights, *model.biases]])


def assert_saved(error: TrainingDivergedError, stopped: Any) -> None:
    """The error has the network of a training that was stopped before, to the last bit."""
    assert error.model is not None
    assert error.history is not None
    assert flat(error.model).tobytes() == flat(stopped).tobytes()
    for name in ("samples", "loss", "validation_loss", "validation_score"):
        ours, theirs = (getattr(model.history, name) for model in (error.model, stopped))
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(getattr(error.history, name)[: len(ours)], ours)
    assert error.model.history.strategy == stopped.history.strategy


def diverge(*given: Any, **options: Any) -> TrainingDivergedError:
    with pytest.raises(TrainingDivergedError) as caught:
        fixed.train_parallel(*given, **options)
    return caught.value


def stop_after(rounds: int, *given: Any, **options: Any) -> Any:
    """Train, and stop after some rounds."""
    if rounds == 0:
        return fixed.train_parallel(*given, **{**options, "epochs": 0, "warmup_samples": 0})
    return fixed.train_parallel(
        *given, **options, callback=lambda report: report.merged and report.round == rounds - 1
    )


LINEAR: dict[str, Any] = {
    "hidden_layer_sizes": (), "epochs": 1, "batch_size": 1, "learning_rate": 0.01,
    "learning_rate_schedule": "constant", "merge_every": 5, "shuffle": False,
}  # fmt: skip


def explosive(position: int) -> tuple[Any, Any]:
    """Return five shards of 15 samples. One of the fourth's leaves float32."""
    rows, y = np.random.default_rng(1).normal(size=(75, 3)), np.arange(75) % 4 / 2.0
    rows[15 * 3 + position] = 1e30
    return rows, y


@pytest.mark.parametrize("changed", [{}, {"validation_data": explosive(0)}, {"workers": 2}])
@pytest.mark.parametrize("position, rounds", [(0, 0), (6, 1), (12, 2), (14, 2)])
def test_the_base_of_the_round_is_saved(
    position: int, rounds: int, changed: dict[str, Any]
) -> None:
    given = (*explosive(position), 5, "average")
    if "validation_data" in changed:
        changed = {"validation_data": (given[0][:3], given[1][:3])}
    error = diverge(*given, **LINEAR, **changed)
    assert (error.round, error.replica) == (rounds, 3)
    assert len(error.history) == rounds
    assert_saved(error, stop_after(rounds, *given, **LINEAR, **changed))


def test_the_master_before_is_saved_where_a_merge_diverges() -> None:
    # The sum of two replicas doubles the weight: 1e37, 2e37, ..., 3.2e38, infinite.
    start = Model([[[1e37]]], [[0.0]])
    given = (np.zeros((12, 1)), np.ones(12), 2, "sum")
    options = {**LINEAR, "merge_every": 1, "init": start}
    error = diverge(*given, **options)
    assert (error.round, error.replica) == (5, None)
    assert len(error.history) == 5
    assert_saved(error, stop_after(5, *given, **options))
    assert error.model.weights[0].item() == pytest.approx(3.2e38)
    # If nobody has noticed for some rounds, because no input is there, the start is saved.
    given = (np.zeros((24, 1)), np.ones(24), 2, "sum")
    error = diverge(*given, **options, first_layer="sparse")
    assert (error.round, error.replica) == (10, None)
    assert_saved(error, stop_after(0, *given, **options))
    assert error.model.weights[0].item() == pytest.approx(1e37)


@pytest.mark.parametrize("strategy", [*ONE_NETWORK, "pattern"])
def test_strategies_save_the_master_of_the_last_epoch(strategy: str) -> None:
    # Feature 1 is 3e21 in the last sample alone. After a step there, it makes an infinite output.
    rows, y = np.random.default_rng(2).normal(size=(300, 3)), np.ones(300)
    rows[:, 1] = 0
    rows[-1] = (0, 3e21, 0)
    given = (rows, y, 1, "average") if strategy == "pattern" else (rows, y, 1)
    options = {**LINEAR, "epochs": 3, "strategy": strategy}
    options["init"] = Model([np.zeros((3, 1))], [np.zeros(1)])
    del options["merge_every"]
    error = diverge(*given, **options)
    assert (error.round, error.replica) == (1, 0)
    assert_saved(error, stop_after(1, *given, **options))
    assert error.model.weights[0][1].item() > 1e16
    # The first epoch is written, however few samples it has.
    given = (rows[-20:], y[-20:], *given[2:])
    assert_saved(diverge(*given, **options), stop_after(1, *given, **options))
    seen = diverge(*given, **options, callback=lambda _: False)
    assert_saved(seen, stop_after(1, *given, **options))


def test_masters_of_unsound_rounds_are_not_saved() -> None:
    # So large a rate multiplies the error again and again, until it leaves float32.
    rows = np.random.default_rng(1).normal(size=(400, 3))
    given = (rows, rows.sum(axis=1), 2, "average")
    options = {**LINEAR, "learning_rate": 2.0, "merge_every": 5}
    error = diverge(*given, **options)
    loss = error.history.loss
    saved = len(error.model.history)
    sound = loss <= np.maximum(loss[0], 10 * np.minimum.accumulate(loss))
    last_of_sound = np.flatnonzero(sound)[-1]
    assert not sound[-1]
    # The round that last was sound made a master after which no round was. So its base is saved.
    assert saved == last_of_sound
    assert_saved(error, stop_after(saved, *given, **options))
    if saved:
        assert np.abs(error.model.predict(rows)).max() < 1e6


def test_what_is_saved_is_in_the_units_of_the_user() -> None:
    rows, y = np.random.default_rng(1).normal(size=(75, 3)), np.arange(75) % 4 / 2.0
    weight = np.ones(75)
    weight[15 * 3 + 6 :][:3] = 3e38
    given = (rows * 1e4 + 3e3, y * 100 + 40.5, 5, "average")
    options = {**LINEAR, "scale_inputs": "auto", "scale_targets": "auto", "sample_weight": weight}
    error = diverge(*given, **options)
    assert error.round == 1
    assert_saved(error, stop_after(1, *given, **options))
    images = np.random.default_rng(1).integers(0, 256, (75, 3)).astype(np.uint8)
    given = (images, y + 0.25, 5, "average")
    options = {**LINEAR, "sample_weight": weight}
    assert_saved(diverge(*given, **options), stop_after(1, *given, **options))


def test_early_stopping_saves_its_best_master() -> None:
    rows, y = explosive(14)
    given = (rows, y, 5, "average")
    # The loss on these is least at the start of the training.
    validation = (rows[:5], np.full(5, 1e3) * -np.sign(rows[:5, 0]))
    scores = []
    options = {**LINEAR, "early_stopping": True, "validation_data": validation}
    error = diverge(*given, **options, callback=lambda report: scores.append(report))
    best = int(np.nanargmin(error.history.validation_loss))
    assert error.model.history.best_round == best
    assert len(error.model.history) == 2
    stopped = stop_after(best + 1, *given, **LINEAR)
    assert flat(error.model).tobytes() == flat(stopped).tobytes()


def test_the_start_is_saved_where_nothing_else_is() -> None:
    rows, y = explosive(0)
    for options in (
        {**LINEAR, "warmup_samples": 60},
        {**LINEAR, "on_nonfinite": "skip", "learning_rate": 1e30},
        {**LINEAR, "init": "independent", "merge_every": None, "outer_momentum": 0.0},
    ):
        error = diverge(rows, y, 5, "average", **options)
        assert error.round == 0
        assert len(error.history) == 0
        assert_saved(error, stop_after(0, rows, y, 5, "average", **options))
    error = diverge(rows, y, 5, "weight_matching", epochs=1, shuffle=False, batch_size=1)
    assert_saved(error, stop_after(0, rows, y, 5, "weight_matching"))


def test_a_warm_up_is_saved() -> None:
    rows, y = explosive(3)
    options = {**LINEAR, "warmup_samples": 20}
    error = diverge(rows, y, 5, "average", **options)
    assert error.round == 1
    assert_saved(error, stop_after(1, rows, y, 5, "average", **options))


def test_what_is_saved_survives_pickling() -> None:
    given = (*explosive(12), 5, "average")
    error = diverge(*given, **LINEAR)
    again = pickle.loads(pickle.dumps(error))
    assert (again.round, again.replica, str(again)) == (error.round, error.replica, str(error))
    assert_saved(again, stop_after(2, *given, **LINEAR))
