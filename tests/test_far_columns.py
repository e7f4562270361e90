"""Values of X that are too far from all others of their column, and what networks make of them."""

import json
import pickle
import re
import struct
import warnings

import numpy as np
import pytest
import scipy.sparse

import fixed
import omp_mlp
from omp_mlp import Model
from omp_mlp.early_stopping import split
from omp_mlp.far_columns import find_column_limits, rows_to_look_at
from omp_mlp.inputs import read_inputs
from omp_mlp.outliers import find_limits
from omp_mlp.scaling import Scaling, dense_scaling, sparse_scaling
from omp_mlp.sklearn import OmpMLPRegressor
from omp_mlp.targets import read_targets
from omp_mlp.warned import SettingsWarning
from round_trips import through_onnx, through_torch
from test_outliers import HONEST
from threads_as_ranks import train_on_ranks

RNG = np.random.default_rng(11)
CLEAN = RNG.normal(size=(400, 4)) * [1.0, 100.0, 1.0, 1.0] + [0.0, 500.0, 0.0, 0.0]
Y = CLEAN[:, 0] + np.sin((CLEAN[:, 1] - 500) / 50)
SHORT = {"epochs": 3, "hidden_layer_sizes": (16,), "scale_inputs": "auto"}


def ruined(X=CLEAN):
    """Return X with two far values in column 1, and one in column 3."""
    X = X.copy()
    X[3, 1], X[17, 1], X[40, 3] = 1e9, -4e6, 1e30
    return X


def limits_of(X):
    return find_column_limits(X, X.min(axis=0), X.max(axis=0), len(X))


def messages(X, y=Y, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fixed.train_parallel(X, y, 2, **{**SHORT, **options})
    assert {one.category for one in caught} <= {SettingsWarning}
    return [str(one.message) for one in caught]


def trained(X=None, y=Y, **options):
    with pytest.warns(SettingsWarning, match="values of X are too far from the others"):
        return fixed.train_parallel(ruined() if X is None else X, y, 2, **{**SHORT, **options})


def same_networks(one, other):
    for got, expected in zip(one.weights + one.biases, other.weights + other.biases, strict=True):
        np.testing.assert_array_equal(got, expected)


def same_limits(one, other):
    for got, expected in zip(one, other, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.fixture(scope="module")
def network():
    """A network that was trained beside far values."""
    return trained()


# --------------------------------------------------------------------------------- where limits are


def test_limits_are_those_of_values_of_y():
    X = ruined()
    lower, upper = limits_of(X)
    expected = find_limits(X)
    same_limits((lower, upper), (expected.lower, expected.upper))
    assert np.isfinite(upper).tolist() == [False, True, False, True]
    assert 800 < upper[1] < 1100
    assert -100 < lower[1] < 200


@pytest.mark.parametrize("seed", range(5))
def test_columns_that_are_not_looked_at_have_no_limits(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    X = rng.standard_t(1.5, size=(rng.integers(20, 500), 60)) ** rng.integers(1, 4, 60)
    X[:, ::3] = np.rint(X[:, ::3])
    X[rng.random(X.shape) < np.resize([0.0, 0.0, 0.0, 0.6, 0.85, 0.9], 60)] = 0.0
    found = limits_of(X)
    monkeypatch.setattr("omp_mlp.far_columns._least_distance", lambda *_: np.full(60, -1.0))
    whole = limits_of(X)
    assert whole is not None
    same_limits(found, whole)


def test_of_columns_that_are_mostly_zero_the_others_tell_the_limits():
    # Of 200 distances from the median 0, 40 are not zero: 32 of them 10, 7 of them 50, and one far.
    rare = np.concatenate([np.zeros(160), np.full(32, 10.0), np.full(7, 50.0), [1e7]])
    lower, upper = limits_of(rare[:, None])
    # The 32nd and the 38th of 40; the quantiles of the normal distribution beside them.
    steepness = np.log(50 / 10) / (1.9599639845 - 1.2815515655)
    reach = 50 * np.exp(steepness * (2.2414027276 - 1.9599639845))
    np.testing.assert_allclose((lower[0], upper[0]), (-reach, reach), rtol=1e-9)
    rare[rare == 10.0] = 0.0  # only eight are left, which tell nothing
    assert limits_of(rare[:, None]) is None


@pytest.mark.parametrize("n_rows", [10, 50, 300, 5000, 100_000])
def test_honest_columns_have_no_limits(n_rows):
    for seed in range(5 if n_rows < 100_000 else 1):
        rng = np.random.default_rng(seed)
        X = np.column_stack([draw(rng, n_rows) for draw in HONEST.values()])
        scaling, _ = dense_scaling(X)
        assert scaling.limits is None, seed


def test_few_rows_and_constant_columns_have_no_limits():
    few = CLEAN[:19].copy()
    few[3] = 1e9
    assert dense_scaling(few)[0].limits is None
    assert dense_scaling(np.full((400, 2), [5.0, 7.5]))[0].limits is None


def test_some_rows_tell_the_limits_of_many():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100_000, 2))
    X[::1000, 1] = 7e5
    scaling, _ = dense_scaling(X)
    assert scaling.limited.tolist() == [1]
    whole = find_limits(X)
    for got, expected in zip(scaling.limits, (whole.lower, whole.upper), strict=True):
        np.testing.assert_allclose(got[1], expected[1], rtol=0.1)


@pytest.mark.parametrize(
    ("n_rows", "n_columns", "looked_at"),
    [
        (900, 10, 900),
        (20_000, 32, 10_000),
        (4_000, 1_000, 500),  # of 2^19 entries
        (2_000, 10_000, 250),
        (2_000, 10**8, 250),  # 256 are enough
    ],
)
def test_rows_that_tell_the_limits(n_rows, n_columns, looked_at):
    rows = np.arange(n_rows)[rows_to_look_at(n_rows, n_rows, n_columns)]
    assert len(set(rows)) == looked_at


def test_honest_wide_columns_have_no_limits():
    for name, draw in HONEST.items():
        rng = np.random.default_rng(6)
        X = np.column_stack([draw(rng, 5000) for _ in range(60)])
        seen = X[rows_to_look_at(5000, 5000, 10_000)]
        assert find_column_limits(seen, X.min(axis=0), X.max(axis=0), 5000) is None, name
        X[7, 3] += 1e12
        found = find_column_limits(seen, X.min(axis=0), X.max(axis=0), 5000)
        if name in ("flags", "constant"):
            assert found is None
        else:
            assert np.flatnonzero(np.isfinite(found[0])).tolist() == [3], name


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int32])
def test_scales_are_those_of_values_within_the_limits(dtype):
    X = (np.rint(CLEAN * 100)).astype(dtype)
    X[3, 1], X[17, 3] = 2_000_000_000, -2_000_000_000
    scaling, is_image = dense_scaling(X)
    assert not is_image
    assert scaling.limited.tolist() == [1, 3]
    brought = np.clip(X.astype(np.float64), *scaling.limits)
    assert brought[3, 1] == scaling.upper[1]
    np.testing.assert_allclose(scaling.offset, brought.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaling.scale, brought.std(axis=0), rtol=1e-12)
    rows = read_inputs(X, scaling="auto").rows
    expected = (brought - scaling.offset) / scaling.scale
    np.testing.assert_array_equal(rows, expected.astype(np.float32))


def test_mostly_zero_arrays_keep_their_zeros():
    rng = np.random.default_rng(1)
    X = np.where(rng.random((600, 5)) < 0.3, rng.normal(size=(600, 5)), 0.0)
    X[5, 2] = 1e8
    scaling, _ = dense_scaling(X)
    assert scaling.limited.tolist() == [2]
    assert not scaling.offset.any()
    brought = np.clip(X, *scaling.limits)
    expected = np.maximum(X.std(axis=0), np.abs(X).max(axis=0) / 4)
    expected[2] = max(brought[:, 2].std(), brought[:, 2].max() / 4)
    np.testing.assert_allclose(scaling.scale, expected, rtol=1e-12)
    np.testing.assert_array_equal(scaling.apply(X) == 0, X == 0)


def test_bytes_images_and_sparse_matrices_have_no_limits():
    rng = np.random.default_rng(2)
    pixels = (rng.integers(0, 256, (300, 9)) * (rng.random((300, 9)) < 0.3)).astype(np.uint8)
    for images in (pixels, pixels.astype(np.float64) / 255):
        assert read_inputs(images, scaling="auto").scaling is None
    flags = (rng.random((500, 3)) < 0.1).astype(np.uint8)
    flags[3, 1] = 255
    assert read_inputs(flags, scaling="auto").scaling is None
    X = scipy.sparse.csr_array(np.where(rng.random((300, 3)) < 0.2, 1.0, 0.0))
    X.data[0] = 1e9
    assert sparse_scaling(X.data, X.indices, X.shape).limits is None


# ------------------------------------------------------------------------------------- the training


def test_the_warning_names_columns_and_values():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X = ruined()
    lower, upper = limits_of(X)
    (message,) = messages(X)
    start = "values of X are too far from the others of their column to be learned from, and the "
    start += "network brings such values nearer: "
    end = "; scale_inputs=False keeps them, for X that is scaled by hand"
    ends = [f"(to {lower[j]:.6g} or {upper[j]:.6g})" for j in range(4)]
    expected = f"{start}2 of 400 in column 1 {ends[1]}, 1 of 400 in column 3 {ends[3]}{end}"
    assert message == expected
    table = pandas.DataFrame(X, columns=["age", "income", "height", "weight"])
    (message,) = messages(table)
    assert message == expected.replace("column 1", "column 'income'").replace(
        "column 3", "column 'weight'"
    )
    X[5, :] = 1e12
    (message,) = messages(X)
    assert "3 of 400 in column 1 (" in message
    assert ", and those of 1 other column(s); scale_inputs=False" in message


def test_a_training_is_that_of_values_at_the_limits(network):
    X = ruined()
    scaling, _ = dense_scaling(X)
    for name, part in scaling.parts().items():
        np.testing.assert_array_equal(getattr(network.input_scaling, name), part)
    brought = np.clip(X, *scaling.limits)
    for given in (X, brought):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # whoever gives limits knows of them
            by_hand = fixed.train_parallel(given, Y, 2, **{**SHORT, "scale_inputs": scaling})
        same_networks(network, by_hand)
    plain = fixed.train_parallel(brought, Y, 2, **SHORT)
    assert plain.input_scaling is None
    np.testing.assert_allclose(plain.predict(brought), network.predict(X), rtol=1e-3, atol=1e-4)


def test_what_keeps_the_values():
    X = ruined()
    scaling = Scaling(np.zeros(4), np.array([1.0, 1e9, 1.0, 1e30]))
    for given in (False, scaling):
        found = messages(X, epochs=0, scale_inputs=given)
        assert not any("too far from the others" in message for message in found)
    model = fixed.train_parallel(X, Y, 2, **{**SHORT, "scale_inputs": scaling})
    assert model.input_scaling.limits is None  # a scale of 1e30 stays beside the weights
    learner = OmpMLPRegressor(random_state=0, threads=2, scale_inputs=scaling)
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            learner.partial_fit(X, Y)
    assert learner.model_.input_scaling.limits is None


def test_no_option_set_learns_beside_far_values():
    with pytest.warns(SettingsWarning, match="2 of 400 in column 1"):
        model = omp_mlp.train_parallel(ruined(), Y, 1)
    rows = np.setdiff1d(np.arange(400), [3, 17, 40])
    assert model.score(CLEAN[rows], Y[rows]) > 0.9
    # A far value gives an answer as the largest that were learned from.
    assert np.abs(model.predict(ruined())).max() < 5


def test_workers_and_weights_of_samples_do_not_change_the_limits():
    weight = np.where(np.abs(ruined()).max(axis=1) > 1e5, 0.0, 2.0)
    (message,) = messages(ruined(), sample_weight=weight)
    assert messages(ruined()) == [message]
    same_networks(trained(workers=1), trained(workers=2))


def test_rows_that_are_held_out_do_not_change_the_limits():
    kept, held = split(read_targets(Y, 400), 400, 0.1, seed=0)
    options = {"early_stopping": True, "epochs": 6}
    X = CLEAN.copy()
    X[kept[0], 1], X[held[0], 1] = 1e9, 2e9
    model = trained(X, **options)
    lower, upper = limits_of(X[kept])
    np.testing.assert_array_equal(model.input_scaling.upper, upper)
    assert "1 of 360 in column 1" in messages(X, **options)[0]
    # Both are brought to the limit, in the training and where it is judged.
    X[held[0], 1] = upper[1]
    same_networks(model, trained(X, **options))
    X[kept[0], 1] = CLEAN[kept[0], 1]
    assert limits_of(X[kept]) is None
    assert messages(X, **options) == []
    assert lower[1] < upper[1]


def test_validation_data_are_brought_to_the_limits():
    near = np.clip(ruined(), *limits_of(ruined()))
    far, at_limits = (trained(validation_data=(X, Y)).history for X in (ruined(), near))
    np.testing.assert_array_equal(far.validation_loss, at_limits.validation_loss)


def test_a_training_goes_on_beside_far_values():
    states = []
    whole = trained(checkpoint=states.append, checkpoint_every=1)
    with pytest.warns(SettingsWarning, match="2 of 400 in column 1"):
        resumed = omp_mlp.train_parallel(ruined(), Y, resume=states[0])
    same_networks(resumed, whole)
    same_limits(resumed.input_scaling.limits, whole.input_scaling.limits)
    other = Scaling(*whole.input_scaling.parts().values())
    with pytest.raises(ValueError, match="scale_inputs"):
        omp_mlp.train_parallel(ruined(), Y, resume=states[0], scale_inputs=other)


def test_a_training_starts_from_a_network_with_limits(network):
    same_networks(trained(init=network, epochs=0), network)
    # Other data, which have no far values: the start is the same network within the limits.
    other = fixed.train_parallel(CLEAN[:200], Y[:200], 2, **{**SHORT, "init": network, "epochs": 0})
    assert other.input_scaling is None
    np.testing.assert_allclose(other.predict(CLEAN), network.predict(CLEAN), rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="init has input_scaling beside its weights"):
        fixed.train_parallel(CLEAN, Y, 2, **{**SHORT, "init": network, "scale_inputs": False})


@pytest.mark.parametrize("parts", [2, 3])
def test_ranks_agree_on_the_limits_of_all_rows(parts):
    order = np.argsort(CLEAN[:, 1])  # the ranks have values of other sizes
    rows, y = ruined()[order], Y[order]
    scaling, _ = dense_scaling(rows)
    options = {**fixed.SETTINGS, **SHORT, "threads": 1, "shuffle": "shards"}
    cut = list(zip(np.array_split(rows, parts), np.array_split(y, parts), strict=True))
    with pytest.warns(SettingsWarning, match="2 of 400 in column 1") as caught:
        networks = train_on_ranks(cut, options, deterministic=True)
    assert len({str(one.message) for one in caught}) == 1
    by_hand = fixed.train_parallel(
        rows, y, parts, **{**SHORT, "shuffle": "shards", "scale_inputs": scaling}
    )
    for model in networks:
        same_limits(model.input_scaling.limits, scaling.limits)
        np.testing.assert_allclose(model.predict(rows), by_hand.predict(rows), rtol=1e-3, atol=1e-4)


def test_replicas_and_merges_have_the_limits():
    model = trained(keep_replicas=True)
    for replica in model.replicas:
        same_limits(replica.input_scaling.limits, model.input_scaling.limits)
    merged = omp_mlp.merge(model.replicas)
    same_limits(merged.input_scaling.limits, model.input_scaling.limits)
    other = trained(ruined() * 2)
    with pytest.raises(ValueError, match=r"must have the input_scaling of models\[0\]"):
        omp_mlp.merge([model, other])


def test_calls_of_partial_fit_bring_far_values_to_the_first_limits_of_their_column():
    learner = OmpMLPRegressor(random_state=0, threads=2)
    learner.partial_fit(CLEAN, Y)
    assert learner.model_.input_scaling is None
    first = CLEAN.copy()
    first[3, 1] = 1e9
    with pytest.warns(SettingsWarning, match="1 of 400 in column 1"):
        learner.partial_fit(first, Y)
    lower, upper = limits_of(first)
    assert learner.model_.input_scaling.limited.tolist() == [1]
    assert learner.model_.input_scaling.upper[1] == upper[1]
    second = 3 * ruined()
    with pytest.warns(SettingsWarning, match="in column 1 .*1 of 400 in column 3"):
        learner.partial_fit(second, Y)
    assert learner.model_.input_scaling.limited.tolist() == [1, 3]
    assert learner.model_.input_scaling.lower[1] == lower[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner.partial_fit(CLEAN, Y)
    assert learner.model_.input_scaling.limited.tolist() == [1, 3]
    assert np.isfinite(learner.predict(ruined())).all()


# ------------------------------------------------------------------------------------- the networks


def test_predictions_bring_values_to_the_limits(network):
    far, near = ruined(), np.clip(ruined(), *network.input_scaling.limits)
    expected = network.predict(near)
    np.testing.assert_array_equal(network.predict(far), expected)
    for row in (3, 17, 40, 100):
        alone = network.predict(far[row : row + 1])  # which may be summed in another order
        np.testing.assert_allclose(alone, expected[row : row + 1], rtol=1e-6)
    np.testing.assert_array_equal(network.predict(scipy.sparse.csr_array(far)), expected)
    np.testing.assert_array_equal(network.predict(far.astype(np.float32)),
                                  network.predict(near.astype(np.float32)))  # fmt: skip
    out = np.empty(len(far), expected.dtype)
    np.testing.assert_array_equal(network.predict(far, out=out), expected)
    assert network.score(far, Y) == network.score(near, Y)
    scaled = (near - network.input_scaling.offset) / network.input_scaling.scale
    plain = Model(network.weights, network.biases, activation=network.activation)
    np.testing.assert_allclose(plain.predict(scaled), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="X must be finite"):
        network.predict(np.full((1, 4), np.inf))
    assert "input_scaling" in network.summary()
    assert "with limits of 2 columns" in network.summary()


def test_pickles_and_files_keep_the_limits(network, tmp_path):
    path = tmp_path / "network.safetensors"
    network.save(path)
    for copy in (pickle.loads(pickle.dumps(network)), omp_mlp.load(path)):
        same_limits(copy.input_scaling.limits, network.input_scaling.limits)
        np.testing.assert_array_equal(copy.predict(ruined()), network.predict(ruined()))
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    assert header["__metadata__"]["format_version"] == "5"
    assert {"input_lower", "input_upper"} <= set(header)
    begin = 8 + length + header["input_upper"]["data_offsets"][0]
    changed = bytearray(content)
    changed[begin + 8 : begin + 16] = struct.pack("<d", 1e3)
    path.write_bytes(changed)
    with pytest.raises(ValueError, match="does not have the digest"):
        omp_mlp.load(path)


def test_a_scaling_has_both_limits_or_none_and_outputs_have_none(network):
    with pytest.raises(ValueError, match="lower and upper limits, or neither; got one of them"):
        Scaling(np.zeros(1), np.ones(1), np.zeros(1))
    limited = Scaling(np.zeros(1), np.ones(1), np.zeros(1), np.ones(1))
    assert not limited.folds
    with pytest.raises(ValueError, match="scale_targets must have no limits"):
        fixed.train_parallel(CLEAN, Y, 2, **SHORT, scale_targets=limited)
    wrong = Scaling(np.zeros(4), np.ones(4), np.ones(4), np.zeros(4))
    with pytest.raises(
        ValueError, match=re.escape("scale_inputs.lower must be 4 numbers that are")
    ):
        fixed.train_parallel(CLEAN, Y, 2, **{**SHORT, "scale_inputs": wrong})
    state = network.__getstate__()
    parts = network.input_scaling.parts()
    for lower in (parts["lower"][:2], parts["lower"] * np.nan, parts["upper"] + 1):
        wrong = Scaling(**{**parts, "lower": lower})
        with pytest.raises(ValueError, match=re.escape("input_scaling.lower must be 4 numbers")):
            Model.__new__(Model).__setstate__({**state, "input_scaling": wrong})
    with pytest.raises(ValueError, match="target_scaling must have no limits"):
        Model.__new__(Model).__setstate__({**state, "target_scaling": limited})


@pytest.mark.parametrize(
    ("lower", "upper", "said"),
    [
        (np.inf, -np.inf, "scale_inputs.lower must be 4 numbers that are at most scale_inputs.up"),
        (np.inf, np.inf, "got a lower of inf and an upper of inf in column 2"),
        (-np.inf, -np.inf, "got a lower of -inf and an upper of -inf in column 2"),
        (1e39, 1e300, "got a lower of 1e+39 and an upper of 1e+300 in column 2"),
        (-1e300, -1e39, "got a lower of -1e+300 and an upper of -1e+39 in column 2"),
    ],
)
def test_limits_that_no_value_is_within_are_refused(network, tmp_path, lower, upper, said):
    given = Scaling(np.zeros(4), np.ones(4), [-1, -1, lower, -1], [1, 1, upper, 1])
    with pytest.raises(ValueError, match=re.escape(said)):
        fixed.train_parallel(CLEAN, Y, 2, **{**SHORT, "scale_inputs": given})
    said = said.replace("scale_inputs", "input_scaling")
    state = {**network.__getstate__(), "input_scaling": given}
    with pytest.raises(ValueError, match=re.escape(said)):
        Model.__new__(Model).__setstate__(state)
    path = tmp_path / "network"
    changed = pickle.loads(pickle.dumps(network))
    object.__setattr__(changed.input_scaling, "lower", given.lower)
    object.__setattr__(changed.input_scaling, "upper", given.upper)
    changed.save(path)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        omp_mlp.load(path)


def test_conversions_without_a_place_for_limits_refuse(network):
    with pytest.raises(ValueError, match="scikit-learn has no scaler that does"):
        network.to_sklearn()
    with pytest.raises(ValueError, match="nor the limits of this network's input_scaling"):
        network.to_keras()


def test_onnx_keeps_the_limits(network, tmp_path):
    got, back = through_onnx(network, ruined(), tmp_path / "network.onnx")
    np.testing.assert_allclose(got, network.predict(ruined()), rtol=1e-5, atol=1e-5)
    same_limits(back.input_scaling.limits, network.input_scaling.limits)
    np.testing.assert_array_equal(back.predict(ruined()), network.predict(ruined()))


def test_torch_keeps_the_limits(network):
    got, module, back = through_torch(network, ruined())
    np.testing.assert_allclose(got, network.predict(ruined()), rtol=1e-5, atol=1e-5)
    assert {"0.lower", "0.upper"} <= set(module.state_dict())
    same_limits(back.input_scaling.limits, network.input_scaling.limits)
    np.testing.assert_array_equal(back.predict(ruined()), network.predict(ruined()))
