"""What is decided from the data where nobody set it."""

import math

import numpy as np
import pytest
import scipy.sparse

import omp_mlp
from omp_mlp import automatic, search
from omp_mlp.data import read_data
from omp_mlp.options import DEFAULTS, check_options

RNG = np.random.default_rng(0)
SIGNS = RNG.choice([-1.0, 1.0], size=(600, 4))
SIGNS -= SIGNS.mean(axis=0)
SIGNS /= SIGNS.std(axis=0)
LABELS = (SIGNS[:, 0] * SIGNS[:, 1] > 0).astype(np.int64)
VALUES = SIGNS[:, 0] + 0.1 * SIGNS[:, 2]


def settled(X, y, threads=1, **given):
    return settled_with(check_options({**DEFAULTS, "threads": threads, "epochs": 1, **given}), X, y)


def settled_with(options, X, y, **limits):
    def read(others):
        return read_data(others, X, y)

    found, _ = automatic.settle(options, read(options), read=read, **limits)
    return found


@pytest.mark.parametrize(
    ("rows", "cores", "workers", "replicas"),
    [(600, 4, None, 4), (300, 4, None, 2), (50, 4, None, 1), (600, 64, None, 4), (600, 1, 3, 3)],
)
def test_replicas_are_cores_that_have_128_rows_each(monkeypatch, rows, cores, workers, replicas):
    monkeypatch.setattr(automatic, "available_cores", lambda: cores)
    assert settled(SIGNS[:rows], LABELS[:rows], None, workers=workers).threads == replicas


def test_a_number_of_replicas_that_is_given_is_obeyed():
    assert settled(SIGNS[:50], LABELS[:50], 32).threads == 32


# The columns have mean 0 and variance 1, so that a row has a squared norm of 4 on the mean. The
# first layer reads 4, a second one of 6 units that follow He's rule reads 6, and 5 units 5.
@pytest.mark.parametrize(
    ("hidden", "curvature"), [((), 4 + 1), ((6,), 4 + 1 + 6 + 1), ((6, 5), 4 + 1 + 6 + 1 + 5 + 1)]
)
def test_the_rate_is_in_proportion_to_one_over_the_curvature(hidden, curvature):
    def rate(y, threads=1, **given):
        return settled(SIGNS, y, threads, hidden_layer_sizes=hidden, **given).learning_rate

    assert rate(VALUES) == pytest.approx(min(1.5 / curvature, 0.1), rel=5e-3)
    assert rate(VALUES, 2) == pytest.approx(min(1.0 / curvature, 0.1), rel=5e-3)
    assert rate(VALUES, 2, batch_size=32) == pytest.approx(min(2.0 / curvature, 0.2), rel=5e-3)
    assert rate(LABELS) == 0.1  # the most, which 8 / curvature is above
    wide = settled(SIGNS, LABELS, hidden_layer_sizes=(500,)).learning_rate
    assert wide == pytest.approx(8 / (4 + 1 + 500 + 1), rel=5e-3)


def test_other_optimisers_have_rates_and_batches_of_their_own():
    def rate(name, **given):
        found = settled(SIGNS, VALUES, optimizer=name, hidden_layer_sizes=(60,), **given)
        return found.learning_rate, found.batch_size

    plain = 1.5 / (4 + 1 + 60 + 1)
    assert rate("sgd") == (pytest.approx(plain, rel=5e-3), 2)
    assert rate("momentum") == (pytest.approx(0.1 * 2 * plain, rel=5e-3), 32)
    assert rate("nesterov", momentum=0.5) == (pytest.approx(0.5 * 2 * plain, rel=5e-3), 32)
    for name in ("adam", "adamw", "rmsprop"):
        assert rate(name) == (0.002, 32)
        assert rate(name, batch_size=8) == (0.001, 8)
    for decay in ({"weight_decay": 0.1}, {"l2": 0.1}, {"max_norm": 1.0}):
        assert rate("sgd", **decay)[1] == 32


def test_scales_and_formats_of_the_inputs_do_not_change_the_rate():
    sparse = SIGNS * (RNG.random(SIGNS.shape) < 0.1)
    scales = np.array([1e6, 1e-6, 1.0, 2.0])
    expected = settled(SIGNS, VALUES).learning_rate
    assert settled(SIGNS * scales + 7 * scales, 1e5 * VALUES).learning_rate == expected
    of_arrays = settled(sparse, VALUES, scale_inputs=False).learning_rate
    of_sparse = settled(scipy.sparse.csr_matrix(sparse), VALUES, scale_inputs=False).learning_rate
    assert of_arrays == of_sparse


def test_images_are_centered_and_trained_in_batches_of_eight():
    images = (RNG.random((200, 30)) < 0.3) * RNG.integers(100, 256, size=(200, 30))
    y = np.arange(200) % 2
    as_bytes = settled(images.astype(np.uint8), y)
    assert as_bytes.center_inputs is True
    assert as_bytes.batch_size == 8
    for other in (images, images / 255, scipy.sparse.csr_matrix(images)):
        found = settled(other, y)
        assert (found.center_inputs, found.batch_size) == (True, 8)
        assert found.learning_rate == pytest.approx(as_bytes.learning_rate, rel=5e-3)
    assert settled(SIGNS, LABELS).center_inputs is False
    assert settled(SIGNS, LABELS).batch_size == 2


@pytest.mark.parametrize(("hidden", "batch_size"), [((2000,), 2), ((20_000,), 8), ((200_000,), 32)])
def test_batches_grow_with_the_network(hidden, batch_size):
    assert settled(SIGNS, LABELS, hidden_layer_sizes=hidden).batch_size == batch_size


@pytest.mark.parametrize(
    "options", [{}, {"optimizer": "momentum"}, {"optimizer": "adam"}, {"parametrization": "ntk"}]
)
def test_a_batch_of_more_than_all_rows_has_the_rate_of_all(options):
    rates = [
        settled(SIGNS, LABELS, 2, batch_size=size, **options).learning_rate
        for size in (len(SIGNS), len(SIGNS) + 1, 10**6, 2**63 - 1)
    ]
    assert len(set(rates)) == 1
    assert settled(SIGNS, LABELS, 2, batch_size=len(SIGNS) // 2, **options).learning_rate < rates[0]


@pytest.mark.parametrize(
    ("rows", "replicas", "batch_size"),
    [
        (5, 1, 16),
        (600, 1, 16),
        (1024, 1, 32),
        (3000, 1, 128),
        (3000, 2, 64),
        (100_000, 1, 256),
        (100_000, 4, 64),
        (100_000, 16, 32),
    ],
)
def test_batches_of_ntk_are_a_32nd_of_a_replicas_rows(rows, replicas, batch_size):
    X, y = np.resize(SIGNS, (rows, 4)), np.resize(LABELS, rows)
    found = settled(X, y, replicas, parametrization="ntk", optimizer="adam")
    assert found.batch_size == batch_size
    assert found.learning_rate == pytest.approx(0.04 * (batch_size / 256) ** 0.5, rel=5e-3)
    together = settled(
        X, y, replicas, parametrization="ntk", optimizer="adam", strategy="synchronous"
    )
    assert together.batch_size == settled(X, y, 1, parametrization="ntk").batch_size


def test_what_was_decided_gives_the_same_bits_when_it_is_given():
    options = check_options({**DEFAULTS, "threads": 2})
    found = settled_with(options, SIGNS, LABELS)
    names = ("epochs", "batch_size", "learning_rate", "center_inputs")
    given = {name: getattr(found, name) for name in names}
    model = omp_mlp.train_parallel(SIGNS, LABELS, 2)
    np.testing.assert_array_equal(
        model._packed, omp_mlp.train_parallel(SIGNS, LABELS, 2, **given)._packed
    )
    for workers in (1, 2):
        again = omp_mlp.train_parallel(SIGNS, LABELS, 2, workers=workers)
        np.testing.assert_array_equal(model._packed, again._packed)


@pytest.mark.parametrize(("rows", "threads", "most"), [(600, 1, 80), (600, 16, 160)])
def test_epochs_without_a_search(rows, threads, most):
    X, y = SIGNS[:rows], LABELS[:rows]
    start = omp_mlp.train_parallel(X, y, 1, epochs=0)
    assert settled(X, y, threads, epochs="auto", early_stopping=True).epochs == most
    assert settled(X, y, threads, epochs="auto", init=start).epochs == most // 2
    assert settled(X, y, threads, strategy="hogwild", epochs="auto").epochs == most // 2


def test_long_data_take_fewer_epochs():
    X = np.tile(SIGNS, (50, 1))
    y = np.tile(LABELS, 50)
    start = omp_mlp.train_parallel(X, y, 1, epochs=0)
    assert settled(X, y, epochs="auto", init=start).epochs == 800_000 // 30_000 // 2


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_no_option_set_learns_on_any_scale(factor):
    X = SIGNS * np.array([factor, 1.0, 1.0, 1.0]) + np.array([0.0, 10.0, 0.0, 0.0])
    assert omp_mlp.train_parallel(X, LABELS, 2).score(X, LABELS) == 1.0
    values = omp_mlp.train_parallel(X, 1e5 + factor * VALUES, 2)
    assert values.score(X, 1e5 + factor * VALUES) > (0.99 if factor > 1 else -math.inf)


# The longer, the better: few rows are trained up to 200,000 samples, twice that by many replicas.
@pytest.mark.parametrize(
    ("rows", "threads", "limit", "epochs"),
    [
        (600, 1, None, 320),
        (600, 8, None, 320),
        (600, 16, None, 640),
        (100, 1, None, 1280),
        (600, 1, 200, 80),
        (600, 1, 1000, 320),
    ],
)
def test_few_rows_may_have_more_epochs(monkeypatch, rows, threads, limit, epochs):
    monkeypatch.setattr(search, "_error", lambda o, *_: 100 / o.epochs)
    given = {**DEFAULTS, "threads": threads, "epochs": "auto", "learning_rate": 0.1}
    options = check_options(given)
    found = settled_with(options, SIGNS[:rows], LABELS[:rows], most_epochs=limit)
    assert found.epochs == epochs


def test_many_rows_or_large_networks_have_no_more_epochs(monkeypatch):
    monkeypatch.setattr(search, "_error", lambda o, *_: 1 + 1 / o.epochs)
    given = {"epochs": "auto", "learning_rate": 0.1}
    X, y = np.tile(SIGNS, (2, 1)), np.tile(LABELS, 2)
    assert settled(X, y, **given).epochs == 80
    assert settled(SIGNS, LABELS, hidden_layer_sizes=(10_000,), **given).epochs == 80


def test_many_rows_have_more_epochs_while_they_learn_much(monkeypatch):
    # From 20 epochs to 80, the error falls by more than a sixth of what 5 epochs have.
    monkeypatch.setattr(search, "_error", lambda o, *_: 100 / o.epochs)
    given = {**DEFAULTS, "threads": 1, "epochs": "auto", "learning_rate": 0.1}
    options = check_options(given)
    data = np.tile(SIGNS, (2, 1)), np.tile(LABELS, 2)
    assert settled_with(options, *data).epochs == 320
    assert settled_with(options, *data, most_epochs=319).epochs == 80
    wide = check_options({**given, "hidden_layer_sizes": (10_000,)})
    assert settled_with(wide, *data).epochs == 80  # too much work


def test_a_wave_in_few_rows_is_learnt():
    x = np.random.default_rng(0).uniform(-3, 3, size=(300, 1))
    y = np.sin(3 * x[:, 0])
    # After 80 epochs, the longest without a look further, R^2 is below 0.3.
    assert omp_mlp.train_parallel(x[:150], y[:150], 1).score(x[150:], y[150:]) > 0.6
