"""Optimisers: the flat step of each, and trainings that accumulate a gradient before they step."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

import fixed
import omp_mlp
import oracle
from omp_mlp import _core
from omp_mlp.activations import ACTIVATIONS
from omp_mlp.options import _PARTS

NAMES = [row.name for row in _core.optimizers()]
LISTED = ", ".join(map(repr, NAMES))
# The settings of the flat steps in these tests.
SETTINGS = {"momentum": 0.8, "beta_1": 0.7, "beta_2": 0.95, "rho": 0.9, "epsilon": 1e-8}
# The options of the trainings with each optimiser, and the arguments of PyTorch's.
TRAININGS: dict[str, dict[str, Any]] = {
    "sgd": {"learning_rate": 0.03},
    "momentum": {"optimizer": "momentum", "momentum": 0.7, "learning_rate": 0.03},
    "nesterov": {"optimizer": "nesterov", "momentum": 0.7, "learning_rate": 0.03},
    # A large epsilon: with a small one, a gradient of nothing but rounding is a step like any.
    "adam": {
        "optimizer": "adam",
        "beta_1": 0.7,
        "beta_2": 0.95,
        "epsilon": 0.01,
        "learning_rate": 0.01,
    },
    "adamw": {
        "optimizer": "adamw",
        "beta_1": 0.8,
        "beta_2": 0.98,
        "epsilon": 0.02,
        "weight_decay": 0.2,
        "learning_rate": 0.01,
    },
    "rmsprop": {"optimizer": "rmsprop", "rho": 0.9, "epsilon": 0.01, "learning_rate": 0.003},
    "ntk": {
        "optimizer": "adam",
        "epsilon": 0.01,
        "parametrization": "ntk",
        "weight_decay": 0.3,
        "l2": 0.1,
        "learning_rate": 0.03,
    },
    "sgd, decayed": {"weight_decay": 0.3, "l2": 0.1, "max_norm": 0.5, "learning_rate": 0.03},
    "adam, clipped": {
        "optimizer": "adam",
        "epsilon": 0.01,
        "l2": 0.05,
        "max_norm": 0.4,
        "learning_rate": 0.01,
    },
}
TORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.7}),
    "nesterov": ("SGD", {"momentum": 0.7, "nesterov": True}),
    "adam": ("Adam", {"betas": (0.7, 0.95), "eps": 0.01}),
    "adamw": ("AdamW", {"betas": (0.8, 0.98), "eps": 0.02, "weight_decay": 0.2}),
    "rmsprop": ("RMSprop", {"alpha": 0.9, "eps": 0.01}),
    "adam, clipped": ("Adam", {"eps": 0.01, "weight_decay": 0.05}),
}

# As in test_train.py: roundings of float32 walk at random, and a mistake moves a weight by 1e-3.
TOLERANCE = 1e-5

IN_ORDER = ["section", "synchronous"]
LOSS_AND_OUTPUT = [
    ("cross_entropy", "softmax"),
    ("squared_error", "identity"),
    ("squared_error", "logistic"),
]


@pytest.fixture(params=_core.optimizer_table_names())
def table(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test with the optimisers of every instruction set that this machine has."""
    _core.select_optimizer_table(request.param)
    yield request.param
    _core.select_optimizer_table("best")


@pytest.fixture(params=TRAININGS)
def accumulated(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return options of a training that does not step in place."""
    if request.param == "sgd":
        accumulate(monkeypatch)
    return TRAININGS[request.param]


def accumulate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let plain descent accumulate a gradient, too, where it would step in place."""
    monkeypatch.setitem(
        _PARTS,
        "optimizer",
        lambda **fields: _core.OptimizerOptions(**{**fields, "accumulates": True}),
    )


# --------------------------------------------------------------------------------- the flat steps


PLAIN = {"weight_decay": 0.0, "l2": 0.0}
DECAYED = {"weight_decay": 0.5, "l2": 0.2}


def stepper(name: str, weights: int, biases: int = 0, rows: int = 1, **changed: float) -> Any:
    return _core.Stepper(
        options=_core.OptimizerOptions(
            method=_core.optimizer(name),
            learning_rate=_core.LearningRate(
                start=1.0, schedule="constant", power_t=0.5, tol=0.0, warmup_share=0.0, retreats=0
            ),
            accumulates=True,
            **{**SETTINGS, **PLAIN, "max_norm": np.inf, "ntk": False, "gain_rate": 0.0, **changed},
        ),
        weights=weights,
        biases=biases,
        rows=rows,
    )


@pytest.mark.covering(2)
@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("size", [1, 3, 15, 16, 17, 100, 1003])
@pytest.mark.parametrize("decay", [PLAIN, DECAYED], ids=["plain", "decayed"])
@pytest.mark.parametrize("name", NAMES)
def test_flat_step_is_the_oracle_to_the_last_bit(
    name: str, decay: dict[str, float], size: int
) -> None:
    rng = np.random.default_rng(size)
    outputs = 3
    weights = size * outputs
    w = rng.normal(size=weights + outputs + 1).astype(np.float32)[1:]  # does not begin a vector
    single = oracle.unflatten(w, [size, outputs])
    double = oracle.unflatten(w.astype(np.float64), [size, outputs])
    steps = stepper(name, weights, outputs, **decay)
    settings = oracle.Settings(**SETTINGS, **decay)
    of_single, of_double = oracle.Optimizer(name, settings), oracle.Optimizer(name, settings)
    for step in range(300):
        g = rng.normal(size=w.size).astype(np.float32)
        rate = 0.01 * (1 - step / 300)
        taken = g.copy()
        steps.step(rate=rate, scale=1.0, gradient=taken, parameters=w)
        assert not taken.any()
        single = of_single.step(single, oracle.unflatten(g, [size, outputs]), rate)
        double = of_double.step(
            double, oracle.unflatten(g.astype(np.float64), [size, outputs]), rate
        )
    np.testing.assert_array_equal(w, oracle.flatten(single))
    np.testing.assert_allclose(w, oracle.flatten(double), rtol=0, atol=TOLERANCE)


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_scaled(name: str) -> None:
    rng = np.random.default_rng(1)
    w = rng.normal(size=100).astype(np.float32)
    scaled = w.copy()
    steps, of_scaled = stepper(name, 90, 10), stepper(name, 90, 10)
    for _ in range(3):
        g = rng.normal(size=100).astype(np.float32)
        steps.step(rate=0.1, scale=0.25, gradient=g.copy(), parameters=w)
        of_scaled.step(rate=0.1, scale=1.0, gradient=g * np.float32(0.25), parameters=scaled)
    np.testing.assert_array_equal(w, scaled)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1003])
def test_squared_norm_in_every_table(size: int) -> None:
    g = np.random.default_rng(size).normal(size=size).astype(np.float32)
    found = set()
    for name in _core.optimizer_table_names():
        _core.select_optimizer_table(name)
        found.add(_core.squared_norm(g))
    _core.select_optimizer_table("best")
    assert len(found) == 1
    assert found.pop() == pytest.approx(float((g.astype(np.float64) ** 2).sum()), rel=1e-13)


@pytest.mark.parametrize(
    "name, torch_name, arguments",
    [
        ("momentum", "SGD", {"momentum": 0.8}),
        ("nesterov", "SGD", {"momentum": 0.8, "nesterov": True}),
        ("adam", "Adam", {"betas": (0.7, 0.95)}),
        ("adamw", "AdamW", {"betas": (0.7, 0.95)}),
        ("rmsprop", "RMSprop", {"alpha": 0.9}),
    ],
)
def test_300_steps_are_those_of_torch(
    name: str, torch_name: str, arguments: dict[str, Any]
) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    w = rng.normal(size=1000).astype(np.float32)
    parameter = torch.nn.Parameter(torch.from_numpy(w.copy()))
    l2 = {"weight_decay": 0.2} if name != "adamw" else {"weight_decay": 0.5}
    descent = getattr(torch.optim, torch_name)([parameter], lr=0.01, **arguments, **l2)
    steps = stepper(name, 1000, **({"l2": 0.2} if name != "adamw" else {"weight_decay": 0.5}))
    for _ in range(300):
        g = rng.normal(size=1000).astype(np.float32)
        parameter.grad = torch.from_numpy(g.copy())
        descent.step()
        steps.step(rate=0.01, scale=1.0, gradient=g, parameters=w)
    expected = parameter.detach().numpy()
    assert np.abs(w - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="other processors take them as they are"
)
@pytest.mark.usefixtures("table")
def test_numbers_that_are_not_normal_are_zero_within_a_step_only() -> None:
    tiny = np.full(40, 1e-39, dtype=np.float32)
    w = np.zeros(40, dtype=np.float32)
    stepper("momentum", 40).step(rate=1e38, scale=1.0, gradient=tiny.copy(), parameters=w)
    assert not w.any()
    stepper("momentum", 40).step(rate=1e38, scale=1.0, gradient=tiny * 100, parameters=w)
    np.testing.assert_allclose(w, -10.0, rtol=1e-5)
    assert (tiny * np.float32(0.5) > 0).all()


def test_steps_in_place_keep_no_state() -> None:
    for row in _core.optimizers():
        assert not (row.may_step_in_place and row.state)


def test_unknown_names_are_listed() -> None:
    with pytest.raises(ValueError, match=f"must be one of {LISTED}; got 'nadam'"):
        _core.optimizer("nadam")
    with pytest.raises(ValueError, match=r"optimizer table must be one of 'best', .*; got 'mmx'"):
        _core.select_optimizer_table("mmx")


# ------------------------------------------------------------------------------- whole trainings

N = 83
OPTIONS: dict[str, Any] = {
    "hidden_layer_sizes": (37,),
    "activation": "tanh",
    "epochs": 3,
    "batch_size": 8,
    "learning_rate": 0.1,
    "learning_rate_schedule": "linear",
    "init_scale": "glorot",
    "seed": 11,
}


def inputs(n_samples: int = N, n_features: int = 23, nonzero: float = 0.3) -> NDArray[np.float32]:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(n_samples, n_features)) * (rng.random((n_samples, n_features)) < nonzero)
    return X.astype(np.float32)


def classes(n_samples: int = N, n_classes: int = 5) -> NDArray[np.int64]:
    y = np.arange(n_samples) % n_classes
    np.random.default_rng(4).shuffle(y)
    return y


def flat(model: Any) -> NDArray[np.float32]:
    return oracle.flatten(list(zip(model.weights, model.biases, strict=True)))


def assert_close(got: NDArray[Any], expected: NDArray[Any]) -> None:
    largest = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * largest)


def train(strategy: str, threads: int, X: Any = None, y: Any = None, **changed: Any) -> Any:
    X = inputs() if X is None else X
    y = classes() if y is None else y
    options = {**OPTIONS, **changed}
    if strategy == "replica":
        options = {"merge": "average", "merge_every": None, "outer_momentum": 0.0, **options}
    elif strategy == "pattern":
        options = {"merge": "average", **options}
    return fixed.train_parallel(X, y, threads, strategy=strategy, **options)


def expected_of(threads: int, X: Any = None, y: Any = None, **changed: Any) -> Any:
    X = inputs() if X is None else X
    y = classes() if y is None else y
    options = {"output_activation": "softmax", "loss": "cross_entropy"}
    options |= {"merge_every": None, "outer_momentum": 0.0}
    merge = changed.pop("merge", "average")
    return oracle.train_parallel(X, y, threads, merge, **{**options, **OPTIONS, **changed})


def check(model: Any, expected: oracle.TrainingResult) -> None:
    assert_close(flat(model), oracle.flatten(expected.parameters))
    assert model.history.samples.tolist()[-1] == expected.sample_counts.sum()


@pytest.mark.covering(3)
@pytest.mark.parametrize("batch_size", [1, 8, 33, N])
@pytest.mark.parametrize("hidden", [(), (37,), (50, 33), (17, 48, 5)], ids=str)
@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("strategy", IN_ORDER)
def test_one_network_is_the_oracle(
    strategy: str,
    threads: int,
    hidden: tuple[int, ...],
    batch_size: int,
    accumulated: dict[str, Any],
) -> None:
    changed = {"hidden_layer_sizes": hidden, "batch_size": batch_size, **accumulated}
    check(train(strategy, threads, **changed), expected_of(1, **changed))


@pytest.mark.covering(2)
@pytest.mark.parametrize("merge", ["average", "gradient_diversity"])
@pytest.mark.parametrize("batch_size", [1, 8, N])
@pytest.mark.parametrize("hidden", [(), (37,), (17, 48, 5)], ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_replicas_are_the_oracle(
    threads: int,
    hidden: tuple[int, ...],
    batch_size: int,
    merge: str,
    accumulated: dict[str, Any],
) -> None:
    changed = {
        "hidden_layer_sizes": hidden,
        "batch_size": batch_size,
        "merge": merge,
        "merge_every": max(11, batch_size),
        "warmup_samples": 9,
        **accumulated,
    }
    check(train("replica", threads, **changed), expected_of(threads, **changed))


@pytest.mark.covering(2)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss, output", LOSS_AND_OUTPUT)
@pytest.mark.parametrize("strategy", ["replica", "pattern", *IN_ORDER])
def test_any_activation_and_loss(
    strategy: str, loss: str, output: str, activation: str, accumulated: dict[str, Any]
) -> None:
    # Fewer than a cache line's units, more than that, and not whole lines. With these few z, none
    # comes so near to the kink of relu that rounding decides whether a unit is trained.
    changed = {
        "loss": loss,
        "output_activation": output,
        "activation": activation,
        "hidden_layer_sizes": (33, 5),
        **accumulated,
    }
    X, y = inputs(40), classes(40)
    threads = 1 if strategy in IN_ORDER else 2
    merge = {"merge_every": 20} if strategy == "pattern" else {}
    if loss == "squared_error":
        y = 0.1 + 0.8 * np.eye(5, dtype=np.float32)[y]
    check(train(strategy, 2, X, y, **changed), expected_of(threads, X, y, **merge, **changed))


@pytest.mark.parametrize("optimizer", TORCH)
@pytest.mark.parametrize("batch_size", [1, 7])
def test_is_the_optimiser_of_torch(optimizer: str, batch_size: int) -> None:
    torch = pytest.importorskip("torch")
    X, y = inputs(), classes()
    changed = {**TRAININGS[optimizer], "learning_rate_schedule": "constant"}
    changed |= {"shuffle": False, "batch_size": batch_size}
    model = train("replica", 1, X, y, **changed)
    start = train("replica", 1, X, y, epochs=0)
    layers = []
    for W, b in zip(start.weights, start.biases, strict=True):
        linear = torch.nn.Linear(*W.shape)
        linear.weight.data = torch.from_numpy(W.T.copy())
        linear.bias.data = torch.from_numpy(b.copy())
        layers += [linear, torch.nn.Tanh()]
    network = torch.nn.Sequential(*layers[:-1])
    name, arguments = TORCH[optimizer]
    linears = layers[:-1:2]
    groups = [{"params": [linear.weight for linear in linears]}]
    groups += [{"params": [linear.bias for linear in linears], "weight_decay": 0.0}]
    descent = getattr(torch.optim, name)(groups, lr=changed["learning_rate"], **arguments)
    for _ in range(3):
        for begin in range(0, len(X), batch_size):
            batch = slice(begin, begin + batch_size)
            descent.zero_grad()
            outputs = network(torch.from_numpy(X[batch]))
            torch.nn.functional.cross_entropy(outputs, torch.from_numpy(y[batch])).backward()
            if "max_norm" in changed:
                torch.nn.utils.clip_grad_norm_(network.parameters(), changed["max_norm"])
            descent.step()
    trained = [(m.weight.detach().numpy().T, m.bias.detach().numpy()) for m in linears]
    assert_close(flat(model), oracle.flatten(trained))


# -------------------------------------------------------------- accumulated against in place


def both(
    monkeypatch: pytest.MonkeyPatch, strategy: str, threads: int, **changed: Any
) -> tuple[Any, Any]:
    """Train by plain descent, in place and then with a gradient that is accumulated."""
    in_place = train(strategy, threads, **changed)
    with monkeypatch.context() as patched:
        accumulate(patched)
        return in_place, train(strategy, threads, **changed)


@pytest.mark.covering(3)
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("center_inputs", [False, True], ids=["raw", "centered"])
@pytest.mark.parametrize("kind", ["float32", "pixels", "uint8", "csr", "thin csr", "dense"])
@pytest.mark.parametrize("batch_size", [1, 40])
@pytest.mark.parametrize("strategy", ["replica", *IN_ORDER])
def test_any_input_as_in_place(
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
    batch_size: int,
    kind: str,
    center_inputs: bool,
) -> None:
    # 800 features are enough for three parts of marks.
    X: Any = inputs(N, 800 if kind == "float32" else 70)
    pixels = (np.abs(X) * 50).astype(np.uint8)
    if kind == "pixels":
        X = pixels.astype(np.float32) / np.float32(256)
    elif kind == "uint8":
        X = pixels
    elif kind == "thin csr":
        X[:, 3:] = 0
        X[1::2] = 0
    if "csr" in kind:
        X = scipy.sparse.csr_array(X)
    in_place, accumulated = both(
        monkeypatch,
        strategy,
        3,
        X=X,
        batch_size=batch_size,
        center_inputs=center_inputs,
        first_layer="dense" if kind == "dense" else "sparse",
        learning_rate=0.02,
        validation_data=(X, classes()),  # collects after every round
        sample_weight=np.linspace(0, 2, N),
        **({"merge_every": max(9, batch_size)} if strategy == "replica" else {}),
    )
    if kind == "uint8":  # the weights are for bytes, 256 times smaller
        assert_close(accumulated.weights[0] * 256, in_place.weights[0] * 256)
    assert_close(flat(accumulated), flat(in_place))
    np.testing.assert_allclose(accumulated.history.loss, in_place.history.loss, rtol=2e-5)


@pytest.mark.parametrize("center_inputs", [False, True], ids=["raw", "centered"])
@pytest.mark.parametrize("batch_size", [1, 3, 40])
@pytest.mark.parametrize("strategy", ["replica", *IN_ORDER])
def test_confident_samples_as_in_place(
    monkeypatch: pytest.MonkeyPatch, strategy: str, batch_size: int, center_inputs: bool
) -> None:
    options = {"batch_size": batch_size, "center_inputs": center_inputs, "epochs": 5}
    in_place, accumulated = both(monkeypatch, strategy, 2, skip_confident=0.7, **options)
    assert_close(flat(accumulated), flat(in_place))
    without = train(strategy, 2, **options)
    assert np.abs(flat(without) - flat(in_place)).max() > 1e-3


@pytest.mark.covering(2)
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", ["momentum", "adam", "adamw", "ntk", "sgd"])
@pytest.mark.parametrize("hidden", [(), (37,), (130, 300), (300, 20)], ids=str)
@pytest.mark.parametrize("batch_size", [1, 8, 33, 70])
@pytest.mark.parametrize("kind", ["float32", "uint8", "csr", "dense"])
@pytest.mark.parametrize("center_inputs", [False, True], ids=["raw", "centered"])
@pytest.mark.parametrize("skip_confident", [0.0, 0.7])
def test_blocks_of_rows_are_the_whole_gradient(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    hidden: tuple[int, ...],
    batch_size: int,
    kind: str,
    center_inputs: bool,
    skip_confident: float,
) -> None:
    """A gradient that is clipped to a norm that it never has takes the path of whole gradients."""
    if name == "sgd":
        accumulate(monkeypatch)
    # More than a block of rows, and rows that no sample has.
    X: Any = inputs(N, 150)
    X[:, 65:140] = 0
    if kind == "uint8":
        X = (np.abs(X) * 50).astype(np.uint8)
    elif kind == "csr":
        X = scipy.sparse.csr_array(X)
    by_blocks, whole = (
        train(
            "replica",
            2,
            X,
            hidden_layer_sizes=hidden,
            batch_size=batch_size,
            merge_every=batch_size,
            center_inputs=center_inputs,
            skip_confident=skip_confident,
            first_layer="dense" if kind == "dense" else "sparse",
            **{**TRAININGS[name], **limit},
        )
        for limit in ({}, {"max_norm": 1e30})
    )
    assert flat(by_blocks).tobytes() == flat(whole).tobytes()
    assert by_blocks.history.loss.tolist() == whole.history.loss.tolist()


def test_adamw_decays_by_default() -> None:
    by_default, by_number, not_at_all = (
        flat(train("replica", 2, optimizer="adamw", **decay))
        for decay in ({}, {"weight_decay": 0.01}, {"weight_decay": 0.0})
    )
    np.testing.assert_array_equal(by_default, by_number)
    adam = flat(train("replica", 2, optimizer="adam"))
    np.testing.assert_array_equal(not_at_all, adam)
    assert np.abs(by_default - adam).max() > 1e-4


@pytest.mark.parametrize("strategy", ["replica", "pattern", *IN_ORDER])
def test_no_momentum_is_plain_descent(monkeypatch: pytest.MonkeyPatch, strategy: str) -> None:
    _, accumulated = both(monkeypatch, strategy, 3)
    without = train(strategy, 3, optimizer="momentum", momentum=0.0)
    assert flat(without).tobytes() == flat(accumulated).tobytes()


# ------------------------------------------------------------------- momentum beyond the oracle


def centered(X: Any, parameters: oracle.Parameters, sign: int) -> oracle.Parameters:
    """Return the parameters for inputs minus their mean; with sign -1, those for X as it is."""
    mean = X.mean(axis=0, dtype=np.float64)
    (W, b), *rest = parameters
    return [(W, (b + sign * (mean @ W)).astype(np.float32)), *rest]


@pytest.mark.covering(3)
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", ["momentum", "sgd, decayed", "adam, clipped"])
@pytest.mark.parametrize("kind", ["float32", "csr", "dense"])
@pytest.mark.parametrize("batch_size", [1, 8, 40])
@pytest.mark.parametrize("strategy", ["replica", *IN_ORDER])
def test_optimisers_on_centered_inputs(
    strategy: str, batch_size: int, kind: str, name: str
) -> None:
    X = inputs() + np.float32(0.5) * (inputs() != 0)
    start = train("replica", 1, X, epochs=0)
    parameters = list(zip(start.weights, start.biases, strict=True))
    threads = 3 if strategy == "replica" else 1
    options = {**TRAININGS[name], "batch_size": batch_size}
    merge = {"merge_every": max(9, batch_size)} if strategy == "replica" else {}
    mean = X.mean(axis=0, dtype=np.float64)
    expected = expected_of(
        threads,
        (X - mean).astype(np.float32),
        init=centered(X, parameters, 1),
        **options,
        **merge,
    )
    model = train(
        strategy,
        3,
        scipy.sparse.csr_array(X) if kind == "csr" else X,
        init=start,
        center_inputs=True,
        first_layer="dense" if kind == "dense" else "sparse",
        **options,
        **merge,
    )
    assert_close(flat(model), oracle.flatten(centered(X, expected.parameters, -1)))


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("strategy", ["replica", *IN_ORDER])
def test_momentum_where_confident_samples_are_skipped(strategy: str, batch_size: int) -> None:
    """Where all samples are confident, the gradient is 0, and still the velocity carries on."""
    X, y = inputs(), classes()
    start = train("replica", 1, X, epochs=0)
    parameters: oracle.Parameters = list(zip(start.weights, start.biases, strict=True))
    optimizer = oracle.Optimizer("momentum", oracle.Settings(momentum=0.7))
    skipped_batches = 0
    for _ in range(3):
        for begin in range(0, N, batch_size):
            batch = slice(begin, begin + batch_size)
            p = oracle.forward(parameters, X[batch], "tanh", "softmax").output
            keep = 1 - p[np.arange(len(p)), y[batch]] >= 0.7
            gradients = oracle.gradient(
                parameters, X[batch], y[batch], keep.astype(np.float32),
                activation="tanh", output_activation="softmax", loss="cross_entropy",
            )  # fmt: skip
            parameters = optimizer.step(parameters, gradients, 0.1)
            skipped_batches += not keep.any()
    assert skipped_batches > 0
    model = train(
        strategy, 1, X, y, shuffle=False, learning_rate_schedule="constant",
        batch_size=batch_size, skip_confident=0.7, optimizer="momentum", momentum=0.7,
    )  # fmt: skip
    assert_close(flat(model), oracle.flatten(parameters))


@pytest.mark.parametrize("name", ["momentum", "sgd, decayed", "adam, clipped"])
@pytest.mark.parametrize("center_inputs", [False, True], ids=["raw", "centered"])
@pytest.mark.parametrize("strategy", ["replica", "pattern", *IN_ORDER])
def test_any_number_of_workers_gives_the_same_bits(
    strategy: str, center_inputs: bool, name: str
) -> None:
    options = {**TRAININGS[name], "hidden_layer_sizes": (50, 33)}
    found = {
        flat(train(strategy, 7, workers=workers, center_inputs=center_inputs, **options)).tobytes()
        for workers in (1, 2, 3, 7, 2)
    }
    assert len(found) == 1


@pytest.mark.parametrize("options", TRAININGS.values(), ids=TRAININGS)
@pytest.mark.parametrize("strategy", ["replica", *IN_ORDER])
def test_every_table_gives_the_same_bits(strategy: str, options: dict[str, Any]) -> None:
    found = set()
    for name in _core.optimizer_table_names():
        _core.select_optimizer_table(name)
        found.add(flat(train(strategy, 3, **options)).tobytes())
    _core.select_optimizer_table("best")
    assert len(found) == 1


@pytest.mark.parametrize("strategy", ["replica", "pattern"])
@pytest.mark.parametrize("how", ["keep", "average", "reset"])
@pytest.mark.parametrize("name", ["momentum", "adam", "rmsprop"])
def test_states_at_a_merge_are_the_oracle(name: str, how: str, strategy: str) -> None:
    # Shards of 12 and 11 samples: in some rounds, replicas take different numbers of steps.
    changed = {**TRAININGS[name], "state_at_merge": how, "epochs": 4, "batch_size": 1}
    merge = {"merge_every": 3} if strategy == "replica" else {}
    of_oracle = merge or {"merge_every": 12}
    found = train(strategy, 7, **changed, **merge)
    check(found, expected_of(7, **changed, **of_oracle))
    other = train(strategy, 7, **{**changed, "state_at_merge": "keep"}, **merge)
    assert (how == "keep") == (flat(found).tobytes() == flat(other).tobytes())


@pytest.mark.parametrize("how", ["average", "reset"])
def test_states_at_a_merge_with_any_number_of_workers(how: str) -> None:
    options = {**TRAININGS["adam"], "state_at_merge": how, "merge_every": 8}
    found = {
        flat(train("replica", 7, workers=workers, **options)).tobytes()
        for workers in (1, 2, 3, 7, 2)
    }
    assert len(found) == 1


@pytest.mark.filterwarnings("ignore:after the first round:omp_mlp.SettingsWarning")
@pytest.mark.parametrize("how", ["keep", "average", "reset"])
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_a_replica_that_was_skipped_goes_on(optimizer: str, how: str) -> None:
    X, y = inputs(), inputs()[:, :2]
    X[N // 2 + 5] = 1e30  # in the first round of replica 1, and never after
    with pytest.warns(omp_mlp.SkippedReplicaWarning, match="replica 1 in round 0$"):
        model = train(
            "replica", 2, X, y, optimizer=optimizer, state_at_merge=how, on_nonfinite="skip",
            shuffle=False, epochs=1, merge_every=10, batch_size=1, learning_rate=1e-3,
            activation="identity",
        )  # fmt: skip
    assert np.isfinite(flat(model)).all()


def test_velocity_lives_through_merges_but_not_through_a_warm_up() -> None:
    options = {"optimizer": "momentum", "shuffle": False, "learning_rate_schedule": "constant"}
    # A merge of one replica changes nothing but how its weights are rounded.
    merged, whole = (flat(train("replica", 1, merge_every=every, **options)) for every in (N, None))
    assert_close(merged, whole)
    warm = train("replica", 2, warmup_samples=9, epochs=0, **options)
    assert_close(
        flat(train("replica", 2, warmup_samples=9, **options)),
        flat(train("replica", 2, init=warm, **options)),
    )


# ---------------------------------------------------------- parametrisation and factors of inputs

GAINS: dict[str, Any] = {"optimizer": "adam", "epsilon": 0.01, "learning_rate": 0.01}
GAINS |= {"input_gain_rate": 5.0, "weight_decay": 0.1, "l2": 0.05, "max_norm": 0.4}


@pytest.mark.parametrize("name", NAMES)
def test_ntk_steps_are_those_of_weights_times_the_root_of_their_fan_in(name: str) -> None:
    """With V = sqrt(n) W, the step of V by dW / sqrt(n) is the step of W."""
    rng = np.random.default_rng(2)
    fan_in, outputs = 16, 3
    w = rng.normal(size=fan_in * outputs + outputs).astype(np.float32)
    size = fan_in * outputs
    v = np.concatenate([4 * w[:size], w[size:]])
    of_w = stepper(name, size, outputs, rows=fan_in, ntk=True, **DECAYED)
    of_v = stepper(name, size, outputs, weight_decay=0.5, l2=0.2 / 16)
    for _ in range(20):
        g = rng.normal(size=w.size).astype(np.float32)
        of_w.step(rate=0.01, scale=1.0, gradient=g.copy(), parameters=w)
        scaled = np.concatenate([g[:size] / 4, g[size:]]).astype(np.float32)
        of_v.step(rate=0.01, scale=1.0, gradient=scaled, parameters=v)
    np.testing.assert_allclose(4 * w[:size], v[:size], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(w[size:], v[size:], rtol=0, atol=TOLERANCE)


def test_a_gain_that_would_become_zero_keeps_its_row() -> None:
    w = np.array([2.0, -3.0, 0.5], dtype=np.float32)
    steps = stepper("sgd", 3, 0, rows=1, gain_rate=1.0)
    # ds is the product of V and dW: 1 from 2, so that the step of rate 1 makes s = 0.
    steps.step(rate=1.0, scale=1.0, gradient=np.float32([0.5, 0, 0]), parameters=w)
    np.testing.assert_allclose(w, np.array([1.5, -3.0, 0.5]) * 2.0**-20)
    # V is found again: the gradient of V is 0 to rounding, and dW brings s to about 1.
    steps.step(rate=1.0, scale=1.0, gradient=np.float32([0, 1 / 3, 0]), parameters=w)
    np.testing.assert_allclose(w, [1.5, -3.0, 0.5], rtol=1e-5)


@pytest.mark.parametrize("parametrization", ["standard", "ntk"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("strategy, threads", [("replica", 1), ("replica", 3), ("synchronous", 3)])
def test_gains_are_the_oracles(
    strategy: str, threads: int, optimizer: str, parametrization: str
) -> None:
    changed = {**GAINS, "optimizer": optimizer, "parametrization": parametrization}
    if optimizer == "sgd":
        del changed["epsilon"]
        changed["learning_rate"] = 0.1
    if strategy == "replica":
        changed |= {"merge": "average", "merge_every": 11}
    expected = expected_of(threads if strategy == "replica" else 1, **changed)
    model = train(strategy, threads, **changed)
    check(model, expected)
    without = train(strategy, threads, **{**changed, "input_gain_rate": 0.0})
    assert np.abs(flat(model) - flat(without)).max() > 1e-3


@pytest.mark.parametrize("how", ["average", "reset"])
def test_gains_at_a_merge_are_treated_as_the_state(how: str) -> None:
    changed = {**GAINS, "merge": "average", "merge_every": 8, "state_at_merge": how}
    check(train("replica", 3, **changed), expected_of(3, **changed))


def test_gains_give_the_same_bits_for_any_number_of_workers() -> None:
    found = {
        flat(train("synchronous", 5, workers=workers, **GAINS)).tobytes() for workers in (1, 2, 5)
    }
    assert len(found) == 1


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    "given, message",
    [
        ({"optimizer": "nadam"}, f"optimizer must be one of {LISTED}, 'lbfgs'; got 'nadam'"),
        ({"optimizer": 3}, f"optimizer must be one of {LISTED}, 'lbfgs'; got 3"),
        (
            {"momentum": 0.5},
            "momentum goes with optimizer='momentum' or 'nesterov'; got momentum=0.5 and "
            "optimizer='sgd'",
        ),
        (
            {"optimizer": "rmsprop", "beta_1": 0.5},
            "beta_1 goes with optimizer='adam' or 'adamw'; got beta_1=0.5 and optimizer='rmsprop'",
        ),
        (
            {"optimizer": "adam", "rho": 0.5},
            "rho goes with optimizer='rmsprop'; got rho=0.5 and optimizer='adam'",
        ),
        (
            {"optimizer": "nesterov", "epsilon": 1e-6},
            "epsilon goes with optimizer='adam' or 'adamw' or 'rmsprop'; got epsilon=1e-06 and "
            "optimizer='nesterov'",
        ),
        (
            {"optimizer": "adam", "epsilon": 0.0},
            "epsilon must be at least 1.17549e-38 and finite; got 0.0",
        ),
        (
            {"optimizer": "adamw", "beta_2": 1.0},
            "beta_2 must be at least 0 and less than 1; got 1.0",
        ),
        (
            {"optimizer": "momentum", "momentum": 1.0},
            "momentum must be at least 0 and less than 1; got 1.0",
        ),
        (
            {"optimizer": "momentum", "momentum": -0.1},
            "momentum must be at least 0 and less than 1; got -0.1",
        ),
        (
            {"optimizer": "momentum", "strategy": "hogwild"},
            "strategy='hogwild' adds its steps to the weights in place and goes with "
            "optimizer='sgd' without weight_decay, l2, max_norm, parametrization, "
            "input_gain_rate; got optimizer='momentum'",
        ),
        (
            {"l2": 0.1, "max_norm": 1, "strategy": "hogwild"},
            "strategy='hogwild' adds its steps to the weights in place and goes with "
            "optimizer='sgd' without weight_decay, l2, max_norm, parametrization, "
            "input_gain_rate; got l2=0.1, max_norm=1.0",
        ),
        (
            {"state_at_merge": "average"},
            "state_at_merge goes with optimizer='momentum' or 'nesterov' or 'adam' or 'adamw' or "
            "'rmsprop'; got state_at_merge='average' and optimizer='sgd'",
        ),
        (
            {"optimizer": "adam", "state_at_merge": "sum"},
            "state_at_merge must be one of 'keep', 'average', 'reset'; got 'sum'",
        ),
        (
            {"parametrization": "mup"},
            "parametrization must be one of 'standard', 'ntk'; got 'mup'",
        ),
        ({"input_gain_rate": -1}, "input_gain_rate must be at least 0 and finite; got -1"),
        ({"max_norm": 0.0}, "max_norm must be greater than 0 and finite; got 0.0"),
        ({"weight_decay": "none"}, "weight_decay must be 'auto' or a number; got 'none'"),
        ({"l2": -1.0}, "l2 must be at least 0 and finite; got -1.0"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_what_does_not_go_together(given: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        fixed.train_parallel(inputs(), classes(), 2, **given)
    assert str(error.value) == message
