"""States of trainings, and their files."""

import re

import numpy as np
import pytest

import fixed
import omp_mlp
from benchmarks.torture.state_files import change_something, rewrite
from omp_mlp import TrainingState, _core, train_parallel

RNG = np.random.default_rng(5)
X = RNG.normal(size=(40, 3))
Y = X[:, 0] > 0


@pytest.fixture(scope="module")
def state():
    states = []
    fixed.train_parallel(
        X, Y, 2, hidden_layer_sizes=(3,), epochs=2, merge_every=8, optimizer="adam", seed=7,
        outer_momentum=0.5, checkpoint=states.append, checkpoint_every=1,
    )  # fmt: skip
    return states[1]


def test_says_what_it_is_of(state):
    assert repr(state) == (
        "TrainingState(after round 2, 32 samples, replica x 2, optimizer='adam', seed=7)"
    )
    assert state.round == 2
    assert state.samples == 32
    assert state.options["merge_every"] == 8
    assert state.settled["epochs"] == 2
    assert state.data["X"]["shape"] == [40, 3]
    assert state.version == _core.build_config()["version"]


def test_a_file_gives_everything_back(state, tmp_path):
    state.save(tmp_path / "file")
    read = TrainingState.load(tmp_path / "file")
    for name in ("options", "settled", "data", "version", "_judge", "round", "samples"):
        assert getattr(read, name) == getattr(state, name)
    for name in ("_core", "_watched"):
        got, expected = getattr(read, name), getattr(state, name)
        assert got.keys() == expected.keys()
        for array in expected:
            assert got[array].dtype == expected[array].dtype
            np.testing.assert_array_equal(got[array], expected[array])


def test_every_damaged_byte_is_found(state, tmp_path):
    path = tmp_path / "file"
    state.save(path)
    content = bytearray(path.read_bytes())
    for place in range(0, len(content), 37):
        content[place] ^= 4
        path.write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(str(path))):
            TrainingState.load(path)
        content[place] ^= 4
    for length in (0, 7, 100, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=re.escape(str(path))):
            TrainingState.load(path)


def rewritten(state, path, change):
    """Write a file that says something else, with the right digest."""
    state.save(path)
    rewrite(path, path.read_bytes(), change)


def put(name, array):
    return lambda tensors, _metadata, _about: tensors.update({name: np.array(array)})


def without(name):
    return lambda tensors, _metadata, _about: tensors.pop(name)


def say(part, name, value):
    return lambda _tensors, _metadata, about: about[part].update({name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _t, m, _a: m.update(format="omp_mlp"), "not a state of a training by omp_mlp"),
        (lambda _t, m, _a: m.update(format_version="9"), "format version '9'"),
        (lambda _t, _m, a: a.update(options=3), "AttributeError"),
        (say("settled", "threads", 0), "threads must be"),
        (say("data", "X", {"shape": [1]}), "X must have shape, dtype and sha256"),
        (lambda _t, _m, a: a["settled"].pop("merge_every"), "must be among"),
        (put("core.round", [1, 2]), "round must be one number"),
        (put("validation", [1.0]), "validation must have a loss and a score of each round"),
        (put("core.history.samples", [9, 3]), "samples must be integers that do not fall"),
        (put("core.master", np.zeros((2, 2), np.float32)), "core.master|master of float32"),
        (without("core.history.samples"), "KeyError"),
    ],
)
def test_a_file_is_not_believed(state, tmp_path, change, message):
    path = tmp_path / "file"
    rewritten(state, path, change)
    with pytest.raises(ValueError, match=message):
        TrainingState.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("core.master", np.zeros(4, np.float32)), "the state's master must have 20 entries"),
        (put("core.position", [10**9]), "the state's position must be one of this training"),
        (put("core.round", [-1]), "the state's round must be a count; got -1"),
        (put("core.round", [999]), "the state's position must be one of this training"),
        (put("core.position", [2**62]), "the state's position must be a count"),
        (put("core.mean.masters", [5]), "the state's mean.masters must be 0 without averaging"),
        (put("core.mean.kept", [1]), "the state's mean.kept must be masters of its training"),
        (put("core.learning_rate", [np.nan]), "the state's learning_rate must be finite"),
        (put("core.learning_rate", [-0.5]), "the state's learning_rate must be finite and not neg"),
        (put("core.outer.learning_rate", [np.inf]), "the state's outer.learning_rate must be"),
        (put("core.optimizer.steps", [1, 2**62]), "the state's optimizer.steps must have"),
        (put("core.optimizer.steps", [1, -2]), "the state's optimizer.steps must have"),
        (put("core.optimizer.steps", [1]), "the state's optimizer.steps must have"),
        (put("core.optimizer.slots", [1.0]), "the state's optimizer.slots has another type"),
        (put("core.outer.momentum", np.zeros(1, np.float32)), "the state's outer.momentum must"),
        (put("core.history.loss", [0.5]), "the state's history.loss must have an entry"),
        (put("core.master.rows", [3]), "the state's master.rows must be rounds"),
        (put("core.skipped.rounds", [0]), "the state's skipped.replicas must be as many"),
        (put("core.retreats.rounds", [0]), "the state's retreats.rounds must be as many"),
        (without("core.plateau.epochs"), "the state's plateau.epochs is missing"),
        (say("settled", "learning_rate", "fast"), "learning_rate must be"),
        (say("settled", "strategy", "none"), "strategy must be one of"),
        (say("settled", "batch_size", 2.5), "damaged or incomplete: TypeError: batch_size must"),
        (say("options", "validation_fraction", "x"), "incomplete: TypeError: validation_f"),
        (say("options", "merge_options", {"a": 1}), "damaged or incomplete: KeyError: 'mapping'"),
        (say("options", "merge_options", {"mapping": 3}), "TypeError: merge_options must be"),
        (say("options", "merge_options", {"mapping": {"alpha": [1]}}), "it takes none; got"),
        (say("options", "no_such_option", 1), "damaged or incomplete: KeyError: 'no_such_option'"),
        (lambda _t, _m, about: about["settled"].pop("batch_size"), "KeyError: 'batch_size'"),
    ],
)  # fmt: skip
def test_the_core_believes_no_state(state, tmp_path, change, message):
    path = tmp_path / "file"
    rewritten(state, path, change)
    with pytest.raises(ValueError, match=re.escape(message)):
        train_parallel(X, Y, resume=path)


@pytest.mark.parametrize(
    "options",
    [
        {"merge_every": 8},
        {"strategy": "section"},
        {"strategy": "synchronous", "optimizer": "adam"},
        {"merge_every": 8, "averaging": "lawa", "averaging_span": 3, "optimizer": "rmsprop"},
        {"merge_every": 8, "averaging": "ema", "outer_momentum": 0.5, "early_stopping": True},
    ],
    ids=["replica", "section", "synchronous", "lawa", "ema"],
)
def test_mutations_of_what_a_file_says_go_on_or_are_refused(tmp_path, options):
    states, rng = [], np.random.default_rng(8)
    fixed.train_parallel(
        X, Y, 2, hidden_layer_sizes=(3,), epochs=2, checkpoint=states.append, checkpoint_every=1,
        **options,
    )  # fmt: skip
    path = tmp_path / "file"
    for k in range(60):
        rewritten(states[1], path, change_something(rng))
        try:
            model = train_parallel(X, Y, resume=path, epochs=3 if k % 3 == 0 else 2)
        except (ValueError, MemoryError, omp_mlp.TrainingDivergedError):
            continue
        assert np.isfinite(model.predict_proba(X)).all()
