"""Dropout: the same units are left out by every strategy, by any worker and by the oracle."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fixed
import omp_mlp
import oracle

# As in test_train.py: float32 roundings of some hundred steps. One unit of one sample that is left
# out by mistake moves weights by 1e-3 and more.
TOLERANCE = 1e-5

ROWS = 61
OPTIONS: dict[str, Any] = {
    # 37 and 50 units are 3 and 4 cache lines, of which one is not full.
    "hidden_layer_sizes": (37, 50),
    "activation": "tanh",
    "dropout": (0.25, 0.5),
    "epochs": 3,
    "batch_size": 8,
    "learning_rate": 0.1,
    "init_scale": "glorot",
    "seed": 11,
}
ORACLE: dict[str, Any] = {"output_activation": "softmax", "loss": "cross_entropy"}


def inputs() -> NDArray[np.float32]:
    rng = np.random.default_rng(3)
    return (rng.normal(size=(ROWS, 9)) * (rng.random((ROWS, 9)) < 0.6)).astype(np.float32)


def classes(n_classes: int = 3) -> NDArray[np.int64]:
    return np.random.default_rng(4).permutation(np.arange(ROWS) % n_classes)


def flat(model: omp_mlp.Model) -> NDArray[np.float32]:
    return oracle.flatten(list(zip(model.weights, model.biases, strict=True)))


def period(changed: dict[str, Any]) -> int:
    """Return how often replicas merge: often, but not more than once a batch."""
    return max(16, changed.get("batch_size", 0))


def train(strategy: str, threads: int, y: Any = None, **changed: Any) -> omp_mlp.Model:
    if strategy == "replica":
        every = period(changed)
        changed = {"merge": "average", "merge_every": every, "outer_momentum": 0.0, **changed}
        changed = {"last_merge": None, **changed}
    y = classes() if y is None else y
    model: omp_mlp.Model = fixed.train_parallel(
        inputs(), y, threads, strategy=strategy, **{**OPTIONS, **changed}
    )
    return model


def check(strategy: str, threads: int, y: Any = None, **changed: Any) -> None:
    model = train(strategy, threads, y, **changed)
    for not_of_the_oracle in ("first_layer", "center_inputs", "workers"):
        changed.pop(not_of_the_oracle, None)
    expected = oracle.train_parallel(
        inputs(),
        classes() if y is None else y,
        threads if strategy == "replica" else 1,
        "average",
        **{**OPTIONS, **ORACLE, **changed},
        merge_every=period(changed) if strategy == "replica" else ROWS,
        outer_momentum=0.0,
    )
    weights = oracle.flatten(expected.parameters)
    largest = max(1.0, float(np.abs(weights).max()))
    np.testing.assert_allclose(flat(model), weights, rtol=0, atol=TOLERANCE * largest)
    np.testing.assert_allclose(model.history.loss, expected.losses, rtol=2e-5)


STRATEGIES = [("replica", 3), ("section", 3), ("synchronous", 3), ("hogwild", 1)]


# ------------------------------------------------------------------------------- against the oracle


@pytest.mark.parametrize(("strategy", "threads"), STRATEGIES)
@pytest.mark.parametrize("activation", oracle.ACTIVATIONS)
def test_every_strategy_and_activation(strategy: str, threads: int, activation: str) -> None:
    check(strategy, threads, activation=activation)


@pytest.mark.parametrize(("strategy", "threads"), STRATEGIES)
@pytest.mark.parametrize("batch_size", [1, 5, 61])
@pytest.mark.parametrize("hidden", [(20,), (16, 3, 40)], ids=str)
@pytest.mark.parametrize("first_layer", ["sparse", "dense"])
def test_every_batch_and_shape(
    strategy: str, threads: int, batch_size: int, hidden: tuple[int, ...], first_layer: str
) -> None:
    check(
        strategy,
        threads,
        batch_size=batch_size,
        hidden_layer_sizes=hidden,
        dropout=0.3,
        first_layer=first_layer,
        learning_rate=0.05,
    )


@pytest.mark.parametrize(("strategy", "threads"), STRATEGIES)
@pytest.mark.parametrize("rates", [(0.0, 0.5), (0.9, 0.0)], ids=str)
def test_layers_without_dropout(strategy: str, threads: int, rates: tuple[float, float]) -> None:
    check(strategy, threads, dropout=rates)


@pytest.mark.parametrize(("strategy", "threads"), STRATEGIES)
def test_more_outputs_than_a_narrow_layer_has(strategy: str, threads: int) -> None:
    y = classes(20)
    check(strategy, threads, y)


@pytest.mark.parametrize(("strategy", "threads"), STRATEGIES[:3])
def test_momentum(strategy: str, threads: int) -> None:
    check(strategy, threads, optimizer="momentum", learning_rate=0.02)


@pytest.mark.parametrize("shuffle", ["shards", False])
def test_shards(shuffle: str | bool) -> None:
    check("replica", 3, shuffle=shuffle)


def test_warm_up() -> None:
    check("replica", 3, warmup_samples=70)


# ------------------------------------------------------------------------ what is left out, by hand


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_units_are_left_out_at_their_rate_and_independently(rate: float) -> None:
    # 40,000 draws: the share is off by at most 4 standard errors of 0.0025.
    factors = np.concatenate(
        [
            oracle.dropout_factors(7, epoch, range(100), layer, 100, rate)
            for epoch in (0, 1)
            for layer in (0, 1)
        ]
    )
    assert set(np.unique(factors)) == {0, 1 / (1 - rate)}
    dropped = factors == 0
    assert dropped.mean() == pytest.approx(rate, abs=4 * 0.0025)
    # Units, samples, layers and epochs do not share draws: correlations of 10,000 are below 0.04.
    pairs = [
        (dropped[:, :-1], dropped[:, 1:]),
        (dropped[:-1], dropped[1:]),
        (dropped[:100], dropped[100:200]),
        (dropped[:200], dropped[200:]),
    ]
    for one, other in pairs:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.04


def test_a_step_with_dropout_by_hand() -> None:
    # One sample x = 1 and t = 0, weights 1 into four identity units and 1 out of them. A unit that
    # stays counts for 2: o = 2 m with m units left, so delta = 2 m, and the step takes 1/8 of
    #   delta * 2 = 4 m off the weight out of a unit that stays, and as much off the weight into it.
    start = omp_mlp.Model(
        [np.ones((1, 4)), np.ones((4, 1))], [np.zeros(4), np.zeros(1)], activation="identity"
    )
    model = fixed.train_parallel(
        np.ones((1, 1)),
        np.zeros(1),
        1,
        "average",
        hidden_layer_sizes=(4,),
        activation="identity",
        dropout=0.5,
        epochs=1,
        batch_size=1,
        learning_rate=0.125,
        init=start,
        seed=3,
    )
    stays = oracle.dropout_factors(3, 0, [0], 0, 4, 0.5)[0] > 0
    m = int(stays.sum())
    assert 0 < m < 4
    after = np.where(stays, 1 - 0.125 * 4 * m, 1)
    assert model.weights[0].tolist() == [after.tolist()]
    assert model.weights[1][:, 0].tolist() == after.tolist()
    assert model.biases[0].tolist() == np.where(stays, -0.125 * 4 * m, 0).tolist()
    assert model.biases[1].tolist() == [-0.125 * 2 * m]
    assert model.history.loss.tolist() == [0.5 * (2 * m) ** 2]


# ---------------------------------------------------------------------------------------- same bits


@pytest.mark.parametrize("strategy", ["replica", "section", "synchronous"])
def test_any_number_of_workers(strategy: str) -> None:
    one, three = (flat(train(strategy, 3, workers=workers)).tobytes() for workers in (1, 3))
    assert one == three


@pytest.mark.parametrize("strategy", ["replica", "section", "synchronous"])
def test_no_rate_is_no_dropout(strategy: str) -> None:
    without = flat(train(strategy, 3, dropout=0.0)).tobytes()
    assert flat(train(strategy, 3, dropout=(0.0, 0.0))).tobytes() == without
    assert flat(train(strategy, 3)).tobytes() != without


@pytest.mark.parametrize("strategy", ["section", "synchronous"])
def test_centred_inputs_and_skipped_samples(strategy: str) -> None:
    for changed in ({"center_inputs": True}, {"skip_confident": 0.3}):
        model = train(strategy, 3, **changed)
        alone = train("replica", 1, merge_every=None, **changed)
        np.testing.assert_allclose(flat(model), flat(alone), rtol=0, atol=TOLERANCE)


def test_the_seed_draws_what_is_left_out() -> None:
    start = train("replica", 1, epochs=0)
    one, other = (train("replica", 1, init=start, shuffle=False, seed=seed) for seed in (1, 2))
    assert flat(one).tobytes() != flat(other).tobytes()


def test_nothing_is_left_out_of_answers() -> None:
    X, y = inputs(), classes()
    model = train("replica", 2, validation_data=(X, y))
    layers = list(zip(model.weights, model.biases, strict=True))
    expected = oracle.forward(layers, X, "tanh", "softmax")
    np.testing.assert_allclose(model.decision_function(X), expected.decision, rtol=0, atol=1e-5)
    loss = oracle.sample_losses(expected.decision, y, "cross_entropy", "softmax").mean()
    assert model.history.validation_loss[-1] == pytest.approx(loss, rel=1e-5)


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dropout": 1.0}, ValueError, "dropout must be at least 0 and less than 1; got 1.0"),
        ({"dropout": -0.1}, ValueError, "dropout must be at least 0 and less than 1; got -0.1"),
        ({"dropout": "half"}, TypeError, "dropout must be a number; got 'half' of type str"),
        (
            {"dropout": (0.1, 1.5), "hidden_layer_sizes": (3, 3)},
            ValueError,
            "dropout[1] must be at least 0 and less than 1; got 1.5",
        ),
        (
            {"dropout": (0.1, 0.2)},
            ValueError,
            "dropout must be one rate, or one for each of the 1 hidden layer(s); got 2 rates",
        ),
        (
            {"dropout": 0.1, "hidden_layer_sizes": ()},
            ValueError,
            "dropout leaves out hidden units; got dropout=0.1 and no hidden layer",
        ),
    ],
)
def test_refused_before_any_work(
    train_without_work: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        train_without_work(**options)
