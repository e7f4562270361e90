"""L-BFGS: SciPy on the oracle's loss, and what a training of whole iterations promises."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from numpy.typing import NDArray

import omp_mlp
import oracle
from omp_mlp import TrainingDivergedError

RAW = {"scale_inputs": False, "scale_targets": False, "center_inputs": False}
NETWORK: dict[str, Any] = {"hidden_layer_sizes": (6,), "activation": "tanh"}


def train(X: Any, y: Any, threads: int | None = None, **options: Any) -> omp_mlp.Model:
    model = omp_mlp.train_parallel(
        X, y, threads, optimizer="lbfgs", **{**RAW, **NETWORK, "epochs": 12, **options}
    )
    assert isinstance(model, omp_mlp.Model)
    return model


def flat(model: omp_mlp.Model) -> NDArray[Any]:
    return oracle.flatten(list(zip(model.weights, model.biases, strict=True)))


def table(kind: str) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(7)
    X = rng.normal(size=(600, 5)).astype(np.float32)
    if kind == "classes":
        return X, (X[:, 0] * X[:, 1] > 0) + 2 * (X[:, 2] > 0.5)
    return X, np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1)


@pytest.mark.parametrize(
    ("kind", "loss", "output", "l2", "weighs"),
    [
        ("classes", "cross_entropy", "softmax", 0.0, False),
        ("classes", "cross_entropy", "softmax", 0.01, True),
        ("values", "squared_error", "identity", 0.003, False),
        ("values", "huber", "identity", 0.0, True),
    ],
)
def test_is_scipy_on_the_oracles_loss(
    kind: str, loss: str, output: str, l2: float, weighs: bool
) -> None:
    X, y = table(kind)
    weight = np.random.default_rng(8).random(len(X)) if weighs else np.ones(len(X))
    model = train(X, y, loss=loss, l2=l2, sample_weight=weight if weighs else None, seed=9)
    sizes = [5, 6, len(model.biases[-1])]
    targets = y if kind == "classes" else y.astype(np.float64)
    network = {"activation": "tanh", "output_activation": output, "loss": loss}

    def objective(w: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        parameters = oracle.unflatten(w, sizes)
        given = (X.astype(np.float64), targets, weight)
        value = oracle.batch_loss(parameters, *given, **network)
        slopes = oracle.gradient(parameters, *given, **network)
        value += sum(l2 / 2 * float((W**2).sum()) for W, _ in parameters)
        return value, oracle.flatten(
            [(G + l2 * W, g) for (G, g), (W, _) in zip(slopes, parameters, strict=True)]
        )

    losses = []
    start = oracle.flatten(oracle.initial_parameters(sizes, 9, 0, "glorot", np.float64, 1.0))
    found = scipy.optimize.minimize(
        objective,
        start.astype(np.float32).astype(np.float64),
        method="L-BFGS-B",
        jac=True,
        callback=lambda w: losses.append(
            objective(w)[0] - sum(l2 / 2 * (W**2).sum() for W, _ in oracle.unflatten(w, sizes))
        ),
        options={"maxiter": 12, "gtol": 1e-4},
    )
    # The core's float32 is off by 1e-7 in a step, which a dozen line searches make larger.
    np.testing.assert_allclose(model.history.loss, losses, rtol=1e-4)
    np.testing.assert_allclose(flat(model), found.x, rtol=0, atol=2e-3 * np.abs(found.x).max())
    assert list(model.history.samples) == [600 * (k + 1) for k in range(12)]
    assert model.history.loss[-1] < 0.9 * model.history.loss[0]


@pytest.mark.parametrize("kind", ["dense", "csr"])
def test_same_bits_for_any_threads_and_workers(kind: str) -> None:
    X, y = table("classes")
    X, y = np.tile(X, (5, 1)), np.tile(y, 5)
    given = scipy.sparse.csr_matrix(X * (X > 0)) if kind == "csr" else X
    options: dict[str, Any] = {
        "scale_inputs": "auto",
        "center_inputs": True,
        "hidden_layer_sizes": (64,),  # enough work for several parts
        "epochs": 6,
    }
    one = train(given, y, 1, **options)
    for threads, workers in ((4, 1), (4, 3), (2, 2)):
        other = train(given, y, threads, workers=workers, **options)
        np.testing.assert_array_equal(flat(one), flat(other))
        np.testing.assert_array_equal(one.history.loss, other.history.loss)
        assert (other.history.strategy, other.history.threads) == ("synchronous", threads)


def test_scales_do_not_change_what_is_learned_and_losses_are_in_units_of_y() -> None:
    X, y = table("values")
    auto: dict[str, Any] = {"scale_inputs": "auto", "scale_targets": "auto", "epochs": 40}
    plain = train(X, y[:, 0], validation_data=(X, y[:, 0]), **auto)
    moved = train(X * 1000 + 5, y[:, 0] * 100 + 7, **auto)
    assert plain.score(X, y[:, 0]) > 0.9
    assert moved.score(X * 1000 + 5, y[:, 0] * 100 + 7) > 0.9
    # The loss of a round is that of the network after it, here on the same data.
    np.testing.assert_allclose(plain.history.loss, plain.history.validation_loss, rtol=1e-4)
    assert moved.history.loss[0] == pytest.approx(1e4 * plain.history.loss[0], rel=1e-3)


def test_ends_when_the_gradient_is_small() -> None:
    X, y = table("values")
    model = train(X, y, hidden_layer_sizes=(), epochs=500, tol=1e-3)
    residual = model.predict(X) - y
    gradient = np.concatenate([X.T @ residual, residual.sum(axis=0)[None]]) / len(X)
    assert np.abs(gradient).max() <= 1.1e-3
    assert 1 < len(model.history) < 50
    assert len(train(X, y, hidden_layer_sizes=(), epochs=500, tol=1e-5).history) > len(
        model.history
    )


def test_no_epochs_give_the_start_and_a_model_starts_where_it_is() -> None:
    X, y = table("classes")
    start = train(X, y, epochs=0, seed=3)
    drawn = oracle.initial_parameters([5, 6, 4], 3, 0, "glorot", first_biases=1.0)
    np.testing.assert_array_equal(flat(start), oracle.flatten(drawn))
    assert len(start.history) == 0
    half = train(X, y, epochs=5, seed=3)
    on = train(X, y, epochs=5, init=half)
    assert on.history.loss[0] < half.history.loss[-1]


def test_callback_sees_each_iteration_and_stops() -> None:
    X, y = table("classes")
    seen: list[omp_mlp.Progress] = []

    def callback(progress: omp_mlp.Progress) -> bool:
        seen.append(progress)
        return progress.round == 2

    model = train(X, y, callback=callback)
    assert [p.round for p in seen if p.merged] == [0, 1, 2]
    assert seen[-1].total_samples == 12 * 600
    np.testing.assert_array_equal([p.loss for p in seen if p.merged], model.history.loss)

    def fail(_: omp_mlp.Progress) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(X, y, callback=fail)


@pytest.mark.parametrize("scored", [False, True])
def test_what_ends_a_training_has_the_network_and_the_history(scored: bool) -> None:
    X, y = table("classes")
    options: dict[str, Any] = {"validation_data": (X, y)} if scored else {}

    def fail(progress: omp_mlp.Progress) -> bool:
        if progress.round == 4 and progress.merged:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt) as caught:
        train(X, y, callback=fail, **options)
    error: Any = caught.value
    five = train(X, y, epochs=5, **options)
    np.testing.assert_array_equal(flat(error.model), flat(five))
    for history in (error.history, error.model.history):
        np.testing.assert_array_equal(history.loss, five.history.loss)
        np.testing.assert_array_equal(history.validation_loss, five.history.validation_loss)
    assert error.state is None


def test_an_interrupt_between_iterations_has_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = table("classes")
    calls = []

    def array_equal(one: Any, other: Any) -> bool:  # outside the core, as most of SciPy's work is
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return bool((one == other).all())

    monkeypatch.setattr("omp_mlp.lbfgs.np.array_equal", array_equal)
    with pytest.raises(KeyboardInterrupt) as caught:
        train(X, y)
    error: Any = caught.value
    assert 0 < len(error.history) < 12
    monkeypatch.undo()
    np.testing.assert_array_equal(flat(error.model), flat(train(X, y, epochs=len(error.history))))


def test_early_stopping_returns_the_best_iteration() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(120, 8))
    y = X[:, 0] + rng.normal(size=120)  # mostly noise, which forty units learn by heart
    model = train(X, y, hidden_layer_sizes=(40,), epochs=200, tol=0.0, early_stopping=True)
    losses = model.history.validation_loss
    assert model.history.best_round == int(np.argmin(losses)) < len(losses) - 1
    assert len(losses) < 200


def test_the_last_iteration_is_scored_where_it_comes_early() -> None:
    X, y = table("values")
    model = train(
        X,
        y,
        hidden_layer_sizes=(),
        epochs=500,
        tol=1e-3,
        validation_data=(X, y),
        validate_every=400,
    )
    assert np.flatnonzero(np.isfinite(model.history.validation_loss)) == [len(model.history) - 1]


def test_cross_validation_chooses_the_iterations() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(100, 8))
    y = X[:, 0] + 2 * rng.normal(size=100)
    noise = train(X, y, epochs="auto", hidden_layer_sizes=(4,))
    assert len(noise.history) <= 12  # and not the 200 that fit the training rows best


def test_a_start_whose_loss_is_infinite_diverges_with_the_start_in_hand() -> None:
    X, y = table("values")
    with pytest.raises(TrainingDivergedError, match="round 0") as caught:
        train(X * np.float32(7e37), y, activation="identity")
    assert caught.value.replica == 0
    assert caught.value.model is not None
    assert np.isfinite(flat(caught.value.model)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.1}, r"learning_rate goes with optimizer='sgd' or .*got learning_rate"),
        ({"batch_size": 8}, "batch_size goes with optimizer="),
        ({"dropout": 0.5}, "dropout goes with optimizer="),
        ({"weight_decay": 0.1}, "weight_decay goes with optimizer="),
        ({"shuffle": False}, "shuffle goes with optimizer="),
        ({"merge": "average"}, "with nothing to merge; .* Got merge='average'"),
        ({"warmup_samples": 9}, "Got warmup_samples=9"),
        ({"strategy": "hogwild"}, "strategy='replica' or 'synchronous' or 'auto'; got .*'hogwild'"),
    ],
)
def test_what_does_not_go_with_it_is_an_error_that_says_what_does(
    options: dict[str, Any], message: str
) -> None:
    X, y = table("classes")
    with pytest.raises(ValueError, match=message):
        train(X, y, **options)


def test_without_scipy_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    X, y = table("classes")
    with pytest.raises(ImportError, match=r'needs SciPy: pip install "omp_mlp\[lbfgs\]"'):
        train(X, y)
