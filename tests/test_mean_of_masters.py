"""The mean of the last masters, and the exponential mean, in the place of the last master."""

import re
from typing import Any

import numpy as np
import pytest

import fixed
import omp_mlp

RNG = np.random.default_rng(4)
X = RNG.normal(size=(90, 4)).astype(np.float32)
Y = (X[:, 0] + 0.8 * RNG.normal(size=90) > 0).astype(int)
DATA = RNG.normal(size=(40, 4)).astype(np.float32), np.arange(40) % 2
STRATEGIES = ["replica", "section", "synchronous", "pattern"]
OPTIONS = {"hidden_layer_sizes": (5,), "epochs": 7, "learning_rate": 0.2, "seed": 3}


def train(strategy: str, **options: Any) -> omp_mlp.Model:
    options = {**OPTIONS, "strategy": strategy, **options}
    if strategy == "replica":
        options = {"merge_every": 16, **options}
    return fixed.train_parallel(X, Y, 3, **options)


def masters(strategy: str, **options: Any) -> list[np.ndarray]:
    """Return the network after each round of a training that averages nothing."""
    found = []

    def keep(report: omp_mlp.Progress) -> None:
        if report.merged:
            found.append(report.model._packed.astype(np.float64))

    train(strategy, callback=keep, **options)
    return found


def mean_of(found: list[np.ndarray], averaging: str, span: int) -> np.ndarray:
    """Return the mean by its definition."""
    if averaging == "lawa":
        return np.mean(found[-span:], axis=0)
    mean = found[0]
    for master in found[1:]:
        mean = mean + 2 / (span + 1) * (master - mean)
    return mean


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("averaging", ["lawa", "ema"])
@pytest.mark.parametrize("span", [1, 3, 5, 100])
def test_the_mean_of_the_masters(strategy, averaging, span):
    found = masters(strategy)
    assert len(found) == (14 if strategy == "replica" else 7)
    expected = mean_of(found, averaging, span)
    for workers in (1, 2):
        model = train(strategy, averaging=averaging, averaging_span=span, workers=workers)
        # The means are in double, and rounded once.
        np.testing.assert_allclose(model._packed, expected, rtol=2**-23, atol=1e-12)
    if span == 1:
        np.testing.assert_array_equal(model._packed, found[-1].astype(np.float32))


@pytest.mark.parametrize("averaging", ["lawa", "ema"])
def test_validation_callback_and_early_stopping_see_the_mean(averaging):
    found = masters("replica")
    means = [mean_of(found[: k + 1], averaging, 4) for k in range(len(found))]
    options = {"averaging": averaging, "averaging_span": 4, "validation_data": DATA}
    options["validate_every"] = 1
    seen = []
    model = train(
        "replica", callback=lambda report: report.merged and seen.append(report.model), **options
    )
    for one, mean in zip(seen, means, strict=True):
        np.testing.assert_allclose(one._packed, mean, rtol=2**-23, atol=1e-12)
    losses = [one.evaluate(*DATA)[0] for one in seen]
    np.testing.assert_allclose(model.history.validation_loss, losses, rtol=1e-6)
    best = int(np.argmin(losses))
    stopped = train("replica", early_stopping=True, patience=100, **options)
    assert stopped.history.best_round == best
    np.testing.assert_array_equal(stopped._packed, seen[best]._packed)


def test_a_training_that_is_stopped_returns_the_mean_so_far():
    found = masters("replica")
    model = train("replica", averaging="lawa", callback=lambda report: report.round == 4)
    np.testing.assert_allclose(
        model._packed, mean_of(found[:5], "lawa", 10), rtol=2**-23, atol=1e-12
    )


def test_a_warm_up_makes_no_master_of_the_mean():
    found = masters("replica", warmup_samples=30)
    model = train("replica", warmup_samples=30, averaging="ema", averaging_span=4)
    np.testing.assert_allclose(model._packed, mean_of(found[1:], "ema", 4), rtol=2**-23, atol=1e-12)


@pytest.mark.parametrize("averaging", ["lawa", "ema"])
def test_no_epochs_return_the_start(averaging):
    start = train("replica", epochs=0)
    np.testing.assert_array_equal(
        train("replica", epochs=0, averaging=averaging)._packed, start._packed
    )


BAD = [
    (
        {"averaging_span": 3},
        "averaging_span goes with averaging='lawa' or 'ema'; got averaging='none'",
    ),
    ({"averaging": "mean"}, "averaging must be one of 'none', 'lawa', 'ema'; got 'mean'"),
    ({"averaging": "ema", "averaging_span": 0}, "averaging_span must be at least 1"),
    ({"averaging": "ema", "keep_replicas": True}, "goes with keep_replicas=False; got True"),
    ({"averaging": "lawa", "merge": "ensemble"}, "got merge='ensemble', which merges once"),
    ({"averaging": "lawa", "strategy": "hogwild"}, "averaging='lawa'"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_settings(options, message, train_without_work):
    with pytest.raises(ValueError, match=re.escape(message)):
        train_without_work(**options)


def test_a_full_batch_has_no_masters_to_average():
    with pytest.raises(
        ValueError, match=r"averaging goes with optimizer='sgd' or .*; got averaging"
    ):
        omp_mlp.train_parallel(X, Y, 1, optimizer="lbfgs", averaging="ema")
