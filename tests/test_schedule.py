"""Learning rates: what each schedule is at many points, and trainings that ask it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fixed
import oracle
from omp_mlp import _core
from omp_mlp.options import SCHEDULES

# Roundings of float32 walk at random (test_train.py); a wrong rate moves a weight by 1e-3.
TOLERANCE = 1e-5

LENGTHS = [1, 7, 1000, 12_345_678_901]


def at(
    schedule: str,
    position: int,
    length: int,
    *,
    start: float = 0.8,
    power_t: float = 0.5,
    warmup_share: float = 0.0,
) -> float:
    rate = _core.LearningRate(
        start=start, schedule=schedule, power_t=power_t, tol=1e-4, warmup_share=warmup_share,
        retreats=0,
    )  # fmt: skip
    return _core.learning_rate_at(rate=rate, position=position, length=length)


def positions(length: int) -> list[int]:
    return sorted({length * k // 97 for k in range(98)} | {0, length - 1, length})


# ------------------------------------------------------------------------------------ the formulas


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("warmup_share", [0.0, 0.1, 0.999])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_is_the_oracle(schedule: str, warmup_share: float, length: int) -> None:
    for power_t in (0.5, 0.0, 1.25) if schedule == "inverse_scaling" else (0.5,):
        settings = {"power_t": power_t, "warmup_share": warmup_share}
        got = [at(schedule, p, length, **settings) for p in positions(length)]
        expected = [
            oracle.learning_rate_at(0.8, schedule, p, length, **settings) for p in positions(length)
        ]
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13)
        assert min(got) >= 0
        assert max(got) <= 0.8


def test_schedules_by_hand() -> None:
    def of(schedule: str, *points: int) -> Any:
        return pytest.approx([at(schedule, p, 120, start=2.0) for p in points], abs=1e-15)

    assert of("constant", 0, 60, 120) == [2, 2, 2]
    assert of("linear", 0, 30, 60, 120) == [2, 1.5, 1, 0]
    # Half a cosine: 2 (1 + cos 60 degrees) / 2 = 1.5 after a third.
    assert of("cosine", 0, 40, 60, 80, 120) == [2, 1.5, 1, 0.5, 0]
    # From 2/25 = 0.08 to 2, halfway at 15 %: 1.04. From there to 2/250000, halfway at 65 %.
    assert of("one_cycle", 0, 18, 36, 78, 120) == [0.08, 1.04, 2, (2 + 8e-6) / 2, 8e-6]
    # A third of the rise: 0.08 + 1.92 (1 - cos 60 degrees) / 2.
    assert of("one_cycle", 12, 24) == [0.08 + 1.92 / 4, 2 - 1.92 / 4]
    assert of("inverse_scaling", 0, 3, 99) == [2, 1, 0.2]
    # 1 + 15 x = 1, 2, 4, 8, 16 are the ends of waves, and sqrt 2 and 2 sqrt 2 lie between them.
    assert of("coslog4", 0, 8, 24, 56, 120) == [0, 0, 0, 0, 0]
    tops = [120 * (2 ** (k + 0.5) - 1) / 15 for k in range(4)]
    near = [at("coslog4", round(1e6 * p), 120_000_000, start=2.0) for p in tops]
    assert near == pytest.approx([2, 2, 2, 2], abs=1e-10)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warmup_share_by_hand(schedule: str) -> None:
    # A fifth of 100 positions: 2 k / 20, and then the schedule over 80.
    rise = [at(schedule, p, 100, start=2.0, warmup_share=0.2) for p in (0, 5, 10, 19)]
    assert rise == pytest.approx([0, 0.5, 1, 1.9], abs=1e-15)
    rest = [at(schedule, 20 + p, 100, start=2.0, warmup_share=0.2) for p in (0, 1, 40, 80)]
    alone = [at(schedule, p, 80, start=2.0) for p in (0, 1, 40, 80)]
    assert rest == pytest.approx(alone, rel=1e-12, abs=1e-15)


def test_one_cycle_and_cosine_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    steps = 20_000

    def rates(make: Any) -> NDArray[np.float64]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.8)
        scheduler = make(optimizer)
        found = []
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return np.array(found)

    def ours(schedule: str) -> list[float]:
        return [at(schedule, step, steps) for step in range(steps)]

    schedulers = torch.optim.lr_scheduler
    cosine = rates(lambda optimizer: schedulers.CosineAnnealingLR(optimizer, T_max=steps))
    np.testing.assert_allclose(ours("cosine"), cosine, rtol=0, atol=1e-10)
    # PyTorch's last step has the last rate. So it goes from peak to end in one step less.
    cycle = rates(lambda optimizer: schedulers.OneCycleLR(optimizer, 0.8, total_steps=steps))
    np.testing.assert_allclose(ours("one_cycle"), cycle, rtol=0, atol=0.8 * 6 / steps)


def test_inverse_scaling_is_that_of_scikit_learn() -> None:
    stochastic = pytest.importorskip("sklearn.neural_network._stochastic_optimizers")
    optimizer = stochastic.SGDOptimizer([], 0.8, lr_schedule="invscaling", power_t=0.3)
    for t in (0, 1, 10, 1797, 10**6):
        optimizer.iteration_ends(t)
        ours = at("inverse_scaling", t, 10**7, power_t=0.3)
        assert ours == pytest.approx(optimizer.learning_rate, rel=1e-14)


# --------------------------------------------------------------------------------------- trainings

N = 90
OPTIONS: dict[str, Any] = {
    "hidden_layer_sizes": (5,), "activation": "tanh", "epochs": 3, "batch_size": 4,
    "learning_rate": 0.3, "init_scale": "glorot", "seed": 11,
}  # fmt: skip
# A share of the training, so that not all of it is warm-up.
SETTINGS: dict[str, dict[str, Any]] = {
    **{name: {"learning_rate_schedule": name} for name in SCHEDULES},
    "inverse_scaling of 0.1": {"learning_rate_schedule": "inverse_scaling", "power_t": 0.1},
    "linear after warm-up": {"learning_rate_schedule": "linear", "warmup_share": 0.3},
    "one_cycle after warm-up": {"learning_rate_schedule": "one_cycle", "warmup_share": 0.1},
}


def inputs() -> NDArray[np.float32]:
    rng = np.random.default_rng(3)
    return (rng.normal(size=(N, 7)) * (rng.random((N, 7)) < 2 / 3)).astype(np.float32)


def classes() -> NDArray[np.int64]:
    y = np.arange(N) % 3
    np.random.default_rng(4).shuffle(y)
    return y


def flat(model: Any) -> NDArray[np.float32]:
    return oracle.flatten(list(zip(model.weights, model.biases, strict=True)))


def check(strategy: str, threads: int, **changed: Any) -> Any:
    """Train with the library and with the oracle, and compare."""
    options = {**OPTIONS, **changed}
    merging: dict[str, Any] = {"merge_every": 20, "outer_momentum": 0.0}
    merging |= {name: options.pop(name) for name in list(options) if name.startswith("outer")}
    merging["merge_every"] = merging.pop("outer_merge_every", 20)
    if strategy == "replica":
        given = {**options, "merge": "average", **merging}
    else:
        given = {**options, "strategy": strategy}
    model = fixed.train_parallel(inputs(), classes(), threads, **given)
    if strategy != "replica":
        threads, merging = 1, {"merge_every": N, "outer_momentum": 0.0}
    expected = oracle.train_parallel(
        inputs(), classes(), threads, "average",
        output_activation="softmax", loss="cross_entropy", **options, **merging,
    )  # fmt: skip
    got, theirs = flat(model), oracle.flatten(expected.parameters)
    np.testing.assert_allclose(got, theirs, rtol=0, atol=TOLERANCE * max(1, np.abs(theirs).max()))
    np.testing.assert_allclose(model.history.loss, expected.losses, rtol=1e-5)
    return model


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    "strategy, threads",
    [("replica", 3), ("section", 2), ("synchronous", 3), ("hogwild", 1)],
)
def test_every_strategy_asks_the_schedule(
    strategy: str, threads: int, setting: str, optimizer: str
) -> None:
    if strategy == "hogwild" and optimizer != "sgd":
        pytest.skip("hogwild has no state")
    rate = 0.3 if optimizer == "sgd" else 0.05
    check(strategy, threads, **SETTINGS[setting], optimizer=optimizer, learning_rate=rate)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_warm_up_of_one_replica_has_a_constant_rate(setting: str) -> None:
    check("replica", 3, warmup_samples=25, **SETTINGS[setting])


@pytest.mark.parametrize("setting", SETTINGS)
def test_slowmo_with_rates_that_rise_and_reach_zero(setting: str) -> None:
    model = check("replica", 3, **SETTINGS[setting], outer_optimizer="slowmo", outer_momentum=0.6)
    assert np.isfinite(flat(model)).all()


@pytest.mark.parametrize("setting", SETTINGS)
def test_history_has_the_rate_at_the_start_of_each_round(setting: str) -> None:
    settings = dict(SETTINGS[setting])
    schedule = settings.pop("learning_rate_schedule")
    model = check("replica", 3, **SETTINGS[setting], warmup_samples=25)
    # Shards of 30 samples, 3 epochs, merges every 20.
    expected = [oracle.learning_rate_at(0.3, schedule, p, 90, **settings) for p in range(0, 90, 20)]
    np.testing.assert_allclose(model.history.learning_rate, [0.3, *expected], rtol=1e-14)
    model = check("section", 2, **SETTINGS[setting])
    expected = [oracle.learning_rate_at(0.3, schedule, p * N, 3 * N, **settings) for p in range(3)]
    np.testing.assert_allclose(model.history.learning_rate, expected, rtol=1e-14)


@pytest.mark.parametrize("merge_every", [7, 30, 45])
@pytest.mark.parametrize("strategy, threads", [("replica", 3), ("section", 2)])
def test_adaptive_divides_the_rate_where_the_loss_stays(
    strategy: str, threads: int, merge_every: int
) -> None:
    # So large a tol that the loss never falls enough: every second epoch after the first.
    options = {"learning_rate_schedule": "adaptive", "tol": 10.0, "epochs": 7}
    if strategy == "replica":
        options |= {"outer_merge_every": merge_every}
    model = check(strategy, threads, **options)
    rates = model.history.learning_rate
    assert rates[0] == 0.3
    assert rates[-1] < 0.3
    if strategy == "section" or merge_every == 30:
        # The first epoch has nothing to fall below.
        steps = [0.3, 0.3, 0.3, 0.3 / 5, 0.3 / 5, 0.3 / 25, 0.3 / 25]
        np.testing.assert_allclose(rates, steps, rtol=1e-14)


def test_adaptive_is_constant_while_the_loss_falls() -> None:
    options = {"epochs": 5, "learning_rate": 0.05, "tol": 0.0}
    model = check("section", 2, learning_rate_schedule="adaptive", **options)
    assert (np.diff(model.history.loss) < 0).all()
    assert set(model.history.learning_rate) == {0.05}


def test_adaptive_lowers_the_momentum_of_slowmo() -> None:
    check(
        "replica", 3, learning_rate_schedule="adaptive", tol=10.0, epochs=7,
        outer_optimizer="slowmo", outer_momentum=0.6,
    )  # fmt: skip


def test_power_t_goes_with_inverse_scaling() -> None:
    with pytest.raises(
        ValueError,
        match=r"power_t goes with learning_rate_schedule='inverse_scaling'; got power_t=0\.25 and "
        r"learning_rate_schedule='cosine'",
    ):
        check("replica", 1, learning_rate_schedule="cosine", power_t=0.25)
    with pytest.raises(
        ValueError, match=r"tol goes with learning_rate_schedule='adaptive' or .*; got"
    ):
        check("replica", 1, learning_rate_schedule="cosine", tol=0.25)


@pytest.mark.parametrize("share", [-0.1, 1.0, math.nan, "0.1"])
def test_warmup_share_is_a_share(share: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="warmup_share must be"):
        check("replica", 1, warmup_share=share)
