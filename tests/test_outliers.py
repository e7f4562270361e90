"""Values of y that are too far from all others, and what a training makes of them."""

import warnings

import numpy as np
import pytest

import fixed
import omp_mlp
from omp_mlp.early_stopping import split
from omp_mlp.outliers import find_limits
from omp_mlp.scaling import Scaling
from omp_mlp.sklearn import OmpMLPRegressor
from omp_mlp.targets import read_targets
from omp_mlp.warned import SettingsWarning
from threads_as_ranks import train_on_ranks

RNG = np.random.default_rng(7)
X = RNG.normal(size=(400, 4))
VALUES = X[:, 0] + np.sin(X[:, 1])
SHORT = {"epochs": 3, "hidden_layer_sizes": (16,), "scale_targets": "auto"}


def column(values):
    return np.asarray(values).reshape(len(values), -1)


def with_outliers(values=VALUES):
    y = values.copy()
    y[3], y[17] = 1e6, -3e4
    return y


def messages(y, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fixed.train_parallel(X, y, 2, **{**SHORT, **options})
    assert {one.category for one in caught} <= {SettingsWarning}
    return [str(one.message) for one in caught]


def same_networks(one, other):
    for got, expected in zip(one.weights + one.biases, other.weights + other.biases, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_limits_are_what_the_growth_of_the_distances_lets_expect():
    # Around the median 0, 82 values are 10 away, 17 are 50 away, and one is an outlier.
    y = np.concatenate([[0.0], np.tile([10.0, -10.0], 41), np.tile([50.0, -50.0], 8), [-50.0, 1e7]])
    limits = find_limits(column(y))
    # Of 101 distances, the 81st and the 96th; the quantiles of the normal distribution beside them.
    near, far, centre = 10.0, 50.0, 0.0
    z_near, z_far, z_last = 1.2815515655, 1.9599639845, 2.5793
    steepness = np.log(far / near) / (z_far - z_near)
    reach = far * np.exp(steepness * (z_last - z_far))
    np.testing.assert_allclose(limits.upper, centre + reach, rtol=1e-4)
    np.testing.assert_allclose(limits.lower, centre - reach, rtol=1e-4)


HONEST = {
    "normal": lambda rng, n: rng.normal(size=n),
    "log-normal, 1": lambda rng, n: np.exp(rng.normal(size=n)),
    "log-normal, 1.5": lambda rng, n: np.exp(1.5 * rng.normal(size=n)),
    "t, 3": lambda rng, n: rng.standard_t(3, n),
    "power, 2.5": lambda rng, n: rng.pareto(2.5, n),
    "Laplace": lambda rng, n: rng.laplace(size=n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "whole numbers": lambda rng, n: np.rint(3 * rng.normal(size=n)),
    "counts": lambda rng, n: rng.poisson(np.exp(rng.normal(size=n))).astype(float),
    "rare counts": lambda rng, n: rng.poisson(0.3, n).astype(float),
    "mostly zero": lambda rng, n: np.exp(rng.normal(size=n)) * (rng.random(n) < 0.15),
    "half zero": lambda rng, n: np.exp(1.5 * rng.normal(size=n)) * (rng.random(n) < 0.5),
    "flags": lambda rng, n: (rng.random(n) < 0.02).astype(float),
    "prices": lambda rng, n: np.round(300 * np.exp(rng.normal(size=n)), -1),
    "constant": lambda _, n: np.full(n, 5.0),
}


def test_outliers_are_far_beyond_the_tail_of_a_power():
    # The k-th largest distance from the median 0 is 2,000 / (k + 1), as of a power; but for the
    # largest, which is the value that is looked at.
    distances = 2000 / np.arange(3, 2001)
    others = [0.0, 0.0, -1.0, *distances * np.resize([1.0, -1.0], len(distances))]
    # Of 2,002 distances, the 402nd and the 102nd largest.
    near, far = 2000 / 403, 2000 / 103
    end = far * (far / near) ** (np.log(0.05 * 2002) / np.log(0.2 / 0.05))
    limit = (10 + 1000 / 2002) * end
    assert find_limits(column([*others, 0.999 * limit])) is None
    limits = find_limits(column([*others, 1.001 * limit]))
    # The limits are those of a log-normal tail with the same quantiles, which ends nearer.
    z_near, z_far, z_last = 1.2815515655, 1.9599639845, 3.4810
    reach = far * np.exp(np.log(far / near) * (z_last - z_far) / (z_far - z_near))
    np.testing.assert_allclose(limits.upper, reach, rtol=1e-3)
    assert reach < end / 4


@pytest.mark.parametrize("n_rows", [10, 50, 300, 5000, 100_000])
@pytest.mark.parametrize("name", HONEST)
def test_honest_long_tails_have_no_outliers(name, n_rows):
    for seed in range(5 if n_rows < 100_000 else 1):
        y = HONEST[name](np.random.default_rng(seed), n_rows)
        assert find_limits(column(y)) is None, seed


def test_one_value_and_a_hundredth_of_the_values_are_found():
    y = 20.0 + 5.0 * np.random.default_rng(0).normal(size=1000)
    y[5] = 1e9
    limits = find_limits(column(y))
    assert limits.beyond.tolist() == [1]
    y[5:15] = [-2e3, 2e3] * 5
    limits = find_limits(column(y))
    assert limits.beyond.tolist() == [10]
    assert 35 < limits.upper[0] < 50
    assert -10 < limits.lower[0] < 5


def test_each_output_has_its_own_limits():
    y = np.column_stack([VALUES, with_outliers(), VALUES**2])
    limits = find_limits(y)
    assert limits.beyond.tolist() == [0, 2, 0]
    assert np.isinf(limits.upper).tolist() == [True, False, True]
    brought = limits.bring(y)
    np.testing.assert_array_equal(brought[:, [0, 2]], y[:, [0, 2]])
    assert brought[3, 1] == limits.upper[1]
    assert brought[17, 1] == limits.lower[1]
    (message,) = messages(y)
    assert message.startswith("2 of 400 values of column 1 of y are too far from the others")


def test_rows_of_kinds_that_take_turns_are_all_looked_at(monkeypatch):
    rng = np.random.default_rng(0)
    y = np.where(np.arange(10_000) % 100 < 50, 0.0, 1000.0) + rng.normal(size=10_000)
    y[::10] += 500.0
    monkeypatch.setattr("omp_mlp.outliers._MOST_LOOKED_AT", 1000)
    assert find_limits(column(y)) is None
    y[7] = 1e9
    limits = find_limits(column(y))
    assert limits.beyond.tolist() == [1]
    assert limits.lower < -10
    assert limits.upper > 1510


def test_processes_find_the_limits_of_all_rows():
    y = column(with_outliers())
    whole, parts = find_limits(y), [y[:0], y[:150], y[150:]]
    for part in parts:
        # Sizes, rows, outliers, and values beyond the limits: of all processes.
        counts = [np.array([0]), np.array([2]), np.array([0])]
        answers = iter([[len(one) for one in parts], parts, counts, counts])
        found = find_limits(part, lambda _, answers=answers: next(answers))
        np.testing.assert_array_equal(found.upper, whole.upper)
        assert found.beyond.tolist() == [2]


def test_a_training_is_that_of_values_at_the_limits():
    y = with_outliers()
    limits = find_limits(column(y))
    (message,) = messages(y)
    assert message == (
        "2 of 400 values of y are too far from the others for a squared error to learn from, and "
        f"are brought to {limits.lower[0]:.6g} or {limits.upper[0]:.6g} for the training; "
        "loss='huber' keeps them, and so does scale_targets=False for y that is scaled by hand"
    )
    with pytest.warns(SettingsWarning, match="2 of 400 values of y"):
        model = fixed.train_parallel(X, y, 2, **SHORT)
    same_networks(model, fixed.train_parallel(X, limits.bring(column(y))[:, 0], 2, **SHORT))


def test_what_keeps_the_values():
    y = with_outliers()
    scaling = Scaling(np.array([0.0]), np.array([1e6]))
    given = messages(y, scale_targets=scaling)
    assert not any("too far from the others" in message for message in given)
    for loss in ("huber", "absolute", "quantile"):
        assert messages(y, loss=loss) == []
        targets = read_targets(y, len(y), scaling="auto")
        assert targets.limits is None
        # The values stay, but they do not make the scale.
        np.testing.assert_allclose(targets.scaling.undo(targets.values)[3], 1e6, rtol=1e-6)
        assert 0.5 < targets.scaling.scale[0] < 2.0


def test_validation_data_stay_as_they_are():
    y = with_outliers()
    with pytest.warns(SettingsWarning, match="2 of 400 values of y"):
        model = fixed.train_parallel(X, y, 2, **SHORT, validation_data=(X, y))
    loss = model.history.validation_loss[-1]
    error = 0.5 * np.mean((model.predict(X) - y) ** 2)
    np.testing.assert_allclose(loss, error, rtol=1e-5)
    assert loss > 1e9


KEPT, HELD = split(read_targets(VALUES, 400), 400, 0.1, seed=0)
STOPS = {**SHORT, "early_stopping": True, "epochs": 6}


def test_rows_that_are_held_out_are_scored_as_they_are_and_judged_at_the_limits():
    y = VALUES.copy()
    y[KEPT[0]], y[HELD[0]] = 1e6, 2e6
    with pytest.warns(SettingsWarning, match="1 of 360 values of y"):
        model = fixed.train_parallel(X, y, 2, **STOPS)
    limits = find_limits(column(y[KEPT]))
    by_hand = fixed.train_parallel(X, limits.bring(column(y))[:, 0], 2, **STOPS)
    same_networks(model, by_hand)
    best = model.history.best_round
    assert best == by_hand.history.best_round
    errors = (model.predict(X[HELD]) - y[HELD]) ** 2
    np.testing.assert_allclose(model.history.validation_loss[best], 0.5 * errors.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        model.history.validation_score[best], model.score(X[HELD], y[HELD]), rtol=1e-5
    )


def test_an_outlier_among_the_held_out_rows_alone_changes_neither_training_nor_judgement():
    y = VALUES.copy()
    y[HELD[0]] = 2e6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fixed.train_parallel(X, y, 2, **STOPS)
    limits = find_limits(column(y[KEPT]), beside=column(y[HELD]))
    assert limits.beyond.tolist() == [0]
    assert find_limits(column(y[KEPT])) is None
    y[HELD[0]] = limits.upper[0]
    same_networks(model, fixed.train_parallel(X, y, 2, **STOPS))
    assert model.history.validation_loss.min() > 1e9


def test_a_training_goes_on_beside_outliers():
    y, states = with_outliers(), []
    with pytest.warns(SettingsWarning, match="2 of 400 values of y"):
        whole = fixed.train_parallel(X, y, 2, **SHORT, checkpoint=states.append, checkpoint_every=1)
    with pytest.warns(SettingsWarning, match="2 of 400 values of y"):
        resumed = omp_mlp.train_parallel(X, y, resume=states[0])
    same_networks(resumed, whole)


def test_weights_of_samples_do_not_change_the_limits():
    y = with_outliers()
    weight = np.where(np.abs(y) > 1e3, 0.0, 2.0)
    (message,) = messages(y, sample_weight=weight)
    assert messages(y) == [message]


@pytest.mark.parametrize("parts", [2, 3])
def test_ranks_agree_on_the_limits_of_all_rows(parts):
    order = np.argsort(VALUES)  # the ranks have values of other sizes
    rows, y = X[order], VALUES[order].copy()
    y[395] = 1e6
    limits = find_limits(column(y))
    options = {**fixed.SETTINGS, **SHORT, "threads": 1, "shuffle": "shards"}
    cut = list(zip(np.array_split(rows, parts), np.array_split(y, parts), strict=True))
    with pytest.warns(SettingsWarning, match="1 of 400 values of y"):
        networks = train_on_ranks(cut, options, deterministic=True)
    brought = limits.bring(column(y))[:, 0]
    by_hand = fixed.train_parallel(rows, brought, parts, **{**SHORT, "shuffle": "shards"})
    for network in networks:
        np.testing.assert_array_equal(network._packed, networks[0]._packed)
        np.testing.assert_allclose(
            network.predict(rows), by_hand.predict(rows), rtol=1e-3, atol=1e-4
        )


def test_no_option_set_learns_beside_an_outlier():
    y = VALUES.copy()
    y[3] = 1e6
    with pytest.warns(SettingsWarning, match="1 of 400 values of y"):
        model = omp_mlp.train_parallel(X, y, 1)
    assert model.score(np.delete(X, 3, axis=0), np.delete(VALUES, 3)) > 0.9


def test_each_call_of_partial_fit_brings_its_own_outliers():
    y = with_outliers()
    near = find_limits(column(y)).bring(column(y))[:, 0]
    learners = [OmpMLPRegressor(random_state=0, threads=2) for _ in range(2)]
    for learner in learners:
        learner.partial_fit(X, VALUES)  # which tells the scale
    with pytest.warns(SettingsWarning, match="2 of 400 values of y"):
        learners[0].partial_fit(X, y)
    learners[1].partial_fit(X, near)
    same_networks(*(learner.model_ for learner in learners))


def test_partial_fit_keeps_values_in_a_scale_that_is_given():
    scaling = Scaling(np.array([0.0]), np.array([1e6]))
    learner = OmpMLPRegressor(random_state=0, threads=2, scale_targets=scaling)
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            learner.partial_fit(X, with_outliers())


def test_each_fit_of_a_warm_start_finds_the_limits_anew():
    learner = OmpMLPRegressor(random_state=0, threads=2, max_iter=3, warm_start=True)
    learner.fit(X, VALUES)
    with pytest.warns(SettingsWarning, match="2 of 400 values of y"):
        learner.fit(X, with_outliers())
    assert learner.score(X, VALUES) > 0.8
