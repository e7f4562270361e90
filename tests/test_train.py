"""Training against the oracle, and against steps that were worked by hand."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

import fixed
import omp_mlp
import oracle
from omp_mlp import _core
from stability import stable_rate

# How far a float32 weight may be from the oracle's, relative to the largest weight (or to 1).
#
# Both round every step to float32, but not alike: the oracle sums a batch and then takes the step,
# the library adds sample after sample to the weight. One addition rounds by up to 2^-25 of a weight
# in [0.5, 1]; after the 5,000 additions of the longest training here a random walk has gone
# sqrt(5000) * 2^-25 = 2e-6 (measured: 2.5e-6 at most, on every instruction set), and the rounding
# of the activations adds some of the same size. A mistake in the order of the samples, in the rate
# of a single step or in a derivative moves the weights by 1e-3 and more.
TOLERANCE = 1e-5

LOSS_AND_OUTPUT = [
    pytest.param("cross_entropy", "softmax", id="cross_entropy-softmax"),
    pytest.param("squared_error", "identity", id="squared_error-identity"),
    pytest.param("squared_error", "logistic", id="squared_error-logistic"),
]
ACTIVATIONS = tuple(oracle.ACTIVATIONS)

# Every option, spelled out for both sides; the tests change what they are about. tanh has no kink,
# at which rounding could decide whether a unit is trained.
OPTIONS: dict[str, Any] = {
    "hidden_layer_sizes": (5,),
    "activation": "tanh",
    "output_activation": "softmax",
    "loss": "cross_entropy",
    "epochs": 3,
    "batch_size": 4,
    "learning_rate": 0.2,
    "learning_rate_schedule": "linear",
    "merge_every": None,
    "outer_momentum": 0.0,
    "init": "shared",
    "init_scale": "glorot",
    "shuffle": "global",
    "sample_weight": None,
    "seed": 11,
}


def parameters_of(model: omp_mlp.Model, scale: float = 1.0) -> oracle.Parameters:
    """Return the layers of a model; the first one's weights as they apply to X * scale."""
    layers = list(zip(model.weights, model.biases, strict=True))
    (W, b), *rest = layers
    return [(W / np.float32(scale), b), *rest]


def flat(model: omp_mlp.Model) -> NDArray[np.float32]:
    return oracle.flatten(parameters_of(model))


def same_bits(a: omp_mlp.Model, b: omp_mlp.Model) -> bool:
    return a.layer_sizes == b.layer_sizes and flat(a).tobytes() == flat(b).tobytes()


def assert_close(got: NDArray[Any], expected: NDArray[Any], tolerance: float = TOLERANCE) -> None:
    assert got.shape == expected.shape
    largest = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * largest)


def assert_agrees(
    model: omp_mlp.Model, expected: oracle.TrainingResult, scale: float = 1.0
) -> None:
    """Compare a training with the oracle's: parameters, and what the history says of them."""
    assert_close(oracle.flatten(parameters_of(model, scale)), oracle.flatten(expected.parameters))
    assert model.history.samples.tolist() == expected.sample_counts.sum(axis=1).cumsum().tolist()
    # Losses are sums in double over outputs in float32, each off by some 2^-24.
    np.testing.assert_allclose(model.history.loss, expected.losses, rtol=2e-6, atol=1e-7)


def train(X: Any, y: Any, threads: int, merge: str = "average", **changed: Any) -> omp_mlp.Model:
    return fixed.train_parallel(X, y, threads, merge, **{**OPTIONS, **changed})


def train_oracle(
    X: Any, y: Any, threads: int, merge: str = "average", **changed: Any
) -> oracle.TrainingResult:
    options = {**OPTIONS, **changed}
    if isinstance(options["init"], omp_mlp.Model):
        options["init"] = parameters_of(options["init"])
    return oracle.train_parallel(X, y, threads, merge, **options)


def check(X: Any, y: Any, threads: int, merge: str = "average", **changed: Any) -> omp_mlp.Model:
    """Train both ways, compare, and return the library's network."""
    model = train(X, y, threads, merge, **changed)
    assert_agrees(model, train_oracle(X, y, threads, merge, **changed))
    return model


def inputs(n_samples: int, n_features: int = 7, seed: int = 3) -> NDArray[np.float32]:
    """Make inputs of unit size, of which a third is zero."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features)) * (rng.random((n_samples, n_features)) < 2 / 3)
    return X.astype(np.float32)


def classes(n_samples: int, n_classes: int = 3, seed: int = 4) -> NDArray[np.int64]:
    """Make class indices, each of them in use."""
    y = np.arange(n_samples) % n_classes
    np.random.default_rng(seed).shuffle(y)
    return y


def values(n_samples: int, n_outputs: int = 3, seed: int = 5) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_samples, n_outputs)).astype(np.float32)


# --------------------------------------------------------------------------------- worked by hand


def test_step_of_squared_error_by_hand() -> None:
    # x = (1, 2), t = 3/2, a relu layer of two units, one linear output.
    #   z1 = (1*1 + 2*0.5 + 0.5, 1*(-1) + 2*0.25 + 0) = (2.5, -0.5);  a1 = (2.5, 0)
    #   o  = 2.5*2 + 0*3 - 1 = 4;   loss = (4 - 1.5)^2 / 2 = 3.125;   delta2 = o - t = 2.5
    #   dW2 = a1 delta2 = (6.25, 0);   db2 = 2.5
    #   delta1 = delta2 (2, 3) * (1, 0) = (5, 0)      (the second unit is off)
    #   dW1 = x^T delta1 = ((5, 0), (10, 0));   db1 = (5, 0)
    # and the step takes 1/8 of that off. Every number is a small multiple of 2^-5: no rounding.
    start = omp_mlp.Model([[[1, -1], [0.5, 0.25]], [[2], [3]]], [[0.5, 0], [-1]], activation="relu")
    model = fixed.train_parallel(
        np.array([[1.0, 2.0]]),
        np.array([1.5]),
        1,
        "average",
        hidden_layer_sizes=(2,),
        epochs=1,
        batch_size=1,
        learning_rate=0.125,
        init=start,
    )
    assert model.weights[0].tolist() == [[0.375, -1], [-0.75, 0.25]]
    assert model.biases[0].tolist() == [-0.125, 0]
    assert model.weights[1].tolist() == [[1.21875], [3]]
    assert model.biases[1].tolist() == [-1.3125]
    assert model.history.loss.tolist() == [3.125]
    assert model.history.samples.tolist() == [1]
    # The start is not changed by what grows out of it.
    assert start.weights[0].tolist() == [[1, -1], [0.5, 0.25]]


def test_weighted_batch_of_cross_entropy_by_hand() -> None:
    # No hidden layer, all parameters 0: z = 0, p = (1/2, 1/2), and each loss is log 2.
    #   x = (1, 0) of class 0, weight 1:  delta = 1 * (p - (1, 0)) = (-1/2, +1/2)
    #   x = (2, 4) of class 1, weight 3:  delta = 3 * (p - (0, 1)) = (+3/2, -3/2)
    # Means over the batch of two:
    #   dW = 1/2 ((-1/2 + 3, 1/2 - 3), (6, -6)) = ((1.25, -1.25), (3, -3));   db = (1/2, -1/2)
    # and the rate is 1/2.
    start = omp_mlp.Model([np.zeros((2, 2))], [np.zeros(2)], classes=[0, 1])
    model = fixed.train_parallel(
        np.array([[1.0, 0.0], [2.0, 4.0]]),
        np.array([0, 1]),
        1,
        "average",
        hidden_layer_sizes=(),
        epochs=1,
        batch_size=2,
        learning_rate=0.5,
        init=start,
        sample_weight=[1, 3],
    )
    assert model.weights[0].tolist() == [[-0.625, 0.625], [-1.5, 1.5]]
    assert model.biases[0].tolist() == [-0.25, 0.25]
    assert model.history.loss[0] == pytest.approx(2 * np.log(2), rel=1e-7)  # (1 + 3) / 2 * log 2


def train_on_one_sample(**options: Any) -> omp_mlp.Model:
    """Two epochs of a linear model with x = 1 and t = 1, from w = b = 0 at the rate 1/4."""
    return fixed.train_parallel(
        [[1.0]], [1.0], 1, "average", hidden_layer_sizes=(), epochs=2, batch_size=1,
        learning_rate=0.25, init=omp_mlp.Model([[[0.0]]], [[0.0]]), **options,
    )  # fmt: skip


def test_linear_schedule_by_hand() -> None:
    # One sample x = 1 with t = 1, from w = b = 0, two epochs: rates 1/4 and 1/4 (1 - 1/2) = 1/8.
    #   o = 0, delta = -1:                   w = b = 1/4
    #   o = 1/4 + 1/4 = 1/2, delta = -1/2:   w = b = 1/4 + 1/16 = 5/16
    model = train_on_one_sample(learning_rate_schedule="linear")
    assert model.weights[0].tolist() == [[0.3125]]
    assert model.biases[0].tolist() == [0.3125]
    assert model.history.loss.tolist() == [0.5, 0.125]  # with one thread, a round is an epoch


@pytest.mark.parametrize(
    "merge, expected",
    [
        ("average", [0.25, 0.5, 0.75]),
        ("sum", [0.5, 1.0, 1.5]),
        # 2 samples of replica 0 (the second has weight 0: it counts, and does nothing), 1 of 1.
        ("weighted_average", [1 / 3, 1 / 3, 2 / 3]),
        # |d_0|^2 + |d_1|^2 = 2.5, |d_0 + d_1|^2 = 3.5, c = 5/7.
        ("gradient_diversity", [5 / 14, 5 / 7, 15 / 14]),
    ],
)
def test_merge_of_two_replicas_by_hand(merge: str, expected: list[float]) -> None:
    # From w = b = 0 with the rate 1/2:
    #   replica 0, x = (1, 0), t = 1: delta = -1, (w, b) = (1/2, 0, 1/2)
    #   replica 1, x = (0, 1), t = 2: delta = -2, (w, b) = (0, 1, 1)
    model = fixed.train_parallel(
        np.array([[1.0, 0.0], [5.0, 5.0], [0.0, 1.0]]),
        np.array([1.0, 7.0, 2.0]),
        2,
        merge,
        hidden_layer_sizes=(),
        epochs=1,
        batch_size=1,
        learning_rate=0.5,
        learning_rate_schedule="constant",
        merge_every=None,
        init=omp_mlp.Model([np.zeros((2, 1))], [np.zeros(1)]),
        shuffle=False,
        sample_weight=[1, 0, 1],
    )
    np.testing.assert_allclose(flat(model), np.float32(expected), rtol=1e-7)


# ------------------------------------------------------ several hundred steps, the complete grid

GRID_SAMPLES = 33
GRID_FEATURES = 9
EPOCHS = {1: 10, 7: 60, 32: 150}  # of batch sizes: 330, 300 and 300 steps
HIDDEN = {1: (33,), 2: (17, 5), 3: (5, 17, 9)}

# A unit with a kink whose z comes within rounding of 0 is on for one of two implementations only,
# and from there on the two go apart by as much as a step, 1e-3. Among the 160,000 z of a training
# with batches of 32 that is not rare. The z of the two are some 1e-6 apart, and with these seeds no
# z comes nearer to 0 than 4.8e-6.
SEEDS = {
    "relu": {
        "softmax": {1: (2, 3, 3), 7: (7, 11, 48), 32: (35, 29, 24)},
        "identity": {1: (3, 0, 1), 7: (52, 52, 14), 32: (5, 16, 44)},
        "logistic": {1: (0, 1, 4), 7: (2, 53, 38), 32: (27, 13, 10)},
    },
    "leaky_relu": {
        "softmax": {1: (0, 0, 0), 7: (3, 0, 9), 32: (15, 17, 4)},
        "identity": {1: (1, 0, 2), 7: (4, 4, 8), 32: (14, 21, 1)},
        "logistic": {1: (0, 0, 0), 7: (1, 1, 0), 32: (25, 4, 10)},
    },
}


@functools.cache
def grid_bytes() -> NDArray[np.uint8]:
    """Make bytes, nearly half of them 0, the largest above 128: trained on as X / 2^8."""
    rng = np.random.default_rng(7)
    shape = (GRID_SAMPLES, GRID_FEATURES)
    X = rng.integers(1, 201, size=shape).astype(np.uint8)
    X[rng.random(shape) < 0.45] = 0
    assert X.max() > 128
    return X


def grid_targets(output_activation: str) -> NDArray[Any]:
    return values(GRID_SAMPLES) if output_activation == "identity" else classes(GRID_SAMPLES)


def grid_options(
    activation: str, loss: str, output_activation: str, batch_size: int, depth: int
) -> dict[str, Any]:
    seeds = SEEDS.get(activation)
    return {
        "hidden_layer_sizes": HIDDEN[depth],
        "activation": activation,
        "output_activation": output_activation,
        "loss": loss,
        "epochs": EPOCHS[batch_size],
        "batch_size": batch_size,
        "learning_rate": 0.1,
        "seed": 0 if seeds is None else seeds[output_activation][batch_size][depth - 1],
    }


@functools.cache
def grid_oracle(
    activation: str, loss: str, output_activation: str, batch_size: int, depth: int, binary: bool
) -> oracle.TrainingResult:
    X = (grid_bytes() > 0) if binary else grid_bytes().astype(np.float32) / 256
    y = grid_targets(output_activation)
    options = grid_options(activation, loss, output_activation, batch_size, depth)
    trained = train_oracle(X, y, 1, **options)
    start = train_oracle(X, y, 1, **{**options, "epochs": 0})
    moved = np.abs(oracle.flatten(trained.parameters) - oracle.flatten(start.parameters)).max()
    assert moved > 1000 * TOLERANCE, "the training hardly does anything: nothing would be tested"
    return trained


def read_only(X: NDArray[np.float32]) -> NDArray[np.float32]:
    copy = X.copy()
    copy.setflags(write=False)
    return copy


@pytest.fixture(scope="module")
def memory_mapped(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    path = tmp_path_factory.mktemp("train") / "X.npy"
    np.save(path, grid_bytes().astype(np.float32) / 256)
    mapped: NDArray[np.float32] = np.load(path, mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    return mapped


@pytest.fixture
def X_of_type(request: pytest.FixtureRequest) -> Any:
    X = grid_bytes().astype(np.float32) / 256
    return {
        "float32": lambda: X,
        "float64": lambda: X.astype(np.float64),
        "uint8": grid_bytes,
        "csr": lambda: scipy.sparse.csr_matrix(X),
        "fortran": lambda: np.asfortranarray(X),
        "read_only": lambda: read_only(X),
        "memory_mapped": lambda: request.getfixturevalue("memory_mapped"),
        "bool": lambda: grid_bytes() > 0,
    }[request.param]()


@pytest.mark.covering(2)
@pytest.mark.parametrize("depth", [1, 2, 3], ids="{}_hidden".format)
@pytest.mark.parametrize("batch_size", [1, 7, 32], ids="batch_{}".format)
@pytest.mark.parametrize("loss, output_activation", LOSS_AND_OUTPUT)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "X_of_type",
    ["float32", "float64", "uint8", "csr", "fortran", "read_only", "memory_mapped"],
    indirect=True,
)
def test_weights_after_hundreds_of_steps(
    X_of_type: Any,
    activation: str,
    loss: str,
    output_activation: str,
    batch_size: int,
    depth: int,
) -> None:
    options = grid_options(activation, loss, output_activation, batch_size, depth)
    expected = grid_oracle(activation, loss, output_activation, batch_size, depth, False)
    model = train(X_of_type, grid_targets(output_activation), 1, **options)
    is_bytes = isinstance(X_of_type, np.ndarray) and X_of_type.dtype == np.uint8
    assert_agrees(model, expected, scale=1 / 256 if is_bytes else 1.0)


@pytest.mark.covering(2)
@pytest.mark.parametrize("depth", [1, 2, 3], ids="{}_hidden".format)
@pytest.mark.parametrize("batch_size", [1, 7], ids="batch_{}".format)
@pytest.mark.parametrize("loss, output_activation", LOSS_AND_OUTPUT)
@pytest.mark.parametrize("X_of_type", ["bool"], indirect=True)
def test_weights_after_hundreds_of_steps_on_booleans(
    X_of_type: Any, loss: str, output_activation: str, batch_size: int, depth: int
) -> None:
    options = grid_options("tanh", loss, output_activation, batch_size, depth)
    model = train(X_of_type, grid_targets(output_activation), 1, **options)
    assert_agrees(model, grid_oracle("tanh", loss, output_activation, batch_size, depth, True))


@pytest.mark.covering(2)
@pytest.mark.parametrize("depth", [1, 2, 3], ids="{}_hidden".format)
@pytest.mark.parametrize("loss, output_activation", LOSS_AND_OUTPUT)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("first_layer", ["sparse", "dense"])
def test_weights_after_hundreds_of_steps_with_every_kernel(
    kernels: str, first_layer: str, activation: str, loss: str, output_activation: str, depth: int
) -> None:
    assert _core.kernels_in_use() == kernels
    options = grid_options(activation, loss, output_activation, 7, depth)
    X, y = grid_bytes(), grid_targets(output_activation)
    model = train(X, y, 1, **options, first_layer=first_layer)
    expected = grid_oracle(activation, loss, output_activation, 7, depth, False)
    assert_agrees(model, expected, scale=1 / 256)


# ------------------------------------------------------------------------------------ inputs, again


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(lambda X: X.astype(np.float64), id="float64"),
        pytest.param(lambda X: X.astype(np.longdouble), id="longdouble"),
        pytest.param(lambda X: X.astype(">f4"), id="big_endian"),
        pytest.param(np.asfortranarray, id="fortran"),
        pytest.param(read_only, id="read_only"),
        pytest.param(lambda X: np.repeat(X, 2, axis=0)[::2], id="every_second_row"),
        pytest.param(lambda X: np.repeat(X, 2, axis=1)[:, 1::2], id="every_second_column"),
        pytest.param(lambda X: X[::-1].copy()[::-1], id="negative_stride"),
        pytest.param(lambda X: X.tolist(), id="lists"),
        # One float off the alignment that an allocation has.
        pytest.param(
            lambda X: np.concatenate([[0], X.ravel()]).astype(np.float32)[1:].reshape(X.shape),
            id="misaligned",
        ),
    ],
)
def test_layout_and_width_of_X_do_not_change_a_bit(convert: Any, threads: int) -> None:
    X, y = inputs(31), classes(31)
    converted = convert(X)
    before = np.array(converted)
    assert same_bits(train(converted, y, threads), train(X, y, threads))
    np.testing.assert_array_equal(converted, before)


def test_memory_mapped_X_is_not_changed_and_not_needed_in_memory(tmp_path: Any) -> None:
    X, y = inputs(31), classes(31)
    X.tofile(tmp_path / "X.bin")
    mapped = np.memmap(tmp_path / "X.bin", dtype=np.float32, mode="r", shape=X.shape, offset=0)
    assert same_bits(train(mapped, y, 2), train(X, y, 2))
    # A row later: 28 bytes into the page.
    part = np.memmap(tmp_path / "X.bin", dtype=np.float32, mode="r", shape=(30, 7), offset=28)
    assert same_bits(train(part, y[1:], 2), train(X[1:], y[1:], 2))


@pytest.mark.parametrize(
    "dtype", [np.int8, np.int16, np.uint16, np.int32, np.int64, np.uint64, np.float16], ids=str
)
def test_other_numbers_are_taken_as_they_are(dtype: Any) -> None:
    X = (inputs(31) * 3).round().clip(0 if np.dtype(dtype).kind == "u" else -100, 100)
    y = classes(31)
    assert len(np.unique(X)) > 5
    options = {"learning_rate": 0.05}
    assert same_bits(train(X.astype(dtype), y, 2, **options), train(X, y, 2, **options))


@pytest.mark.parametrize(
    "largest, scale",
    [
        (0, 1),
        (1, 1),
        (2, 2),
        (3, 4),
        (4, 4),
        (5, 8),
        (127, 128),
        (128, 128),
        (129, 256),
        (255, 256),
    ],
)
def test_bytes_are_trained_on_as_fractions_of_a_power_of_two(largest: int, scale: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, largest, size=(29, 6), endpoint=True).astype(np.uint8)
    X[13, 4] = largest
    y = classes(29)
    expected = train_oracle(X / scale, y, 2)
    for given_X in (X, np.asfortranarray(X), read_only(X)):
        model = train(given_X, y, 2)
        assert_agrees(model, expected, scale=1 / scale)
        # The network that comes back applies to the bytes.
        passed = oracle.forward(expected.parameters, X / np.float32(scale), "tanh", "softmax")
        assert_close(model.decision_function(X), passed.decision)


def test_bytes_are_the_same_as_fractions_bit_for_bit() -> None:
    X, y = grid_bytes(), grid_targets("softmax")
    model = train(X, y, 3, "gradient_diversity", merge_every=4)
    fractions = train(X / np.float32(256), y, 3, "gradient_diversity", merge_every=4)
    expected = parameters_of(fractions)
    expected[0] = (expected[0][0] / np.float32(256), expected[0][1])
    assert flat(model).tobytes() == oracle.flatten(expected).tobytes()
    assert model.history.loss.tolist() == fractions.history.loss.tolist()


def with_zeros_stored(X: NDArray[np.float32]) -> Any:
    rows, columns = np.indices(X.shape)
    return scipy.sparse.csr_matrix((X.ravel(), (rows.ravel(), columns.ravel())), shape=X.shape)


def with_unsorted_columns(X: NDArray[np.float32]) -> Any:
    csr = scipy.sparse.csr_matrix(X)
    for start, stop in zip(csr.indptr[:-1], csr.indptr[1:], strict=True):
        csr.indices[start:stop] = csr.indices[start:stop][::-1].copy()
        csr.data[start:stop] = csr.data[start:stop][::-1].copy()
    csr.has_sorted_indices = False
    return csr


def with_duplicates(X: NDArray[np.float32]) -> Any:
    """Store every entry x as x/4 and 3x/4, in the same place."""
    csr = scipy.sparse.csr_matrix(X)
    data = np.stack([csr.data / 4, csr.data * 3 / 4], axis=1).ravel()
    return scipy.sparse.csr_matrix((data, np.repeat(csr.indices, 2), 2 * csr.indptr), shape=X.shape)


def with_indices_of_64_bits(X: NDArray[np.float32]) -> Any:
    csr = scipy.sparse.csr_array(X)
    csr.indices = csr.indices.astype(np.int64)
    csr.indptr = csr.indptr.astype(np.int64)
    return csr


def read_only_csr(X: NDArray[np.float32]) -> Any:
    csr = scipy.sparse.csr_matrix(X)
    for part in (csr.data, csr.indices, csr.indptr):
        part.setflags(write=False)
    return csr


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(scipy.sparse.csr_matrix, id="csr_matrix"),
        pytest.param(scipy.sparse.csr_array, id="csr_array"),
        pytest.param(lambda X: scipy.sparse.csr_array(X.astype(np.float64)), id="csr_float64"),
        pytest.param(scipy.sparse.csc_array, id="csc"),
        pytest.param(scipy.sparse.coo_array, id="coo"),
        pytest.param(with_zeros_stored, id="stored_zeros"),
        pytest.param(with_unsorted_columns, id="unsorted_columns"),
        pytest.param(with_duplicates, id="duplicates"),
        pytest.param(with_indices_of_64_bits, id="int64_indices"),
        pytest.param(read_only_csr, id="read_only"),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 2, 6], ids="batch_{}".format)
@pytest.mark.parametrize("first_layer", ["sparse", "dense"])
def test_sparse_X(first_layer: str, batch_size: int, convert: Any) -> None:
    X, y = inputs(31), classes(31)
    X[4] = 0  # a row, a column and the last row without an entry
    X[:, 2] = 0
    X[-1] = 0
    sparse = convert(X)
    before = sparse.copy()
    options = {"merge_every": 8, "batch_size": batch_size, "learning_rate": 0.1}
    model = train(sparse, y, 3, **options, first_layer=first_layer)
    assert_agrees(model, train_oracle(X, y, 3, **options))
    assert abs(sparse - before).nnz == 0
    assert_close(model.decision_function(sparse), model.decision_function(X))


@pytest.mark.parametrize(
    "form", ["csr_matrix", "csr_array", "csc_matrix", "coo_matrix", "coo_array", "bsr_array"]
)
def test_what_is_not_finite_is_found_in_every_sparse_form(form: str) -> None:
    X = inputs(31)
    X[5, 2] = np.nan
    with pytest.raises(ValueError, match="got NaN in row 5, column 2"):
        train(getattr(scipy.sparse, form)(X), classes(31), 2)


def test_sparse_bytes_are_not_scaled() -> None:
    X = (inputs(31) * 2).round().clip(0, 9).astype(np.uint8)
    y = classes(31)
    options = {"learning_rate": 0.05}
    model = train(scipy.sparse.csr_matrix(X), y, 2, **options)
    assert_agrees(model, train_oracle(X, y, 2, **options))


# --------------------------------------------------------------- threads, rounds and merge methods


@pytest.mark.covering(2)
@pytest.mark.parametrize("batch_size", [1, 3], ids="batch_{}".format)
@pytest.mark.parametrize("merge_every", [None, 4, 5, 13, 50], ids="every_{}".format)
@pytest.mark.parametrize("threads", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("merge", sorted(oracle.MERGES))
def test_threads_and_rounds(
    merge: str, threads: int, merge_every: int | None, batch_size: int
) -> None:
    # 45 samples in shards of 45, 23|22, 15, 7|6 and 3|2, for 3 epochs: no shard but the third is a
    # multiple of 4, 5 or 13, rounds end within epochs and go across them, and 50 is more than most.
    X, y = inputs(45), classes(45)
    options: dict[str, Any] = {
        "merge_every": merge_every,
        "batch_size": batch_size,
        "init_scale": 0.3,
        "learning_rate": 0.2 if batch_size > 1 else 0.05,
    }
    if merge == "sum" and merge_every is not None:
        # n times the weights in every round soon leaves float32: two rounds, of small weights.
        shard = -(-45 // threads)
        options |= {"epochs": 1, "init_scale": 0.02, "merge_every": max(3, -(-shard // 2))}
    model = check(X, y, threads, merge, **options)
    shard = options.get("epochs", 3) * -(-45 // threads)
    period = options["merge_every"] or shard
    assert len(model.history) == -(-shard // period)


@pytest.mark.covering(2)
@pytest.mark.parametrize("merge", sorted(oracle.MERGES))
@pytest.mark.parametrize("merge_every", [None, 1, 2], ids="every_{}".format)
@pytest.mark.parametrize("shuffle", ["global", "shards", False], ids="shuffle_{}".format)
@pytest.mark.parametrize("threads", [6, 7, 16])
def test_more_threads_than_samples(
    threads: int, shuffle: str | bool, merge_every: int | None, merge: str
) -> None:
    # Five replicas have one sample, the others none: those stay at the start of the round, and
    # count in `average` and `sum` like every other.
    X, y = inputs(5), classes(5)
    options: dict[str, Any] = {"shuffle": shuffle, "merge_every": merge_every, "batch_size": 1}
    if merge == "sum":
        options |= {"epochs": 2, "init_scale": 0.01}
    model = check(X, y, threads, merge, **options)
    assert model.history.samples[-1] == 5 * options.get("epochs", 3)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("merge", sorted(oracle.MERGES))
def test_one_sample(merge: str, threads: int) -> None:
    for loss, output_activation, y in (
        ("squared_error", "identity", values(1)),
        ("squared_error", "logistic", np.array([0])),
    ):
        options = {"loss": loss, "output_activation": output_activation, "epochs": 5}
        check(inputs(1), y, threads, merge, **options)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_one_feature(sparse: bool) -> None:
    X, y = inputs(31, n_features=1), classes(31)
    model = train(scipy.sparse.csr_array(X) if sparse else X, y, 3, merge_every=5)
    assert_agrees(model, train_oracle(X, y, 3, merge_every=5))
    assert model.layer_sizes == (1, 5, 3)


def test_one_class() -> None:
    X, y = inputs(31), np.full(31, 7)
    model = train(X, y, 3)
    # p(the only class) = 1: no loss, and nothing to learn.
    assert model.history.loss.tolist() == [0.0]
    assert same_bits(model, train(X, y, 3, epochs=0))
    assert model.predict(X).tolist() == [7] * 31
    # One logistic output that is 1/2 at first has to learn that 1 is always right.
    options = {"loss": "squared_error", "output_activation": "logistic"}
    expected = train_oracle(X, np.zeros(31, dtype=int), 3, **options)
    assert_agrees(train(X, y, 3, **options), expected)
    assert expected.losses[0] > 0.01


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("threads", [2, 5])
def test_all_samples_alike_and_zero(activation: str, threads: int) -> None:
    # Inputs without an entry: only biases, and weights above the first layer, are trained.
    X, y = np.zeros((11, 4), dtype=np.float32), classes(11)
    model = check(X, y, threads, activation=activation)
    start = train(X, y, threads, activation=activation, epochs=0)
    np.testing.assert_array_equal(model.weights[0], start.weights[0])
    assert np.abs(model.biases[-1]).max() > 100 * TOLERANCE


@pytest.mark.parametrize("batch_size", [1, 4, 10, 11, 1000], ids="batch_{}".format)
@pytest.mark.parametrize("threads", [1, 3])
def test_batches_end_with_the_epoch(threads: int, batch_size: int) -> None:
    check(inputs(31), classes(31), threads, batch_size=batch_size, epochs=4)


def test_batches_end_with_the_round() -> None:
    # Rounds of 5 in shards of 11|10 samples with batches of 4: of 4 and 1, then 4, 1, then 1 and 4.
    model = check(inputs(31), classes(31), 3, batch_size=4, merge_every=5)
    longer = train(inputs(31), classes(31), 3, batch_size=4, merge_every=8)
    assert not same_bits(model, longer)


@pytest.mark.parametrize("outer_momentum", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("merge", sorted(set(oracle.MERGES) - {"sum"}))
def test_outer_momentum(merge: str, threads: int, outer_momentum: float) -> None:
    X, y = inputs(45), classes(45)
    options = {"merge_every": 4, "outer_momentum": outer_momentum, "learning_rate": 0.05}
    check(X, y, threads, merge, **options)


@pytest.mark.covering(2)
@pytest.mark.parametrize("learning_rate_schedule", ["linear", "constant"])
@pytest.mark.parametrize("outer_learning_rate", [0.7, 1.0])
@pytest.mark.parametrize("outer_momentum", [0.0, 0.6])
@pytest.mark.parametrize("outer_optimizer", ["momentum", "nesterov", "bmuf", "slowmo"])
@pytest.mark.parametrize("merge", ["average", "adasum"])
def test_outer_optimizers(
    merge: str,
    outer_optimizer: str,
    outer_momentum: float,
    outer_learning_rate: float,
    learning_rate_schedule: str,
) -> None:
    check(
        inputs(45),
        classes(45),
        4,
        merge,
        merge_every=4,
        outer_optimizer=outer_optimizer,
        outer_momentum=outer_momentum,
        outer_learning_rate=outer_learning_rate,
        learning_rate=0.05,
        learning_rate_schedule=learning_rate_schedule,
    )


def test_slowmo_is_momentum_where_the_rate_is_constant() -> None:
    X, y = inputs(45), classes(45)
    options: dict[str, Any] = {"merge_every": 4, "outer_momentum": 0.6}
    models = {
        (name, schedule): train(
            X, y, 4, outer_optimizer=name, learning_rate_schedule=schedule, **options
        )
        for name in ("momentum", "slowmo")
        for schedule in ("constant", "linear")
    }
    assert same_bits(models["momentum", "constant"], models["slowmo", "constant"])
    assert not same_bits(models["momentum", "linear"], models["slowmo", "linear"])


def test_outer_momentum_by_hand() -> None:
    # One sample x = 1, t = 1, from w = b = 0; rate 1/4, a merge after each of two steps, beta 1/2.
    #   o = 0, delta = -1:               w = b = 1/4;               M = 1/4
    #   o = 1/2, delta = -1/2:           step 1/8;                  M = 1/8 + 1/8 = 1/4, w = b = 1/2
    model = train_on_one_sample(
        learning_rate_schedule="constant", merge_every=1, outer_momentum=0.5
    )
    assert flat(model).tolist() == [0.5, 0.5]


# ------------------------------------------------------------- options, rounds that grow, warm-up


@pytest.mark.parametrize("alpha", [0.3, 1, "1/n", "1/sqrt(n)"])
def test_merge_options(alpha: Any) -> None:
    X, y = inputs(45), classes(45)
    options: dict[str, Any] = {"merge_every": 8, "learning_rate": 0.05}
    model = check(X, y, 4, "delta_sum", merge_options={"alpha": alpha}, **options)
    default = train(X, y, 4, "delta_sum", **options)
    assert same_bits(model, default) == (alpha == "1/sqrt(n)")


@pytest.mark.parametrize("merge", sorted(oracle.MERGES))
@pytest.mark.parametrize("form", ["dense", "bytes", "sparse"])
def test_merges_of_one_replica_change_no_bit(form: str, merge: str) -> None:
    """What merges leave for later is made up for: rows that no sample of a round needed."""
    rng = np.random.default_rng(5)
    X = rng.integers(1, 200, size=(96, 70)) * (rng.random((96, 70)) < 0.05)
    X = X.astype(np.uint8) if form == "bytes" else (X / 311).astype(np.float32)
    given = scipy.sparse.csr_array(X) if form == "sparse" else X
    options: dict[str, Any] = {
        "hidden_layer_sizes": (17,), "epochs": 3, "batch_size": 8, "learning_rate": 0.01,
        "learning_rate_schedule": "constant", "center_inputs": False, "scale_inputs": False,
        "optimizer": "sgd", "first_layer": "dense" if form == "dense" else "sparse",
    }  # fmt: skip
    once, often = (
        omp_mlp.train_parallel(
            given, np.arange(96) % 3, 1, merge, merge_every=every, outer_momentum=0.0, **options
        )
        for every in (None, 32)
    )
    assert len(once.history.samples) == 1
    assert len(often.history.samples) == 9
    for one, other in zip(once.weights + once.biases, often.weights + often.biases, strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("merge_every", [(4, 16), (16, 4), (5, 100), (200, 300), (6, 6)])
def test_rounds_that_grow(merge_every: tuple[int, int], batch_size: int) -> None:
    X, y = inputs(95), classes(95)
    model = check(X, y, 2, merge_every=merge_every, batch_size=batch_size)
    if merge_every == (6, 6):
        assert same_bits(model, train(X, y, 2, merge_every=6, batch_size=batch_size))
    if merge_every == (4, 16):
        # Of both replicas; the last round takes what is left.
        steps = np.diff(model.history.samples, prepend=0)[:-1] / 2
        assert steps[0] == 4
        assert steps.min() >= 4
        assert 12 <= steps.max() <= 16
        assert (np.diff(steps) >= -batch_size).all()


@pytest.mark.parametrize("shuffle", ["global", "shards", False], ids="shuffle_{}".format)
@pytest.mark.parametrize("warmup_samples", [1, 10, 31, 70])
@pytest.mark.parametrize("threads", [1, 4])
def test_warmup(threads: int, warmup_samples: int, shuffle: str | bool) -> None:
    X, y = inputs(31), classes(31)
    options: dict[str, Any] = {"warmup_samples": warmup_samples, "shuffle": shuffle}
    model = check(X, y, threads, merge_every=8, **options)
    assert model.history.samples[0] == warmup_samples
    assert model.history.samples[-1] == warmup_samples + OPTIONS["epochs"] * 31
    assert model.history.merge_seconds[0] == 0
    # Without epochs, it is all there is: the training of a single replica.
    alone = train(X, y, threads, epochs=0, **options)
    assert alone.history.samples.tolist() == [warmup_samples]
    if warmup_samples == 31:
        sequential = {"epochs": 1, "learning_rate_schedule": "constant", "shuffle": shuffle}
        assert same_bits(alone, train(X, y, 1, **sequential))


def test_warmup_is_watched_and_may_be_all() -> None:
    X, y = inputs(31), classes(31)
    reports: list[omp_mlp.Progress] = []
    model = train(
        X, y, 2, warmup_samples=20, merge_every=8, callback=reports.append, validation_data=(X, y)
    )
    merged = [report for report in reports if report.merged]
    assert [report.round for report in merged] == list(range(len(model.history)))
    assert {report.rounds for report in reports} == {len(model.history)}
    assert {report.total_samples for report in reports} == {20 + 3 * 31}
    assert np.isfinite(model.history.validation_score).all()
    stopped = train(X, y, 2, warmup_samples=20, callback=lambda report: report.merged)
    assert same_bits(stopped, train(X, y, 2, warmup_samples=20, epochs=0))


@pytest.mark.parametrize("merge", ["gradient_diversity", "adasum", "average"])
def test_last_merge(merge: str) -> None:
    X, y = inputs(45), classes(45)
    options: dict[str, Any] = {"merge_every": 4, "outer_momentum": 0.4, "learning_rate": 0.05}
    averaged = check(X, y, 4, merge, last_merge="average", **options)
    assert not same_bits(averaged, train(X, y, 4, merge, last_merge=None, **options))


@pytest.mark.parametrize(
    "merge, threads, rounds, outer_momentum, ends_in_average",
    [
        ("gradient_diversity", 4, 8, "auto", True),
        ("adasum", 4, 2, "auto", True),
        ("gradient_diversity", 4, 9, "auto", False),
        ("gradient_diversity", 4, 1, "auto", False),
        ("gradient_diversity", 4, 8, 0.0, False),
        ("delta_sum", 4, 8, "auto", False),
    ],
)
def test_automatic_last_merge(
    merge: str, threads: int, rounds: int, outer_momentum: Any, ends_in_average: bool
) -> None:
    X, y = inputs(threads * rounds), classes(threads * rounds)
    options = {"merge_every": 1, "batch_size": 1, "epochs": 1, "outer_momentum": outer_momentum}
    automatic, averaged, like_all = (
        train(X, y, threads, merge, last_merge=last, **options)
        for last in ("auto", "average", None)
    )
    assert not same_bits(averaged, like_all)
    assert same_bits(automatic, averaged if ends_in_average else like_all)


# ------------------------------------------------------------------ replicas that are not finite


def explosive(n_samples: int, bad: list[int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Make a regression of which some samples let a linear network overflow within a few steps."""
    X, y = inputs(n_samples), values(n_samples, 1)
    X[bad] = 1e18
    return X, y


@pytest.mark.filterwarnings("ignore:after the first round:omp_mlp.SettingsWarning")
@pytest.mark.parametrize("merge", sorted(set(oracle.MERGES) - {"sum"}))
def test_replicas_that_are_not_finite_are_left_out(merge: str) -> None:
    # Replica 1 of 3 meets such samples in its second round; then there are no more.
    X, y = explosive(30, [16, 17])
    options: dict[str, Any] = {
        "hidden_layer_sizes": (),
        "loss": "squared_error",
        "output_activation": "identity",
        "shuffle": False,
        "batch_size": 1,
        "learning_rate": 0.01,
        "epochs": 1,
        "merge_every": 5,
    }
    with pytest.raises(omp_mlp.TrainingDivergedError, match=r"replica 1 .* in round 1"):
        train(X, y, 3, merge, **options)
    with pytest.warns(omp_mlp.SkippedReplicaWarning, match="replica 1 in round 1$"):
        model = train(X, y, 3, merge, on_nonfinite="skip", keep_replicas=True, **options)
    assert np.isfinite(flat(model)).all()
    assert np.isfinite(model.history.loss).all()
    assert model.history.samples.tolist() == [15, 30]
    # The same as merging the others by hand.
    base = train(
        X, y, 3, merge, **options, callback=lambda report: report.merged and report.round == 0
    )
    kept = [model.replicas[0], model.replicas[2]]
    merged = omp_mlp.merge(kept, merge, base=base, sample_share=[5, 5])
    assert same_bits(model, merged)
    with pytest.raises(ValueError, match=r"models\[1\] must be finite"):
        omp_mlp.merge(model.replicas, merge, base=base)


@pytest.mark.filterwarnings("ignore:after the first round:omp_mlp.SettingsWarning")
def test_a_replica_that_was_left_out_goes_on_from_the_master() -> None:
    X, y = explosive(30, [10, 11])  # in replica 1's first round of two
    options: dict[str, Any] = {
        "hidden_layer_sizes": (),
        "loss": "squared_error",
        "output_activation": "identity",
        "shuffle": False,
        "batch_size": 1,
        "learning_rate": 0.01,
        "learning_rate_schedule": "constant",
        "epochs": 1,
        "on_nonfinite": "skip",
    }
    with pytest.warns(omp_mlp.SkippedReplicaWarning, match="replica 1 in round 0$"):
        model = train(X, y, 3, merge_every=5, keep_replicas=True, **options)
    with pytest.warns(omp_mlp.SkippedReplicaWarning):
        first = train(X, y, 3, merge_every=5, callback=lambda report: report.merged, **options)
    alone = train(X[15:20], y[15:20], 1, **{**options, "init": first})
    assert same_bits(model.replicas[1], alone)


@pytest.mark.parametrize("options", [{"on_nonfinite": "skip"}, {"warmup_samples": 5}], ids=str)
def test_all_replicas_diverge_even_where_some_may_be_left_out(options: dict[str, Any]) -> None:
    X, y = explosive(30, [0, 1, 10, 11, 20, 21])
    options = {"hidden_layer_sizes": (), "batch_size": 1, "shuffle": False, **options}
    with pytest.raises(omp_mlp.TrainingDivergedError, match=r"replica 0 .* in round 0"):
        fixed.train_parallel(X, y, 3, **options)


# --------------------------------------------------------------- order, schedule, weights and start


@pytest.mark.parametrize("learning_rate_schedule", ["linear", "constant"])
@pytest.mark.parametrize("shuffle", ["global", "shards", False], ids="shuffle_{}".format)
@pytest.mark.parametrize("merge_every", [None, 4], ids="every_{}".format)
@pytest.mark.parametrize("seed", [0, 1, 2**63 + 5, 2**64 - 1])
def test_shuffle_and_schedule(
    seed: int, merge_every: int | None, shuffle: str | bool, learning_rate_schedule: str
) -> None:
    check(
        inputs(31),
        classes(31),
        3,
        merge_every=merge_every,
        shuffle=shuffle,
        learning_rate_schedule=learning_rate_schedule,
        seed=seed,
    )


def test_without_shuffle_replicas_train_on_array_split_in_order() -> None:
    X, y = inputs(31), classes(31)
    merged = train(X, y, 3, shuffle=False, keep_replicas=True)
    for replica, rows in zip(merged.replicas, np.array_split(np.arange(31), 3), strict=True):
        # One thread on the block alone. Each has all classes, so the networks have one shape.
        assert same_bits(replica, train(X[rows], y[rows], 1, shuffle=False))


def test_seed_changes_start_and_order() -> None:
    X, y = inputs(31), classes(31)
    assert not same_bits(train(X, y, 2, epochs=0), train(X, y, 2, epochs=0, seed=12))
    start = train(X, y, 2, epochs=0)
    assert not same_bits(train(X, y, 2, init=start), train(X, y, 2, init=start, seed=12))
    # Without shuffling and with a given start there is nothing left to draw.
    fixed = {"init": start, "shuffle": False}
    assert same_bits(train(X, y, 2, **fixed), train(X, y, 2, **fixed, seed=12))


@pytest.mark.parametrize("batch_size", [1, 5], ids="batch_{}".format)
@pytest.mark.parametrize("loss, output_activation", LOSS_AND_OUTPUT)
def test_sample_weight(loss: str, output_activation: str, batch_size: int) -> None:
    weight = np.random.default_rng(6).exponential(size=31)
    weight[::5] = 0
    y = grid_targets(output_activation)[:31]
    options = {"loss": loss, "output_activation": output_activation, "batch_size": batch_size}
    model = check(inputs(31), y, 3, merge_every=5, sample_weight=weight, **options)
    unweighted = train(inputs(31), y, 3, merge_every=5, **options)
    assert np.abs(flat(model) - flat(unweighted)).max() > 100 * TOLERANCE


def test_sample_weights_are_not_normalised() -> None:
    X, y = inputs(31), classes(31)
    twice = train(X, y, 2, sample_weight=np.full(31, 2), learning_rate=0.1)
    assert_close(flat(twice), flat(train(X, y, 2, learning_rate=0.2)))
    assert twice.history.loss[0] == pytest.approx(2 * train(X, y, 2).history.loss[0], rel=1e-6)


@pytest.mark.parametrize("kind", [list, np.float32, np.float64, np.int64, np.bool_])
def test_samples_of_weight_zero_do_nothing(kind: Any) -> None:
    X, y = inputs(31), classes(31)
    weight = np.arange(31) % 2
    weight = weight.tolist() if kind is list else weight.astype(kind)
    # Whatever the others are: only their number counts, and the order of sums follows their zeros.
    other = X.copy()
    other[::2] = 100
    one, two = (train(inputs, y, 3, sample_weight=weight) for inputs in (X, other))
    np.testing.assert_allclose(flat(one), flat(two), rtol=0, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 3, 16])
@pytest.mark.parametrize("merge", ["average", "sum", "weighted_average"])
def test_independent_starts(merge: str, threads: int) -> None:
    options: dict[str, Any] = {"init": "independent"}
    model = check(inputs(31), classes(31), threads, merge, **options)
    shared = train(inputs(31), classes(31), threads, merge)
    assert same_bits(model, shared) == (threads == 1)


def test_independent_starts_over_several_rounds() -> None:
    check(inputs(31), classes(31), 3, "average", init="independent", merge_every=4)


def test_replicas_start_where_the_oracle_says() -> None:
    X, y = inputs(31), classes(31)
    sizes = [7, 5, 3]
    still = {"learning_rate": 0.0, "keep_replicas": True}
    for i, replica in enumerate(train(X, y, 4, init="independent", **still).replicas):
        expected = oracle.initial_parameters(sizes, 11, i, "glorot")
        assert flat(replica).tobytes() == oracle.flatten(expected).tobytes()
    first = oracle.flatten(oracle.initial_parameters(sizes, 11, 0, "glorot")).tobytes()
    replicas = train(X, y, 4, init="shared", **still).replicas
    assert [flat(replica).tobytes() for replica in replicas] == [first] * 4


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("merge", ["average", "gradient_diversity"])
def test_start_from_a_model(merge: str, threads: int) -> None:
    rng = np.random.default_rng(8)
    sizes = [7, 5, 3]
    start = omp_mlp.Model(
        [rng.normal(size=pair) for pair in pairwise(sizes)],
        [rng.normal(size=size) for size in sizes[1:]],
        activation="tanh",
        classes=[0, 1, 2],
    )
    before = flat(start).copy()
    check(inputs(31), classes(31), threads, merge, merge_every=5, init=start)
    np.testing.assert_array_equal(flat(start), before)


def test_start_from_a_model_for_bytes() -> None:
    # The model applies to bytes, before and after: W_1 is scaled up for the training and back.
    X, y = grid_bytes(), classes(GRID_SAMPLES)
    start = train(X, y, 1, epochs=1)
    model = train(X, y, 2, init=start)
    expected = train_oracle(X / 256, y, 2, init=parameters_of(start, scale=1 / 256))
    assert_agrees(model, expected, scale=1 / 256)


@pytest.mark.parametrize(
    "init_scale, activation, limits",
    [
        # (fan_in, fan_out) = (7, 5) and (5, 3)
        ("glorot", "relu", [(6 / 12) ** 0.5, (6 / 8) ** 0.5]),
        ("he", "tanh", [(6 / 7) ** 0.5, (6 / 5) ** 0.5]),
        ("auto", "relu", [(6 / 12) ** 0.5, (6 / 5) ** 0.5]),
        ("auto", "leaky_relu", [(6 / 12) ** 0.5, (6 / 5) ** 0.5]),
        ("auto", "gelu", [(6 / 12) ** 0.5, (6 / 5) ** 0.5]),
        ("auto", "silu", [(6 / 12) ** 0.5, (6 / 5) ** 0.5]),
        ("auto", "mish", [(6 / 12) ** 0.5, (6 / 5) ** 0.5]),
        ("auto", "selu", [(3 / 7) ** 0.5, (3 / 5) ** 0.5]),
        ("auto", "tanh", [(6 / 12) ** 0.5, (6 / 8) ** 0.5]),
        ("auto", "logistic", [(6 / 12) ** 0.5, (6 / 8) ** 0.5]),
        ("auto", "identity", [(6 / 12) ** 0.5, (6 / 8) ** 0.5]),
        (0.6, "relu", [0.6, 0.6]),
        (0, "relu", [0, 0]),
    ],
)
def test_init_scale(init_scale: str | float, activation: str, limits: Sequence[float]) -> None:
    X, y = inputs(31), classes(31)
    start = train(X, y, 1, epochs=0, init_scale=init_scale, activation=activation)
    reach = 1.0 if init_scale == "auto" else 0.0
    unit = oracle.initial_parameters([7, 5, 3], 11, 0, 1.0, np.float64, first_biases=reach)
    for (W, b), limit, (u, v) in zip(parameters_of(start), limits, unit, strict=True):
        np.testing.assert_array_equal(W, (u * limit).astype(np.float32))
        np.testing.assert_array_equal(b, (v * limit).astype(np.float32))
    assert start.biases[0].any() == (init_scale == "auto")


@pytest.mark.parametrize(
    ("rows", "y", "options", "last_weights"),
    [
        (70, "values", {}, 0.1),
        (35, "values", {}, 0.1),
        (350, "values", {}, 0.5),
        (700, "values", {}, 1.0),  # 100 rows for each of 7 inputs
        (701, "values", {}, 1.0),
        (70, "classes", {}, 1.0),
        (70, "labels", {}, 1.0),
        (70, "classes", {"parametrization": "ntk"}, 0.1),
        (350, "labels", {"parametrization": "ntk"}, 0.5),
        (70, "values", {"init_scale": "glorot"}, 1.0),
        (70, "values", {"init_scale": 0.3}, 1.0),
        (70, "values", {"hidden_layer_sizes": ()}, 0.1),
        (350, "values", {"loss": "huber"}, 0.5),
    ],
)
def test_outputs_of_values_start_near_0_where_rows_are_few(
    rows: int, y: str, options: dict[str, Any], last_weights: float
) -> None:
    X = inputs(rows)
    target = {
        "values": X[:, :3].astype(np.float64),
        "classes": classes(rows),
        "labels": (X[:, :3] > 0).astype(np.int64),
    }[y]
    auto = {"init_scale": "auto", "loss": "auto", "output_activation": "auto"}
    options = {**auto, **options}
    start = train(X, target, 1, epochs=0, scale_targets=False, **options)
    unit = oracle.initial_parameters(start.layer_sizes, 11, 0, 1.0, np.float64)
    fan_in = start.layer_sizes[-2]
    rule = (6 / (fan_in + 3)) ** 0.5  # tanh has Glorot's
    if options.get("parametrization") == "ntk":
        rule = (3 / fan_in) ** 0.5
    if options["init_scale"] == 0.3:
        rule = 0.3
    expected = unit[-1][0] * (last_weights * rule)
    np.testing.assert_allclose(start.weights[-1], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "options", [{"hidden_layer_sizes": ()}, {"parametrization": "ntk"}], ids=["linear", "ntk"]
)
def test_biases_that_start_at_0(options: dict[str, Any]) -> None:
    X, y = inputs(31), classes(31)
    start = train(X, y, 1, epochs=0, init_scale="auto", **options)
    assert not any(b.any() for b in start.biases)


@pytest.mark.parametrize(("n_inputs", "draws"), [(1, True), (16, True), (17, False)])
def test_biases_are_drawn_where_inputs_are_few(n_inputs: int, draws: bool) -> None:
    X = np.zeros((31, n_inputs), dtype=np.float32)
    start = train(X, classes(31), 1, epochs=0, init_scale="auto")
    assert start.biases[0].any() == draws
    assert not start.biases[1].any()


# ---------------------------------------------------------------------------------------- no epochs


@pytest.mark.parametrize("merge", sorted(oracle.MERGES))
def test_no_epochs_return_the_drawn_start(merge: str) -> None:
    X, y = inputs(31), classes(31)
    expected = oracle.flatten(oracle.initial_parameters([7, 5, 3], 11, 0, "glorot"))
    model = train(X, y, 4, merge, epochs=0, keep_replicas=True)
    assert flat(model).tobytes() == expected.tobytes()
    assert len(model.history) == 0
    assert model.history.loss.tolist() == []
    assert model.replicas == ()


def test_no_epochs_with_independent_starts_return_that_of_replica_0() -> None:
    X, y = inputs(31), classes(31)
    model = train(X, y, 4, epochs=0, init="independent")
    assert same_bits(model, train(X, y, 4, epochs=0))


def test_no_epochs_on_bytes_return_the_scaled_start() -> None:
    X, y = grid_bytes(), classes(GRID_SAMPLES)
    (W, b), *rest = oracle.initial_parameters([GRID_FEATURES, 5, 3], 11, 0, "glorot")
    expected = oracle.flatten([(W / np.float32(256), b), *rest])
    assert flat(train(X, y, 2, epochs=0)).tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_no_epochs_return_a_given_start(kind: str) -> None:
    X, y = grid_bytes(), classes(GRID_SAMPLES)
    rng = np.random.default_rng(9)
    # Weights of all sizes, down to subnormal ones, and a negative zero.
    W1 = rng.normal(size=(GRID_FEATURES, 5)) * 10.0 ** rng.integers(-44, 5, size=(GRID_FEATURES, 5))
    W1[0, 0] = -0.0
    start = omp_mlp.Model(
        [W1, rng.normal(size=(5, 3))],
        [rng.normal(size=5), rng.normal(size=3)],
        activation="tanh",
        classes=[0, 1, 2],
    )
    model = train(X if kind == "uint8" else X / np.float32(256), y, 3, epochs=0, init=start)
    assert same_bits(model, start)
    assert model.predict(X).tolist() == start.predict(X).tolist()


@pytest.mark.parametrize("init", ["shared", "model"])
@pytest.mark.parametrize("merge", ["average", "weighted_average", "gradient_diversity"])
@pytest.mark.parametrize("threads", [1, 3, 7])
def test_learning_rate_zero_keeps_the_start(threads: int, merge: str, init: str) -> None:
    X, y = inputs(31), classes(31)
    start = train(X, y, threads, epochs=0, seed=5)
    options: dict[str, Any] = {"init": start} if init == "model" else {"seed": 5}
    model = train(X, y, threads, merge, learning_rate=0.0, merge_every=4, **options)
    assert same_bits(model, start)
    assert len(model.history) > 1


# ----------------------------------------------------------------------------- networks and targets


@pytest.mark.parametrize("loss, output_activation", LOSS_AND_OUTPUT)
@pytest.mark.parametrize("threads", [1, 3])
def test_linear_model(threads: int, loss: str, output_activation: str) -> None:
    y = grid_targets(output_activation)[:31]
    options = {"loss": loss, "output_activation": output_activation, "hidden_layer_sizes": ()}
    model = check(inputs(31), y, threads, merge_every=5, **options)
    assert model.layer_sizes == (7, 3)


@pytest.mark.covering(2)
@pytest.mark.parametrize(
    "hidden", [(1,), (1, 1), (2, 1, 3), (65, 3), (3, 200), [4, 4, 4, 4, 4, 4]], ids=str
)
@pytest.mark.parametrize("batch_size", [1, 2, 13], ids="batch_{}".format)
@pytest.mark.parametrize("n_features", [1, 7, 130])
@pytest.mark.parametrize("first_layer", ["sparse", "dense"])
def test_other_shapes(
    first_layer: str, n_features: int, batch_size: int, hidden: Sequence[int]
) -> None:
    X = inputs(31, n_features)
    options = {"hidden_layer_sizes": hidden, "batch_size": batch_size, "learning_rate": 0.02}
    model = train(X, classes(31), 2, **options, first_layer=first_layer)
    assert_agrees(model, train_oracle(X, classes(31), 2, **options))
    assert model.layer_sizes == (n_features, *hidden, 3)


@pytest.mark.parametrize("n_classes", [2, 15, 16, 17, 31])
def test_number_of_classes(n_classes: int) -> None:
    X, y = inputs(31), classes(31, n_classes)
    model = train(X, y, 2, learning_rate=0.05, task="classes")
    assert_agrees(model, train_oracle(X, y, 2, learning_rate=0.05))


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(np.array([-3, 5, 12]), id="int64"),
        pytest.param(np.array([-3, 5, 12], dtype=np.int8), id="int8"),
        pytest.param(np.array([0, 7, 255], dtype=np.uint8), id="uint8"),
        pytest.param(np.array([0, 1, 2**64 - 1], dtype=np.uint64), id="uint64"),
        pytest.param(np.array([False, True]), id="bool"),
        pytest.param(np.array(["ant", "bee", "cat"]), id="str"),
        pytest.param(np.array([b"ant", b"bee", b"cat"]), id="bytes"),
        pytest.param(np.array(["", "b", "é"]), id="unicode"),
    ],
)
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_labels(labels: NDArray[Any], loss: str) -> None:
    X, index = inputs(31), classes(31, len(labels))
    options = {"loss": loss, "output_activation": "auto"}
    model = train(X, labels[index], 2, **options)
    assert same_bits(model, train(X, index, 2, **options))
    assert model.classes is not None
    assert model.classes.dtype == labels.dtype
    assert model.classes.tolist() == labels.tolist()
    predicted = model.predict(X)
    assert predicted.dtype == labels.dtype
    np.testing.assert_array_equal(predicted, labels[model.decision_function(X).argmax(axis=1)])
    assert model.score(X, labels[index]) == np.mean(predicted == labels[index])


def test_labels_as_lists_and_objects() -> None:
    X, index = inputs(31), classes(31)
    names = np.array(["cat", "ant", "bee"])  # not in order: classes are sorted
    expected = train(X, np.array([2, 0, 1])[index], 2)
    for y in (names[index].tolist(), names[index].astype(object), tuple(names[index])):
        model = train(X, y, 2)
        assert same_bits(model, expected)
        assert model.classes is not None
        assert model.classes.tolist() == ["ant", "bee", "cat"]


def test_targets_may_be_strided() -> None:
    X = inputs(31)
    y, t = classes(31), values(31)
    assert same_bits(train(X, np.repeat(y, 3)[::3], 2), train(X, y, 2))
    regression = {"loss": "squared_error", "output_activation": "identity"}
    assert same_bits(train(X, np.asfortranarray(t), 2, **regression), train(X, t, 2, **regression))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64], ids=str)
@pytest.mark.parametrize("n_outputs", [1, 2, 17])
@pytest.mark.parametrize("output_activation", ["identity", "logistic"])
def test_regression(output_activation: str, n_outputs: int, dtype: Any) -> None:
    X = inputs(31)
    y = values(31, n_outputs)
    if output_activation == "logistic":
        y = 1 / (1 + np.exp(-y))
    y = y.astype(dtype)
    options = {"loss": "squared_error", "output_activation": output_activation}
    options |= {"learning_rate": 0.05}
    model = check(X, y, 3, merge_every=5, **options)
    assert model.classes is None
    assert model.layer_sizes == (7, 5, n_outputs)
    expected = oracle.forward(parameters_of(model), X, "tanh", output_activation).output
    predicted = model.predict(X)
    assert predicted.shape == ((31,) if n_outputs == 1 else (31, n_outputs))
    assert_close(predicted.reshape(31, -1), expected)


def test_regression_in_one_column_or_as_vector() -> None:
    X, y = inputs(31), values(31, 1)
    options = {"loss": "squared_error", "output_activation": "identity"}
    assert same_bits(train(X, y, 2, **options), train(X, y[:, 0], 2, **options))
    assert same_bits(train(X, y, 2, **options), train(X, y[:, 0].tolist(), 2, **options))


def test_whole_numbers_of_type_float_are_values_not_labels() -> None:
    X, y = inputs(31), classes(31).astype(float)
    with pytest.warns(omp_mlp.TaskWarning, match="whole numbers of 3 kinds in 31 rows"):
        model = train(X, y, 2, loss="auto", output_activation="auto")
    assert model.classes is None
    assert model.output_activation == "identity"
    assert model.layer_sizes[-1] == 1


@pytest.mark.parametrize(
    "y, loss, output_activation, expected",
    [
        (classes(31), "auto", "auto", ("cross_entropy", "softmax")),
        (classes(31), "cross_entropy", "auto", ("cross_entropy", "softmax")),
        (classes(31), "squared_error", "auto", ("squared_error", "logistic")),
        (classes(31), "squared_error", "identity", ("squared_error", "identity")),
        (values(31), "auto", "auto", ("squared_error", "identity")),
        (values(31), "squared_error", "auto", ("squared_error", "identity")),
        (values(31), "auto", "logistic", ("squared_error", "logistic")),
    ],
)
def test_automatic_loss_and_output(
    y: NDArray[Any], loss: str, output_activation: str, expected: tuple[str, str]
) -> None:
    model = train(inputs(31), y, 2, loss=loss, output_activation=output_activation)
    resolved = {"loss": expected[0], "output_activation": expected[1]}
    assert_agrees(model, train_oracle(inputs(31), y, 2, **resolved))
    assert model.output_activation == expected[1]
    assert model.activation == "tanh"


# ----------------------------------------------------------------------------------- what is "auto"


def signature_defaults() -> dict[str, Any]:
    parameters = inspect.signature(omp_mlp.train_parallel).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def test_defaults_resolve_as_documented() -> None:
    X, y = inputs(300), classes(300)
    defaults = signature_defaults()
    del defaults["threads"]
    assert (defaults["epochs"], defaults["batch_size"], defaults["activation"]) == (
        "auto",
        "auto",
        "relu",
    )
    resolved = {
        "output_activation": "softmax",
        "loss": "cross_entropy",
        "merge_every": (8, 8),  # the shortest: 750 samples a replica for 512 merges
        "outer_optimizer": "momentum",
        "outer_learning_rate": 1.0,
        "outer_momentum": 0.0,  # of 4 threads, but of fewer than 1,024 samples a replica
        "last_merge": None,
    }
    assert all(defaults[name] == "auto" for name in resolved)
    spelled_out = fixed.train_parallel(X, y, 4, **{**defaults, **resolved, **fixed.SETTINGS})
    assert same_bits(fixed.train_parallel(X, y, 4), spelled_out)


@pytest.mark.parametrize(
    "merge, threads, options, explicit",
    [
        ("gradient_diversity", 3, {}, (8, 8)),
        ("adasum", 3, {"batch_size": 5}, (10, 10)),
        ("average", 3, {"outer_optimizer": "nesterov"}, (8, 8)),
        ("gradient_diversity", 1, {}, 400),
        ("average", 1, {}, 400),
        ("average", 3, {}, None),
        ("sum", 3, {}, None),
        ("delta_sum", 3, {}, None),
    ],
)
def test_automatic_period(merge: str, threads: int, options: dict[str, Any], explicit: Any) -> None:
    X, y = inputs(400), classes(400)
    automatic = train(X, y, threads, merge, merge_every="auto", **options)
    chosen = train(X, y, threads, merge, merge_every=explicit, **options)
    assert same_bits(automatic, chosen)
    assert len(automatic.history) == len(chosen.history)


@pytest.mark.parametrize(
    "optimizer, rate, momentum",
    [
        ("auto", 1.0, 0.0),
        ("momentum", 1.0, 0.3),
        ("nesterov", 0.7, 0.9),
        ("bmuf", 1.0, 0.75),
        ("slowmo", 1.0, 0.7),
    ],
)
def test_automatic_outer_optimizer(optimizer: str, rate: float, momentum: float) -> None:
    X, y = inputs(80), classes(80)
    options: dict[str, Any] = {"merge_every": 4, "outer_optimizer": optimizer}
    automatic = train(X, y, 4, outer_momentum="auto", **options)
    given = {"outer_learning_rate": rate, "outer_momentum": momentum}
    assert same_bits(automatic, train(X, y, 4, **{**options, **given}))
    # Too few merges for it to pay off, and a single replica: none.
    options["merge_every"] = 8
    plain = train(X, y, 4, merge_every=8, last_merge=None)
    assert same_bits(train(X, y, 4, outer_momentum="auto", **options), plain)
    plain = train(X, y, 1, merge_every=8)
    assert same_bits(train(X, y, 1, outer_momentum="auto", **options), plain)


@pytest.mark.parametrize(
    "merge, threads, rounds, explicit",
    [
        ("gradient_diversity", 3, 9, 0.0),
        ("gradient_diversity", 4, 8, 0.0),
        ("gradient_diversity", 4, 9, 0.3),
        ("gradient_diversity", 8, 9, 0.3),
        ("gradient_diversity", 9, 9, 0.4),
        ("gradient_diversity", 16, 9, 0.4),
        ("gradient_diversity", 17, 9, 0.5),
        ("average", 17, 9, 0.0),
    ],
)
def test_automatic_momentum(merge: str, threads: int, rounds: int, explicit: float) -> None:
    X, y = inputs(threads * rounds), classes(threads * rounds)
    options = {"merge_every": 1, "batch_size": 1, "epochs": 1, "last_merge": None}
    automatic = train(X, y, threads, merge, outer_momentum="auto", **options)
    assert len(automatic.history) == rounds
    assert same_bits(automatic, train(X, y, threads, merge, outer_momentum=explicit, **options))
    other = train(X, y, threads, merge, outer_momentum=explicit + 0.1, **options)
    assert not same_bits(automatic, other)


@pytest.mark.parametrize("merge", ["average", "sum"])
@pytest.mark.parametrize("threads", [1, 4])
def test_options_of_the_paper(merge: str, threads: int) -> None:
    X, y = grid_bytes() / np.float32(256), classes(GRID_SAMPLES)
    model = fixed.train_parallel(X, y, threads, merge, **omp_mlp.PAPER, seed=3)
    expected = oracle.train_parallel(
        X,
        y,
        threads,
        merge,
        hidden_layer_sizes=(128,),
        activation="logistic",
        output_activation="logistic",
        loss="squared_error",
        epochs=1,
        batch_size=1,
        learning_rate=0.1,
        learning_rate_schedule="constant",
        merge_every=None,
        outer_momentum=0.0,
        init="independent",
        init_scale=0.6,
        shuffle="shards",
        seed=3,
    )
    assert_agrees(model, expected)


# ------------------------------------------------------------------------------ history, validation


@pytest.mark.parametrize("merge", ["average", "gradient_diversity"])
def test_history(merge: str) -> None:
    X, y = inputs(31), classes(31)
    # Shards of 11|10|10 for 2 epochs in rounds of 8: 8, 8 and 6|4|4 samples a replica.
    model = train(X, y, 3, merge, merge_every=8, epochs=2)
    history = model.history
    assert len(history) == 3
    assert history.samples.tolist() == [24, 48, 62]
    expected = train_oracle(X, y, 3, merge, merge_every=8, epochs=2)
    np.testing.assert_allclose(history.loss, expected.losses, rtol=2e-6)
    assert len(set(history.loss.tolist())) == 3
    assert np.isnan(history.validation_loss).all()
    assert np.isnan(history.validation_score).all()
    for column in (history.train_seconds, history.merge_seconds, history.slowest_replica_seconds):
        assert column.shape == (3,)
        assert (column > 0).all()


def test_loss_of_the_first_sample_is_taken_before_its_step() -> None:
    X, y = inputs(1), values(1)
    options = {"loss": "squared_error", "output_activation": "identity", "epochs": 1}
    model = train(X, y, 1, **options)
    start = train(X, y, 1, **{**options, "epochs": 0})
    assert model.history.loss[0] == pytest.approx(start.evaluate(X, y)[0], rel=1e-6)
    assert model.evaluate(X, y)[0] < 0.9 * start.evaluate(X, y)[0]


VALIDATIONS = [
    pytest.param("cross_entropy", "softmax", lambda X: X, id="classes-softmax"),
    pytest.param("squared_error", "logistic", lambda X: X, id="classes-logistic"),
    pytest.param("squared_error", "identity", lambda X: X, id="values-identity"),
    pytest.param("cross_entropy", "softmax", scipy.sparse.csr_array, id="sparse"),
    pytest.param("cross_entropy", "softmax", lambda _: grid_bytes(), id="bytes"),
]


@pytest.mark.parametrize("loss, output_activation, convert", VALIDATIONS)
def test_validation_is_the_evaluation_of_the_same_state(
    loss: str, output_activation: str, convert: Any
) -> None:
    X = convert(grid_bytes() / np.float32(256))
    y = grid_targets(output_activation)
    held_out = (X[20:], y[20:])
    options = {"loss": loss, "output_activation": output_activation, "merge_every": 5}
    model = train(X[:20], y[:20], 2, **options, validation_data=held_out)
    history = model.history
    assert len(history) == 6

    # The state after round r is what a training returns that is stopped there.
    for r in range(6):
        stop = {"callback": lambda report, r=r: report.merged and report.round == r}
        state = train(X[:20], y[:20], 2, **options, **stop)
        recorded = (history.validation_loss[r], history.validation_score[r])
        assert recorded == state.evaluate(*held_out)
    assert recorded == model.evaluate(*held_out)
    assert len(set(history.validation_loss.tolist())) == 6
    # Looking on changes nothing.
    assert same_bits(model, train(X[:20], y[:20], 2, **options))


@pytest.mark.parametrize("output_activation", ["softmax", "logistic", "identity"])
def test_validation_values(output_activation: str) -> None:
    X = grid_bytes() / np.float32(256)
    y = grid_targets(output_activation)
    loss = "cross_entropy" if output_activation == "softmax" else "squared_error"
    options = {"loss": loss, "output_activation": output_activation}
    model = train(X[:20], y[:20], 2, **options, validation_data=(X[20:], y[20:]))
    expected = train_oracle(X[:20], y[:20], 2, **options).parameters
    passed = oracle.forward(expected, X[20:], "tanh", output_activation)
    losses = oracle.sample_losses(passed.decision, y[20:], loss, output_activation)
    assert model.history.validation_loss[0] == pytest.approx(losses.mean(), rel=1e-5)
    if output_activation == "identity":
        residual = ((passed.output - y[20:]) ** 2).sum(axis=0)
        total = ((y[20:] - y[20:].mean(axis=0)) ** 2).sum(axis=0)
        score = np.mean(1 - residual / total)
    else:
        score = np.mean(passed.output.argmax(axis=1) == y[20:])
    assert model.history.validation_score[0] == pytest.approx(score, rel=1e-5)


def test_validation_labels_may_be_some_of_those_trained_on() -> None:
    X, index = inputs(31), classes(31)
    y = np.array(["ant", "bee", "cat"])[index]
    model = train(X, y, 2, validation_data=(X[:2], ["cat", "cat"]))
    assert model.history.validation_score[0] == np.mean(model.predict(X[:2]) == "cat")


# ----------------------------------------------------------------------------------- kept replicas


@pytest.mark.parametrize("merge_every", [None, 8], ids="every_{}".format)
@pytest.mark.parametrize("threads", [1, 3, 40])
@pytest.mark.parametrize("init", ["shared", "independent"])
def test_kept_replicas(init: str, threads: int, merge_every: int | None) -> None:
    X, y = inputs(31), classes(31)
    options: dict[str, Any] = {"merge_every": merge_every, "init": init}
    model = train(X, y, threads, keep_replicas=True, **options)
    expected = train_oracle(X, y, threads, **options)
    assert len(model.replicas) == threads
    for replica, parameters in zip(model.replicas, expected.replicas, strict=True):
        assert_close(flat(replica), oracle.flatten(parameters))
        assert replica.classes is not None
        assert replica.classes.tolist() == [0, 1, 2]
        assert (replica.activation, replica.output_activation) == ("tanh", "softmax")
    assert same_bits(model, train(X, y, threads, **options))
    assert train(X, y, threads, **options).replicas == ()


def test_kept_replicas_apply_to_bytes_as_the_network_does() -> None:
    X, y = grid_bytes(), classes(GRID_SAMPLES)
    model = train(X, y, 1, keep_replicas=True)
    assert same_bits(model.replicas[0], model)


# -------------------------------------------------------------------------------- any configuration


def rate_of(X: NDArray[np.float32], y: NDArray[Any], options: dict[str, Any]) -> float:
    """Return a rate at which no training with these options runs away."""
    n_samples, threads = len(X), options["threads"]
    n_outputs = y.shape[1] if y.ndim > 1 else int(y.max()) + 1
    sizes = [X.shape[1], *options["hidden_layer_sizes"], n_outputs]
    start_of = functools.partial(
        oracle.initial_parameters, sizes, options["seed"], init_scale=options["init_scale"]
    )
    # A merge may add up the steps of all replicas, and an outer optimiser may repeat them.
    gain = options["outer_learning_rate"] / (1 - options["outer_momentum"])
    if options["merge"] in ("gradient_diversity", "adasum", "delta_sum"):
        gain *= threads
    spans = oracle.rounds(
        n_samples, threads, options["epochs"], options["merge_every"], options["batch_size"]
    )
    first, stop = oracle.block(n_samples, threads, 0)
    batches = [
        oracle.batches(*of_replica[0], stop - first, options["batch_size"]) for of_replica in spans
    ]
    return stable_rate(
        X,
        y,
        map(start_of, range(threads)),
        activation=options["activation"],
        output_activation=options["output_activation"],
        steps=sum(map(len, batches)) + options["warmup_samples"],
        gain=gain,
    )


@st.composite
def configurations(draw: st.DrawFn) -> tuple[dict[str, Any], float]:
    """Draw data and options, and the share of ``rate_of`` that is the rate."""
    merge = draw(st.sampled_from(sorted(oracle.MERGES)))
    loss, output_activation = draw(st.sampled_from([p.values for p in LOSS_AND_OUTPUT]))
    batch_size = draw(st.integers(1, 9))
    once = merge == "sum"  # n times the weights in every round soon leaves float32
    periods = st.integers(batch_size, 40)
    # Outer steps and warm-ups have a common start.
    shared = merge in ("gradient_diversity", "adasum", "delta_sum") or (
        not once and draw(st.booleans())
    )
    options = {
        "n_samples": draw(st.integers(1, 40)),
        "n_features": draw(st.integers(1, 9)),
        "n_outputs": draw(st.integers(1, 4)),
        "threads": draw(st.integers(1, 9)),
        "merge": merge,
        "hidden_layer_sizes": draw(st.lists(st.integers(1, 9), max_size=2)),
        "activation": draw(st.sampled_from(["tanh", "logistic", "identity"])),
        "loss": loss,
        "output_activation": output_activation,
        "epochs": draw(st.integers(0, 3)),
        "batch_size": batch_size,
        "learning_rate_schedule": draw(st.sampled_from(["linear", "constant"])),
        "merge_every": draw(
            st.none() if once else st.none() | periods | st.tuples(periods, periods)
        ),
        "outer_optimizer": draw(st.sampled_from(["momentum", "nesterov", "bmuf", "slowmo"])),
        "outer_learning_rate": draw(st.sampled_from([0.7, 1.0])) if shared else 1.0,
        "outer_momentum": draw(st.sampled_from([0.0, 0.4])) if shared else 0.0,
        "last_merge": draw(st.sampled_from([None, "average"])),
        "warmup_samples": draw(st.sampled_from([0, 0, 7, 50])) if shared else 0,
        "init": draw(st.sampled_from(["shared"] if shared else ["shared", "independent"])),
        "init_scale": draw(st.sampled_from(["glorot", "he", 0.3])),
        "shuffle": draw(st.sampled_from(["global", "shards", False])),
        "seed": draw(st.integers(0, 2**64 - 1)),
    }
    return options, draw(st.sampled_from([0.3, 1.0]))


RAN_AWAY: dict[str, Any] = {
    "n_samples": 1,
    "n_features": 3,
    "n_outputs": 1,
    "threads": 1,
    "merge": "gradient_diversity",
    "hidden_layer_sizes": [1, 7],
    "activation": "identity",
    "loss": "squared_error",
    "output_activation": "identity",
    "epochs": 3,
    "batch_size": 1,
    "learning_rate_schedule": "constant",
    "merge_every": None,
    "outer_optimizer": "momentum",
    "outer_learning_rate": 1.0,
    "outer_momentum": 0.4,
    "last_merge": None,
    "warmup_samples": 7,
    "init": "shared",
    "init_scale": "he",
    "shuffle": "global",
    "seed": 0,
}


# Rounds of about 9 and 8 samples end at whole batches: of 8, or of the 5 samples that there are?
BATCH_BEYOND_X: dict[str, Any] = {
    **RAN_AWAY,
    "n_samples": 5,
    "n_outputs": 3,
    "activation": "logistic",
    "loss": "cross_entropy",
    "output_activation": "softmax",
    "batch_size": 8,
    "merge_every": (9, 8),
    "hidden_layer_sizes": [6],
}


@example(configuration=(BATCH_BEYOND_X, 1.0), weighted=False, sparse=False, first_layer="auto")
@example(configuration=(RAN_AWAY, 1.0), weighted=False, sparse=False, first_layer="auto")
@given(
    configuration=configurations(),
    weighted=st.booleans(),
    sparse=st.booleans(),
    first_layer=st.sampled_from(["auto", "sparse", "dense"]),
)
def test_any_configuration(
    configuration: tuple[dict[str, Any], float], weighted: bool, sparse: bool, first_layer: str
) -> None:
    drawn, share = configuration
    options = dict(drawn)
    n_samples, n_outputs = options.pop("n_samples"), options.pop("n_outputs")
    X = inputs(n_samples, options.pop("n_features"))
    if options["output_activation"] == "identity":
        y: NDArray[Any] = values(n_samples, n_outputs)
    else:
        y = classes(n_samples, min(n_outputs, n_samples))
    options["learning_rate"] = share * rate_of(X, y, options)
    if weighted:
        options["sample_weight"] = np.random.default_rng(1).random(n_samples)
    X_given = scipy.sparse.csr_array(X) if sparse else X
    model = train(X_given, y, **options, first_layer=first_layer)
    assert_agrees(model, train_oracle(X, y, **options))
