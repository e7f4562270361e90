"""Columns with long tails, which may be compressed: what they become, and who decides it."""

import json
import pickle
import re
import struct

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal

import fixed
import omp_mlp
from omp_mlp import Model
from omp_mlp.inputs import read_inputs
from omp_mlp.long_tails import compress, has_long_tails, middles_and_units
from omp_mlp.options import DEFAULTS, check_options
from omp_mlp.scaling import Scaling, dense_scaling
from omp_mlp.sklearn import OmpMLPClassifier, OmpMLPRegressor
from round_trips import through_onnx, through_torch
from threads_as_ranks import train_on_ranks

RNG = np.random.default_rng(5)
Z = RNG.normal(size=(600, 4))
# Column 1 is log-normal and shifted, column 3 counts that are mostly zero.
AMOUNTS = 1e6 + 50 * np.exp(2.5 * Z[:, 1])
COUNTS = np.where(Z[:, 3] > 1, np.rint(np.exp(2 * (Z[:, 3] - 1))), 0.0)
X = np.column_stack([Z[:, 0], AMOUNTS, 30 * Z[:, 2], COUNTS])
Y = Z[:, 0] + np.sin(Z[:, 1])
SHORT = {"epochs": 3, "hidden_layer_sizes": (16,), "scale_inputs": "compress"}


def by_hand(X):
    """Return the inputs of a network that compresses columns 1 and 3 of X above."""
    z = (X - X0.mean(axis=0)) / X0.std(axis=0)
    for j in (1, 3):
        distance = np.abs(X0[:, j] - np.median(X0[:, j]))
        z[:, j] = np.arcsinh((X[:, j] - np.median(X0[:, j])) / np.median(distance[distance > 0]))
    return z


X0 = X.copy()


@pytest.fixture(scope="module")
def network():
    return fixed.train_parallel(X, Y, 2, **SHORT)


# ------------------------------------------------------------------------------------- the columns


def test_the_farthest_values_tell_long_tails():
    scaling, _ = dense_scaling(X)
    assert (np.abs(scaling.apply(X)).max(axis=0) > 9.99).tolist() == [False, True, False, True]
    assert has_long_tails(scaling.apply(X))
    assert not has_long_tails(scaling.apply(X)[:, ::2])
    assert not has_long_tails(-np.full((3, 2), 9.98))
    assert has_long_tails(-np.full((3, 2), 10.0))


def test_middles_and_units_leave_out_values_that_are_the_median():
    values = np.array([[0.0, 5.0], [0.0, 5.0], [0.0, 5.0], [4.0, 5.0], [-2.0, 5.0]])
    middles, units = middles_and_units(values)
    assert middles.tolist() == [0.0, 5.0]
    assert units.tolist() == [3.0, 0.0]


def test_compressed_values_are_those_of_arsinh():
    z = np.array([[-30.0, 7.0], [1e-3, 8.0], [1e30, 9.0]], dtype=np.float32)
    got = compress(z, np.array([2.0, np.inf]))
    assert got.dtype == np.float32
    assert_array_equal(got[:, 1], z[:, 1])
    expected = 2 * np.log(
        np.abs(z[:, 0].astype(float)) / 2 + np.hypot(z[:, 0].astype(float) / 2, 1)
    )
    assert_allclose(got[:, 0], np.sign(z[:, 0]) * expected, rtol=1e-6)


def test_long_tails_are_compressed_around_their_median():
    scaling, is_image = dense_scaling(X, compresses=True)
    assert not is_image
    assert scaling.compressed.tolist() == [1, 3]
    assert scaling.bend.tolist() == [np.inf, 1.0, np.inf, 1.0]
    assert scaling.offset[[1, 3]].tolist() == [np.median(AMOUNTS), 0.0]
    assert scaling.scale[3] == np.median(COUNTS[COUNTS > 0])
    assert not scaling.folds
    rows = read_inputs(X, scaling="auto", compresses=True).rows
    assert_allclose(rows, by_hand(X), rtol=1e-6, atol=1e-6)
    plain, _ = dense_scaling(X)
    assert_array_equal(scaling.offset[[0, 2]], plain.offset[[0, 2]])
    assert_array_equal(scaling.scale[[0, 2]], plain.scale[[0, 2]])


def test_what_has_no_long_tails_is_scaled_as_ever():
    for given in (Z, np.eye(9)[RNG.integers(0, 9, 300)], RNG.integers(0, 9, (300, 5))):
        scaling, _ = dense_scaling(given.astype(np.float64), compresses=True)
        assert scaling is None or scaling.bend is None
    pixels = np.where(RNG.random((400, 5)) < 0.02, RNG.uniform(0.5, 1, (400, 5)), 0.0)
    pixels[7] = 1.1
    scaling, _ = dense_scaling(pixels, compresses=True)
    assert scaling.bend is None
    assert not scaling.offset.any()
    sparse = fixed.train_parallel(scipy.sparse.csr_array(X), Y, 2, **SHORT)
    assert sparse.input_scaling is None or sparse.input_scaling.bend is None


def test_limits_come_first():
    ruined = X.copy()
    ruined[5, 1] = 1e30
    scaling, _ = dense_scaling(ruined, compresses=True)
    assert scaling.limited.tolist() == [1]
    assert scaling.compressed.tolist() == [1, 3]
    rows = scaling.apply(ruined)
    end = np.arcsinh((scaling.upper[1] - scaling.offset[1]) / scaling.scale[1])
    assert rows[5, 1] == np.float32(scaling.scaled_limits()[1][0])
    assert rows[5, 1] == pytest.approx(end, rel=1e-6)
    assert rows[:, 1].max() == rows[5, 1]


# ------------------------------------------------------------------------------------- the networks


def test_predictions_compress(network):
    assert network.input_scaling.compressed.tolist() == [1, 3]
    plain = Model(network.weights, network.biases, activation=network.activation)
    expected = plain.predict(by_hand(X))
    assert_allclose(network.predict(X), expected, rtol=1e-5, atol=1e-5)
    assert_allclose(network.predict(X[:1]), expected[:1], rtol=1e-5, atol=1e-5)
    assert_array_equal(network.predict(scipy.sparse.csr_array(X)), network.predict(X))
    assert "compressing 2 columns" in network.summary()


def test_pickles_and_files_keep_the_bends(network, tmp_path):
    path = tmp_path / "network.safetensors"
    network.save(path)
    for copy in (pickle.loads(pickle.dumps(network)), omp_mlp.load(path)):
        assert_array_equal(copy.input_scaling.bend, network.input_scaling.bend)
        assert_array_equal(copy.predict(X), network.predict(X))
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    assert header["__metadata__"]["format_version"] == "6"
    assert "input_bend" in header


@pytest.mark.parametrize("bend", [np.ones(3), np.zeros(4), -np.ones(4), np.full(4, np.nan)])
def test_bends_that_are_none_are_refused(network, bend):
    given = Scaling(np.zeros(4), np.ones(4), bend=bend)
    with pytest.raises(ValueError, match=re.escape("scale_inputs.bend must be 4 positive")):
        fixed.train_parallel(X, Y, 2, **{**SHORT, "scale_inputs": given})
    state = {**network.__getstate__(), "input_scaling": given}
    with pytest.raises(ValueError, match=re.escape("input_scaling.bend must be 4 positive")):
        Model.__new__(Model).__setstate__(state)


def test_outputs_are_never_compressed():
    given = Scaling(np.zeros(1), np.ones(1), bend=np.ones(1))
    with pytest.raises(ValueError, match="scale_targets must have no bend"):
        fixed.train_parallel(X, Y, 2, **SHORT, scale_targets=given)


def test_conversions_without_a_place_for_bends_refuse(network):
    with pytest.raises(ValueError, match="compresses columns of X, by the bend of its input_scal"):
        network.to_sklearn()
    with pytest.raises(ValueError, match="nor bends nor the limits of this network"):
        network.to_keras()


def test_onnx_keeps_the_bends(network, tmp_path):
    got, back = through_onnx(network, X, tmp_path / "network.onnx")
    assert_allclose(got, network.predict(X), rtol=1e-6, atol=1e-6)
    assert_array_equal(back.input_scaling.bend, network.input_scaling.bend)
    assert_array_equal(back.predict(X), network.predict(X))


def test_torch_keeps_the_bends(network):
    got, _, back = through_torch(network, X)
    assert_allclose(got, network.predict(X), rtol=1e-6, atol=1e-6)
    assert_array_equal(back.input_scaling.bend, network.input_scaling.bend)
    assert_array_equal(back.predict(X), network.predict(X))


# ------------------------------------------------------------------------------------- the training


def test_the_training_is_that_on_columns_compressed_by_hand(network):
    scaled = {**SHORT, "scale_inputs": False}
    rows = read_inputs(X, scaling="auto", compresses=True).rows
    same = fixed.train_parallel(rows, Y, 2, **scaled)
    assert_array_equal(same.predict(rows), network.predict(X))


def test_validation_data_are_compressed_too(network):
    model = fixed.train_parallel(X, Y, 2, **SHORT, validation_data=(X, Y))
    assert model.history.validation_score[-1] == pytest.approx(model.score(X, Y), rel=1e-6)
    assert_array_equal(model.predict(X), network.predict(X))


def test_a_start_that_compresses_goes_on_so(network):
    options = {**SHORT, "scale_inputs": "auto"}
    more = fixed.train_parallel(X[:300], Y[:300], 2, **options, init=network)
    assert_array_equal(more.input_scaling.bend, network.input_scaling.bend)
    assert_array_equal(more.input_scaling.offset, network.input_scaling.offset)
    unchanged = fixed.train_parallel(
        X, Y, 2, **{**options, "epochs": 0}, init=network, scale_targets=False
    )
    assert_allclose(unchanged.predict(X), network.predict(X), rtol=1e-5, atol=1e-6)
    others = dense_scaling(X)[0]
    with pytest.raises(ValueError, match="must compress the same columns of X"):
        fixed.train_parallel(X, Y, 2, **{**SHORT, "scale_inputs": others}, init=network)


def test_ranks_find_the_bends_in_the_rows_of_all(network):
    shards = [slice(0, 350), slice(350, 600)]
    options = {"threads": 1, **fixed.SETTINGS, **SHORT}
    models = train_on_ranks([(X[rows], Y[rows]) for rows in shards], options)
    for model in models:
        assert_allclose(
            model.input_scaling.offset, network.input_scaling.offset, rtol=1e-12, atol=1e-12
        )
        assert_array_equal(model.input_scaling.bend, network.input_scaling.bend)


# --------------------------------------------------------------------------------- the decision


def chosen(X, y, **given):
    model = omp_mlp.train_parallel(X, y, threads=1, workers=1, **given)
    return model.input_scaling is not None and model.input_scaling.bend is not None


def test_held_out_rows_choose():
    assert chosen(X, np.sin(2 * Z[:, 1]))  # by the order of magnitude
    assert not chosen(X, 1e-3 * AMOUNTS + Z[:, 0])  # in full
    assert not chosen(Z, np.sin(2 * Z[:, 1]))  # no long tails
    # Only a search can tell.
    assert not chosen(X, np.sin(2 * Z[:, 1]), epochs=2)


def test_a_training_that_was_interrupted_goes_on_with_the_decision(tmp_path):
    states = []
    y = np.sin(2 * Z[:, 1])
    given = {"threads": 1, "workers": 1, "checkpoint": states.append}
    model = omp_mlp.train_parallel(X, y, **given)
    assert model.input_scaling.bend is not None
    path = tmp_path / "state.safetensors"
    states[len(states) // 2].save(path)
    again = omp_mlp.train_parallel(X, y, resume=path, workers=1)
    assert_array_equal(again._packed, model._packed)
    assert_array_equal(again.input_scaling.bend, model.input_scaling.bend)


@pytest.mark.parametrize(
    ("kind", "y"),
    [(OmpMLPRegressor, np.sin(2 * Z[:, 1])), (OmpMLPClassifier, np.sin(2 * Z[:, 1]) > 0)],
)
def test_estimators_choose_and_go_on(kind, y):
    estimator = kind(random_state=0, n_jobs=1, threads=1, warm_start=True).fit(X, y)
    assert estimator.model_.input_scaling.compressed.tolist() == [1, 3]
    bends = estimator.model_.input_scaling
    estimator.partial_fit(X[:200], y[:200])
    assert_array_equal(estimator.model_.input_scaling.offset, bends.offset)
    assert_array_equal(estimator.model_.input_scaling.bend, bends.bend)


def test_the_word_is_an_option():
    assert check_options({**DEFAULTS, "scale_inputs": "compress"}).scale_inputs == "compress"
