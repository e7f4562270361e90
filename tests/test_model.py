"""A network that is trained: its outputs against the oracle, its scores, its files."""

import copy
import io
import json
import os
import pickle
import re
import stat
from itertools import pairwise

import numpy as np
import pytest
import safetensors.numpy
import scipy.sparse
import sklearn.metrics

import fixed
import omp_mlp
import oracle
from omp_mlp import Model, _core, files

ACTIVATIONS = tuple(oracle.ACTIVATIONS)
# Output activation, and whether there are classes.
OUTPUTS = [
    ("softmax", True),
    ("logistic", True),
    ("identity", True),
    ("logistic", False),
    ("identity", False),
    ("softmax", False),
]
# Some of the widths are multiples of a vector register and some are not.
SIZES = [(5, 3), (7, 16, 4), (40, 33, 17, 10), (3, 8, 1, 20, 2), (1, 1, 1)]


def random_network(sizes, activation="relu", output="softmax", labelled=True, seed=0):
    """Return a model and the same network as the oracle has it."""
    rng = np.random.default_rng(seed)
    layers = [
        (
            rng.uniform(-1, 1, (fan_in, fan_out)).astype(np.float32),
            rng.uniform(-1, 1, fan_out).astype(np.float32),
        )
        for fan_in, fan_out in pairwise(sizes)
    ]
    model = Model(
        [W for W, _ in layers],
        [b for _, b in layers],
        activation=activation,
        output_activation=output,
        classes=np.arange(sizes[-1]) * 3 if labelled else None,
    )
    return model, layers


def inputs(n_samples, n_features, seed=1):
    """Return normal numbers, half of them replaced by zero."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features))
    return (X * (rng.random(X.shape) < 0.5)).astype(np.float32)


@pytest.fixture(scope="module")
def trained():
    """A classifier of strings that was trained, with a history and its replicas."""
    X = inputs(90, 6)
    y = np.array(["no", "yes", "perhäps"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0)]
    return fixed.train_parallel(
        X,
        y,
        3,
        hidden_layer_sizes=(9, 5),
        epochs=2,
        merge_every=24,
        keep_replicas=True,
        validation_data=(X, y),
    )


# ----------------------------------------------------------------------------------- models by hand


def test_outputs_worked_by_hand():
    # x = (1, 2), W_1 = (1 -1; 0.5 2), b_1 = (0, -5):
    #   z_1 = (1 * 1 + 2 * 0.5 + 0, 1 * -1 + 2 * 2 - 5) = (2, -2), relu: a_1 = (2, 0)
    # W_2 = (1 0 -2; 4 4 4), b_2 = (0, 0.5, 1):  z_2 = (2, 0.5, -3)
    weights = [[[1, -1], [0.5, 2]], [[1, 0, -2], [4, 4, 4]]]
    biases = [[0, -5], [0, 0.5, 1]]
    x = [[1, 2]]

    regression = Model(weights, biases)
    assert regression.output_activation == "identity"
    assert regression.predict(x).tolist() == [[2, 0.5, -3]]
    # 1/2 (1^2 + 0.5^2 + 0^2)
    assert regression.evaluate(x, [[1, 1, -3]])[0] == 0.625

    classifier = Model(weights, biases, classes=["a", "b", "c"])
    assert classifier.output_activation == "softmax"
    assert classifier.decision_function(x).tolist() == [[2, 0.5, -3]]
    assert classifier.predict(x).tolist() == ["a"]
    # exp(2) + exp(0.5) + exp(-3) = 7.389056 + 1.648721 + 0.049787 = 9.087564
    expected = [[0.813096, 0.181426, 0.005479]]
    np.testing.assert_allclose(classifier.predict_proba(x), expected, atol=1e-6)
    # -log p(b) = log 9.087564 - 0.5
    assert classifier.evaluate(x, ["b"]) == (pytest.approx(1.706907, abs=1e-6), 0.0)

    logistic = Model(weights, biases, output_activation="logistic", classes=[1, 2, 3])
    # 1 / (1 + e^-2), 1 / (1 + e^-0.5), 1 / (1 + e^3); they sum to 1.550682
    raw = np.array([0.880797, 0.622459, 0.047426])
    np.testing.assert_allclose(logistic.predict_proba(x), [raw / 1.550682], atol=1e-6)
    # 1/2 ((0.880797 - 1)^2 + 0.622459^2 + 0.047426^2)
    assert logistic.evaluate(x, [1]) == (pytest.approx(0.201957, abs=1e-6), 1.0)


def test_attributes():
    weights = [np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)]
    biases = [np.arange(3), np.arange(4)]
    model = Model(weights, biases, activation="tanh", classes=[-1, 0, 5, 9])
    assert model.layer_sizes == (2, 3, 4)
    assert (model.activation, model.output_activation) == ("tanh", "softmax")
    assert model.classes.tolist() == [-1, 0, 5, 9]
    assert len(model.history) == 0
    assert model.replicas == ()
    assert repr(model) == "Model(2-3-4, tanh, softmax)"
    for got, given in zip([*model.weights, *model.biases], [*weights, *biases], strict=True):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, given)


def test_arrays_are_copies_that_nobody_can_write():
    given = [np.ones((2, 2), np.float32)], [np.zeros(2, np.float32)]
    classes = np.array([4, 5])
    model = Model(*given, classes=classes)
    for array in (*model.weights, *model.biases, model.classes):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7
    given[0][0][:] = 7
    given[1][0][:] = 7
    classes[:] = 7
    assert model.weights[0].tolist() == [[1, 1], [1, 1]]
    assert model.biases[0].tolist() == [0, 0]
    assert model.classes.tolist() == [4, 5]
    assert given[0][0].flags.writeable


def test_outputs_can_be_written():
    model, _ = random_network((3, 4))
    for method in (model.decision_function, model.predict_proba, model.predict):
        method(np.zeros((2, 3)))[0] = 1


W, B = np.zeros((2, 3)), np.zeros(3)
BAD_MODELS = [
    (([], []), {}, ValueError, "at least one layer; got no weights"),
    (([W], []), {}, ValueError, "one entry for each layer; got 1 weights and 0 biases"),
    (
        ([W, W], [B, B]),
        {},
        ValueError,
        r"weights\[1\] must have shape \(3, fan_out\); got \(2, 3\)",
    ),
    (([W], [np.zeros(2)]), {}, ValueError, r"biases\[0\] must have shape \(3,\); got \(2,\)"),
    (([np.zeros(3)], [B]), {}, ValueError, r"shape \(n_features, fan_out\); got \(3,\)"),
    (([np.zeros((0, 3))], [B]), {}, ValueError, r"shape \(n_features, fan_out\); got \(0, 3\)"),
    (([np.zeros((2, 0))], [B[:0]]), {}, ValueError, r"shape \(n_features, fan_out\); got \(2, 0\)"),
    (([W + np.nan], [B]), {}, ValueError, "must be finite in float32"),
    (([W + 1e300], [B]), {}, ValueError, "must be finite in float32"),
    (([W], [B + np.inf]), {}, ValueError, "must be finite in float32"),
    (([W + 1j], [B]), {}, TypeError, r"weights\[0\] must hold real numbers; got dtype complex128"),
    (([W], [["a", "b", "c"]]), {}, TypeError, r"biases\[0\] must hold real numbers; got dtype <U1"),
    (
        ([W], [B]),
        {"activation": "sigmoid"},
        ValueError,
        "activation must be one of 'relu', 'leaky_relu', .*; got 'sigmoid'",
    ),
    (
        ([W], [B]),
        {"output_activation": "relu"},
        ValueError,
        "output_activation must be one of 'auto', 'softmax', 'identity', 'logistic', "
        "'exponential'; got 'relu'",
    ),
    (([W], [B]), {"classes": [1, 2]}, ValueError, r"3 different labels .* got \[1, 2\]"),
    (([W], [B]), {"classes": [1, 2, 2]}, ValueError, r"3 different labels .* got \[1, 2, 2\]"),
    (([W], [B]), {"classes": [3, 2, 1]}, ValueError, r"in ascending order.* got \[3, 2, 1\]"),
    (([W], [B]), {"classes": [[1, 2, 3]]}, ValueError, r"3 different labels .* \[\[1, 2, 3\]\]"),
    (([W], [B]), {"classes": [1j, 2j, 3j]}, TypeError, "got dtype complex128"),
    (([W], [B]), {"classes": np.array(["a", 1, 2], object)}, TypeError, "entries of type int"),
]


@pytest.mark.parametrize(("arrays", "options", "error", "message"), BAD_MODELS)
def test_bad_models(arrays, options, error, message):
    with pytest.raises(error, match=message):
        Model(*arrays, **options)


# --------------------------------------------------------------------------- outputs, by the oracle


@pytest.mark.covering(2)
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("output", "labelled"), OUTPUTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_outputs_and_scores_are_the_oracles(activation, output, labelled, sizes):
    model, layers = random_network(sizes, activation, output, labelled)
    X = inputs(70, sizes[0])
    passed = oracle.forward(layers, X, activation, output)
    # Sums of up to 40 products of numbers around 1, rounded at 2^-24, in another order.
    tolerance = {"rtol": 1e-5, "atol": 1e-5}
    decision = model.decision_function(X)
    assert decision.dtype == np.float32
    np.testing.assert_allclose(decision, passed.decision, **tolerance)

    rng = np.random.default_rng(2)
    if labelled:
        y = rng.choice(model.classes, len(X))
        indices = np.searchsorted(model.classes, y)
        loss = "cross_entropy" if output == "softmax" else "squared_error"
        losses = oracle.sample_losses(passed.decision, indices, loss, output)
        predicted = model.predict(X)
        # Where two outputs are as good as equal, either may come out on top.
        clear = np.ptp(np.sort(passed.decision)[:, -2:], axis=1) > 1e-4
        if sizes[-1] > 1:
            assert clear.mean() > 0.9
            expected = model.classes[passed.decision.argmax(axis=1)]
            np.testing.assert_array_equal(predicted[clear], expected[clear])
        score = sklearn.metrics.accuracy_score(y, predicted)
    else:
        y = rng.normal(size=(len(X), sizes[-1]))
        losses = 0.5 * ((passed.output - y) ** 2).sum(axis=1)
        predicted = model.predict(X).reshape(len(X), -1)
        np.testing.assert_allclose(predicted, passed.output, **tolerance)
        score = sklearn.metrics.r2_score(y, predicted)
    assert model.evaluate(X, y) == (pytest.approx(losses.mean(), rel=1e-5), pytest.approx(score))
    assert model.score(X, y) == model.evaluate(X, y)[1]

    if labelled and output == "softmax":
        probabilities = model.predict_proba(X)
        np.testing.assert_allclose(probabilities, passed.output, **tolerance)
    if labelled and output == "logistic":
        probabilities = model.predict_proba(X)
        shares = passed.output / passed.output.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(probabilities, shares, **tolerance)
    if labelled and output != "identity":
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("output", ["softmax", "logistic"])
def test_probabilities_of_extreme_activations(output):
    # z = 100 (x, -x, 0) and more: exp overflows float32 from 89 on, and underflows below -104.
    model = Model([[[100, -100, 0]]], [[0, 0, 0]], output_activation=output, classes=[0, 1, 2])
    probabilities = model.predict_proba([[1], [-1], [3e4], [0]])
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert probabilities.argmax(axis=1).tolist() == [0, 1, 0, 0]
    # Cross-entropy grows with the distance, and stays finite.
    if output == "softmax":
        assert model.evaluate([[1]], [1])[0] == pytest.approx(200)
        assert model.evaluate([[3e4]], [1])[0] == pytest.approx(6e6)


def test_probabilities_where_every_logistic_output_underflows():
    model = Model(
        [np.zeros((1, 4))], [np.full(4, -300)], output_activation="logistic", classes=range(4)
    )
    assert model.predict_proba([[0]]).tolist() == [[0.25] * 4]


def test_probabilities_need_a_classifier_that_has_some():
    X = np.zeros((2, 3))
    regression, _ = random_network((3, 2), output="identity", labelled=False)
    with pytest.raises(ValueError, match=r"predict_proba needs a classifier.*is a regression"):
        regression.predict_proba(X)
    linear, _ = random_network((3, 2), output="identity")
    with pytest.raises(ValueError, match=r"predict_proba needs .*has identity outputs"):
        linear.predict_proba(X)


def test_regression_with_one_output_is_a_vector():
    one, _ = random_network((3, 4, 1), output="identity", labelled=False)
    several, _ = random_network((3, 4, 2), output="identity", labelled=False)
    X = inputs(6, 3)
    assert one.predict(X).shape == (6,)
    assert one.decision_function(X).shape == (6, 1)
    assert several.predict(X).shape == (6, 2)
    y = np.arange(6.0)
    assert one.evaluate(X, y) == one.evaluate(X, y[:, None])


def test_ties_go_to_the_first_class():
    model = Model([np.zeros((1, 3))], [[0, 1, 1]], classes=["a", "b", "c"])
    assert model.predict([[5]]).tolist() == ["b"]


@pytest.mark.parametrize(
    "classes",
    [
        [-7, 0, 3],
        ["b", "ba", "é"],
        [b"x", b"yy", b"z"],
        [0.5, 1.5, 1e300],
        [2**63, 2**63 + 1, 2**64 - 1],
    ],
    ids=["integers", "strings", "bytes", "floats", "large"],
)
def test_labels_come_back_as_they_were_given(classes):
    model = Model([np.eye(3)], [np.zeros(3)], classes=classes)
    X = np.eye(3)[[2, 0, 1, 1]]
    expected = np.array(classes)[[2, 0, 1, 1]]
    assert model.predict(X).dtype == expected.dtype
    np.testing.assert_array_equal(model.predict(X), expected)
    assert model.score(X, expected) == 1
    assert model.score(X, expected[[0, 2, 1, 3]]) == 0.5


def test_boolean_labels():
    X = inputs(50, 2)
    model = fixed.train_parallel(X, X[:, 0] > 0, 1, epochs=20, learning_rate=0.5)
    assert model.classes.dtype == bool
    assert model.predict(X).dtype == bool
    assert model.score(X, X[:, 0] > 0) > 0.9
    assert model.score(X, (X[:, 0] > 0).astype(int)) == model.score(X, X[:, 0] > 0)


# ---------------------------------------------------------------------------------------------- R^2


def constant_model(*values):
    return Model([np.zeros((1, len(values)))], [values])


@pytest.mark.parametrize("columns", [1, 3])
def test_r2_is_scikit_learns(columns):
    model, _ = random_network((4, 6, columns), output="identity", labelled=False)
    X = inputs(40, 4)
    rng = np.random.default_rng(5)
    y = model.predict(X).reshape(40, columns) + rng.normal(size=(40, columns))
    assert model.score(X, y) == pytest.approx(sklearn.metrics.r2_score(y, model.predict(X)))


@pytest.mark.parametrize(
    ("outputs", "y"),
    [
        ((2.0,), [2, 2, 2]),  # a constant that is met
        ((2.0,), [3, 3, 3]),  # and one that is not
        ((2.0, 1.0), [[2, 5], [2, 6], [2, 7]]),
        ((2.0, 6.0), [[1, 5], [1, 6], [1, 7]]),
    ],
)
def test_r2_of_constants_is_scikit_learns(outputs, y):
    X = np.zeros((3, 1))
    y = np.array(y, float)
    predicted = np.broadcast_to(outputs, (3, len(outputs)))
    assert constant_model(*outputs).score(X, y) == sklearn.metrics.r2_score(y, predicted)


def test_r2_of_large_offsets_is_summed_in_double():
    # Neighbours in float32, in which their mean is not.
    y = 1e6 + np.arange(4) / 16
    assert constant_model(1e6).score(np.zeros((4, 1)), y) == pytest.approx(
        sklearn.metrics.r2_score(y, np.full(4, 1e6))
    )


# ------------------------------------------------------------------------------ inputs of all kinds


def as_memmap(X, folder):
    path = folder / "X.npy"
    np.save(path, X)
    return np.load(path, mmap_mode="r")


def with_duplicates(X):
    """Return CSR rows in descending order of columns, each entry stored in two halves."""
    rows, columns = np.nonzero(X)
    order = np.lexsort((-columns, rows))
    rows, columns = rows[order].repeat(2), columns[order].repeat(2)
    starts = np.searchsorted(rows, np.arange(len(X) + 1))
    sparse = scipy.sparse.csr_array((X[rows, columns] / 2, columns, starts), shape=X.shape)
    assert not sparse.has_canonical_format
    return sparse


def with_stored_zeros(X):
    starts = np.arange(0, X.size + 1, X.shape[1])
    columns = np.tile(np.arange(X.shape[1]), len(X))
    sparse = scipy.sparse.csr_array((X.ravel(), columns, starts), shape=X.shape)
    assert sparse.nnz > np.count_nonzero(X)
    return sparse


def with_64_bit_indices(X):
    sparse = scipy.sparse.csr_array(X)
    sparse.indices = sparse.indices.astype(np.int64)
    sparse.indptr = sparse.indptr.astype(np.int64)
    return sparse


def read_only(X):
    X = X.copy()
    X.setflags(write=False)
    return X


# All of them hold the same small integers, which every type can.
FORMS = {
    "fortran": np.asfortranarray,
    "every_other_row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "columns_of_a_wider_array": lambda X: np.hstack([X, X])[:, : X.shape[1]],
    "reversed": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "read_only": read_only,
    "float64": lambda X: X.astype(np.float64),
    "float16": lambda X: X.astype(np.float16),
    "big_endian": lambda X: X.astype(">f4"),
    "int64": lambda X: X.astype(np.int64),
    "int8": lambda X: X.astype(np.int8),
    "uint8": lambda X: X.astype(np.uint8),
    "uint8_fortran": lambda X: np.asfortranarray(X.astype(np.uint8)),
    "uint8_read_only": lambda X: read_only(X.astype(np.uint8)),
    "list": lambda X: X.tolist(),
    "csr": scipy.sparse.csr_matrix,
    "csr_float64": lambda X: scipy.sparse.csr_array(X.astype(np.float64)),
    "csr_integers": lambda X: scipy.sparse.csr_array(X.astype(np.int64)),
    "csr_64_bit_indices": with_64_bit_indices,
    "csr_duplicates": with_duplicates,
    "csr_stored_zeros": with_stored_zeros,
    "csc": scipy.sparse.csc_array,
    "coo": scipy.sparse.coo_matrix,
    "lil": scipy.sparse.lil_array,
}


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("density", [0.1, 0.9])
def test_every_form_of_X_gives_what_float32_gives(form, density):
    rng = np.random.default_rng(4)
    X = (rng.integers(1, 100, (67, 30)) * (rng.random((67, 30)) < density)).astype(np.float32)
    X[5] = 0  # a sample without nonzeros
    model, _ = random_network((30, 20, 4), "tanh")
    given = FORMS[form](X)
    before = copy.deepcopy(given)
    expected = model.decision_function(X)
    np.testing.assert_allclose(model.decision_function(given), expected, rtol=1e-6, atol=1e-5)
    y = rng.choice(model.classes, len(X))
    assert model.evaluate(given, y) == pytest.approx(model.evaluate(X, y), rel=1e-6)
    # It is as it was.
    assert type(given) is type(before)
    if scipy.sparse.issparse(given):
        assert (given != before).nnz == 0
        if given.format == "csr":
            np.testing.assert_array_equal(given.indptr, before.indptr)
            np.testing.assert_array_equal(given.indices, before.indices)
            np.testing.assert_array_equal(given.data, before.data)
    else:
        np.testing.assert_array_equal(given, before)


def test_booleans_are_zeros_and_ones():
    model, _ = random_network((12, 3))
    X = inputs(20, 12) > 0
    np.testing.assert_array_equal(
        model.decision_function(X), model.decision_function(X.astype(np.float32))
    )


@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64"])
def test_memory_mapped_files(tmp_path, dtype):
    model, _ = random_network((12, 8, 3))
    X = (inputs(20, 12) > 0).astype(dtype)
    mapped = as_memmap(X, tmp_path)
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(model.decision_function(mapped), model.decision_function(X))


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_what_the_core_can_read_is_not_copied(dtype, monkeypatch):
    seen = []
    name = "dense_float32" if dtype == np.float32 else "dense_uint8"
    original = getattr(_core.Samples, name)

    def spy(**arguments):
        seen.append(arguments["X"])
        return original(**arguments)

    monkeypatch.setattr(_core.Samples, name, staticmethod(spy))
    model, _ = random_network((6, 3))
    X = np.ones((5, 6), dtype)
    model.predict(X)
    assert np.shares_memory(seen[0], X)


@pytest.mark.parametrize("sizes", [(40, 20, 5), (40, 5)], ids=str)
@pytest.mark.parametrize("rows", [1, 2, 63, 64, 65, 200])
def test_a_row_alone_gives_what_it_gives_among_others(sizes, rows):
    model, _ = random_network(sizes, "logistic")
    X = inputs(rows, sizes[0])
    together = model.decision_function(X)
    alone = np.vstack([model.decision_function(X[i : i + 1]) for i in range(rows)])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("rows", [1, 64, 333])
def test_predictions_do_not_depend_on_the_workers(rows):
    model, _ = random_network((40, 20, 5))
    X = _core.Samples.dense_float32(X=inputs(rows, 40))
    one = model._network.predict(samples=X, raw=True, workers=1)
    for workers in (2, 3, 16):
        several = model._network.predict(samples=X, raw=True, workers=workers)
        np.testing.assert_array_equal(several, one)


# -------------------------------------------------------------------------------- copies and pickle


def assert_same(again, model, *, replicas=True):
    """Check that two models are alike, to the last bit."""
    assert again.layer_sizes == model.layer_sizes
    assert type(again.layer_sizes) is tuple
    assert {type(size) for size in again.layer_sizes} == {int}
    assert again.activation == model.activation
    assert again.output_activation == model.output_activation
    for got, expected in zip(
        [*again.weights, *again.biases], [*model.weights, *model.biases], strict=True
    ):
        assert got.tobytes() == expected.tobytes()
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        assert not got.flags.writeable
    if model.classes is None:
        assert again.classes is None
    else:
        np.testing.assert_array_equal(again.classes, model.classes)
        assert again.classes.dtype == model.classes.dtype
        assert not again.classes.flags.writeable
    for name, column in model.history.as_dict().items():
        np.testing.assert_array_equal(getattr(again.history, name), column)
        assert getattr(again.history, name).dtype == getattr(model.history, name).dtype
    assert len(again.replicas) == (len(model.replicas) if replicas else 0)
    X = inputs(9, model.layer_sizes[0])
    assert again.decision_function(X).tobytes() == model.decision_function(X).tobytes()


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy]
    + [
        lambda model, protocol=protocol: pickle.loads(pickle.dumps(model, protocol))
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    ],
)
def test_copies_and_pickles(trained, copied):
    again = copied(trained)
    assert_same(again, trained)
    assert len(again.replicas) == 3
    for one, other in zip(again.replicas, trained.replicas, strict=True):
        assert_same(one, other)


def test_pickle_of_a_regression():
    model, _ = random_network((4, 2), output="identity", labelled=False)
    assert_same(pickle.loads(pickle.dumps(model)), model)


# -------------------------------------------------------------------------------------------- files


@pytest.fixture
def path(tmp_path):
    return tmp_path / "network.safetensors"


def test_round_trip_of_a_training(trained, path):
    trained.save(path)
    again = omp_mlp.load(path)
    assert_same(again, trained, replicas=False)
    assert len(again.history) > 1
    assert again.predict(np.zeros((1, 6))).dtype == "<U7"


def test_round_trip_without_validation_data(path):
    X = inputs(30, 4)
    model = fixed.train_parallel(X, X[:, :2], 2, epochs=1)
    assert np.isnan(model.history.validation_score).all()
    model.save(path)
    assert_same(omp_mlp.load(path), model)


@pytest.mark.parametrize("sizes", [*SIZES, (2, 12)], ids=str)
@pytest.mark.parametrize(("output", "labelled"), OUTPUTS)
def test_round_trip_by_hand(path, sizes, output, labelled):
    model, _ = random_network(sizes, "tanh", output, labelled)
    model.save(path)
    assert_same(omp_mlp.load(path), model)


@pytest.mark.parametrize(
    "classes",
    [
        [-5, 0, 2**62],
        [0, 2**63, 2**64 - 1],
        ["", "a longer label", 'ß \u2603 \U0001f600 " \\ \n'],
        [b"", b"\x01\xff\x00\x7f", b"plain"],
        [-0.1, 0.1 + 0.2, 1e300],
        np.array([1, 2, 3], np.int8),
        np.array([0.1, 0.2, 0.3], np.float32),
        np.array(["u", "v", "w"], ">U3"),
        np.array(["a", "b", "c"], object),
    ],
    ids=["int", "uint", "str", "bytes", "float", "int8", "float32", "big_endian", "object"],
)
def test_round_trip_of_classes(path, classes):
    model = Model([np.eye(3)], [np.zeros(3)], classes=classes)
    model.save(path)
    assert_same(omp_mlp.load(path), model)


def test_round_trip_of_two_booleans(path):
    model = Model([np.eye(2)], [np.zeros(2)], classes=[False, True])
    model.save(path)
    assert_same(omp_mlp.load(path), model)


def test_round_trip_of_special_numbers(path):
    numbers = np.array([0.0, -0.0, 1e-45, -1e-45, 3.4028235e38, 1.1754944e-38], np.float32)
    model = Model([numbers[:, None]], [[-0.0]])
    model.save(path)
    assert omp_mlp.load(path).weights[0].tobytes() == numbers.tobytes()
    assert np.signbit(omp_mlp.load(path).biases[0][0])


def test_paths_are_strings_or_path_like(path):
    model, _ = random_network((3, 2))
    model.save(str(path))
    assert_same(omp_mlp.load(str(path)), model)
    assert_same(omp_mlp.load(path), model)


def test_open_files_and_paths_of_bytes(path, tmp_path):
    network, _ = random_network((3, 2))
    network.save(os.fsencode(path))
    content = path.read_bytes()
    for place in (os.fsencode(path), io.BytesIO(content)):
        np.testing.assert_array_equal(omp_mlp.load(place).weights[0], network.weights[0])
    with open(tmp_path / "other", "w+b") as file:
        file.write(b"before")
        network.save(file)
        file.seek(len(b"before"))
        np.testing.assert_array_equal(omp_mlp.load(file).weights[0], network.weights[0])
    assert (tmp_path / "other").read_bytes().startswith(b"before")
    with pytest.raises(TypeError, match="must be open in binary mode; got a file of text"):
        omp_mlp.load(io.StringIO("text"))
    with pytest.raises(ValueError, match="the open file: not a readable safetensors file"):
        omp_mlp.load(io.BytesIO(content[:50]))
    with open(path) as text, pytest.raises(TypeError, match="must be open in binary mode; got a "):
        network.save(text)
    with open(path, "rb") as file, pytest.raises(ValueError, match=r"got a file that is not writa"):
        network.save(file)
    with pytest.raises(ValueError, match="must be open to write it; got a file that is closed"):
        network.save(file)
    with open(tmp_path / "new", "wb") as file, pytest.raises(ValueError, match="is not readable"):
        omp_mlp.load(file)
    if os.path.exists("/dev/full"):
        with (
            open("/dev/full", "wb", buffering=0) as full,
            pytest.raises(OSError, match="No space left on device: '/dev/full'"),
        ):
            network.save(full)


def test_relative_path(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    model, _ = random_network((3, 2))
    model.save("here.safetensors")
    assert_same(omp_mlp.load("here.safetensors"), model)


def test_others_can_read_the_file(path, trained):
    trained.save(path)
    tensors = safetensors.numpy.load_file(path)
    assert sorted(tensors) == [f"{kind}.{k}" for kind in ("biases", "weights") for k in range(3)]
    for k in range(3):
        np.testing.assert_array_equal(tensors[f"weights.{k}"], trained.weights[k])
        np.testing.assert_array_equal(tensors[f"biases.{k}"], trained.biases[k])


def test_mode_of_the_file_is_that_of_a_new_file(path):
    model, _ = random_network((3, 2))
    before = os.umask(0o027)
    try:
        model.save(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


# ------------------------------------------------------------------------------------ damaged files


@pytest.fixture
def saved(path, trained):
    trained.save(path)
    return path


def refuses(path, message=""):
    """Check that loading raises a ValueError which names the file."""
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}: .*{message}") as caught:
        omp_mlp.load(path)
    return str(caught.value)


def payload(content):
    """Return where the tensors begin."""
    return 8 + int.from_bytes(content[:8], "little")


@pytest.mark.parametrize("place", [0, 0.5, 1])
@pytest.mark.parametrize("bit", [0, 7])
def test_flipped_bit_of_the_payload(saved, place, bit):
    content = bytearray(saved.read_bytes())
    begin = payload(content)
    content[begin + int(place * (len(content) - 1 - begin))] ^= 1 << bit
    saved.write_bytes(content)
    refuses(saved, "damaged: the content does not have the digest that was saved")


def test_no_flipped_bit_goes_unnoticed(path):
    model = Model([np.eye(2)], [np.ones(2)], classes=["a", "b"])
    model.save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for i in range(len(content)):
        damaged = bytearray(content)
        damaged[i] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        refuses(path)
    assert i > 400


def test_changed_metadata(saved):
    # As long as before, so that the file stays well-formed: an activation, a label, a history.
    content = saved.read_bytes()
    for old, new in [(b'"relu"', b'"tanh"'), (b"yes", b"yep"), (b", 180]", b", 181]")]:
        assert content.count(old) == 1
        saved.write_bytes(content.replace(old, new))
        refuses(saved, "damaged: the content does not have the digest")


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 100, 0.5, -100, -1])
def test_truncated_file(saved, kept):
    content = saved.read_bytes()
    kept = int(kept * len(content)) if isinstance(kept, float) else kept % len(content)
    saved.write_bytes(content[:kept])
    refuses(saved, "not a readable safetensors file")


def test_trailing_bytes(saved):
    saved.write_bytes(saved.read_bytes() + b"\0")
    refuses(saved, "not a readable safetensors file")


def test_text_file(path):
    path.write_text("weights: 1 2 3\n" * 100)
    refuses(path, "not a readable safetensors file")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_other_safetensors_file(path, metadata):
    safetensors.numpy.save_file({"weights.0": np.ones((2, 2))}, path, metadata)
    refuses(path, "not a network saved by omp_mlp")


def metadata_of(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return file.metadata()


def rewritten(path, change):
    """Save a file again after a change to its tensors and metadata."""
    tensors = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    change(tensors, metadata)
    safetensors.numpy.save_file(tensors, path, metadata)


def test_other_version(saved):
    rewritten(saved, lambda _, metadata: metadata.update(format_version="7"))
    version = omp_mlp.__version__
    refuses(
        saved,
        f"format version '7', written by omp_mlp {version}; this omp_mlp, {version}, reads "
        "versions '1', '2', '3', '4', '5', '6'",
    )


@pytest.mark.parametrize("name", ["weights.1", "biases.0", "weights.0"])
def test_missing_tensor(saved, name):
    rewritten(saved, lambda tensors, _: tensors.pop(name))
    refuses(saved, "damaged or incomplete")


@pytest.mark.parametrize("name", ["sha256", "activation", "classes", "history"])
def test_missing_metadata(saved, name):
    rewritten(saved, lambda _, metadata: metadata.pop(name))
    refuses(saved, "damaged")


def test_tensors_that_do_not_fit(saved):
    rewritten(saved, lambda tensors, _: tensors.update({"biases.1": np.zeros(4, np.float32)}))
    assert "biases[1] must have shape (5,); got (4,)" in refuses(saved, "damaged or incomplete")


def test_tensor_of_other_shape_and_the_same_bytes(path):
    # (6, 1) and (1,): what is hashed must say where which number belongs.
    model = Model([np.ones((2, 2)), np.ones((2, 2))], [np.ones(2), np.ones(2)])
    model.save(path)

    def one_layer(tensors, _):
        tensors.clear()
        tensors["weights.0"] = np.ones((5, 2), np.float32)
        tensors["biases.0"] = np.ones(2, np.float32)

    rewritten(path, one_layer)
    refuses(path, "digest")


def redigested(path, change):
    """Change a file, and give it the digest of what it then holds."""

    def change_both(tensors, metadata):
        change(tensors, metadata)
        metadata.pop("sha256", None)
        scalings = {name: tensors[name] for name in tensors if name in files._SCALING_NAMES}
        others = {name: tensors[name] for name in tensors if name not in scalings}
        networks = files._networks(others, metadata.get("models", "1"))
        sizes = files.layer_sizes_of(networks[0])
        packed = [files.pack(layers) for layers in networks]
        metadata["sha256"] = files._digest(metadata, sizes, packed, scalings)

    rewritten(path, change_both)


def history_with(**changes):
    def change(_, metadata):
        metadata["history"] = json.dumps({**json.loads(metadata["history"]), **changes})

    return change


def metadata_with(**changes):
    return lambda _, metadata: metadata.update(changes)


LIES = {
    "weights that are no numbers": lambda tensors, _: tensors["weights.0"].fill(np.nan),
    "an unknown activation": metadata_with(activation="sine"),
    "an unknown output": metadata_with(output_activation="sine"),
    "too few classes": metadata_with(classes='["no", "yes"]'),
    "classes out of order": metadata_with(classes='["yes", "no", "perhaps"]'),
    "classes that are equal": metadata_with(classes='["no", "no", "yes"]'),
    "classes of another kind": metadata_with(classes="[0, 1, 2]"),
    "classes that are one word": metadata_with(classes='"abc"'),
    "classes that are lists": metadata_with(classes="[[0], [1], [2]]"),
    "no classes with a dtype": metadata_with(classes="{}"),
    "labels of a gigabyte": metadata_with(classes_dtype="<U100000000"),
    "labels that are objects": metadata_with(classes_dtype="|O"),
    "labels of several fields": metadata_with(classes_dtype="<i8,<i8"),
    "numbers beyond int8": metadata_with(classes="[1, 2, 300]", classes_dtype="|i1"),
    "numbers that are flags": metadata_with(classes="[true, false, true]", classes_dtype="<i8"),
    "exponential with labels": metadata_with(output_activation="exponential"),
    "multilabel with labels": metadata_with(format_version="3"),
    "columns of several lengths": history_with(loss=[1.0]),
    "a column of text": history_with(loss=["a"] * 18),
    "a table for a column": history_with(samples=[[1]]),
    "samples that fall": history_with(samples=[*range(18, 0, -1)]),
    "a number of threads below 0": history_with(threads=-1),
    "threads that are text": history_with(threads="2"),
    "a strategy that is a number": history_with(strategy=3),
    "a best round that is none": history_with(best_round=10**6),
    "no column": lambda _, metadata: metadata.update(history="{}"),
    "a history that is a list": metadata_with(history="[]"),
    "a history too deep": metadata_with(history="[" * 100_000),
    "a number too long": metadata_with(history="9" * 100_000),
    "no JSON": metadata_with(history="{"),
    "a scaling of another length": lambda tensors, _: tensors.update(
        input_offset=np.zeros(2), input_scale=np.ones(2)
    ),
    "a scale of 0": lambda tensors, _: tensors.update(
        input_offset=np.zeros(tensors["weights.0"].shape[0]),
        input_scale=np.zeros(tensors["weights.0"].shape[0]),
    ),
    "scaled labels": lambda tensors, _: tensors.update(
        target_offset=np.zeros(3), target_scale=np.ones(3)
    ),
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_a_file_with_a_right_digest_is_not_believed(path, lie):
    model, _ = random_network((4, 3, 3), labelled=False)
    kind = {"activation": "relu", "classes": np.array(["no", "perhaps", "yes"])}
    Model(model.weights, model.biases, **kind).save(path)
    rounds = history_with(**{name: [1] * 18 for name in json.loads(metadata_of(path)["history"])
                             if name not in ("strategy", "threads", "best_round")})  # fmt: skip
    redigested(path, rounds)
    omp_mlp.load(path)
    redigested(path, LIES[lie])
    refuses(path, "damaged")


@pytest.mark.parametrize("models", ["10000000", "0", "-1", "x", "1e3", "\u0663", "9" * 5000])
def test_a_number_of_models_that_are_not_there(saved, models):
    rewritten(saved, lambda _, metadata: metadata.update(models=models))
    refuses(saved, "damaged or incomplete")


@pytest.mark.parametrize("dtype", ["<f8", "<f2", "<i4"])
def test_weights_of_another_type(saved, dtype):
    rewritten(
        saved, lambda tensors, _: tensors.update({"biases.0": tensors["biases.0"].astype(dtype)})
    )
    refuses(saved, "damaged or incomplete")


def test_mutations_of_a_file_load_as_it_was_or_not_at_all(path):
    model = Model([np.eye(3)[:2]], [np.ones(3)], classes=["a", "b", "c"])
    model.save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(3)
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            begin = int(rng.integers(len(damaged)))
            end = begin + int(rng.integers(1, 30))
            part = [b"", rng.bytes(int(rng.integers(1, 20))), damaged[:begin][-9:]]
            damaged[begin:end] = part[rng.integers(3)]
        path.write_bytes(damaged)
        if damaged != content:
            refuses(path)


def test_mutations_of_what_a_file_says_load_as_a_model_or_not_at_all(path):
    rng = np.random.default_rng(4)
    words = ["relu", "softmax", "[]", "null", "-1", "1e400", "NaN", '["a"]', "<U9", "|S1", "", "{}"]
    for _ in range(150):
        Model([np.eye(3)[:2]], [np.ones(3)], classes=["a", "b", "c"]).save(path)

        def change(tensors, metadata):
            name = str(rng.choice([n for n in sorted(metadata) if n != "sha256"]))
            text = metadata[name]
            at = int(rng.integers(len(text) + 1))
            word = str(rng.choice(words))
            metadata[name] = word if rng.random() < 0.5 else text[:at] + word + text[at + 2 :]
            if rng.random() < 0.2:
                tensors["biases.0"][0] = rng.choice([np.nan, np.inf, 1e30])

        try:
            redigested(path, change)
        except ValueError:
            continue  # it says that it has models that are not there
        try:
            loaded = omp_mlp.load(path)
        except ValueError:
            refuses(path)
            continue
        assert loaded.decision_function(np.zeros((1, 2))).shape == (1, 3)
        assert len(loaded.predict(np.zeros((1, 2)))) == 1
        pickle.loads(pickle.dumps(loaded)).save(path)


STATES = {
    "layer_sizes": [(2,), (3, 3), ("2", 3), None, (2, 3, 1)],
    "packed": [np.zeros(8, np.float32), np.zeros(9), [0.0] * 9, np.zeros((3, 3), np.float32)],
    "activation": ["sine", None],
    "output_activation": ["exponential"],
    "classes": [np.array(["a", "b"]), np.array(["b", "a", "c"])],
    "multilabel": [True, 1],
    "history": [None],
    "replicas": [(1,), None],
    "input_scaling": [1],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in STATES.items() for value in values]
)
def test_a_damaged_pickle(name, value):
    model = Model([np.eye(3)[:2]], [np.ones(3)], classes=["a", "b", "c"])
    with pytest.raises(ValueError, match="a damaged state of a Model"):
        Model.__new__(Model).__setstate__({**model.__getstate__(), name: value})


def test_what_load_would_refuse_is_not_saved(path):
    model, _ = random_network((3, 2))
    infinite = model._like(np.full_like(model._packed, np.inf))
    with pytest.raises(ValueError, match="only networks whose weights and biases are finite"):
        infinite.save(path)
    assert not path.exists()


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe: not a regular file"):
        omp_mlp.load(tmp_path / "pipe")


# ------------------------------------------------------------------------------ where to write


def scaled_regression():
    rng = np.random.default_rng(8)
    X = np.column_stack([1e9 + np.arange(60.0), rng.normal(size=60)])
    y = 1e9 + X[:, 1]
    model = omp_mlp.train_parallel(X, y, epochs=1, hidden_layer_sizes=(4,))
    assert model.target_scaling is not None
    return model


def written_models():
    sizes = (5, 4, 3)
    labelled, _ = random_network(sizes)
    weights, biases = labelled.weights, labelled.biases
    one = Model([np.ones((5, 1))], [np.ones(1)])
    return {
        "labels": labelled,
        "text": Model(weights, biases, classes=["a", "longer", "z"]),
        "logistic": Model(weights, biases, classes=[1, 2, 3], output_activation="logistic"),
        "multilabel": Model(weights, biases, multilabel=True),
        "values": Model(weights, biases),
        "one value": one,
        "ensemble": omp_mlp.merge([labelled, labelled], "ensemble"),
        "scaled": scaled_regression(),
    }


WRITTEN = [
    *((name, "decision_function") for name in ("labels", "ensemble", "scaled")),
    *((name, "predict_proba") for name in ("labels", "logistic", "multilabel", "ensemble")),
    *((name, "predict") for name in written_models()),
]


def asked(name, method, n_samples):
    """Return a method of a model, some rows, and what it answers without out."""
    model = written_models()[name]
    X = inputs(n_samples, model.layer_sizes[0])
    answer = getattr(model, method)
    return answer, X, answer(X)


@pytest.mark.parametrize(("name", "method"), WRITTEN)
def test_out_gets_what_is_returned_without_it(name, method):
    answer, X, expected = asked(name, method, 70)
    whole = np.zeros((3, *expected.shape), expected.dtype)
    reversed_order = np.empty_like(expected.T).T
    for out in (np.empty_like(expected), whole[1], whole[0][::-1], reversed_order):
        assert answer(X, out=out) is out
        assert out.dtype == expected.dtype
        assert out.tolist() == expected.tolist()
    assert whole[2].tolist() == np.zeros_like(expected).tolist()


@pytest.mark.parametrize(("name", "method"), WRITTEN)
def test_out_that_does_not_fit_is_an_error(name, method):
    answer, X, expected = asked(name, method, 7)
    untouched = np.zeros_like(expected)
    wrong = (
        (expected.tolist(), TypeError, r"out must be a NumPy array; got list"),
        (untouched[:6], ValueError, rf"out must have shape \({len(X)},.*; got shape \(6,"),
        (untouched[..., None], ValueError, rf"out must have shape \({len(X)},.*; got shape "),
        (
            np.zeros(expected.shape, np.complex64),
            ValueError,
            rf"dtype {re.escape(str(expected.dtype))}; got shape .* and dtype complex64",
        ),
    )
    for out, error, message in wrong:
        with pytest.raises(error, match=message):
            answer(X, out=out)
    untouched.setflags(write=False)
    with pytest.raises(ValueError, match="out must be an array that can be written to"):
        answer(X, out=untouched)
    assert untouched.tolist() == np.zeros_like(expected).tolist()


def test_out_may_be_the_memory_of_X():
    rng = np.random.default_rng(3)
    model = Model([rng.normal(size=(4, 4))], [rng.normal(size=4)])
    X = inputs(200, 4)
    expected = model.predict(X.copy())
    assert model.predict(X, out=X) is X
    assert X.tolist() == expected.tolist()
    table = inputs(200, 5)
    expected = model.predict(table[:, :4].copy())
    assert model.predict(table[:, :4], out=table[:, 1:]).tolist() == expected.tolist()


# ------------------------------------------------------------------------------- nothing changes


def test_outputs_that_are_infinite_are_no_answer():
    model = Model([np.full((3, 2), 10.0)], [np.ones(2)], classes=[0, 1])
    X = np.array([[1, 1, 1], [3e38, -3e38, 3e38]], np.float32)
    for answer in (model.predict, model.predict_proba, model.decision_function):
        with pytest.raises(ValueError, match="outputs are infinite in float32 for row 1 of X"):
            answer(X)
        answer(X[:1])


def test_attributes_cannot_be_set():
    model, _ = random_network((3, 4, 2))
    ensemble = omp_mlp.merge([model, model], "ensemble")
    for network in (model, ensemble):
        for name in ("activation", "classes", "layer_sizes", "history", "new"):
            with pytest.raises(AttributeError, match=f"does not change: {name} cannot be set"):
                setattr(network, name, None)
        with pytest.raises(AttributeError, match="classes cannot be deleted"):
            del network.classes
    for parameters in (model.weights, model.biases):
        assert isinstance(parameters, tuple)
        with pytest.raises(ValueError, match="read-only"):
            parameters[0][...] = 1


def test_missing_file(path):
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        omp_mlp.load(path)


# --------------------------------------------------------------------------------- saving is atomic


@pytest.mark.parametrize("function", ["replace", "fchmod", "fdopen", "fsync"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failed_save_leaves_the_old_file_and_nothing_else(saved, monkeypatch, function, error):
    content = saved.read_bytes()
    other, _ = random_network((3, 2))

    def fail(*_args, **_keywords):
        raise error

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(type(error)):
        other.save(saved)
    assert saved.read_bytes() == content
    assert os.listdir(saved.parent) == [saved.name]


def test_failed_write_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    # As on a full disk: some bytes are written, and then no more.
    content = saved.read_bytes()
    other, _ = random_network((3, 2))
    fdopen = os.fdopen

    def on_a_full_disk(*arguments, **keywords):
        file = fdopen(*arguments, **keywords)

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *_):
                file.close()

            def write(self, data):
                file.write(data[:50])
                raise OSError(28, "No space left on device")

        return Full()

    monkeypatch.setattr(os, "fdopen", on_a_full_disk)
    with pytest.raises(OSError, match="No space left"):
        other.save(saved)
    assert saved.read_bytes() == content
    assert os.listdir(saved.parent) == [saved.name]


def test_save_replaces_a_file(saved):
    other, _ = random_network((3, 2))
    other.save(saved)
    assert_same(omp_mlp.load(saved), other)
    assert os.listdir(saved.parent) == [saved.name]


def test_old_file_stays_whole_for_those_who_have_it_open(saved, trained):
    with saved.open("rb") as reader:
        random_network((3, 2))[0].save(saved)
        content = reader.read()
    again = saved.with_name("again.safetensors")
    again.write_bytes(content)
    assert_same(omp_mlp.load(again), trained, replicas=False)


def test_save_into_a_folder_that_is_not_there(tmp_path):
    model, _ = random_network((3, 2))
    with pytest.raises(FileNotFoundError):
        model.save(tmp_path / "missing" / "network.safetensors")
    assert os.listdir(tmp_path) == []


def test_save_onto_a_folder(tmp_path):
    model, _ = random_network((3, 2))
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError, match="folder"):
        model.save(folder)
    assert os.listdir(tmp_path) == ["folder"]


def test_metadata_is_readable_by_people(saved):
    with safetensors.safe_open(saved, framework="numpy") as file:
        metadata = file.metadata()
    assert json.loads(metadata["classes"]) == ["no", "perhäps", "yes"]
    assert json.loads(metadata["history"])["samples"][-1] == 180
    assert len(metadata["sha256"]) == 64


@pytest.mark.parametrize("place", [None, 1, True, [], np.ones(2), object()])
def test_what_is_no_place(place):
    message = "path must be a str, bytes or path-like, or a binary file that is open; got "
    with pytest.raises(TypeError, match=message):
        omp_mlp.load(place)
    with pytest.raises(TypeError, match=message):
        Model([np.eye(2)], [np.ones(2)]).save(place)


class TakesAPart(io.BytesIO):
    """A file that takes some bytes at a time, as pipes do."""

    def __init__(self, most):
        super().__init__()
        self.most = most

    def write(self, content):
        return super().write(content[: self.most])


def test_a_file_that_takes_a_part_at_a_time_gets_everything(trained):
    file = TakesAPart(100)
    trained.save(file)
    file.seek(0)
    np.testing.assert_array_equal(omp_mlp.load(file)._packed, trained._packed)
    with pytest.raises(OSError, match="The file took 0 of"):
        trained.save(TakesAPart(0))


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_pipe_that_is_full_is_an_error():
    read, write = os.pipe()
    os.set_blocking(write, False)
    with open(write, "wb", buffering=0) as file, open(read, "rb"):
        large = Model([np.ones((500, 500))], [np.ones(500)])
        with pytest.raises(BlockingIOError, match="The file takes no more at the moment"):
            large.save(file)


@pytest.mark.parametrize("name", ["weights", "biases"])
@pytest.mark.parametrize("value", [None, 3, "ab", {0: np.eye(2)}, np.array(1.0)])
def test_weights_and_biases_are_sequences(name, value):
    given = {"weights": [np.eye(2)], "biases": [np.ones(2)], name: value}
    with pytest.raises(TypeError, match=f"{name} must be a sequence of arrays; got"):
        Model(**given)
