"""Bad input: what is said, and that it is said before any work."""

import copy
import pickle
import re
import sys

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import omp_mlp
from omp_mlp import Model, TrainingDivergedError, _core
from omp_mlp.inputs import read_inputs
from omp_mlp.targets import read_targets

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = np.arange(12) % 3  # classes 0, 1, 2
OPTIONS = {"epochs": 1, "batch_size": 4}


@pytest.fixture
def train(monkeypatch):
    """Train with an option or two out of order; fails if any work is done."""

    def work(**_):
        pytest.fail("the core was called")

    def callback(_):
        pytest.fail("the callback was called")

    monkeypatch.setattr(_core, "train", work)

    def run(X=X, y=Y, threads=2, merge="average", **options):
        options = {**OPTIONS, "callback": callback, **options}
        before = copy.deepcopy((X, y))
        try:
            return omp_mlp.train_parallel(X, y, threads, merge, **options)
        finally:
            for given, original in zip((X, y), before, strict=True):
                if isinstance(given, np.ndarray):
                    np.testing.assert_array_equal(given, original)

    return run


def test_these_tests_would_work_with_good_input():
    omp_mlp.train_parallel(X, Y, 2, "average", **OPTIONS)


def cases(rows):
    """Name the rows of a table by their first two entries."""
    return [pytest.param(*row, id=f"{row[0]}-{row[1]!r}"[:60]) for row in rows]


# ------------------------------------------------------------------------------ options of training

A_MODEL = Model(
    [np.zeros((3, 128)), np.zeros((128, 3))], [np.zeros(128), np.zeros(3)], classes=[0, 1, 2]
)
REGRESSION = Model([np.zeros((3, 128)), np.zeros((128, 3))], [np.zeros(128), np.zeros(3)])

BAD_OPTIONS = [
    ("threads", 0, ValueError, "threads must be at least 1; got 0"),
    ("threads", -2, ValueError, "threads must be at least 1; got -2"),
    ("threads", 2.0, TypeError, "threads must be an integer; got 2.0 of type float"),
    ("threads", "2", TypeError, "threads must be an integer; got '2' of type str"),
    ("threads", True, TypeError, "threads must be an integer; got True of type bool"),
    (
        "threads",
        np.True_,
        TypeError,
        "True_ of type bool" if np.__version__ >= "2" else "of type bool_",
    ),
    ("threads", None, TypeError, "threads must be an integer; got None of type NoneType"),
    (
        "threads",
        np.array([2]),
        TypeError,
        "threads must be an integer; got array([2]) of type ndarray",
    ),
    ("merge", "mean", ValueError, "merge must be one of 'average', 'sum', "),
    ("merge", "mean", ValueError, "; got 'mean'"),
    ("merge", "Average", ValueError, "; got 'Average'"),
    ("merge", None, ValueError, "; got None"),
    ("merge", ["sum"], ValueError, "; got ['sum']"),
    (
        "activation",
        "sigmoid",
        ValueError,
        "activation must be one of 'relu', 'tanh', 'logistic', 'identity'; got 'sigmoid'",
    ),
    ("activation", None, ValueError, "'identity'; got None"),
    (
        "loss",
        "hinge",
        ValueError,
        "loss must be one of 'auto', 'cross_entropy', 'squared_error'; got 'hinge'",
    ),
    (
        "output_activation",
        "relu",
        ValueError,
        "output_activation must be one of 'auto', 'softmax', 'identity', 'logistic'; got 'relu'",
    ),
    (
        "output_activation",
        "identity",
        ValueError,
        "loss='cross_entropy' goes with output_activation 'softmax'; got 'identity'",
    ),
    ("epochs", -1, ValueError, "epochs must be at least 0; got -1"),
    ("epochs", 1.5, TypeError, "epochs must be an integer; got 1.5 of type float"),
    ("epochs", None, TypeError, "epochs must be an integer; got None of type NoneType"),
    ("epochs", 2**62, ValueError, "epochs times samples must be less than 2^63; got 46116860"),
    ("batch_size", 0, ValueError, "batch_size must be at least 1; got 0"),
    ("batch_size", -8, ValueError, "batch_size must be at least 1; got -8"),
    ("batch_size", 8.0, TypeError, "batch_size must be an integer; got 8.0 of type float"),
    ("learning_rate", -0.1, ValueError, "learning_rate must be at least 0 and finite; got -0.1"),
    ("learning_rate", np.nan, ValueError, "learning_rate must be at least 0 and finite; got nan"),
    ("learning_rate", np.inf, ValueError, "learning_rate must be at least 0 and finite; got inf"),
    ("learning_rate", "0.1", TypeError, "learning_rate must be a number; got '0.1' of type str"),
    ("learning_rate", None, TypeError, "learning_rate must be a number; got None"),
    ("learning_rate", 1j, TypeError, "learning_rate must be a number; got 1j of type complex"),
    ("learning_rate", True, TypeError, "learning_rate must be a number; got True of type bool"),
    (
        "learning_rate_schedule",
        "cosine",
        ValueError,
        "learning_rate_schedule must be one of 'linear', 'constant'; got 'cosine'",
    ),
    ("merge_every", 0, ValueError, "merge_every must be at least 1; got 0"),
    ("merge_every", 3, ValueError, "merge_every must be at least batch_size, 4; got 3"),
    ("merge_every", 8.0, TypeError, "merge_every must be an integer; got 8.0 of type float"),
    ("merge_every", True, TypeError, "merge_every must be an integer; got True of type bool"),
    ("merge_every", "never", ValueError, "merge_every must be one of 'auto'; got 'never'"),
    ("merge_every", (8, 3), ValueError, "merge_every[1] must be at least batch_size, 4; got 3"),
    ("merge_every", (8.0, 16), TypeError, "merge_every[0] must be an integer; got 8.0"),
    ("merge_every", (8, 16, 32), ValueError, "or a pair (first, last) of them; got 3 entries"),
    ("merge_options", 1, TypeError, "merge_options must be a mapping, such as {'alpha': '1/n'}"),
    ("merge_options", {"beta": 1}, ValueError, "it takes none; got 'beta'"),
    (
        "outer_optimizer",
        "adam",
        ValueError,
        "outer_optimizer must be one of 'auto', 'momentum', 'nesterov', 'bmuf', 'slowmo'; got",
    ),
    ("outer_optimizer", X, ValueError, "outer_optimizer must be one of 'auto', 'momentum'"),
    ("outer_learning_rate", -1, ValueError, "outer_learning_rate must be at least 0 and finite"),
    ("outer_learning_rate", "big", ValueError, "must be one of 'auto'; got 'big'"),
    ("last_merge", "sum", ValueError, "last_merge must be one of 'auto', 'average', None; got"),
    ("on_nonfinite", "stop", ValueError, "on_nonfinite must be one of 'raise', 'skip'; got 'stop'"),
    ("warmup_samples", -1, ValueError, "warmup_samples must be at least 0; got -1"),
    ("warmup_samples", 2.5, TypeError, "warmup_samples must be an integer; got 2.5"),
    ("warmup_samples", 2**63, ValueError, "must be less than 2^63; got 1 epochs and 92233"),
    (
        "outer_momentum",
        -0.1,
        ValueError,
        "outer_momentum must be at least 0 and less than 1; got -0.1",
    ),
    (
        "outer_momentum",
        1.0,
        ValueError,
        "outer_momentum must be at least 0 and less than 1; got 1.0",
    ),
    ("outer_momentum", np.nan, ValueError, "and less than 1; got nan"),
    ("outer_momentum", "big", ValueError, "outer_momentum must be one of 'auto'; got 'big'"),
    ("outer_momentum", None, TypeError, "outer_momentum must be a number; got None"),
    ("init", "zeros", ValueError, "init must be one of 'shared', 'independent'; got 'zeros'"),
    ("init", None, ValueError, "init must be one of 'shared', 'independent'; got None"),
    ("init", X, ValueError, "init must be one of 'shared', 'independent'; got array("),
    ("init_scale", -0.5, ValueError, "init_scale must be at least 0 and finite; got -0.5"),
    ("init_scale", np.inf, ValueError, "init_scale must be at least 0 and finite; got inf"),
    (
        "init_scale",
        "xavier",
        ValueError,
        "init_scale must be one of 'auto', 'glorot', 'he'; got 'xavier'",
    ),
    ("init_scale", None, TypeError, "init_scale must be a number; got None of type NoneType"),
    ("shuffle", True, ValueError, "shuffle must be one of 'global', 'shards', False; got True"),
    ("shuffle", 0, ValueError, "shuffle must be one of 'global', 'shards', False; got 0"),
    ("shuffle", None, ValueError, "shuffle must be one of 'global', 'shards', False; got None"),
    (
        "shuffle",
        "local",
        ValueError,
        "shuffle must be one of 'global', 'shards', False; got 'local'",
    ),
    ("workers", 0, ValueError, "workers must be at least 1; got 0"),
    ("workers", 1.0, TypeError, "workers must be an integer; got 1.0 of type float"),
    ("workers", "all", TypeError, "workers must be an integer; got 'all' of type str"),
    ("seed", -1, ValueError, "seed must be at least 0; got -1"),
    ("seed", 2**64, ValueError, "seed must be less than 2^64; got 18446744073709551616"),
    ("seed", 0.5, TypeError, "seed must be an integer; got 0.5 of type float"),
    ("seed", None, TypeError, "seed must be an integer; got None of type NoneType"),
    ("callback", 5, TypeError, "callback must be callable; got int"),
    (
        "hidden_layer_sizes",
        128,
        TypeError,
        "must be a sequence of integers, such as (128,); got 128",
    ),
    (
        "hidden_layer_sizes",
        "128",
        TypeError,
        "must be a sequence of integers, such as (128,); got '128'",
    ),
    ("hidden_layer_sizes", (8, 0), ValueError, "hidden_layer_sizes[1] must be at least 1; got 0"),
    ("hidden_layer_sizes", (8.0,), TypeError, "hidden_layer_sizes[0] must be an integer; got 8.0"),
    ("sample_weight", np.ones(11), ValueError, "sample_weight must have shape (12,); got (11,)"),
    (
        "sample_weight",
        np.ones((12, 1)),
        ValueError,
        "sample_weight must have shape (12,); got (12, 1)",
    ),
    ("sample_weight", 1.0, ValueError, "sample_weight must have shape (12,); got ()"),
    (
        "sample_weight",
        np.where(np.arange(12) == 7, -2.5, 1),
        ValueError,
        "sample_weight must be finite and not negative; got -2.5 for sample 7",
    ),
    ("sample_weight", np.where(np.arange(12) > 3, np.nan, 1), ValueError, "got nan for sample 4"),
    ("sample_weight", np.where(np.arange(12) > 3, np.inf, 1), ValueError, "got inf for sample 4"),
    (
        "sample_weight",
        ["heavy"] * 12,
        TypeError,
        "sample_weight must hold real numbers; got dtype <U5",
    ),
    (
        "sample_weight",
        np.ones(12, complex),
        TypeError,
        "must hold real numbers; got dtype complex128",
    ),
    ("validation_data", X, TypeError, "validation_data must be a pair (X, y); got ndarray"),
    ("validation_data", (X,), TypeError, "validation_data must be a pair (X, y); got tuple"),
    ("validation_data", (X, Y, Y), TypeError, "validation_data must be a pair (X, y); got tuple"),
    (
        "validation_data",
        (X[:, :2], Y),
        ValueError,
        "validation_data[0] has 2 features, but the network was trained on 3",
    ),
    (
        "validation_data",
        (X, Y[:5]),
        ValueError,
        "validation_data[1] must have one entry for each of the 12",
    ),
    (
        "validation_data",
        (X[:0], Y[:0]),
        ValueError,
        "validation_data[0] must have at least one sample",
    ),
    (
        "validation_data",
        (X, Y + 1),
        ValueError,
        "validation_data[1] has labels that the training did not have: 3; expected some of [0,",
    ),
    (
        "validation_data",
        (np.where(np.arange(36).reshape(12, 3) == 17, np.nan, X), Y),
        ValueError,
        "validation_data[0] must be finite in float32; got nan in row 5, column 2",
    ),
]


@pytest.mark.parametrize(("option", "value", "error", "message"), cases(BAD_OPTIONS))
def test_bad_option(train, option, value, error, message):
    with pytest.raises(error, match=re.escape(message)) as caught:
        train(**{option: value})
    assert type(caught.value) is error


def test_unknown_merge_lists_every_method(train):
    with pytest.raises(ValueError, match="merge must be one of") as caught:
        train(merge="mean")
    for method in omp_mlp.merge_methods():
        assert repr(method.name) in str(caught.value)


def test_numpys_numbers_and_strings_are_numbers_and_strings():
    options = {
        "hidden_layer_sizes": np.array([4, 2]),
        "activation": np.str_("tanh"),
        "epochs": np.int8(1),
        "batch_size": np.uint64(2),
        "learning_rate": np.float32(0.5),
        "merge_every": np.int64(4),
        "seed": np.uint64(2**64 - 1),
        "init_scale": np.float16(0.5),
        "shuffle": np.str_("shards"),
    }
    plain = {
        name: value.tolist() if hasattr(value, "tolist") else value
        for name, value in options.items()
    }
    given = omp_mlp.train_parallel(X, Y, np.int32(2), np.str_("sum"), **options)
    expected = omp_mlp.train_parallel(X, Y, 2, "sum", **plain)
    assert type(given.activation) is str
    for got, wanted in zip(given.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_numbers_beyond_the_data_are_as_good_as_the_data():
    # Neither overflows the core's 64-bit integers, nor reserves memory for batches that never come.
    expected = omp_mlp.train_parallel(X, Y, 2, "average", epochs=2, batch_size=6, merge_every=12)
    for huge in (2**40, 2**63 - 1, 2**64, 10**30):
        model = omp_mlp.train_parallel(
            X, Y, 2, "average", epochs=2, batch_size=huge, merge_every=huge, workers=huge
        )
        np.testing.assert_array_equal(model.weights[0], expected.weights[0])
        assert len(model.history) == 1


def test_a_sum_means_nothing_without_a_replica(train):
    with pytest.raises(ValueError, match="'sum' does not; got on_nonfinite='skip'"):
        train(merge="sum", on_nonfinite="skip")


def test_slowmo_divides_by_the_learning_rate(train):
    with pytest.raises(ValueError, match="needs learning_rate greater than 0"):
        train(outer_optimizer="slowmo", learning_rate=0)


def test_warmup_and_outer_steps_have_a_common_start(train):
    with pytest.raises(ValueError, match="warmup_samples=5 trains one common start"):
        train(merge="average", init="independent", warmup_samples=5)
    with pytest.raises(ValueError, match=r"outer_learning_rate=0\.5 merges updates"):
        train(merge="average", init="independent", outer_learning_rate=0.5)


@pytest.mark.parametrize(
    ("merge", "momentum"),
    [("gradient_diversity", "auto"), ("gradient_diversity", 0), ("average", 0.5)],
)
def test_independent_starts_have_no_common_base(train, merge, momentum):
    with pytest.raises(ValueError, match=r"needs init='shared' or a Model; got init='independent'"):
        train(merge=merge, outer_momentum=momentum, init="independent")


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            A_MODEL,
            {"hidden_layer_sizes": (64,)},
            "init must be a Model of layer_sizes (3, 64, 3), as this training has; got (3, 128, 3)",
        ),
        (A_MODEL, {"activation": "tanh"}, "of activation 'tanh', as this training has; got 'relu'"),
        (
            A_MODEL,
            {"loss": "squared_error"},
            "of output_activation 'logistic', as this training has; got 'softmax'",
        ),
        (
            A_MODEL,
            {"y": np.array(["a", "b", "c"])[Y]},
            "init must be a Model of the classes in y, ['a' 'b' 'c']; got [0 1 2]",
        ),
        (A_MODEL, {"y": Y + 1}, "of the classes in y, [1 2 3]; got [0 1 2]"),
        (
            REGRESSION,
            {"loss": "squared_error", "output_activation": "identity"},
            "of the classes in y, [0 1 2]; got None",
        ),
        (A_MODEL, {"y": X}, "of output_activation 'identity', as this training has; got 'softmax'"),
    ],
)
def test_start_that_does_not_fit(train, model, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        train(init=model, **options)


def test_losses_that_do_not_fit_y(train):
    with pytest.raises(ValueError, match=r"loss='cross_entropy' needs y of integers.*got floats"):
        train(y=X[:, 0], loss="cross_entropy")
    with pytest.raises(
        ValueError, match=r"goes with output_activation 'identity' or 'logistic'; got 's"
    ):
        train(y=X[:, 0], output_activation="softmax")


def test_progress_bar_without_tqdm(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(
        ImportError, match=r"progress=True needs tqdm: pip install omp_mlp\[progress\]"
    ):
        train(progress=True)


# ------------------------------------------------------------------------------------------------ X


def spoiled(value, row=7, column=1, dtype=np.float64):
    array = X.astype(dtype)
    array[row, column] = value
    return array


BAD_X = [
    ("nan", spoiled(np.nan), ValueError, "X must be finite in float32; got nan in row 7, column 1"),
    ("inf", spoiled(np.inf), ValueError, "X must be finite in float32; got inf in row 7, column 1"),
    ("-inf", spoiled(-np.inf, 0, 0), ValueError, "got -inf in row 0, column 0"),
    ("float32", spoiled(np.nan, 11, 2, np.float32), ValueError, "got nan in row 11, column 2"),
    ("float16", spoiled(np.inf, 3, 0, np.float16), ValueError, "got inf in row 3, column 0"),
    ("large", spoiled(1e39), ValueError, "finite in float32; got 1e+39 in row 7, column 1"),
    ("fortran", np.asfortranarray(spoiled(np.nan)), ValueError, "got nan in row 7, column 1"),
    ("list", spoiled(np.nan).tolist(), ValueError, "got nan in row 7, column 1"),
    ("csr", scipy.sparse.csr_array(spoiled(np.nan)), ValueError, "got nan in row 7, column 1"),
    ("csc", scipy.sparse.csc_matrix(spoiled(np.inf)), ValueError, "got inf in row 7, column 1"),
    ("coo", scipy.sparse.coo_array(spoiled(-np.inf)), ValueError, "got -inf in row 7, column 1"),
    ("bsr", scipy.sparse.bsr_array(spoiled(np.nan)), ValueError, "got nan in row 7, column 1"),
    ("vector", X[0], ValueError, "shape (n_samples, n_features); got 1 dimension(s), shape (3,)"),
    (
        "cube",
        X[None],
        ValueError,
        "shape (n_samples, n_features); got 3 dimension(s), shape (1, 12, 3)",
    ),
    ("number", 5.0, ValueError, "shape (n_samples, n_features); got 0 dimension(s), shape ()"),
    ("no samples", X[:0], ValueError, "at least one sample and one feature; got shape (0, 3)"),
    ("no features", X[:, :0], ValueError, "at least one sample and one feature; got shape (12, 0)"),
    ("empty list", [[]], ValueError, "at least one sample and one feature; got shape (1, 0)"),
    ("empty bytes", np.zeros((0, 3), np.uint8), ValueError, "got shape (0, 3)"),
    ("empty csr", scipy.sparse.csr_array((0, 3)), ValueError, "got shape (0, 3)"),
    ("complex", X + 1j, TypeError, "X must hold real numbers; got dtype complex64"),
    ("object", X.astype(object), TypeError, "X must hold real numbers; got dtype object"),
    ("none", None, TypeError, "X must hold real numbers; got dtype object"),
    ("strings", X.astype(str), TypeError, "X must hold real numbers; got dtype <U32"),
    ("dates", X.astype("M8[D]"), TypeError, "X must hold real numbers; got dtype datetime64[D]"),
    ("complex csr", scipy.sparse.csr_array(X + 1j), TypeError, "real numbers; got dtype complex64"),
]


@pytest.mark.parametrize(
    ("bad", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in BAD_X]
)
def test_bad_X(train, bad, error, message):
    with pytest.raises(error, match=re.escape(message)):
        train(X=bad)
    if not isinstance(bad, list) and np.ndim(bad) == 2 and np.shape(bad)[1] == 3:
        # The same words from a network that is trained.
        with pytest.raises(error, match=re.escape(message)):
            A_MODEL.predict(bad)


@pytest.mark.parametrize("row", [0, 11, 4095, 4096, 9_999])
@pytest.mark.parametrize("column", [0, 15, 16, 36])
def test_the_first_bad_number_is_found_wherever_it_is(row, column):
    dense = np.zeros((10_000, 37), np.float32)
    dense[row, column] = np.nan
    dense[-1, -1] = np.inf
    with pytest.raises(ValueError, match=f"in row {row}, column {column}$"):
        read_inputs(dense)
    with pytest.raises(ValueError, match=f"in row {row}, column {column}$"):
        read_inputs(scipy.sparse.csr_array(dense))


def test_largest_numbers_of_float32_are_finite():
    largest = np.finfo(np.float32).max
    assert read_inputs(np.array([[largest, -largest, 1e-45]])).n_features == 3


def test_bytes_are_scaled_by_a_power_of_two():
    for largest, scale in [(0, 1), (1, 1), (2, 1 / 2), (3, 1 / 4), (128, 1 / 128), (255, 1 / 256)]:
        array = np.array([[0, largest]], np.uint8)
        assert read_inputs(array, for_training=True).scale == scale
        assert read_inputs(array).scale == 1


# ------------------------------------------------------------------------------------------------ y

BAD_Y = [
    ("short", Y[:11], ValueError, "y must have one entry for each of the 12 samples in X; got 11"),
    ("long", np.arange(13), ValueError, "one entry for each of the 12 samples in X; got 13"),
    ("empty", [], ValueError, "one entry for each of the 12 samples in X; got 0"),
    ("scalar", 1, ValueError, "y must have one or two dimensions; got shape ()"),
    ("cube", np.zeros((12, 1, 1)), ValueError, "one or two dimensions; got shape (12, 1, 1)"),
    (
        "columns",
        np.stack([Y, Y], 1),
        ValueError,
        "one dimension for a classification; got shape (12, 2)",
    ),
    (
        "no columns",
        np.zeros((12, 0)),
        ValueError,
        "y must have at least one column(s); got shape (12, 0)",
    ),
    (
        "nan",
        np.where(Y == 1, np.nan, 0),
        ValueError,
        "y must be finite in float32; got nan in row 1, column 0",
    ),
    ("inf", np.where(np.eye(12, 4, 1), -np.inf, 0), ValueError, "got -inf in row 0, column 1"),
    ("large", np.full(12, -1e40), ValueError, "got -1e+40 in row 0, column 0"),
    ("complex", Y + 1j, TypeError, "integers, strings, booleans or floats; got dtype complex128"),
    ("dates", Y.astype("M8[D]"), TypeError, "booleans or floats; got dtype datetime64[D]"),
    ("none", [None] * 12, TypeError, "must hold strings only; got entries of type NoneType"),
    (
        "mixed",
        np.array(["a", 1, 2.0] * 4, object),
        TypeError,
        "y of dtype object must hold strings only; got entries of type float, int",
    ),
]


@pytest.mark.parametrize(
    ("bad", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in BAD_Y]
)
def test_bad_y(train, bad, error, message):
    with pytest.raises(error, match=re.escape(message)):
        train(y=bad)


def test_objects_that_are_strings_are_strings():
    targets = read_targets(np.array(["b", "a", "b"], object), 3)
    assert targets.labels.tolist() == ["a", "b"]
    assert targets.labels.dtype == "<U1"
    assert targets.indices.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("y", "labels", "indices"),
    [
        ([3, -1, 3], [-1, 3], [1, 0, 1]),
        ([True, False, True], [False, True], [1, 0, 1]),
        (["b", "a", "c"], ["a", "b", "c"], [1, 0, 2]),
        ([7, 7, 7], [7], [0, 0, 0]),
    ],
)
def test_labels_are_sorted(y, labels, indices):
    targets = read_targets(y, 3)
    assert targets.labels.tolist() == labels
    assert targets.indices.tolist() == indices
    assert targets.indices.dtype == np.int32
    assert targets.values is None
    assert targets.n_outputs == len(labels)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3)])
def test_floats_are_values(shape):
    y = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    targets = read_targets(y, 4)
    assert targets.labels is None
    assert targets.values.dtype == np.float32
    np.testing.assert_array_equal(targets.values, y.reshape(4, -1))
    assert targets.n_outputs == targets.values.shape[1]


# ------------------------------------------------------------------------ a network that is trained


def classifier(classes):
    return Model([np.zeros((3, len(classes)))], [np.zeros(len(classes))], classes=classes)


INTEGERS = classifier([0, 2, 5])
STRINGS = classifier(["no", "yes"])
VALUES = Model([np.zeros((3, 2))], [np.zeros(2)])

BAD_SCORES = [
    (
        INTEGERS,
        Y,
        ValueError,
        "y has labels that the training did not have: 1; expected some of [0, 2, 5]",
    ),
    (
        INTEGERS,
        np.arange(12),
        ValueError,
        "did not have: 1, 3, 4, 6, 7, ...; expected some of [0, 2, 5]",
    ),
    (INTEGERS, Y * 0 - 1, ValueError, "did not have: -1; expected"),
    (INTEGERS, np.full(12, np.nan), ValueError, "did not have: nan"),
    (INTEGERS, np.full(12, 0.5), ValueError, "did not have: 0.5"),
    (
        INTEGERS,
        ["no"] * 12,
        TypeError,
        "labels like those of the training, of dtype int64; got dtype <U2",
    ),
    (INTEGERS, Y[:5], ValueError, "one entry for each of the 12 samples in X; got 5"),
    (INTEGERS, Y[:, None], ValueError, "one dimension for a classification; got shape (12, 1)"),
    (
        STRINGS,
        ["maybe", "no"] * 6,
        ValueError,
        "did not have: 'maybe'; expected some of ['no', 'yes']",
    ),
    (STRINGS, ["n"] * 12, ValueError, "did not have: 'n'"),
    (STRINGS, ["yes!"] * 12, ValueError, "did not have: 'yes!'"),
    (STRINGS, Y, TypeError, "labels like those of the training, of dtype <U3; got dtype int64"),
    (VALUES, np.zeros(12), ValueError, "y must have 2 column(s); got shape (12,)"),
    (VALUES, np.zeros((12, 3)), ValueError, "y must have 2 column(s); got shape (12, 3)"),
    (VALUES, ["a"] * 12, TypeError, "y must hold numbers for a regression; got dtype <U1"),
    (
        VALUES,
        np.full((12, 2), np.inf),
        ValueError,
        "y must be finite in float32; got inf in row 0, column 0",
    ),
]


@pytest.mark.parametrize(("model", "y", "error", "message"), BAD_SCORES)
def test_bad_y_in_score(model, y, error, message):
    for method in (model.score, model.evaluate):
        with pytest.raises(error, match=re.escape(message)):
            method(X, y)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
@pytest.mark.parametrize(
    "convert", [np.asarray, scipy.sparse.csr_array, lambda X: X.astype(np.uint8)]
)
def test_features_that_differ_from_training(method, convert):
    for columns in (2, 4):
        wrong = convert(np.ones((5, columns), np.float32))
        with pytest.raises(
            ValueError, match=f"X has {columns} features, but the network was trained on 3"
        ):
            getattr(INTEGERS, method)(wrong)
    with pytest.raises(ValueError, match="X has 2 features, but the network was trained on 3"):
        INTEGERS.score(convert(np.ones((5, 2))), np.zeros(5, int))


def test_strings_and_bytes_are_different_labels():
    with pytest.raises(TypeError, match=r"of the training, of dtype <U3; got dtype \|S3"):
        STRINGS.score(X[:2], [b"no", b"yes"])
    in_bytes = classifier([b"no", b"yes"])
    with pytest.raises(TypeError, match=r"of the training, of dtype \|S3; got dtype <U3"):
        in_bytes.score(X[:2], ["no", "yes"])
    with pytest.raises(ValueError, match=r"must have the classes of models\[0\], \['no' 'yes'\]"):
        omp_mlp.merge([STRINGS, in_bytes])


# --------------------------------------------------------------------------------------- divergence


def test_diverged_training_names_round_and_replica():
    bad_weight = np.where(np.arange(12) == 10, 3e38, 1)  # a sample of replica 1
    with pytest.raises(TrainingDivergedError) as caught:
        omp_mlp.train_parallel(
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


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
@given(data=st.data())
def test_labels_of_integers_are_those_of_unique(dtype: str, data: st.DataObject) -> None:
    """With gaps, negative, one label only, and at the ends of the type."""
    limits = np.iinfo(dtype)
    first = data.draw(st.sampled_from([limits.min, limits.max - 20, 7]))
    offsets = data.draw(st.lists(st.integers(0, 20), min_size=1, max_size=40))
    far = data.draw(st.booleans())
    y = np.array([first + offset for offset in offsets] + [3] * far, dtype=dtype)
    got = read_targets(y, len(y))
    labels, indices = np.unique(y, return_inverse=True)
    assert got.labels is not None
    assert got.indices is not None
    assert got.labels.dtype == labels.dtype
    np.testing.assert_array_equal(got.labels, labels)
    np.testing.assert_array_equal(got.indices, indices)


@pytest.mark.parametrize("largest", [0, 1, 128, 129, 255])
def test_scale_of_bytes_follows_the_largest(largest: int) -> None:
    """It may be anywhere, the last rows of a large array included."""
    X = np.zeros((1000, 3), dtype=np.uint8)
    X[-1, 1] = largest
    expected = {0: 1.0, 1: 1.0, 128: 2.0**-7, 129: 2.0**-8, 255: 2.0**-8}
    assert read_inputs(X, for_training=True).scale == expected[largest]
