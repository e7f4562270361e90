"""A training that is stopped and goes on has the bits of one that was not stopped."""

import os
import re
import signal

import numpy as np
import pytest

import fixed
import omp_mlp
from omp_mlp.data import read_data
from omp_mlp.options import DEFAULTS, check_options
from omp_mlp.plan import make_plan
from omp_mlp.run import Run
from processes import start_python

RNG = np.random.default_rng(14)
X = np.abs(RNG.normal(size=(90, 7))).astype(np.float32) * (RNG.random((90, 7)) < 0.6)
Y = (X[:, 0] + X[:, 1] > X[:, 2] + RNG.normal(scale=0.3, size=90)).astype(int)
OPTIONS = {"hidden_layer_sizes": (9, 5), "epochs": 4, "seed": 3}

OPTIMIZERS = {
    "sgd": {"learning_rate": 0.2},
    "decay": {"learning_rate": 0.2, "l2": 1e-3, "max_norm": 0.5},
    "momentum": {"optimizer": "momentum"},
    "adam": {"optimizer": "adam", "learning_rate": 0.01},
    "gains": {"optimizer": "rmsprop", "learning_rate": 0.01, "input_gain_rate": 2.0},
}
MERGES = {
    "average": {"merge_every": 8},
    "outer": {"merge_every": (8, 24), "outer_momentum": 0.5, "last_merge": None},
    "slowmo": {"merge_every": 16, "outer_optimizer": "slowmo", "state_at_merge": "average"},
    "warm-up": {"merge_every": 8, "warmup_samples": 20, "on_nonfinite": "skip"},
    "apart": {"merge": "average", "merge_every": 16, "init": "independent", "outer_momentum": 0.0},
    "kept": {"merge_every": 16, "keep_replicas": True, "last_merge": "average"},
}
OTHERS = {
    "linear": {},
    "adaptive": {"learning_rate_schedule": "adaptive", "tol": 10.0},
    "centred": {"center_inputs": True, "first_layer": "sparse", "dropout": 0.2},
    "dense": {"center_inputs": True, "first_layer": "dense"},
    "validated": {"validation_data": (X[:30], Y[:30]), "validate_every": 2},
    "stops early": {"early_stopping": True, "patience": 3, "validate_every": 1},
    "lawa": {"averaging": "lawa", "averaging_span": 3},
    "ema": {"averaging": "ema", "averaging_span": 2, "validation_data": (X[:30], Y[:30])},
}


def train(threads=3, **options):
    merge = options.pop("merge", "gradient_diversity")
    return fixed.train_parallel(X, Y, threads, merge, **{**OPTIONS, **options})


def states_of(**options):
    """Return the states of a whole training, and its network."""
    states = []
    model = train(checkpoint=states.append, checkpoint_every=1, **options)
    return states, model


def assert_same(got, expected):
    np.testing.assert_array_equal(got._packed, expected._packed)
    columns = ("samples", "loss", "learning_rate", "validation_loss", "validation_score")
    for name in columns:
        np.testing.assert_array_equal(getattr(got.history, name), getattr(expected.history, name))
    assert got.history.best_round == expected.history.best_round
    assert len(got.replicas) == len(expected.replicas)
    for one, other in zip(got.replicas, expected.replicas, strict=True):
        np.testing.assert_array_equal(one._packed, other._packed)


def assert_goes_on_from_every_state(tmp_path, **options):
    whole = train(**options)
    states, model = states_of(**options)
    assert_same(model, whole)  # to keep states changes nothing
    assert len(states) > 1
    again = {name: options[name] for name in ("validation_data",) if name in options}
    for k in (0, len(states) // 2, len(states) - 1):
        path = tmp_path / f"{k}.state"
        states[k].save(path)
        resumed = omp_mlp.train_parallel(X, Y, resume=path, workers=1 + k % 2, **again)
        assert_same(resumed, whole)


def can_be(strategy, optimizer):
    return not (strategy == "section" and optimizer == "gains")


@pytest.mark.covering(2)
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("strategy", ["section", "synchronous", "pattern"])
def test_goes_on_with_the_same_bits_by_strategy(tmp_path, strategy, optimizer, other):
    if not can_be(strategy, optimizer):
        pytest.skip("gains do not go with sections")
    options = {**OPTIMIZERS[optimizer], **OTHERS[other]}
    assert_goes_on_from_every_state(tmp_path, strategy=strategy, **options)


@pytest.mark.covering(2)
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("merge", MERGES)
def test_goes_on_with_the_same_bits_by_merge(tmp_path, merge, optimizer, other):
    options = {**MERGES[merge], **OPTIMIZERS[optimizer], **OTHERS[other]}
    if optimizer in ("sgd", "decay"):
        options.pop("state_at_merge", None)
    if other in ("stops early", "lawa", "ema"):
        options.pop("keep_replicas", None)
    assert_goes_on_from_every_state(tmp_path, **options)


@pytest.mark.filterwarnings("ignore:after the first round:omp_mlp.SettingsWarning")
def test_goes_on_after_a_retreat():
    # A rate that nobody gave is halved; the state has the rate, and how often that was done.
    rng = np.random.default_rng(5)
    steep = np.ones((1600, 2), dtype=np.float32)
    steep[:, 0] = rng.uniform(-1, 1, size=1600)
    steep[np.arange(1600) % 800 // 200 == 2, 0] = 10
    y = steep[:, 0] + rng.normal(size=1600) / 8
    given = {
        **DEFAULTS, **fixed.SETTINGS, "threads": 2, "merge": "average", "merge_every": 100,
        "hidden_layer_sizes": (), "batch_size": 1, "epochs": 1, "learning_rate": 0.03,
        "shuffle": False, "learning_rate_schedule": "constant", "outer_momentum": 0.0,
    }  # fmt: skip

    def run(state=None, **options):
        checked = check_options({**given, **options})
        data = read_data(checked, steep, y)
        plan = make_plan(checked, data, retreats=10)
        with pytest.warns(omp_mlp.LearningRateWarning, match="0.03 -> 0.015"):
            return Run(plan, data, given=checked, resume=state).train()

    states = []
    whole = run(checkpoint=states.append, checkpoint_every=1)
    assert list(np.unique(whole.history.learning_rate)) == [0.015, 0.03]
    assert len(states) == len(whole.history)
    for state in states:
        assert_same(run(state), whole)


def test_a_callback_and_ctrl_c_leave_the_last_state(tmp_path):
    path = tmp_path / "training.state"
    whole = train(merge_every=8)

    def stop(progress):
        return progress.merged and progress.round == 4

    train(merge_every=8, checkpoint=path, checkpoint_every=100, callback=stop)
    assert omp_mlp.TrainingState.load(path).round == 5
    assert_same(train(merge_every=8, resume=path), whole)

    def interrupt(progress):
        if progress.round == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        train(merge_every=8, checkpoint=path, checkpoint_every=2, callback=interrupt)
    assert caught.value.state.round == 6
    rounds = []
    resumed = train(merge_every=8, resume=caught.value.state, callback=rounds.append)
    assert_same(resumed, whole)
    assert rounds[0].round == 6
    assert {report.rounds for report in rounds} == {len(whole.history)}
    assert rounds[-1].samples == rounds[-1].total_samples


def test_a_killed_process_goes_on(tmp_path):
    path = tmp_path / "training.state"
    program = f"""
import os, signal
import test_resume
def kill(progress):
    if progress.round == 7:
        os.kill(os.getpid(), signal.SIGKILL)
test_resume.train(merge_every=8, optimizer="adam", learning_rate=0.01, checkpoint={str(path)!r},
                  checkpoint_every=3, callback=kill)
"""
    with start_python(program, PYTHONPATH=os.path.dirname(__file__)) as process:
        _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    assert os.listdir(tmp_path) == [path.name]
    state = omp_mlp.TrainingState.load(path)
    assert state.round == 6
    whole = train(merge_every=8, optimizer="adam", learning_rate=0.01)
    assert_same(omp_mlp.train_parallel(X, Y, resume=path), whole)


def test_more_epochs_have_the_bits_of_the_longer_training():
    options = {"merge_every": 10, "learning_rate_schedule": "constant", "outer_momentum": 0.3}
    options |= {"last_merge": None, "optimizer": "adam", "learning_rate": 0.01}
    states, _ = states_of(**options, epochs=3)
    whole = train(**options, epochs=5)
    for state in (states[1], states[-1]):  # the last round is a whole one
        assert_same(omp_mlp.train_parallel(X, Y, resume=state, epochs=5), whole)
    # A round that the shorter training cut short goes on to its end.
    states, _ = states_of(**{**options, "merge_every": 40}, epochs=3)
    longer = omp_mlp.train_parallel(X, Y, resume=states[-1], epochs=5)
    np.testing.assert_array_equal(longer.history.samples, [120, 240, 270, 360, 450])


@pytest.mark.parametrize(
    ("options", "epochs", "message"),
    [
        ({}, 5, "resume with more epochs (5 after 4) goes with learning_rate_schedule='constant'"),
        ({}, 3, "epochs must be at least the 4 of the training that resume goes on with; got 3"),
        (
            {"learning_rate_schedule": "constant", "merge_every": (8, 16)},
            400,
            "merge_every that does not depend on the number of epochs",
        )
    ],
)  # fmt: skip
def test_more_epochs_that_would_change_what_was_done(options, epochs, message):
    states, _ = states_of(**{"merge_every": 8, "outer_momentum": 0.0, **options})
    if "merge_every" in options:
        states[0].settled["merge_every"] = [8, 8]
    with pytest.raises(ValueError, match=re.escape(message)):
        omp_mlp.train_parallel(X, Y, resume=states[0], epochs=epochs)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 4}, "seed was 3, and is 4"),
        ({"threads": 2}, "threads was 3, and is 2"),
        ({"merge_every": 16}, "merge_every was 8, and is 16"),
        ({"sample_weight": np.ones(90)}, "sample_weight was None, and is an array"),
        ({"X": X[:80], "y": Y[:80]}, "X was (90, 7) of float32 with SHA-256"),
        ({"y": 1 - Y}, "y was (90,) of int32 with SHA-256"),
        ({"y": Y.astype(bool)}, "labels of y was (2,)"),
        ({"X": np.nextafter(X, 9, dtype=np.float32)}, "X was (90, 7) of float32 with SHA-256"),
    ],
)
def test_other_data_and_options_are_named(changed, message):
    state = states_of(merge_every=8)[0][0]
    given = {"X": X, "y": Y, "resume": state, **changed}
    with pytest.raises(ValueError, match=re.escape(message)):
        omp_mlp.train_parallel(given.pop("X"), given.pop("y"), **given)


def test_the_same_rows_in_other_units_are_other_data():
    # Scaled by their columns, they are the same rows.
    states = []
    y = X[:, 0] * 2 - X[:, 1]
    options = {"scale_inputs": "auto", "scale_targets": "auto", "epochs": 1}
    fixed.train_parallel(X, y, 2, checkpoint=states.append, **options)
    for given, message in (
        ((X * 2, y), r"(scale|offset) of X was \(7,\) of float64 with SHA-256"),
        ((X, y * 2), r"(scale|offset) of y was \(1,\) of float64 with SHA-256"),
    ):
        with pytest.raises(ValueError, match=message):
            omp_mlp.train_parallel(*given, resume=states[0])


def test_arrays_have_to_be_given_again():
    weight = np.linspace(1, 2, 90)
    states, whole = states_of(merge_every=8, sample_weight=weight)
    assert_same(omp_mlp.train_parallel(X, Y, resume=states[2], sample_weight=weight), whole)
    with pytest.raises(ValueError, match="sample_weight was an array or another object"):
        omp_mlp.train_parallel(X, Y, resume=states[2])
    with pytest.raises(ValueError, match=r"sample_weight was \(90,\) of float32"):
        omp_mlp.train_parallel(X, Y, resume=states[2], sample_weight=weight[::-1])


def test_what_was_settled_is_not_settled_again():
    # A search for epochs and rate is part of the first training alone.
    states = []
    options = {"merge_every": 16, "seed": 1, "hidden_layer_sizes": (4,)}
    whole = omp_mlp.train_parallel(X, Y, 2, checkpoint=states.append, **options)
    state = states[0]
    assert state.options["epochs"] == "auto"
    assert state.settled["epochs"] * 90 == whole.history.samples[-1]
    resumed = omp_mlp.train_parallel(X, Y, 2, resume=state, **options)
    np.testing.assert_array_equal(resumed._packed, whole._packed)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"checkpoint_every": 3}, ValueError, "checkpoint_every goes with checkpoint"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be a path or callable; got int"),
        ({"resume": 3}, TypeError, "resume must be a TrainingState or the path of one; got int"),
        ({"checkpoint": "no/such/folder/x"}, ValueError, "checkpoint must name a file that can be"),
        ({"checkpoint": "."}, ValueError, "checkpoint must name a file that can be written"),
        ({"checkpoint": "x" * 5000}, ValueError, "xxx...: File name too long"),
        ({"checkpoint": "a\0"}, ValueError, "checkpoint must not contain a zero byte"),
        ({"strategy": "hogwild", "checkpoint": "x"}, ValueError, "no two of its trainings"),
        ({"optimizer": "lbfgs", "checkpoint": "x"}, ValueError, "goes without optimizer='lbfgs'"),
        ({"merge": "weight_matching", "checkpoint": "x"}, ValueError, "merges once, at the end"),
    ],
)
def test_what_checkpoint_and_resume_do_not_go_with(options, error, message):
    if options.get("optimizer") == "lbfgs":
        options = {**options, "batch_size": "auto", "learning_rate": "auto"}
    with pytest.raises(error, match=re.escape(message)):
        train(**options)
