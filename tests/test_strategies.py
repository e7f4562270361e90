"""Every way to make a training parallel, against one thread and against the NumPy oracle."""

from __future__ import annotations

import os
import textwrap
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import fixed
import omp_mlp
import oracle
from processes import run_python
from stability import stable_rate

# As in test_train.py: a float32 weight near 1 is off by a random walk of steps of 2^-25. A mistake
# in the order of the samples, in a rate or in a derivative moves weights by 1e-3 and more.
TOLERANCE = 1e-5

IN_ORDER = ["section", "synchronous"]  # those that give what one thread gives
OF_ONE = [*IN_ORDER, "hogwild"]
THREADS = [1, 2, 3, 7]

OPTIONS: dict[str, Any] = {
    # 37 and 50 units are 3 and 4 cache lines, of which one is not full.
    "hidden_layer_sizes": (37,),
    "activation": "tanh",
    "epochs": 3,
    "batch_size": 8,
    "learning_rate": 0.2,
    "init_scale": "glorot",
    "seed": 11,
}


def inputs(n_samples: int = 83, n_features: int = 23, nonzero: float = 0.3) -> NDArray[np.float32]:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(n_samples, n_features)) * (rng.random((n_samples, n_features)) < nonzero)
    return X.astype(np.float32)


def classes(n_samples: int = 83, n_classes: int = 5) -> NDArray[np.int64]:
    y = np.arange(n_samples) % n_classes
    np.random.default_rng(4).shuffle(y)
    return y


def flat(model: omp_mlp.Model) -> NDArray[np.float32]:
    return oracle.flatten(list(zip(model.weights, model.biases, strict=True)))


def train(strategy: str, threads: int, X: Any = None, y: Any = None, **changed: Any) -> Any:
    X = inputs() if X is None else X
    y = classes() if y is None else y
    return fixed.train_parallel(X, y, threads, strategy=strategy, **{**OPTIONS, **changed})


def assert_close(got: NDArray[Any], expected: NDArray[Any]) -> None:
    largest = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * largest)


def check_against_one_thread(strategy: str, threads: int, **changed: Any) -> None:
    model = train(strategy, threads, **changed)
    alone = train("replica", 1, **changed)
    assert_close(flat(model), flat(alone))
    assert model.history.samples.tolist() == alone.history.samples.tolist()
    np.testing.assert_allclose(model.history.loss, alone.history.loss, rtol=2e-5)


def expected_of(X: Any, y: Any, **changed: Any) -> oracle.TrainingResult:
    options = {**OPTIONS, "output_activation": "softmax", "loss": "cross_entropy", **changed}
    options |= {"merge_every": None, "outer_momentum": 0.0}
    return oracle.train_parallel(X, y, 1, "average", **options)


def run(script: str, **environment: str) -> Any:
    """Run a script in a process of its own, where t is this file; return what it prints as JSON."""
    start = f"sys.path.insert(0, {os.path.dirname(__file__)!r})\nimport test_strategies as t\n"
    return run_python(start + textwrap.dedent(script), **environment)


# ----------------------------------------------------------------- the same as one thread and NumPy


@pytest.mark.parametrize("strategy", ["replica", *OF_ONE])
@pytest.mark.parametrize("batch_size", [1, 3, 20])
def test_long_dense_rows_are_read_where_they_are(strategy: str, batch_size: int) -> None:
    """Rows of 4,096 floats and more are not copied; the last batch of 20 has 10 samples."""
    X, y = inputs(30, 4099), classes(30)
    options: dict[str, Any] = {"batch_size": batch_size, "learning_rate": 1e-3}
    expected = expected_of(X, y, **options)
    model = train(strategy, 1, X, y, first_layer="dense", **options)
    assert_close(flat(model), oracle.flatten(expected.parameters))
    np.testing.assert_allclose(model.history.loss.mean(), expected.losses[0], rtol=2e-5)


@pytest.mark.parametrize("batch_size", [1, 8, 33, 83])
@pytest.mark.parametrize("hidden", [(37,), (50, 33), (17, 48, 5)], ids=str)
@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("strategy", IN_ORDER)
def test_is_the_oracle(
    strategy: str, threads: int, hidden: tuple[int, ...], batch_size: int
) -> None:
    changed = {"hidden_layer_sizes": hidden, "batch_size": batch_size}
    model = train(strategy, threads, **changed)
    expected = expected_of(inputs(), classes(), **changed)
    assert_close(flat(model), oracle.flatten(expected.parameters))
    assert model.history.samples.tolist() == [83, 166, 249]


# Rows of 512, 1024 and 500 units would start a multiple of 2 KB apart, and get an empty line.
@pytest.mark.parametrize("activation", ["relu", "logistic", "gelu"])
@pytest.mark.parametrize("hidden", [(512,), (1024, 500)], ids=str)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("strategy", IN_ORDER)
def test_rows_with_an_empty_line(
    strategy: str, threads: int, hidden: tuple[int, ...], activation: str
) -> None:
    changed = {"hidden_layer_sizes": hidden, "activation": activation, "learning_rate": 0.02}
    model = train(strategy, threads, **changed)
    expected = expected_of(inputs(), classes(), **changed)
    assert_close(flat(model), oracle.flatten(expected.parameters))


# The rows of each part have an empty line where those of the layer have units of the next part.
@pytest.mark.parametrize("activation", ["relu", "logistic"])
@pytest.mark.parametrize("strategy", IN_ORDER)
def test_parts_of_512_units(strategy: str, activation: str) -> None:
    hidden = (1024, 1024)
    check_against_one_thread(
        strategy, 2, hidden_layer_sizes=hidden, activation=activation, learning_rate=0.02
    )


@pytest.mark.parametrize("center_inputs", [False, True], ids=["raw", "centered"])
@pytest.mark.parametrize("n_features", [23, 800])
@pytest.mark.parametrize("first_layer", ["sparse", "dense"])
@pytest.mark.parametrize("form", ["float32", "uint8", "csr"])
@pytest.mark.parametrize("strategy", IN_ORDER)
def test_any_input(
    strategy: str, form: str, first_layer: str, n_features: int, center_inputs: bool
) -> None:
    # 800 features are enough for three parts of marks; the last word of marks is not full.
    X: Any = inputs(83, n_features)
    if form == "uint8":
        X = (np.abs(X) * 50).astype(np.uint8)
    elif form == "csr":
        X = scipy.sparse.csr_array(X)
    check_against_one_thread(
        strategy,
        3,
        X=X,
        first_layer=first_layer,
        center_inputs=center_inputs,
        batch_size=40,  # more than a word of marks in marked_update
        learning_rate=0.2 if n_features < 100 else 0.02,
        validation_data=(X, classes()),  # collects after every epoch
    )


@pytest.mark.parametrize("activation", oracle.ACTIVATIONS)
@pytest.mark.parametrize(
    "loss, output", [("cross_entropy", "softmax"), ("squared_error", "logistic")]
)
@pytest.mark.parametrize("strategy", IN_ORDER)
def test_any_activation_and_loss(strategy: str, loss: str, output: str, activation: str) -> None:
    changed = {"loss": loss, "output_activation": output, "activation": activation}
    check_against_one_thread(strategy, 3, hidden_layer_sizes=(50, 33), **changed)


@pytest.mark.parametrize("strategy", IN_ORDER)
def test_regression(strategy: str) -> None:
    y = np.random.default_rng(5).normal(size=(83, 2))
    check_against_one_thread(strategy, 2, y=y, learning_rate=0.05)


@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": False},
        {"shuffle": "shards"},
        {"learning_rate_schedule": "constant"},
        {"sample_weight": np.linspace(0, 2, 83)},
        {"skip_confident": 0.7},
        {"skip_confident": 0.7, "batch_size": 1},
        {"skip_confident": 0.7, "activation": "gelu"},
        {"epochs": 0},
        {"batch_size": 1000},
        {
            "init": omp_mlp.Model(
                [np.full((23, 37), 0.01), np.eye(37, 5)],
                [np.ones(37), np.ones(5)],
                activation="tanh",
                classes=range(5),
            )
        },
    ],
    ids=lambda options: ",".join(options),
)
@pytest.mark.parametrize("strategy", IN_ORDER)
def test_any_option(strategy: str, options: dict[str, Any]) -> None:
    check_against_one_thread(strategy, 3, **options)


@pytest.mark.parametrize("hidden", [(1,), (5,), (5, 3), ()], ids=str)
@pytest.mark.parametrize("strategy", IN_ORDER)
def test_more_threads_than_hidden_units_or_samples(strategy: str, hidden: tuple[int, ...]) -> None:
    check_against_one_thread(strategy, 20, hidden_layer_sizes=hidden)
    check_against_one_thread(
        strategy, 20, X=inputs(7), y=classes(7, 3), hidden_layer_sizes=hidden, batch_size=3
    )


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("strategy", IN_ORDER)
def test_every_kernel(strategy: str) -> None:
    for first_layer in ("sparse", "dense"):
        check_against_one_thread(strategy, 3, hidden_layer_sizes=(50, 33), first_layer=first_layer)


@given(
    strategy=st.sampled_from(OF_ONE),
    hidden=st.lists(st.integers(1, 70), max_size=3).map(tuple),
    threads=st.integers(1, 9),
    batch_size=st.integers(1, 40),
    n_samples=st.integers(1, 60),
    n_features=st.integers(1, 40) | st.integers(500, 900),
    center_inputs=st.booleans(),
    nonzero=st.floats(0, 1),
)
def test_any_shape(
    strategy: str,
    hidden: tuple[int, ...],
    threads: int,
    batch_size: int,
    n_samples: int,
    n_features: int,
    center_inputs: bool,
    nonzero: float,
) -> None:
    threads = 1 if strategy == "hogwild" else threads
    X, y = inputs(n_samples, n_features, nonzero), classes(n_samples, min(n_samples, 3))
    sizes = [n_features, *hidden, int(y.max()) + 1]
    rate = stable_rate(
        X,
        y,
        [oracle.initial_parameters(sizes, OPTIONS["seed"], 0, OPTIONS["init_scale"])],
        activation=OPTIONS["activation"],
        output_activation="softmax",
        steps=OPTIONS["epochs"] * -(-n_samples // batch_size),
    )
    check_against_one_thread(
        strategy,
        threads,
        X=X,
        y=y,
        hidden_layer_sizes=hidden,
        batch_size=batch_size,
        learning_rate=rate,
        center_inputs=center_inputs,
    )


# ---------------------------------------------------------------------------------------- same bits


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("hidden", [(50,), (50, 33)], ids=str)
@pytest.mark.parametrize("threads", [2, 7])
@pytest.mark.parametrize("strategy", IN_ORDER)
def test_any_number_of_workers(
    strategy: str, threads: int, hidden: tuple[int, ...], batch_size: int
) -> None:
    options = {"hidden_layer_sizes": hidden, "batch_size": batch_size}
    found = {
        flat(train(strategy, threads, workers=workers, **options)).tobytes()
        for workers in (1, 2, 3, 7, None, 2)
    }
    assert len(found) == 1


@pytest.mark.parametrize("limit", ["1", "2", "3"])
def test_fewer_threads_granted_than_asked_for(limit: str) -> None:
    *weights, samples = run(
        """
    found = [t.flat(t.train(s, 7, workers=7, hidden_layer_sizes=(50, 33))).tobytes().hex()
             for s in t.IN_ORDER]
    print(json.dumps(found + [t.train("hogwild", 7, workers=7).history.samples.tolist()]))
    """,
        OMP_THREAD_LIMIT=limit,
    )
    expected = [train(s, 7, hidden_layer_sizes=(50, 33)) for s in IN_ORDER]
    assert weights == [flat(model).tobytes().hex() for model in expected]
    assert samples == [83, 166, 249]


# ------------------------------------------------------------------------------ hogwild and pattern


@pytest.mark.parametrize("first_layer", ["sparse", "dense"])
@pytest.mark.parametrize("center_inputs", [False, True], ids=["raw", "centered"])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_hogwild_of_one_thread_is_in_order(
    batch_size: int, center_inputs: bool, first_layer: str
) -> None:
    check_against_one_thread(
        "hogwild",
        1,
        hidden_layer_sizes=(37, 5),
        batch_size=batch_size,
        center_inputs=center_inputs,
        first_layer=first_layer,
    )


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_hogwild_learns(workers: int) -> None:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    options = {"hidden_layer_sizes": (64,), "activation": "relu", "epochs": 10, "batch_size": 4}
    model = train("hogwild", 4, X[:-400], y[:-400], workers=workers, **options)
    assert model.history.samples.tolist() == [k * (len(X) - 400) for k in range(1, 11)]
    assert np.isfinite(flat(model)).all()
    accuracy = model.score(X[-400:], y[-400:])
    if workers == 1:  # nothing is lost, and the same bits every time
        alone = train("replica", 1, X[:-400], y[:-400], **options).score(X[-400:], y[-400:])
        assert accuracy > alone - 0.03
        assert alone > 0.9
    else:
        # Which updates get lost is up to the machine: measured, it costs less than a point of 90 %.
        # Ten classes: a network that learned nothing has 10 %.
        assert accuracy > 0.5


@pytest.mark.parametrize("merge", ["average", "gradient_diversity"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_pattern_is_replica_with_a_merge_an_epoch(threads: int, merge: str) -> None:
    pattern = train("pattern", threads, merge=merge)
    replica = train(
        "replica", threads, merge=merge, merge_every=-(-83 // threads), outer_momentum=0.0
    )
    assert flat(pattern).tobytes() == flat(replica).tobytes()
    assert len(pattern.history) == 3
    assert pattern.history.strategy == "pattern"


# ------------------------------------------------------------------------------- options and errors


@pytest.mark.parametrize(
    "option",
    [
        {"merge": "sum"},
        {"merge_every": 64},
        {"merge_every": None},
        {"outer_momentum": 0.5},
        {"keep_replicas": True},
        {"init": "independent"},
    ],
    ids=lambda option: next(iter(option)),
)
@pytest.mark.parametrize("strategy", OF_ONE)
def test_options_of_replicas_are_refused(strategy: str, option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="go with strategy='replica'") as caught:
        train(strategy, 2, **option)
    ((name, value),) = option.items()
    assert f"Got {name}={value!r}" in str(caught.value)
    assert f"strategy={strategy!r}" in str(caught.value)


@pytest.mark.parametrize("option", [{"merge_every": 64}, {"outer_momentum": 0.0}], ids=str)
def test_pattern_fixes_when_it_merges(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="merges after every epoch"):
        train("pattern", 2, **option)


def test_unknown_strategy() -> None:
    with pytest.raises(ValueError, match="strategy must be one of 'replica', 'section', "):
        train("model", 2)


@pytest.mark.parametrize("strategy", [*OF_ONE, "replica", "pattern"])
def test_history_names_the_strategy(strategy: str, tmp_path: Any) -> None:
    model = train(strategy, 3)
    assert (model.history.strategy, model.history.threads) == (strategy, 3)
    assert np.isnan(model.history.predicted_seconds).all()
    model.save(tmp_path / "network.safetensors")
    again = omp_mlp.load(tmp_path / "network.safetensors").history
    assert (again.strategy, again.threads) == (strategy, 3)


# ------------------------------------------------------------------- callbacks, signals, divergence


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("strategy", OF_ONE)
def test_callback_and_validation_see_every_epoch(strategy: str, workers: int) -> None:
    X, y = inputs(), classes()
    reports: list[omp_mlp.Progress] = []
    model = train(strategy, 3, workers=workers, callback=reports.append, validation_data=(X, y))
    merged = [report for report in reports if report.merged]
    assert [report.round for report in merged] == [0, 1, 2]
    assert {(report.rounds, report.total_samples) for report in reports} == {(3, 249)}
    assert [report.loss for report in merged] == model.history.loss.tolist()
    last = model.history.validation_loss[-1], model.history.validation_score[-1]
    assert last == model.evaluate(X, y)


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("strategy", OF_ONE)
def test_callback_stops_within_an_epoch(strategy: str, workers: int) -> None:
    X, y = inputs(60_000), classes(60_000)
    reports: list[omp_mlp.Progress] = []

    def stop(report: omp_mlp.Progress) -> bool:
        reports.append(report)
        return not report.merged

    model = train(
        strategy, 5, X, y, workers=workers, epochs=1000, callback=stop, learning_rate=0.01,
        hidden_layer_sizes=(200, 50),
    )  # fmt: skip
    assert [report.merged for report in reports][-2:] == [False, True]
    assert model.history.samples[-1] < 1000 * 60_000
    assert model.history.samples[-1] == reports[-1].samples


@pytest.mark.parametrize("within", [False, True], ids=["after", "within"])
@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("strategy", OF_ONE)
def test_callback_that_raises(strategy: str, workers: int, within: bool) -> None:
    X, y = inputs(60_000), classes(60_000)

    def fail(report: omp_mlp.Progress) -> None:
        if report.merged != within:
            raise RuntimeError("enough")

    n = 60_000 if within else 50
    with pytest.raises(RuntimeError, match="enough"):
        train(
            strategy, 5, X[:n], y[:n], workers=workers, epochs=1000, callback=fail,
            hidden_layer_sizes=(200, 50),
        )  # fmt: skip


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("strategy", OF_ONE)
def test_ctrl_c(strategy: str, workers: int) -> None:
    # Without the signal, nothing would end this training before the alarm.
    rounds = run(f"""
    def interrupt():
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)
    try:
        threading.Thread(target=interrupt).start()
        t.train({strategy!r}, 3, workers={workers}, epochs=10**8)
    except KeyboardInterrupt:
        print(json.dumps(len(t.train({strategy!r}, 3, workers={workers}).history)))
    """)
    assert rounds == 3


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("strategy", OF_ONE)
def test_divergence(strategy: str, workers: int) -> None:
    with pytest.raises(omp_mlp.TrainingDivergedError) as caught:
        train(
            strategy, 3, workers=workers, activation="identity", loss="squared_error",
            output_activation="identity", learning_rate=1e20, y=classes() + 0.5,
        )  # fmt: skip
    assert caught.value.replica == 0
