"""Scaling of inputs and targets: the scales against NumPy, and networks in the user's units."""

import pickle
import re
from copy import deepcopy

import numpy as np
import pytest
import scipy.sparse
from sklearn.preprocessing import StandardScaler

import fixed
import omp_mlp
from omp_mlp import Model
from omp_mlp.early_stopping import split
from omp_mlp.inputs import read_inputs
from omp_mlp.scaling import (
    MOST_OFFSET,
    Scaling,
    change_inputs,
    change_outputs,
    dense_scaling,
    sparse_scaling,
    target_scaling,
)
from omp_mlp.targets import read_targets

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(400, 4))
VALUES = Z[:, 0] * Z[:, 1] + Z[:, 2]
LABELS = (VALUES > 0).astype(int) + (Z[:, 3] > 1)
AUTO = {"scale_inputs": "auto", "scale_targets": "auto"}
SHORT = {"epochs": 3, "hidden_layer_sizes": (16,)}
# Gray stripes: mostly zero, whole numbers, columns of one scale.
IMAGES = (RNG.integers(0, 256, (120, 20)) * (RNG.random((120, 20)) < 0.3)).astype(np.uint8)
DIGITS = np.arange(120) % 3

# Sums of some tens of products of numbers around 1, rounded at 2^-24, through a short training.
ROUNDING = {"rtol": 1e-3, "atol": 1e-4}


def columns_of_all_sizes(dtype=np.float64):
    """Return columns shifted and multiplied; one is a constant, one has an outlier."""
    X = np.column_stack([Z * [1, 1e6, 1e-6, 30] + [5, -1e7, 0, 1e3], np.full(len(Z), 3.5), Z[:, 0]])
    X[7, -1] = 20.0
    return X.astype(dtype)


def by_hand(X):
    X = X.astype(np.float64)
    scale = np.maximum(X.std(axis=0), np.abs(X - X.mean(axis=0)).max(axis=0) / 10)
    scale[scale < 1e-13 * np.abs(X).max(axis=0)] = 0
    return X.mean(axis=0), scale


# --------------------------------------------------------------------------------- the scales of X


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int32])
def test_dense_columns_are_standardised(dtype):
    X = columns_of_all_sizes(dtype)
    mean, scale = by_hand(X)
    scaling, is_image = dense_scaling(X)
    assert not is_image
    used = scale > 0
    assert (np.abs(scaling.offset - mean) <= 1e-12 * np.abs(X).max(axis=0)).all()
    np.testing.assert_allclose(scaling.scale[used], scale[used], rtol=1e-12)
    # Columns that are constant in this type get the size of their value.
    constant = np.maximum(np.abs(X[0, ~used].astype(np.float64)), 1)
    np.testing.assert_array_equal(scaling.scale[~used], constant)
    expected = (X.astype(np.float64) - scaling.offset) / scaling.scale
    inputs = read_inputs(X, scaling="auto")
    assert inputs.rows.dtype == np.float32
    np.testing.assert_array_equal(inputs.rows, expected.astype(np.float32))
    assert not inputs.rows[:, ~used].any()


def test_outliers_are_at_most_ten_scales_away():
    inputs = read_inputs(columns_of_all_sizes(), scaling="auto")
    assert np.abs(inputs.rows[:, -1]).max() == np.float32(10)


def test_blocks_of_rows_do_not_show():
    X = RNG.normal(size=(3, 2**19)) + 1e6  # two rows are a block
    scaling, _ = dense_scaling(X)
    np.testing.assert_allclose(scaling.offset, X.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(scaling.scale, X.std(axis=0), rtol=1e-9)
    np.testing.assert_array_equal(
        scaling.apply(X), ((X - scaling.offset) / scaling.scale).astype(np.float32)
    )


@pytest.mark.parametrize("size", [1e-310, 1e-30, 1e30, 1e150])
def test_sizes_far_from_one_do_no_harm(size):
    rounded = np.rint(Z * 8)  # a power of two times a few bits, if denormal numbers hold them
    X = rounded * size
    rows = read_inputs(X, scaling="auto").rows
    np.testing.assert_allclose(rows, read_inputs(rounded, scaling="auto").rows, rtol=1e-5)


def test_the_least_number_is_scaled():
    rows = read_inputs(np.array([[5e-324], [0.0], [1.5e-323]]), scaling="auto").rows
    assert np.isfinite(rows).all()
    assert 0.5 < rows.max() - rows.min() < 10


def test_mostly_zero_arrays_keep_their_zeros():
    X = np.where(RNG.random((300, 6)) < 0.2, RNG.normal(size=(300, 6)) * 50, 0)
    X[:, 2] = RNG.normal(size=300) + 40  # a dense column among sparse ones
    X[:, 4] = 0
    scaling, _ = dense_scaling(X)
    sparse = [0, 1, 3, 5]
    np.testing.assert_array_equal(scaling.offset[[*sparse, 4]], 0)
    expected = np.maximum(X.std(axis=0), np.abs(X).max(axis=0) / 4)
    np.testing.assert_allclose(scaling.scale[sparse], expected[sparse], rtol=1e-12)
    assert scaling.scale[4] == 1
    assert scaling.offset[2] == pytest.approx(X[:, 2].mean())
    rows = read_inputs(X, scaling="auto").rows
    np.testing.assert_array_equal(rows[:, sparse] == 0, X[:, sparse] == 0)
    assert np.abs(rows[:, sparse]).max() <= 4
    in_rows = scipy.sparse.csr_array(X)
    np.testing.assert_allclose(
        sparse_scaling(in_rows.data, in_rows.indices, X.shape).scale[[*sparse, 4]],
        scaling.scale[[*sparse, 4]],
        rtol=1e-12,
    )


def test_units_and_zeros_of_the_columns_of_a_table_do_not_show():
    flags = np.eye(12)[RNG.integers(0, 12, 400)]
    counts = RNG.poisson(0.3, size=(400, 3)) * [1.0, 30.0, 400.0]
    X = np.column_stack([flags, counts, RNG.normal(size=400)])
    assert 2 * np.count_nonzero(X == 0) > X.size
    rows = read_inputs(X, scaling="auto").rows
    factor = np.resize([1e6, 1.0, 1e-6], X.shape[1])
    shift = np.resize([3.0, 0.0, -20.0], X.shape[1]) * X.std(axis=0)
    np.testing.assert_array_equal(read_inputs(factor * (X + shift), scaling="auto").rows, rows)


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
def test_sparse_matrices_keep_their_pattern(form):
    dense = np.where(RNG.random((50, 7)) < 0.2, RNG.normal(size=(50, 7)) * 1e9, 0)
    dense[:, 3] = 0
    csr = scipy.sparse.csr_array(dense)
    csr.data[4] = 0  # a stored zero
    rows = read_inputs(csr.asformat(form), scaling="auto").rows
    dense = csr.toarray()
    scale = np.maximum(dense.std(axis=0), np.abs(dense).max(axis=0) / 4)
    scale[3] = 1
    np.testing.assert_array_equal(rows.starts, csr.indptr)
    np.testing.assert_array_equal(rows.indices, csr.indices)
    np.testing.assert_allclose(rows.values, csr.data / scale[csr.indices], rtol=2e-7)
    assert np.abs(rows.values).max() <= 4


def test_matrices_of_no_entries_are_scaled_by_one():
    rows = read_inputs(scipy.sparse.csr_array((5, 3)), scaling="auto")
    np.testing.assert_array_equal(rows.scaling.scale, 1)
    scaling, is_image = dense_scaling(np.zeros((5, 3)))
    assert scaling is None
    assert is_image


def test_bytes_are_read_in_place():
    inputs = read_inputs(IMAGES, for_training=True, scaling="auto")
    assert inputs.rows is IMAGES
    assert inputs.scaling is None
    assert inputs.scale == 1 / 256


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.float32, np.float64])
def test_whole_numbers_of_an_image_become_bytes(dtype):
    inputs = read_inputs(IMAGES.astype(dtype), for_training=True, scaling="auto")
    assert inputs.rows.dtype == np.uint8
    np.testing.assert_array_equal(inputs.rows, IMAGES)


@pytest.mark.parametrize("divisor", [16, 255, 256])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bytes_divided_by_one_number_stay_as_they_are(dtype, divisor):
    images = IMAGES.astype(dtype) / dtype(divisor)
    inputs = read_inputs(images, scaling="auto")
    assert inputs.scaling is None
    np.testing.assert_array_equal(inputs.rows, images.astype(np.float32))


def test_counts_beside_flags_are_no_image():
    flags = np.eye(8)[RNG.integers(0, 8, 200)]
    ages = RNG.integers(18, 90, 200)
    scaling, is_image = dense_scaling(np.column_stack([flags, ages]))
    assert not is_image
    np.testing.assert_allclose(scaling.scale[:8], flags.std(axis=0))
    assert scaling.offset[8] == pytest.approx(ages.mean())


def test_images_in_sparse_matrices_are_divided_by_one_power_of_two():
    for data, scale in ((IMAGES, 256), (IMAGES // 16, 16), (IMAGES / np.float32(255), 1)):
        csr = scipy.sparse.csr_array(data)
        got = sparse_scaling(csr.data, csr.indices, csr.shape)
        np.testing.assert_array_equal(got.scale, scale)
        assert not got.shifts


BAD = [np.nan, np.inf, -np.inf, 1e155, -1e308]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("convert", [np.asarray, scipy.sparse.csr_array])
def test_numbers_that_are_not_finite_are_errors_before_any_work(train_without_work, convert, bad):
    X = Z[:12].copy()
    X[7, 1] = bad
    got = "NaN" if np.isnan(bad) else bad
    message = f"X must be finite and less than 2^512 in magnitude; got {got} in row 7, column 1"
    with pytest.raises(ValueError, match=re.escape(message)):
        train_without_work(convert(X), LABELS[:12], scale_inputs="auto")
    with pytest.raises(ValueError, match=re.escape(f"y must be finite in float32; got {bad}")):
        train_without_work(Z[:12], X[:, 1], scale_targets="auto")


@pytest.mark.parametrize("option", ["scale_inputs", "scale_targets"])
@pytest.mark.parametrize("value", [True, "standard", None, 1])
def test_bad_options(train_without_work, option, value):
    words = {"scale_inputs": "False, 'auto', 'compress'", "scale_targets": "False, 'auto'"}
    message = f"{option} must be one of {words[option]}; got {value!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        train_without_work(**{option: value})


# --------------------------------------------------------------------------------- the scales of y


def test_values_are_standardised_each_output_for_itself():
    y = np.column_stack([VALUES * 1e5 + 1.6e9, VALUES * 1e-3, np.full(len(Z), 7.25)])
    scaling = target_scaling(y)
    np.testing.assert_allclose(scaling.offset, y.mean(axis=0), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(scaling.scale[:2], y.std(axis=0)[:2], rtol=1e-12)
    assert scaling.scale[2] == 7.25 * 2.0**-24
    targets = read_targets(y, len(y), scaling="auto")
    np.testing.assert_array_equal(targets.values[:, 2], 0)
    np.testing.assert_allclose(targets.values[:, :2].std(axis=0), 1, rtol=1e-5)


def test_labels_and_logistic_outputs_are_not_scaled():
    plain = fixed.train_parallel(Z, LABELS, 2, **SHORT)
    same = fixed.train_parallel(Z, LABELS, 2, scale_targets="auto", **SHORT)
    np.testing.assert_array_equal(same._packed, plain._packed)
    shares = (1 / (1 + np.exp(-VALUES))).astype(np.float32)
    logistic = {**SHORT, "output_activation": "logistic"}
    plain = fixed.train_parallel(Z, shares, 2, **logistic)
    same = fixed.train_parallel(Z, shares, 2, scale_targets="auto", **logistic)
    np.testing.assert_array_equal(same._packed, plain._packed)


def test_a_constant_y_is_learnt():
    for constant in (0.0, 3.0, 2e9):
        y = np.full(len(Z), constant)
        model = fixed.train_parallel(Z, y, 2, **AUTO, **SHORT)
        np.testing.assert_allclose(model.predict(Z), constant, rtol=1e-6, atol=1e-15)


# ------------------------------------------------------------------------------- the arrays


def test_a_scaling_has_arrays_of_its_own():
    given = [np.array(part) for part in ([1.0, 2.0], [3.0, 4.0], [-9.0, -np.inf], [9.0, 7.0])]
    made = Scaling(*given)
    for array in given:
        array[:] = 0.0  # may still be written to
    for scaling in (made, deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert [part.tolist() for part in scaling.parts().values()] == [
            [1.0, 2.0], [3.0, 4.0], [-9.0, -np.inf], [9.0, 7.0],
        ]  # fmt: skip
        for part in scaling.parts().values():
            with pytest.raises(ValueError, match="read-only"):
                part[0] = 5.0
    assert Scaling([1, 2], np.float32([3, 4])).scale.dtype == np.float64


# ------------------------------------------------------------------------------- into the weights


def random_layers():
    return [
        (RNG.normal(size=(4, 5)), RNG.normal(size=5)),
        (RNG.normal(size=(5, 2)), RNG.normal(size=2)),
    ]


def outputs_of(layers, X):
    (W, b), (V, c) = layers
    return np.maximum(X @ W + b, 0) @ V + c


def test_layers_change_their_units():
    one = Scaling(np.array([1.0, -2, 30, 0]), np.array([2.0, 0.5, 10, 1]))
    other = Scaling(np.array([0.5, 1, 20, 4]), np.array([4.0, 1, 7, 3]))
    scale_y, scale_y2 = (
        Scaling(np.array([3.0, -1]), np.array([2.0, 5])),
        Scaling(np.array([1.0, 9]), np.array([0.5, 3])),
    )
    layers = random_layers()
    before = scale_y.offset + scale_y.scale * outputs_of(layers, (Z - one.offset) / one.scale)
    changed = list(layers)
    change_inputs(changed, one, other)
    change_outputs(changed, scale_y, scale_y2)
    after = outputs_of(changed, (Z - other.offset) / other.scale)
    np.testing.assert_allclose(scale_y2.offset + scale_y2.scale * after, before, rtol=1e-10)
    change_inputs(changed, other, None)
    change_outputs(changed, scale_y2, None)
    np.testing.assert_allclose(outputs_of(changed, Z), before, rtol=1e-10)


@pytest.mark.parametrize(
    ("offset", "scale", "folds"),
    [
        (MOST_OFFSET * 3, 3.0, True),
        (-MOST_OFFSET * 3, 3.0, True),
        (np.nextafter(MOST_OFFSET * 3, np.inf), 3.0, False),
        (0.0, 2.0**60, True),
        (0.0, 2.0**61, False),
        (0.0, 2.0**-60, True),
        (0.0, 2.0**-61, False),
    ],
)
def test_what_is_folded(offset, scale, folds):
    assert Scaling(np.array([0.0, offset]), np.array([1.0, scale])).folds == folds


def offset_data(ratio):
    return Z * [1, 3, 1, 1] + [0, 3 * ratio, 0, 0]


@pytest.mark.parametrize("ratio", [0.0, 50.0, 70.0, 16_000.0])
@pytest.mark.parametrize("y", [LABELS, VALUES], ids=["labels", "values"])
def test_networks_are_those_of_data_scaled_by_hand(y, ratio):
    X = offset_data(ratio)
    mean, scale = by_hand(X)
    model = fixed.train_parallel(X, y, 4, **AUTO, **SHORT)
    assert (model.input_scaling is None) == (ratio < MOST_OFFSET)
    assert repr(model).endswith("scaled inputs)") == (ratio > MOST_OFFSET)
    targets, mean_y, scale_y = y, 0.0, 1.0
    if y is VALUES:
        mean_y, scale_y = y.mean(), y.std()
        targets = (y - mean_y) / scale_y
    by_hands = fixed.train_parallel((X - mean) / scale, targets, 4, **SHORT)
    expected = by_hands.decision_function((X - mean) / scale) * scale_y + mean_y
    # Folded, x and the terms of the offset round at 2^-24 of up to 64 scales.
    np.testing.assert_allclose(model.decision_function(X), expected, **ROUNDING)


def test_networks_are_those_of_scikit_learns_scaler():
    X = Z[np.abs(Z).max(axis=1) < 3] * [2, 1e3, 1e-3, 1] + [1, 1e4, 0, -1]  # no outliers
    y = VALUES[np.abs(Z).max(axis=1) < 3]
    scaler = StandardScaler().fit(X)
    piped = fixed.train_parallel(scaler.transform(X), y, 3, scale_targets="auto", **SHORT)
    model = fixed.train_parallel(X, y, 3, **AUTO, **SHORT)
    np.testing.assert_allclose(model.predict(X), piped.predict(scaler.transform(X)), **ROUNDING)


@pytest.mark.parametrize("factor", [1e-30, 1e-6, 1e6, 1e30])
@pytest.mark.parametrize("shift", [0.0, 3.0, 1e5])
def test_units_of_columns_and_values_do_not_matter(factor, shift):
    model = fixed.train_parallel(Z, VALUES, 4, **AUTO, **SHORT)
    factors = np.array([factor, 1, 1 / factor, 1])
    X, y = (Z + shift) * factors, (VALUES + shift) * factor
    other = fixed.train_parallel(X, y, 4, **AUTO, **SHORT)
    got = other.predict(X).astype(np.float64) / factor - shift
    np.testing.assert_allclose(got, model.predict(Z), **ROUNDING)


def test_time_stamps():
    stamps = 1.6e9 + 1e5 * Z[:, 0]
    X = np.column_stack([stamps, Z[:, 1:]])
    model = fixed.train_parallel(X, VALUES, 4, epochs=30, **AUTO)
    without = fixed.train_parallel(Z, VALUES, 4, epochs=30, **AUTO)
    assert model.input_scaling is not None
    # Time stamps of 1.6e9 in float64 are exact to 2e-7; of what is left after the mean, 2e-12.
    assert model.score(X, VALUES) == pytest.approx(without.score(Z, VALUES), abs=1e-4)
    assert without.score(Z, VALUES) > 0.9
    # Rows of one kind are read like those of another.
    np.testing.assert_array_equal(model.predict(scipy.sparse.csr_array(X)), model.predict(X))


def test_large_values_keep_their_digits():
    y = 1.6e9 + VALUES
    model = fixed.train_parallel(Z, y, 4, **AUTO, **SHORT)
    assert repr(model).endswith("scaled targets)")
    assert model.predict(Z).dtype == np.float64
    plain = fixed.train_parallel(Z, VALUES, 4, **AUTO, **SHORT)
    # The mean of y rounds at 2e-7.
    np.testing.assert_allclose(model.predict(Z) - 1.6e9, plain.predict(Z), **ROUNDING)
    assert model.score(Z, y) == pytest.approx(plain.score(Z, VALUES), abs=1e-4)
    assert model.evaluate(Z, y)[0] == pytest.approx(plain.evaluate(Z, VALUES)[0], rel=1e-3)


def test_weights_of_samples_do_not_change_the_scales():
    X = offset_data(16_000.0)
    weight = RNG.random(len(Z))
    plain = fixed.train_parallel(X, LABELS, 2, **AUTO, **SHORT)
    weighted = fixed.train_parallel(X, LABELS, 2, sample_weight=weight, **AUTO, **SHORT)
    np.testing.assert_array_equal(weighted.input_scaling.offset, plain.input_scaling.offset)
    np.testing.assert_array_equal(weighted.input_scaling.scale, plain.input_scaling.scale)
    assert (weighted._packed != plain._packed).any()


def test_same_bits_for_any_number_of_workers():
    X = columns_of_all_sizes()
    models = [
        fixed.train_parallel(X, VALUES, 4, workers=workers, **AUTO, **SHORT)
        for workers in (1, 2, 3)
    ]
    for model in models[1:]:
        np.testing.assert_array_equal(model._packed, models[0]._packed)


@pytest.mark.parametrize("strategy", ["section", "synchronous", "pattern"])
def test_strategies(strategy):
    X = Z * [1e6, 1, 1, 1] + [0, 0, 0, 500]
    mean, scale = by_hand(X)
    model = fixed.train_parallel(X, LABELS, 2, strategy=strategy, **AUTO, **SHORT)
    by_hands = fixed.train_parallel((X - mean) / scale, LABELS, 2, strategy=strategy, **SHORT)
    np.testing.assert_allclose(
        model.decision_function(X), by_hands.decision_function((X - mean) / scale), **ROUNDING
    )


# ------------------------------------------------------------------------------------------ images

IMAGE_FORMS = {
    "int16": lambda a: a.astype(np.int16),
    "int64": lambda a: a.astype(np.int64),
    "float32": lambda a: a.astype(np.float32),
    "float64": lambda a: a.astype(np.float64),
    "csr of bytes": scipy.sparse.csr_array,
    "csr of int16": lambda a: scipy.sparse.csr_array(a.astype(np.int16)),
    "csr of float64": lambda a: scipy.sparse.csr_array(a.astype(np.float64)),
}


@pytest.mark.parametrize("form", IMAGE_FORMS)
def test_images_learn_as_bytes_do(form):
    as_bytes = fixed.train_parallel(IMAGES, DIGITS, 3, **SHORT)
    given = IMAGE_FORMS[form](IMAGES)
    model = fixed.train_parallel(given, DIGITS, 3, scale_inputs="auto", **SHORT)
    assert model.input_scaling is None
    # A power of two is exact; forms differ in the order of sums.
    np.testing.assert_allclose(
        model.decision_function(given), as_bytes.decision_function(IMAGES), **ROUNDING
    )


# ------------------------------------------------------- networks that start, merge, and are stored


@pytest.fixture(scope="module")
def kept():
    """A regression with scalings beside its weights, its X and its y."""
    X, y = offset_data(16_000.0), 1.6e9 + VALUES
    options = {**AUTO, **SHORT, "keep_replicas": True, "validation_data": (X, y)}
    return fixed.train_parallel(X, y, 3, **options), X, y


def test_pickles_and_files_keep_the_scalings(kept, tmp_path):
    model, X, y = kept
    path = tmp_path / "network.safetensors"
    model.save(path)
    for copy in (pickle.loads(pickle.dumps(model)), omp_mlp.load(path)):
        np.testing.assert_array_equal(copy.predict(X), model.predict(X))
        assert copy.evaluate(X, y) == model.evaluate(X, y)
    assert b'"format_version":"2"' in path.read_bytes()
    folded = fixed.train_parallel(Z, VALUES, 2, **AUTO, **SHORT)
    folded.save(path)
    assert b'"format_version":"1"' in path.read_bytes()


def test_ensembles_keep_the_scalings(kept, tmp_path):
    model, X, y = kept
    ensemble = omp_mlp.Ensemble(model.replicas)
    ensemble.save(tmp_path / "networks.safetensors")
    for copy in (
        pickle.loads(pickle.dumps(ensemble)),
        omp_mlp.load(tmp_path / "networks.safetensors"),
    ):
        np.testing.assert_array_equal(copy.predict(X), ensemble.predict(X))
        assert copy.evaluate(X, y) == ensemble.evaluate(X, y)


def test_damaged_scalings_are_noticed(kept, tmp_path):
    path = tmp_path / "network.safetensors"
    kept[0].save(path)
    data = bytearray(path.read_bytes())
    place = data.find(kept[0].input_scaling.offset.tobytes())
    assert place > 0
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        omp_mlp.load(path)


def test_history_is_in_the_units_of_y(kept):
    model, X, y = kept
    assert model.history.validation_loss[-1] == pytest.approx(model.evaluate(X, y)[0], rel=1e-6)
    seen = []
    options = {**SHORT, "merge_every": 40, "callback": lambda p: seen.append(p)}
    y = VALUES * 1e3 + 7
    plain = fixed.train_parallel(Z, (y - y.mean()) / y.std(), 3, **SHORT, merge_every=40)
    scaled = fixed.train_parallel(Z, y, 3, scale_targets="auto", **options)
    np.testing.assert_allclose(scaled.history.loss, plain.history.loss * y.var(), rtol=1e-4)
    merged = [report.loss for report in seen if report.merged]
    np.testing.assert_allclose(merged, scaled.history.loss, rtol=1e-12)


def test_rows_that_are_held_out_have_the_scales_of_the_others():
    X, y = offset_data(16_000.0), VALUES * 1e3 + 7
    kept, _ = split(read_targets(y, len(y)), len(y), 0.1, seed=0)
    options = {**AUTO, **SHORT, "early_stopping": True}
    model = fixed.train_parallel(X, y, 2, **options)
    np.testing.assert_array_equal(model.input_scaling.offset, dense_scaling(X[kept])[0].offset)
    mean, scale = by_hand(X[kept])
    of_y = y[kept].mean(), y[kept].std()
    by_hands = fixed.train_parallel(
        (X - mean) / scale, (y - of_y[0]) / of_y[1], 2, **SHORT, early_stopping=True
    )
    np.testing.assert_allclose(
        model.history.validation_loss, by_hands.history.validation_loss * of_y[1] ** 2, rtol=1e-3
    )


def test_history_of_several_outputs():
    y = np.column_stack([VALUES, 100 * Z[:, 0] + 3])
    data = {"validation_data": (Z, y)}
    model = fixed.train_parallel(Z, y, 2, scale_targets="auto", **data, **SHORT)
    assert model.history.validation_loss[-1] == pytest.approx(model.evaluate(Z, y)[0], rel=1e-4)
    assert model.evaluate(Z, y)[0] == pytest.approx(
        0.5 * ((model.predict(Z) - y) ** 2).sum(axis=1).mean(), rel=1e-5
    )
    scaled = (y - y.mean(axis=0)) / y.std(axis=0)
    plain = fixed.train_parallel(Z, scaled, 2, **SHORT)
    np.testing.assert_allclose(
        model.history.loss, plain.history.loss * y.var(axis=0).mean(), rtol=1e-4
    )


@pytest.mark.parametrize("ratio", [0.0, 50.0, 16_000.0])
def test_a_start_is_the_same_function(ratio):
    X = offset_data(ratio)
    model = fixed.train_parallel(X, VALUES, 2, **AUTO, **SHORT)
    others = X[: len(X) // 2] + 0.3  # of other scales
    for data in (X, others):
        start = fixed.train_parallel(
            data, VALUES[: len(data)], 2, init=model, **AUTO, **{**SHORT, "epochs": 0}
        )
        np.testing.assert_allclose(start.predict(X), model.predict(X), **ROUNDING)
    by_hand_made = Model([np.ones((4, 16)), np.ones((16, 1))], [np.zeros(16), np.zeros(1)])
    if ratio == 0:
        start = fixed.train_parallel(
            X, VALUES, 2, init=by_hand_made, **AUTO, **{**SHORT, "epochs": 0}
        )
        np.testing.assert_allclose(start.predict(X), by_hand_made.predict(X), **ROUNDING)


@pytest.mark.parametrize("option", ["scale_inputs", "scale_targets"])
def test_a_start_with_scalings_needs_a_training_with_scalings(kept, train_without_work, option):
    model, X, y = kept
    options = {**SHORT, **AUTO, option: False}
    with pytest.raises(ValueError, match=f"beside its weights.*{option}='auto'"):
        train_without_work(X, y, init=model, **options)


def test_a_start_that_does_not_fit_the_scales_is_an_error(train_without_work):
    model = Model([np.ones((4, 16)), np.ones((16, 1))], [np.zeros(16), np.zeros(1)])
    message = "init must be a Model for data like X and y"
    with pytest.raises(ValueError, match=message):
        train_without_work(Z[:12] * 1e60, VALUES[:12], init=model, **AUTO, **SHORT)


def test_replicas_that_diverged_may_be_kept():
    weight = np.ones(len(Z))
    weight[0] = 3e38
    options = {**SHORT, "on_nonfinite": "skip", "keep_replicas": True, "epochs": 1}
    with pytest.warns(omp_mlp.SkippedReplicaWarning):
        model = fixed.train_parallel(
            Z + 3, VALUES, 2, "average", sample_weight=weight, merge_every=None, **AUTO, **options
        )
    assert not all(np.isfinite(replica._packed).all() for replica in model.replicas)
    assert np.isfinite(model.predict(Z)).all()


def test_merges(kept):
    model, X, y = kept
    assert len(model.replicas) == 3
    merged = omp_mlp.merge(model.replicas)
    assert merged.input_scaling is model.replicas[0].input_scaling
    assert merged.score(X, y) > model.score(X, y) - 0.2
    together = omp_mlp.merge(model.replicas, "ensemble")
    mean = np.mean([replica.predict(X) for replica in model.replicas], axis=0)
    np.testing.assert_allclose(together.predict(X)[:], mean, rtol=1e-14)
    for method in ("regmean", "refit_output"):
        assert omp_mlp.merge(model.replicas, method, X=X, y=y).score(X, y) > 0.5
    other = fixed.train_parallel(X[:200], y[:200], 2, **AUTO, **SHORT)
    message = "models[1] must have the input_scaling of models[0]"
    for merge in (omp_mlp.merge, omp_mlp.Ensemble):
        with pytest.raises(ValueError, match=re.escape(message)):
            merge([model, other])


@pytest.mark.parametrize("method", ["weight_matching", "regmean", "refit_output", "ensemble"])
def test_merges_in_python_see_scaled_data(method):
    X = Z * [1e6, 1, 1e-6, 1]
    mean, scale = by_hand(X)
    model = fixed.train_parallel(X, LABELS, 3, method, scale_inputs="auto", **SHORT)
    by_hands = fixed.train_parallel((X - mean) / scale, LABELS, 3, method, **SHORT)
    np.testing.assert_allclose(
        model.decision_function(X), by_hands.decision_function((X - mean) / scale), **ROUNDING
    )


def test_distilled_networks_keep_the_input_scaling(kept):
    model, X, y = kept
    student = omp_mlp.Ensemble(model.replicas).distill(X, scale_inputs="auto", epochs=10)
    assert student.score(X, y) > model.score(X, y) - 0.2
