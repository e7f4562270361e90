"""The estimators: scikit-learn's checks, its names, and the training that stands behind them."""

import inspect
import math
import pickle
import re
import subprocess
import sys
import warnings
from copy import deepcopy

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import omp_mlp
from omp_mlp.options import ROWS
from omp_mlp.sklearn import RENAMED, OmpMLPClassifier, OmpMLPRegressor
from omp_mlp.workers import available_cores
from protocols import OnDevice

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
LABELS = np.array(["a", "b", "c"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0)]
VALUES = 100 + 5 * X[:, 0] - X[:, 1]
MANY = (X[:, :3] > 0).astype(int)
ESTIMATORS = (OmpMLPClassifier, OmpMLPRegressor)

# Trainings with nothing left to decide but the start.
FIXED = {"hidden_layer_sizes": (8,), "batch_size": 4, "learning_rate_init": 0.05, "threads": 2}
FIXED |= {"solver": "sgd", "momentum": 0}
QUICK = {**FIXED, "max_iter": 3, "tol": 0, "n_iter_no_change": np.inf, "random_state": 5}
TRAINED = {"hidden_layer_sizes": (8,), "batch_size": 4, "learning_rate": 0.05, "seed": 5}
TRAINED |= {"epochs": 3, "learning_rate_schedule": "constant"}

pytestmark = pytest.mark.filterwarnings("ignore:the training ended:Warning")


def target(estimator):
    return LABELS if estimator is OmpMLPClassifier else VALUES


def same(one, other):
    """Tell whether two networks have the same bits."""
    pairs = zip([*one.weights, *one.biases], [*other.weights, *other.biases], strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


# --------------------------------------------------------------------------- scikit-learn's checks

# scikit-learn grants the same two to SGDClassifier and SGDRegressor: a row of weight 2 is not two
# rows for shuffled batches.
GRANTED = {
    f"check_sample_weight_equivalence_on_{kind}_data": "a weight is not a repetition"
    for kind in ("dense", "sparse")
}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_check_estimator(estimator):
    # Of few units and without a search, which takes a tenth of the time.
    candidate = estimator(hidden_layer_sizes=(16,), max_iter=20, tol=0, batch_size=2, threads=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            candidate, expected_failed_checks=GRANTED, on_skip=None, on_fail=None
        )
    failed = {row["check_name"] for row in results if row["status"] in ("failed", "xfail")}
    assert failed == set(GRANTED)
    assert len(results) > 55


# ----------------------------------------------------------------------------------- the parameters


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_option_of_a_training_is_a_parameter(estimator):
    of_labels = {"class_weight", "label_smoothing", "skip_confident"}
    of_values = {"huber_delta", "quantile", "scale_targets"}
    others = of_values if estimator is OmpMLPClassifier else of_labels
    of_fit = {"task", "classes", "sample_weight", "validation_data"}
    options = set(ROWS) - set(RENAMED.values()) - of_fit - others
    parameters = set(inspect.signature(estimator).parameters)
    assert parameters == options | set(RENAMED) | {
        *("max_fun", "nesterovs_momentum", "verbose", "warm_start")
    }


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_preset_stands_for_parameters_that_have_their_defaults(estimator):
    X = np.random.default_rng(3).normal(size=(200, 5))
    y = X[:, 0] > 0 if estimator is OmpMLPClassifier else X[:, 0]
    for given in ({}, {"beta_2": 0.99}, {"max_norm": 1.0}):
        fitted = estimator(preset="tabular", threads=1, random_state=1, **given).fit(X, y)
        model = omp_mlp.train_parallel(X, y, 1, preset="tabular", seed=1, **given)
        for got, expected in zip(fitted.model_.weights, model.weights, strict=True):
            np.testing.assert_array_equal(got, expected)
    fitted = estimator(preset="tabular", threads=1, random_state=1, solver="rmsprop").fit(X, y)
    model = omp_mlp.train_parallel(X, y, 1, preset="tabular", seed=1, optimizer="rmsprop")
    np.testing.assert_array_equal(fitted.model_.weights[0], model.weights[0])
    with pytest.raises(ValueError, match="preset must be one of None, 'tabular'; got 'images'"):
        estimator(preset="images").fit(X, y)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(OmpMLPClassifier, MLPClassifier), (OmpMLPRegressor, MLPRegressor)]
)
def test_every_parameter_of_scikit_learns_is_one_in_the_same_place(ours, theirs):
    own = inspect.signature(ours).parameters
    scikit_learns = inspect.signature(theirs).parameters
    absent = {"loss"} - set(scikit_learns)  # of the regressor of scikit-learn 1.6
    assert set(scikit_learns) <= set(own)

    def positional(parameters):
        return [
            name
            for name, one in parameters.items()
            if one.kind is one.POSITIONAL_OR_KEYWORD and name not in absent
        ]

    assert positional(own) == positional(scikit_learns)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_without_options_it_is_the_training_without_options(estimator):
    fitted = estimator(random_state=3).fit(X[:60], target(estimator)[:60])
    model = omp_mlp.train_parallel(X[:60], target(estimator)[:60], seed=3)
    assert same(fitted.model_, model)


@pytest.mark.parametrize(
    ("parameters", "options"),
    [
        ({}, {}),
        ({"solver": "sgd", "momentum": 0.9}, {"optimizer": "nesterov"}),
        (
            {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": False},
            {"optimizer": "momentum"},
        ),
        ({"solver": "sgd", "momentum": 0}, {"optimizer": "sgd"}),
        ({"solver": "auto"}, {"optimizer": "adam"}),  # whose rate a rate alone is
        ({"solver": "auto", "preset": "tabular"}, {"preset": "tabular"}),
        ({"solver": "auto", "learning_rate_init": "auto"}, {"learning_rate": "auto"}),
        (
            {"solver": "adam", "beta_1": 0.8, "momentum": 0.1, "rho": 0.5},
            {"optimizer": "adam", "beta_1": 0.8},
        ),
        ({"alpha": 0.01}, {"l2": 0.01 / 4}),
        ({"alpha": 0.01, "batch_size": "auto"}, {"l2": 0.01 / 32, "batch_size": 32}),
        ({"alpha": 0.01, "batch_size": 500}, {"l2": 0.01 / 120, "batch_size": 500}),
        ({"hidden_layer_sizes": 8, "shuffle": False}, {"shuffle": False}),
        ({"shuffle": np.True_, "nesterovs_momentum": np.True_, "warm_start": np.False_}, {}),
        (
            {"learning_rate": "invscaling", "power_t": 0.25},
            {"learning_rate_schedule": "inverse_scaling", "power_t": 0.25},
        ),
        ({"learning_rate": "cosine", "power_t": 0.25}, {"learning_rate_schedule": "cosine"}),
        (
            {"learning_rate": "adaptive", "tol": 0.5},
            {"learning_rate_schedule": "adaptive", "tol": 0.5},
        ),
        ({"merge": "average", "merge_every": 20}, {"merge": "average", "merge_every": 20}),
        ({"dropout": 0.5, "n_jobs": 1}, {"dropout": 0.5, "workers": 1}),
    ],
)
def test_parameters_become_options(parameters, options):
    fitted = OmpMLPClassifier(**{**QUICK, **parameters}).fit(X, LABELS)
    model = omp_mlp.train_parallel(X, LABELS, 2, **{**TRAINED, **options})
    assert same(fitted.model_, model)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"learning_rate": 0.1}, TypeError, "learning_rate must be the name of a schedule"),
        (
            {"learning_rate": "slow"},
            ValueError,
            "learning_rate must be one of 'auto', 'invsca",
        ),
        ({"learning_rate_init": -1}, ValueError, "learning_rate_init must be at least 0"),
        ({"solver": "newton"}, ValueError, "solver must be one of 'auto', "),
        ({"alpha": -1}, ValueError, "alpha must be at least 0"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1; got 0"),
        ({"max_iter": "many"}, ValueError, "max_iter must be 'auto' or an integer; got 'many'"),
        ({"n_iter_no_change": 0}, ValueError, "n_iter_no_change must be at least 1; got 0"),
        ({"tol": None}, TypeError, "tol must be a number; got None"),
        ({"random_state": -1}, ValueError, "random_state must be at least 0; got -1"),
        ({"random_state": "x"}, ValueError, "'x' cannot be used to seed"),
        ({"n_jobs": 0}, ValueError, "n_jobs must be a number of workers, or negative"),
        ({"class_weight": {"z": 1}}, ValueError, "which are ['a' 'b' 'c']; got a weight for 'z'"),
        (
            {"class_weight": {"a": -2}},
            ValueError,
            "class_weight['a'] must be at least 0 and finite",
        ),
        ({"class_weight": {"a": "2"}}, TypeError, "class_weight['a'] must be a number; got '2'"),
        (
            {"class_weight": dict.fromkeys("abc", 0)},
            ValueError,
            "class_weight must leave a sample a weight above zero; got zero for every sample",
        ),
        ({"hidden_layer_sizes": (0,)}, ValueError, "hidden_layer_sizes[0] must be at least 1"),
        ({"merge": "mean"}, ValueError, "merge must be one of"),
        ({"warm_start": "no"}, ValueError, "warm_start must be one of False, True; got 'no'"),
        ({"verbose": "no"}, TypeError, "verbose must be an integer; got 'no' of type str"),
        ({"max_fun": 0}, ValueError, "max_fun must be at least 1; got 0"),
    ],
)
def test_bad_parameters(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        OmpMLPClassifier(**parameters).fit(X, LABELS)


def test_random_state_is_a_seed_or_draws_one():
    def fitted(state):
        return OmpMLPClassifier(**{**QUICK, "random_state": state}).fit(X, LABELS).model_

    assert same(fitted(7), omp_mlp.train_parallel(X, LABELS, 2, **{**TRAINED, "seed": 7}))
    state = np.random.RandomState(1)
    first, second = fitted(state), fitted(state)
    assert not same(first, second)
    assert same(fitted(np.random.RandomState(1)), first)
    np.random.seed(0)  # noqa: NPY002 - what random_state=None draws from
    first = fitted(None)
    np.random.seed(0)  # noqa: NPY002
    assert same(fitted(None), first)


# --------------------------------------------------------------------------- how long a training is


def test_max_iter_is_a_limit_of_the_search():
    free = OmpMLPClassifier(random_state=0, threads=1).fit(X, LABELS)
    assert free.n_iter_ > 4
    limited = OmpMLPClassifier(random_state=0, threads=1, max_iter=4).fit(X, LABELS)
    assert limited.n_iter_ <= 4
    wide = OmpMLPClassifier(random_state=0, threads=1, max_iter=10_000).fit(X, LABELS)
    assert same(wide.model_, free.model_)


@pytest.mark.parametrize("patience", [2, 5])
def test_training_stops_when_the_loss_no_longer_falls_by_tol(patience):
    stopped = OmpMLPClassifier(
        **{**QUICK, "tol": 0.05, "max_iter": 500, "n_iter_no_change": patience}
    ).fit(X, LABELS)
    curve = stopped.loss_curve_
    assert len(curve) == stopped.n_iter_ < 500
    least = np.minimum.accumulate(curve)
    fails = [False, *(now > before - 0.05 for before, now in zip(least, curve[1:], strict=False))]
    # It stops at the first epoch that ends more than n_iter_no_change failures in turn.
    runs = [all(fails[end - patience : end + 1]) for end in range(patience, len(fails))]
    assert runs == [False] * (len(runs) - 1) + [True]
    assert stopped.best_loss_ == min(curve)
    assert stopped.loss_ == curve[-1]
    assert stopped.t_ == stopped.history_.samples[-1] >= stopped.n_iter_ * len(X)


def test_a_loss_that_still_falls_warns():
    with pytest.warns(ConvergenceWarning, match="ended after max_iter=3 epochs, and its loss"):
        OmpMLPClassifier(**QUICK).fit(X, LABELS)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_early_stopping_keeps_the_best(estimator):
    y = target(estimator)
    params = {**FIXED, "early_stopping": True, "random_state": 0, "max_iter": 200}
    fitted = estimator(**params, n_iter_no_change=3, tol=0.01).fit(X, y)
    assert fitted.best_loss_ is None
    assert len(fitted.validation_scores_) == fitted.n_iter_ < 200
    assert fitted.best_validation_score_ == max(fitted.validation_scores_)
    assert fitted.history_.best_round is not None
    # Data of the user's own in place of held-out rows.
    given = estimator(**params, n_iter_no_change=3).fit(X[20:], y[20:], X_val=X[:20], y_val=y[:20])
    best = given.best_validation_score_
    assert best + 1e-6 > given.score(X[:20], y[:20]) > 0.5  # rounded when scales are folded
    scored = estimator(**QUICK).fit(X[20:], y[20:], X_val=X[:20], y_val=y[:20])
    assert scored.validation_scores_[-1] == pytest.approx(scored.score(X[:20], y[:20]))
    assert estimator(**QUICK).fit(X, y).validation_scores_ is None
    with pytest.raises(ValueError, match="X_val and y_val go together; got y_val alone"):
        scored.fit(X, y, y_val=y)


def test_verbose_prints_epochs_and_callbacks_are_called(capsys):
    seen = []
    fitted = OmpMLPClassifier(**QUICK, verbose=True, callback=seen.append).fit(X, LABELS)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"Iteration {k + 1}, loss = {loss:.8f}" for k, loss in enumerate(fitted.loss_curve_)
    ]
    assert sum(progress.merged for progress in seen) == len(fitted.history_)
    one = OmpMLPClassifier(**QUICK, callback=lambda progress: progress.merged).fit(X, LABELS)
    assert len(one.history_) == 1


# -------------------------------------------------------------------------------- going on further


def test_warm_start_goes_on_from_the_network():
    warm = OmpMLPClassifier(**QUICK, warm_start=True).fit(X, LABELS)
    first = warm.model_
    warm.fit(X, LABELS)
    again = omp_mlp.train_parallel(X, LABELS, 2, **TRAINED, init=first)
    assert same(warm.model_, again)
    few = np.where(LABELS == "c", "b", LABELS)
    assert warm.fit(X, few).classes_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"Previously got \['a' 'b' 'c'\], `y` has \['x'\]"):
        warm.fit(X, np.full(len(X), "x"))


def test_partial_fit_of_batches_that_lack_classes():
    order = np.argsort(LABELS, kind="stable")
    learner = OmpMLPClassifier(hidden_layer_sizes=(16,), random_state=0)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        learner.partial_fit(X, LABELS)
    with pytest.raises(ValueError, match=r"labels among the classes \['a' 'b'\]; got"):
        learner.partial_fit(X, LABELS, classes=["a", "b"])
    for epoch in range(12):
        for rows in np.array_split(order if epoch == 0 else np.arange(120), 6):
            learner.partial_fit(X[rows], LABELS[rows], classes=["c", "a", "b"])
    assert learner.classes_.tolist() == ["a", "b", "c"]
    assert learner.score(X, LABELS) > 0.9
    assert learner.n_iter_ == len(learner.loss_curve_) == 72
    assert learner.t_ == 12 * 120
    with pytest.raises(ValueError, match=r"classes=\['a' 'b'\] are not those of the first call"):
        learner.partial_fit(X, LABELS, classes=["a", "b"])
    for bad in ({"early_stopping": True}, {"class_weight": "balanced"}):
        with pytest.raises(ValueError, match="partial_fit"):
            OmpMLPClassifier(**bad).partial_fit(X, LABELS, classes=["a", "b", "c"])


@pytest.mark.parametrize(
    "options",
    [
        {"solver": "adam"},
        {"solver": "sgd", "strategy": "synchronous"},
        {"solver": "rmsprop", "input_gain_rate": 2.0},
    ],
)
def test_partial_fit_goes_on_with_the_state_of_the_solver(options):
    options |= {"shuffle": False, "scale_inputs": False, "threads": 1, "batch_size": 8}
    options |= {"learning_rate_init": 0.01, "random_state": 1}
    online = OmpMLPClassifier(**options)
    for _ in range(3):
        online.partial_fit(X, LABELS, classes=["a", "b", "c"])
    once = OmpMLPClassifier(**options, learning_rate="constant", early_stopping=False)
    once.set_params(tol=0.0, n_iter_no_change=100, max_iter=3)
    with pytest.warns(ConvergenceWarning):
        once.fit(X, LABELS)
    for got, expected in zip(online.coefs_, once.coefs_, strict=True):
        np.testing.assert_array_equal(got, expected)
    # With replicas, and with another number of them, it goes on, too; with another solver, anew.
    again = pickle.loads(pickle.dumps(online)).set_params(threads=3).partial_fit(X, LABELS)
    assert (again.coefs_[0] != online.coefs_[0]).any()
    other = clone(online).set_params(solver="momentum").partial_fit(X, LABELS, classes=list("abc"))
    online.set_params(solver="momentum").partial_fit(X, LABELS)
    assert other.n_iter_ == 1
    assert online.n_iter_ == 4


def test_partial_fit_of_values_keeps_the_scales_of_the_first_call():
    learner = OmpMLPRegressor(hidden_layer_sizes=(16,), random_state=0)
    learner.partial_fit(X[:1], VALUES[:1])  # of which nothing is known but one value
    for _ in range(30):
        for rows in np.array_split(np.arange(120), 4):
            learner.partial_fit(X[rows], VALUES[rows])
    assert learner.score(X, VALUES) > 0.9
    # fit, then some more of it, from a file
    fitted = pickle.loads(pickle.dumps(OmpMLPRegressor(**QUICK).fit(X, VALUES)))
    before = fitted.predict(X)
    fitted.partial_fit(X, VALUES)
    assert not np.array_equal(fitted.predict(X), before)
    assert fitted.n_iter_ == 4


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver": "adam", "learning_rate_init": 0.01},
        {"max_iter": 60, "tol": 0.01, "n_iter_no_change": 2},
        {"early_stopping": True, "max_iter": 40, "n_iter_no_change": 2},
        {"merge_every": 16, "warmup_samples": 20},
    ],
)
def test_fit_goes_on_from_a_checkpoint(tmp_path, options, estimator):
    # What tol and n_iter_no_change count has to go on, too.
    y, options = target(estimator), {**QUICK, "merge_every": 20, **options}
    whole = estimator(**options).fit(X, y)
    states = []
    kept = estimator(**options, checkpoint=states.append, checkpoint_every=1).fit(X, y)
    assert same(kept.model_, whole.model_)
    assert len(states) > 4
    for k in (0, len(states) // 2, len(states) - 1):
        path = tmp_path / f"{k}.state"
        states[k].save(path)
        resumed = clone(estimator(**options, resume=path)).fit(X, y)
        assert same(resumed.model_, whole.model_)
        assert resumed.loss_curve_ == whole.loss_curve_
        assert resumed.validation_scores_ == whole.validation_scores_
        assert (resumed.n_iter_, resumed.t_) == (whole.n_iter_, whole.t_)
        if not options.get("early_stopping"):
            # The state of the solver goes on, too.
            parts = [
                deepcopy(one).set_params(checkpoint=None, resume=None) for one in (kept, whole)
            ]
            assert same(*(one.partial_fit(X, y).model_ for one in parts))


def test_a_resumed_fit_prints_the_epochs_that_are_left(capsys):
    states, options = [], {**QUICK, "merge_every": 20}
    OmpMLPClassifier(**options, checkpoint=states.append).fit(X, LABELS)
    OmpMLPClassifier(**options, resume=states[0], verbose=True).fit(X, LABELS)
    printed = [line.split(",")[0] for line in capsys.readouterr().out.splitlines()]
    assert printed == ["Iteration 2", "Iteration 3"]


def test_a_seed_that_was_drawn_is_that_of_the_state():
    states = []
    drawn = OmpMLPClassifier(**{**QUICK, "random_state": None}, checkpoint=states.append)
    drawn.fit(X, LABELS)
    resumed = OmpMLPClassifier(**{**QUICK, "random_state": None}, resume=states[0]).fit(X, LABELS)
    assert same(resumed.model_, drawn.model_)


def test_what_a_resumed_fit_refuses(tmp_path):
    states = []
    OmpMLPClassifier(**QUICK, checkpoint=states.append).fit(X, LABELS)
    with pytest.raises(ValueError, match="seed was 5, and is 6"):
        OmpMLPClassifier(**{**QUICK, "random_state": 6}, resume=states[0]).fit(X, LABELS)
    with pytest.raises(ValueError, match=r"X was \(120, 4\) of float32"):
        OmpMLPClassifier(**QUICK, resume=states[0]).fit(X[::-1], LABELS)
    with pytest.raises(TypeError, match="resume must be a TrainingState or the path of one"):
        OmpMLPClassifier(resume=3).fit(X, LABELS)
    for name, value in (("checkpoint", tmp_path / "a.state"), ("resume", states[0])):
        with pytest.raises(ValueError, match=f"{name} goes with fit"):
            OmpMLPRegressor(**{name: value}).partial_fit(X, VALUES)


# ----------------------------------------------------------------------------------------- answers


def test_answers_are_those_of_the_network():
    fitted = OmpMLPClassifier(**QUICK).fit(X, LABELS)
    z = fitted.model_.decision_function(X).astype(float)
    exact = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.predict_proba(X), exact, rtol=1e-12)
    np.testing.assert_allclose(fitted.predict_log_proba(X), np.log(exact), rtol=1e-12)
    np.testing.assert_array_equal(fitted.predict(X), fitted.model_.predict(X))
    np.testing.assert_array_equal(fitted.decision_function(X), fitted.model_.decision_function(X))
    weight = np.arange(120)
    expected = accuracy_score(LABELS, fitted.predict(X), sample_weight=weight)
    assert fitted.score(X, LABELS, weight) == expected
    assert fitted.coefs_[0].shape == (4, 8)
    assert fitted.intercepts_[1].shape == (3,)
    assert (fitted.n_layers_, fitted.n_outputs_, fitted.out_activation_) == (3, 3, "softmax")
    with pytest.raises(NotFittedError):
        OmpMLPClassifier().predict(X)


@pytest.mark.parametrize(
    ("y", "dtype"),
    [
        (np.array(["no", "yes"], object)[(X[:, 0] > 0).astype(int)], object),
        (X[:, 0] > 0, bool),
        (np.where(X[:, 0] > 0, 7, -3).astype(object), int),
        (np.where(X[:, 0] > 0, 2.0, 0.0), float),
    ],
)
def test_two_classes_of_any_dtype(y, dtype):
    fitted = OmpMLPClassifier(hidden_layer_sizes=(8,), max_iter=20, random_state=0).fit(X, y)
    assert fitted.classes_.dtype == dtype
    np.testing.assert_array_equal(fitted.classes_, np.unique(y))
    assert fitted.predict(X).dtype == dtype
    assert fitted.score(X, y) > 0.9
    z = fitted.decision_function(X)
    assert z.shape == (120,)
    np.testing.assert_array_equal(fitted.classes_[(z > 0).astype(int)], fitted.predict(X))
    np.testing.assert_allclose(fitted.predict_proba(X)[:, 1], 1 / (1 + np.exp(-z.astype(float))))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.where(np.arange(120) == 7, None, LABELS.astype(object)), "got None in row 7"),
        (np.where(np.arange(120) == 7, np.nan, VALUES), "contains NaN"),
        (
            np.array(["a", 1] * 60, object),
            "labels of one type, strings or numbers; got entries of type int, str",
        ),
        (VALUES, "Unknown label type: continuous"),
        (np.stack([LABELS, LABELS], axis=1), "0 and 1 of each of several labels; got y of the"),
    ],
)
def test_labels_that_are_none(y, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        OmpMLPClassifier(**QUICK).fit(X, y)


class Exchanged:
    """A table of a library that nobody knows."""

    def __init__(self, table):
        self.table = table

    def __dataframe__(self, **options):
        return self.table.__dataframe__(**options)


@pytest.mark.filterwarnings("ignore:.*[iI]nterchange.*", "ignore:.*__dataframe__.*")
def test_inputs_of_protocols_that_scikit_learn_does_not_read():
    table = pd.DataFrame(X, columns=list("abcd"))
    table["kind"] = np.where(X[:, 0] > 0, "much", "little")
    known, exchanged = OmpMLPClassifier(**QUICK), OmpMLPClassifier(**QUICK)
    known.fit(table, LABELS)
    exchanged.fit(Exchanged(table), LABELS, X_val=Exchanged(table), y_val=LABELS)
    assert same(known.model_, exchanged.model_)
    assert exchanged.feature_names_in_.tolist() == ["a", "b", "c", "d", "kind"]
    assert exchanged.score(Exchanged(table), LABELS) == known.score(table, LABELS)
    arrays = OmpMLPRegressor(**QUICK).fit(X, VALUES)
    devices = OmpMLPRegressor(**QUICK).fit(OnDevice(X), OnDevice(VALUES))
    assert same(arrays.model_, devices.model_)
    np.testing.assert_array_equal(devices.predict(OnDevice(X)), arrays.predict(X))


class InNamespace:
    """An array of another library, as the array API has them."""

    def __init__(self, array):
        self.array = array
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, str(array.dtype)

    def __array_namespace__(self, **_):
        raise AssertionError("it was taken for an array that scikit-learn computes with")

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype=dtype)


def test_arrays_of_the_array_api_are_read_before_scikit_learn_sees_them():
    whole = (LABELS != "a").astype(int)
    fitted = OmpMLPClassifier(**QUICK).fit(InNamespace(X), InNamespace(whole))
    assert same(fitted.model_, OmpMLPClassifier(**QUICK).fit(X, whole).model_)
    np.testing.assert_array_equal(fitted.predict(InNamespace(X)), fitted.predict(X))


def test_strings_of_numpy_2_are_labels():
    strings = getattr(np.dtypes, "StringDType", None)
    if strings is None:
        pytest.skip("this NumPy has no StringDType")
    fitted = OmpMLPClassifier(**QUICK).fit(X, LABELS.astype(strings()))
    assert same(fitted.model_, OmpMLPClassifier(**QUICK).fit(X, LABELS).model_)
    assert fitted.score(X, LABELS.astype(strings())) == fitted.score(X, LABELS)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ([math.nan, *LABELS[1:].tolist()], ValueError, "value in every row; got nan in row 0"),
        ([None, *LABELS[1:].tolist()], ValueError, "value in every row; got None in row 0"),
        ([1, *LABELS[1:].tolist()], TypeError, "labels of one type, strings or numbers; got"),
    ],
)
def test_lists_whose_entries_are_not_all_labels(y, error, message):
    with pytest.raises(error, match=message):
        OmpMLPClassifier(**QUICK).fit(X, y)


def test_several_labels_a_sample():
    fitted = OmpMLPClassifier(hidden_layer_sizes=(16,), random_state=0, max_iter=40).fit(X, MANY)
    assert fitted.score(X, MANY) > 0.8
    assert fitted.classes_.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(fitted.predict(X), fitted.predict_proba(X) > 0.5)
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), fitted.predict_proba(X))
    sparse = OmpMLPClassifier(**QUICK).fit(X, scipy.sparse.csr_array(MANY))
    assert same(sparse.model_, OmpMLPClassifier(**QUICK).fit(X, MANY.tolist()).model_)
    online = OmpMLPClassifier(**FIXED, random_state=0)
    for _ in range(2):
        online.partial_fit(X, MANY, classes=[0, 1, 2])
    assert online.predict(X).shape == (120, 3)


def test_values_of_one_and_of_several_outputs():
    with pytest.warns(DataConversionWarning):
        column = OmpMLPRegressor(**QUICK).fit(X, VALUES[:, None])
    assert same(column.model_, OmpMLPRegressor(**QUICK).fit(X, VALUES).model_)
    assert column.predict(X).shape == (120,)
    several = OmpMLPRegressor(hidden_layer_sizes=(16,), max_iter=40, random_state=0)
    assert several.fit(X, X[:, :2]).score(X, X[:, :2]) > 0.9
    counts = np.round(np.exp(X[:, 0]))
    rates = OmpMLPRegressor("poisson", hidden_layer_sizes=(16,), max_iter=40, random_state=0)
    assert (rates.fit(X, counts).predict(X) > 0).all()
    whole = OmpMLPRegressor(**QUICK).fit(X, counts.astype(int))  # values, although integers
    assert same(whole.model_, OmpMLPRegressor(**QUICK).fit(X, counts).model_)


def test_weights_count_by_their_ratios():
    weight = RNG.uniform(0.5, 2, 120)
    one = OmpMLPClassifier(**QUICK).fit(X, LABELS, weight)
    model = omp_mlp.train_parallel(
        X, LABELS, 2, **TRAINED, sample_weight=1000 * weight / (1000 * weight).mean()
    )
    assert same(one.model_, model)
    equal = OmpMLPClassifier(**QUICK).fit(X, LABELS, np.full(120, 3.0))
    assert same(equal.model_, OmpMLPClassifier(**QUICK).fit(X, LABELS).model_)
    of_class = np.where(LABELS == "a", 4.0, 1.0)
    by_class = OmpMLPClassifier(**QUICK, class_weight={"a": 4}).fit(X, LABELS, weight)
    assert same(by_class.model_, OmpMLPClassifier(**QUICK).fit(X, LABELS, weight * of_class).model_)
    balanced = OmpMLPClassifier(**QUICK, class_weight="balanced").fit(X, LABELS)
    assert not same(balanced.model_, equal.model_)
    stops = {"early_stopping": True, "validation_fraction": 0.3}
    stopped = OmpMLPClassifier(**{**QUICK, **stops}, class_weight="balanced").fit(X, LABELS)
    options = {**TRAINED, **stops, "learning_rate_schedule": "linear", "patience": 1000}
    model = omp_mlp.train_parallel(X, LABELS, 2, **options, class_weight="balanced")
    assert same(stopped.model_, model)
    with pytest.raises(ValueError, match="got zero for every sample"):
        OmpMLPClassifier().fit(X, LABELS, np.zeros(120))


def test_sparse_and_dense_inputs_agree():
    thin = np.where(X > 0.8, X, 0)
    options = {**QUICK, "scale_inputs": False, "center_inputs": False}
    dense = OmpMLPClassifier(**options).fit(thin, LABELS)
    sparse = OmpMLPClassifier(**options).fit(scipy.sparse.csc_matrix(thin), LABELS)
    # Sums of float32 in another order, over some hundred steps.
    np.testing.assert_allclose(sparse.coefs_[0], dense.coefs_[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(
        sparse.predict(scipy.sparse.coo_array(thin)), sparse.predict(thin)
    )


def test_an_ensemble_answers_too():
    fitted = OmpMLPClassifier(**QUICK, merge="ensemble").fit(X, LABELS)
    assert isinstance(fitted.model_, omp_mlp.Ensemble)
    assert fitted.predict_proba(X).shape == (120, 3)
    assert not hasattr(fitted, "coefs_")


# -------------------------------------------------------------------------- in scikit-learn's tools


def test_in_pipelines_searches_and_other_tools():
    data, y = load_iris(return_X_y=True)
    # 12 epochs of 150 flowers; a training that follows the labels is far above a guess of 0.33.
    network = OmpMLPClassifier(**{**QUICK, "max_iter": 12, "threads": 1})
    pipeline = make_pipeline(StandardScaler(), network)
    grid = {"ompmlpclassifier__alpha": [0.0, 1e-3]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2, error_score="raise").fit(data, y)
    assert search.best_score_ > 0.8
    assert same(
        search.best_estimator_[-1].model_,
        clone(search.best_estimator_).fit(data, y)[-1].model_,
    )
    calibrated = CalibratedClassifierCV(network, cv=2).fit(data, y)
    assert calibrated.score(data, y) > 0.8
    importance = permutation_importance(
        network.fit(data, y), data, y, n_repeats=1, random_state=0
    ).importances_mean
    assert importance.shape == (4,)
    assert importance.max() > 0.1


def test_halving_search():
    """Candidates get more and more rows, and the last ones all."""
    network = OmpMLPClassifier(**{**QUICK, "threads": 1})
    grid = {"hidden_layer_sizes": [(4,), (8,), (12,)]}
    search = HalvingGridSearchCV(network, grid, cv=2, min_resources=40, random_state=0)
    search.fit(X, LABELS)
    assert search.n_resources_ == [40, 120]
    assert search.n_candidates_ == [3, 1]
    again = clone(network).set_params(**search.best_params_).fit(X, LABELS)
    assert same(search.best_estimator_.model_, again.model_)


def test_partial_dependence_is_the_mean_answer_where_a_column_is_set():
    network = OmpMLPRegressor(**{**QUICK, "threads": 1}).fit(X, VALUES)
    found = partial_dependence(network, X, [1], grid_resolution=5, kind="average")
    for value, mean in zip(found["grid_values"][0], found["average"][0], strict=True):
        as_if = X.copy()
        as_if[:, 1] = value
        np.testing.assert_allclose(mean, network.predict(as_if).mean(), rtol=1e-6)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_backends_of_joblib_change_no_score(backend):
    network = OmpMLPClassifier(**QUICK)
    alone = cross_val_score(network, X, LABELS, cv=2)
    with joblib.parallel_backend(backend, n_jobs=2):
        together = cross_val_score(network, X, LABELS, cv=2, error_score="raise")
    np.testing.assert_array_equal(together, alone)


def test_jobs_share_the_cores():
    """Processes have their share by OMP_NUM_THREADS, and threads one worker each."""
    share = max(1, available_cores() // 2)
    assert max(joblib.Parallel(n_jobs=2)([joblib.delayed(available_cores)()] * 2)) <= share
    with joblib.parallel_backend("threading", n_jobs=2):
        models = joblib.Parallel()([joblib.delayed(_fit_and_count)()] * 2)
    assert models == [1, 1]


def _fit_and_count():
    from omp_mlp.sklearn import _workers

    OmpMLPClassifier(**QUICK).fit(X, LABELS)
    return _workers(None)


def test_negative_n_jobs_count_from_the_cores():
    from omp_mlp.sklearn import _workers

    assert _workers(-1) == available_cores()
    assert _workers(-(10**6)) == 1
    assert _workers(3) == 3


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_pickle_answers_alike(estimator, tmp_path):
    fitted = estimator(**QUICK).fit(X, target(estimator))
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    loaded = joblib.load(tmp_path / "fitted.joblib")
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))
    assert loaded.loss_curve_ == fitted.loss_curve_
    assert clone(fitted).get_params() == fitted.get_params()


# ---------------------------------------------------------------------------------------- importing


def test_importing_the_package_imports_no_other_library():
    program = """
import sys
import omp_mlp
assert {"OmpMLPClassifier", "OmpMLPRegressor"} <= set(dir(omp_mlp))
heavy = {"sklearn", "scipy", "pandas", "polars", "pyarrow", "torch", "joblib"} & set(sys.modules)
assert not heavy, heavy
omp_mlp.OmpMLPClassifier
assert "sklearn" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_absence_of_scikit_learn_is_one_sentence():
    program = """
import sys
sys.modules["sklearn"] = None
import omp_mlp
try:
    omp_mlp.OmpMLPRegressor
except ImportError as error:
    print(error)
"""
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said == 'an estimator needs scikit-learn 1.6 or later: pip install "omp_mlp[sklearn]"\n'


# ----------------------------------------------------------------------------------------- L-BFGS


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_lbfgs_is_that_of_train_parallel_with_alpha_over_the_rows(estimator):
    y = target(estimator)
    # Settings of other solvers are overlooked; tol is that of the gradient.
    fitted = estimator(
        hidden_layer_sizes=(8,),
        solver="lbfgs",
        alpha=0.6,
        tol=0.02,
        early_stopping=True,
        max_iter=30,
        random_state=5,
    ).fit(X, y)
    model = omp_mlp.train_parallel(
        X,
        y,
        hidden_layer_sizes=(8,),
        optimizer="lbfgs",
        l2=0.005,
        tol=0.02,
        epochs=30,
        early_stopping=True,
        seed=5,
        threads=2,
    )
    assert same(fitted.model_, model)
    assert fitted.n_iter_ == len(model.history) > 1
    assert not hasattr(fitted, "partial_fit")
