"""The script behind `make frontier`: its arithmetic, its settings, what it writes, how it judges.

A small run on few samples; it falls back to augmented digits where MNIST is not there.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fixed
import omp_mlp
from omp_mlp import _core

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from benchmarks.common import documents, files
from benchmarks.frontier import __main__ as run
from benchmarks.frontier import (
    changes,
    judge,
    measure,
    once,
    pictures,
    problems,
    rules,
    settings,
    tables,
    timing,
    tune,
    work,
)
from benchmarks.frontier.arithmetic import (
    budget_to_reach,
    mean_and_sd,
    mean_period,
    merges_an_epoch,
    modelled,
    share_touched,
    slowest_to_mean,
    speed_up,
)
from benchmarks.frontier.lines import ONCE, PERIODIC, SEQUENTIAL, SINGLE
from benchmarks.frontier.problems import Source

LIMIT = 320
SMALL = ["--limit", str(LIMIT), "--quick", "--threads", "2", "8"]


def cost_of(
    replica: float, turns: float, merges: float, merge_seconds: float, wall: float
) -> dict[str, float]:
    cost = {"replica_seconds": replica, "turns_seconds": turns, "wall_seconds": wall}
    more = {"slowest_to_mean": 1.25, "merges": merges, "merge_seconds": merge_seconds}
    return modelled({**cost, **more})


class TestBudgetToReach:
    def test_between_two_budgets_on_a_logarithmic_scale(self) -> None:
        # Half-way between 97 and 98 is half-way between log 1 and log 4.
        assert budget_to_reach([1, 4], [97.0, 98.0], 97.5) == pytest.approx(2.0)
        assert budget_to_reach([0.5, 1, 2], [96.0, 97.0, 99.0], 98.0) == pytest.approx(2**0.5)

    def test_a_point_that_was_measured_is_met_exactly(self) -> None:
        assert budget_to_reach([1, 2, 4], [97.0, 97.5, 98.0], 97.5) == pytest.approx(2.0)
        assert budget_to_reach([1, 2, 4], [97.0, 97.5, 98.0], 98.0) == pytest.approx(4.0)

    def test_the_first_budget_is_an_upper_bound(self) -> None:
        assert budget_to_reach([0.5, 1], [97.2, 97.6], 97.0) == 0.5

    def test_a_target_that_was_not_reached(self) -> None:
        assert budget_to_reach([1, 2], [96.0, 96.9], 97.0) is None
        assert budget_to_reach([], [], 97.0) is None

    def test_the_first_crossing_counts(self) -> None:
        assert budget_to_reach([1, 2, 4, 8], [96.0, 98.0, 96.0, 99.0], 97.0) == pytest.approx(
            math.sqrt(2)
        )

    @given(
        st.lists(st.floats(90, 99), min_size=2, max_size=8),
        st.floats(90, 99),
    )
    def test_lies_between_the_budgets_around_the_crossing(
        self, scores: list[float], target: float
    ) -> None:
        budgets = [2.0**k for k in range(len(scores))]
        found = budget_to_reach(budgets, scores, target)
        first = next((k for k, score in enumerate(scores) if score >= target), None)
        if first is None:
            assert found is None
        else:
            assert found is not None
            low = budgets[max(first - 1, 0)]
            assert low * (1 - 1e-12) <= found <= budgets[first] * (1 + 1e-12)

    @given(st.floats(96, 98), st.floats(96, 98))
    def test_more_accuracy_never_needs_less(self, one: float, other: float) -> None:
        budgets, scores = [0.5, 1, 2, 4], [95.0, 96.5, 97.5, 98.0]
        low, high = sorted((one, other))
        easy, hard = (budget_to_reach(budgets, scores, target) for target in (low, high))
        assert easy is not None
        assert hard is not None
        assert easy <= hard * (1 + 1e-12)


class TestTimes:
    def test_merges_an_epoch(self) -> None:
        # 1000 samples for 8 replicas are 125 each.
        assert merges_an_epoch(1000, 8, 25) == 5
        # As many merges as the library makes, but for rounding to whole samples.
        for first, last in ((16, 256), (8, 128), (64, 16)):
            every = _core.Period(first=first, last=last)
            rounds = _core.count_rounds(length=10**6, every=every, batch_size=1)
            assert rounds == pytest.approx(10**6 / mean_period((first, last)), rel=1e-3)
        assert mean_period([64, 64]) == 64

    def test_an_epoch_modelled_for_n_cores(self) -> None:
        cost = cost_of(0.03, 0.05, merges=100, merge_seconds=1e-4, wall=0.5)
        assert cost["modelled_seconds"] == pytest.approx(0.04)
        assert cost["turns_modelled_seconds"] == pytest.approx(0.06)
        assert cost["merge_share"] == pytest.approx(0.25)

    def test_the_busiest_replica_by_hand(self) -> None:
        work = np.array([1, 3])
        assert slowest_to_mean(np.array([7, 7]), 8, 5) == 1
        assert slowest_to_mean(work, 1, 5) == pytest.approx(1)
        # Of two replicas with a sample each, both have 1 in a quarter of the rounds: 2.5 to 2.
        assert slowest_to_mean(work, 2, 1) == pytest.approx(1.25, abs=0.06)
        # Long rounds are alike.
        assert 1 < slowest_to_mean(work, 8, 1000) < 1.05
        few, many = slowest_to_mean(work, 4, 16), slowest_to_mean(work, 64, 16)
        assert 1 < few < many
        # Between those of its first and its last rounds.
        growing = slowest_to_mean(work, 64, (16, 256))
        assert slowest_to_mean(work, 64, 256) < growing < many

    def test_share_touched_by_hand(self) -> None:
        # Columns that are nonzero in all samples, in none and in half of them.
        X = np.array([[1, 0, 0], [2, 0, 3]])
        assert share_touched(X, 1) == pytest.approx((1 + 0 + 1 / 2) / 3, abs=0.06)
        assert share_touched(X, 3) == pytest.approx((1 + 0 + 7 / 8) / 3, abs=0.06)
        assert share_touched(X, 64) == pytest.approx(2 / 3)
        X = (np.random.default_rng(0).random((500, 40)) < 0.02).astype(np.uint8)
        assert share_touched(X, 16) < share_touched(X, (16, 256)) < share_touched(X, 256)

    def test_replicas_apart_by_hand(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Timed with a replica a core, by averages at a rate that any number of them can stand."""
        timed = []

        def train_one_second(job: work.Training, **_: Any) -> Any:
            timed.append(job)
            history = SimpleNamespace(mean_replica_seconds=np.array([0.5, 0.5]))
            return SimpleNamespace(history=history), None

        monkeypatch.setattr(timing, "train", train_one_second)
        monkeypatch.setattr(timing, "EPOCHS", 2)
        source = Source()
        line = next(line for line in PERIODIC if line.name == "nesterov")
        settings = {"learning_rate": 0.3, "batch_size": 4, "merge_every": 32, "outer_momentum": 0.9}
        job = work.training(source, "digits", line, 64, settings, epochs=2.0)
        nonzeros = np.count_nonzero(source.load("digits").X, axis=1)
        slower = slowest_to_mean(nonzeros, 64, 32)
        assert timing.seconds_apart(job, 2) == pytest.approx(0.5 * 2 / 64 * slower)
        (few,) = timed
        assert (few.threads, few.method) == (2, "average")
        assert few.options == {"learning_rate": 0.04, "batch_size": 4, "merge_every": 32}

    def test_speed_up(self) -> None:
        assert speed_up(0.6, 0.05) == pytest.approx(12.0)
        assert speed_up(None, 0.05) is None
        assert speed_up(0.6, None) is None

    def test_an_entry_by_hand(self) -> None:
        """Two seeds, two budgets; 98 % is reached by the mean half-way between 1 and 4 epochs."""
        # It had reached the target, and needed no third budget.
        one = measure.time_entry(
            {
                "line": "sequential",
                "threads": 1,
                "settings": {},
                "scores_of_seeds": [[97.0, 97.2], [98.8, 99.0]],
            },
            [1, 4, 7],
            cost_of(0.1, 0.1, merges=0, merge_seconds=0, wall=0.11),
        )
        eight = measure.time_entry(
            {
                "line": "gradient_diversity",
                "threads": 8,
                "settings": {"merge_every": 100},
                "scores_of_seeds": [[97.0, 97.0], [99.0, 97.0], [None, 99.0]],
            },
            [1, 4, 7],
            cost_of(0.0125, 0.0325, merges=75, merge_seconds=1e-4, wall=0.06),
        )
        measure.add_speed_ups([one, eight])
        # Means 97.1 and 98.9: 98 is half-way, 2 epochs of 0.1 s.
        assert one["reach"]["98.0"]["epochs"] == pytest.approx(2.0)
        assert one["reach"]["98.0"]["modelled_seconds"] == pytest.approx(0.2)
        assert one["reach"]["98.0"]["modelled_speed_up"] == pytest.approx(1.0)
        # Means 97 and 98: 4 epochs of 0.0125 + 75 x 0.0001 = 0.02 s.
        reached = eight["reach"]["98.0"]
        assert reached["epochs"] == pytest.approx(4.0)
        assert reached["epochs_of_seeds"][0] == pytest.approx(2.0)
        # From 97 after 4 epochs to 99 after 7.
        assert reached["epochs_of_seeds"][1] == pytest.approx(math.sqrt(4 * 7))
        assert reached["modelled_seconds"] == pytest.approx(0.08)
        assert reached["modelled_speed_up"] == pytest.approx(2.5)
        assert reached["turns_speed_up"] == pytest.approx(0.2 / 0.16)
        assert reached["measured_speed_up"] == pytest.approx(2 * 0.11 / (4 * 0.06))
        # One training diverged: no mean, and nothing is reached by it.
        assert eight["scores"][:2] == [97.0, 98.0]
        assert math.isnan(eight["scores"][2])
        # Nothing was seen at less than an epoch, and it was enough for 97 %.
        assert eight["reach"]["97.0"]["epochs"] == 1

    def test_reached_by_the_mean_of_the_seeds(self) -> None:
        assert measure.reached_all([98.4, 97.6])
        assert not measure.reached_all([98.4, 97.5])
        assert not measure.reached_all([98.4, float("nan")])

    def test_mean_and_sd(self) -> None:
        assert mean_and_sd(np.array([97.0, 98.0, 99.0])) == (98.0, 1.0)
        assert mean_and_sd(np.array([97.0])) == (97.0, None)

    def test_sizes_of_the_layers(self) -> None:
        source = Source(limit=LIMIT)
        assert source.load("digits").layer_sizes == (64, 128, 10)
        assert source.load("regression").layer_sizes == (20, 64, 1)


class TestSettings:
    def test_nearest_by_ratio_and_the_larger_of_two(self) -> None:
        assert settings.nearest(8, [4, 16]) == 16
        assert settings.nearest(5, [4, 16]) == 4
        assert settings.nearest(1024, [4, 16, 64]) == 64
        assert settings.nearest(2, [4, 16, 64]) == 4

    def test_every_line_has_settings_that_train_parallel_takes(self) -> None:
        for slug in problems.LOADERS:
            for line in (SEQUENTIAL, *PERIODIC):
                for n in (1,) if line is SEQUENTIAL else (2, 8, 64):
                    for purpose in tune.PURPOSES:
                        found = settings.settings_for(slug, line.name, n, line.options, purpose)
                        assert set(found) <= set(settings.AXES)
                        assert found["learning_rate"] in settings.AXES["learning_rate"]

    def test_a_line_that_was_not_tuned_begins_where_its_search_would(self) -> None:
        found = settings.settings_for("mnist", "no such line", 32, {})
        assert found == settings.start_of("mnist", "no such line", 32, {})[1]
        assert found["outer_momentum"] == 0.5

    def test_what_was_chosen_is_the_best_of_what_was_tried(self) -> None:
        """The settings for a score are the trial with the highest mean, by the file itself."""
        content = files.read_json(settings.SETTINGS_FILE)
        checked = 0
        for slug, lines in content["chosen"]["score"].items():
            for name, by_threads in lines.items():
                for n, options in by_threads.items():
                    trials_of = settings.trials_of("score", slug, name, int(n))
                    best, chosen = -math.inf, -math.inf
                    for tried, scores in trials_of:
                        runs = scores[None]
                        mean = -math.inf if None in runs else sum(runs) / len(runs)
                        best = max(best, mean)
                        chosen = mean if tried == options else chosen
                    # The file has four digits of each score.
                    assert chosen == pytest.approx(best, rel=0, abs=1e-4)
                    checked += 1
        assert checked > 20

    def test_a_table_of_trials_loses_nothing(self) -> None:
        trials_of: list[settings.Trial] = [
            ({"batch_size": 1, "merge_every": 64}, {2.0: [97.0, None], 3.0: [98.0, 98.5]}),
            # The order of the first holds for all.
            ({"merge_every": [8, 64], "batch_size": 4}, {3.0: [1.0, 2.0], 2.0: [3.0, 4.0]}),
        ]
        packed = settings.packed(trials_of)
        assert packed["tried"] == [
            [1, 64, [97.0, None], [98.0, 98.5]],
            [4, [8, 64], [3.0, 4.0], [1.0, 2.0]],
        ]
        assert settings.unpacked(json.loads(json.dumps(packed))) == trials_of

    def test_the_search_climbs_to_the_top_of_a_hill(self) -> None:
        class Hill(tune.Search):
            def value(self, options: Any, epochs: float | None = None) -> float:  # noqa: ARG002
                return -(abs(math.log(options["learning_rate"] / 0.11)) + options["merge_every"])

        search = Hill(None, None, "mnist", PERIODIC[0], 8, [0])
        start = {"learning_rate": 0.02, "batch_size": 1, "merge_every": 128}
        found = search.walk(("learning_rate", "merge_every"), start)
        assert found == {"learning_rate": 0.11, "batch_size": 1, "merge_every": tune.LEAST_PERIOD}

    def test_what_was_tried_before_is_not_tried_again(self) -> None:
        """There is no pool that could train; other seeds were another trial."""
        earlier: list[settings.Trial] = [
            ({"merge_every": [16, 64]}, {2.0: [97.0, 98.0]}),
            ({"merge_every": 64}, {2.0: [97.0, None]}),
            ({"merge_every": 32}, {2.0: [97.0]}),
        ]
        search = tune.Search(None, None, "mnist", PERIODIC[0], 8, [0, 1], earlier)
        assert search.value({"merge_every": [16, 64]}, 2.0) == 97.5
        assert search.value({"merge_every": 64}, 2.0) == -math.inf
        assert search.trials == earlier[:2]
        with pytest.raises(AttributeError):
            search.value({"merge_every": 32}, 2.0)

    def test_what_is_tried_is_kept_with_its_scores(self) -> None:
        class Pool:
            def of_seeds(self, function: Any, jobs: Any, seeds: Any, _: str) -> Any:
                assert function is work.score
                assert all(job.held_out for job in jobs)
                return [[job.options["batch_size"] + seed / 3 for seed in seeds] for job in jobs]

        search = tune.Search(Pool(), Source(), "digits", PERIODIC[0], 8, [0, 1])
        assert search.value({"batch_size": 4}) == pytest.approx((4 + 4.3333) / 2)
        assert search.trials == [({"batch_size": 4}, {None: [4.0, 4.3333]})]

    def test_soonest_weighs_epochs_against_merges(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A period of 64 needs fewer epochs; one of 256 needs 1.3 times as many, and is sooner."""

        class Known(tune.Search):
            def value(self, options: Any, epochs: float | None = None) -> float:
                assert epochs is not None
                needed = 2.5 if options["merge_every"] == 64 else 2.5 * 1.3
                return tune.TIME_SCORES[1] + math.log(epochs / needed)

        search = Known(None, Source(), "digits", PERIODIC[0], 2, [0])
        candidates = [{"merge_every": period, "batch_size": 1} for period in (64, 256)]
        monkeypatch.setattr(tune, "ROUND_SAMPLES", {64: 40})
        # 599 samples a replica: 599 + 9.4 * 40 are more than 1.3 (599 + 2.3 * 40).
        assert search.soonest(candidates) == candidates[1]
        monkeypatch.setattr(tune, "ROUND_SAMPLES", {64: 1})
        assert search.soonest(candidates) == candidates[0]
        # Larger batches that are read in two thirds of the time.
        monkeypatch.setattr(tune, "SAMPLE_TIME", {1: 1.0, 8: 0.67})
        candidates = [{"merge_every": 64, "batch_size": 1}, {"merge_every": 256, "batch_size": 8}]
        assert search.soonest(candidates) == candidates[1]

    def test_what_is_tried_for_the_least_time_is_on_the_axes_or_a_period(self) -> None:
        for line in (SEQUENTIAL, *PERIODIC):
            for n in (1,) if line is SEQUENTIAL else (2, 4, 8, 16, 64):
                best = settings.settings_for("mnist", line.name, n, line.options)
                candidates = tune.time_candidates(line, n, best)
                assert len({json.dumps(options) for options in candidates}) == len(candidates)
                for options in candidates:
                    assert options["learning_rate"] in settings.AXES["learning_rate"]
                    assert options["batch_size"] in settings.AXES["batch_size"]

    def test_a_larger_batch_takes_its_rate_along(self) -> None:
        moved = tune.neighbour("batch_size", {"learning_rate": 0.028, "batch_size": 1}, 1, 1)
        assert moved == {"learning_rate": 0.056, "batch_size": 2}


class TestLines:
    def test_every_method_of_the_build_has_a_line(self) -> None:
        lines = {line.method for line in (*PERIODIC, *ONCE)}
        assert lines == {method.name for method in omp_mlp.merge_methods()}

    def test_names_and_looks_are_unique(self) -> None:
        for lines in (PERIODIC, ONCE):
            assert len({line.name for line in lines}) == len(lines)
        every = (*PERIODIC, *ONCE, SINGLE)
        assert len({line.marker for line in every}) == len(every)
        assert len({(line.colour, line.dash) for line in every}) == len(every)


def test_changes_are_made() -> None:
    change = changes.Change("", {"batch_size": 4}, scale={"merge_every": 2, "learning_rate": 0.5})
    before = {"learning_rate": 0.02, "batch_size": 1, "merge_every": 64}
    after = changes.changed(before, change)
    assert after == {"learning_rate": 0.01, "batch_size": 4, "merge_every": 128}
    assert before["batch_size"] == 1
    grows = {"learning_rate": 0.02, "batch_size": 8, "merge_every": [8, 128]}
    twice_as_often = changes.Change("", scale={"merge_every": 0.5})
    assert changes.changed(grows, twice_as_often)["merge_every"] == [8, 64]


def test_half_an_epoch_is_one_over_half_the_samples() -> None:
    source = Source(limit=LIMIT)
    job = work.Training(
        source, "digits", "average", 2, {"merge_every": None}, epochs=0.5, held_out=True
    )
    model, problem = work.train(job)
    held_out = source.load("digits").held_out()
    assert len(problem.X) == round(len(held_out.X) / 2)
    assert model.history.samples[-1] == len(problem.X)
    rows = {row.tobytes() for row in held_out.X}
    assert all(row.tobytes() in rows for row in problem.X)


def test_training_and_held_out_samples_are_apart() -> None:
    problem = Source(limit=LIMIT).load("digits")
    held_out = problem.held_out()
    np.testing.assert_array_equal(np.vstack([held_out.X, held_out.X_test]), problem.X)
    assert len(held_out.X_test) == round(len(problem.X) / 6)


def judged(mean: list[float], *threads: int) -> dict[str, Any]:
    return {"periodic": {"gradient_diversity": {"threads": threads, "mean": mean}}}


def timed(
    line: str, n: int, epochs: float, cost: dict[str, float], **speed_ups: float
) -> dict[str, Any]:
    reach = {"98.0": {"epochs": epochs, **speed_ups}}
    return {"line": line, "threads": n, "cost": cost, "reach": reach}


ALONE = timed("sequential", 1, 2.0, cost_of(0.12, 0.12, 0, 0, 0.12), modelled_speed_up=1.0)
JUDGED = {
    "score/mnist": judged([98.1, 97.996, 97.9, 97.8], 1, 8, 16, 64),
    "score/digits": judged([98.0, 97.75], 1, 32),
    "time": {
        "problem": {"training_samples": 60_000},
        "entries": [
            ALONE,
            *(
                timed(
                    "gradient_diversity",
                    n,
                    2.5,
                    cost_of(0.15 / n, 0.3 / n, 100, 2e-5, 0.2),
                    modelled_speed_up=0.6 * n,
                    measured_speed_up=1.6,
                )
                for n in (2, 8, 16)
            ),
        ],
    },
}


class TestJudge:
    def test_verdicts(self) -> None:
        verdicts = {floor["what"]: floor["reached"] for floor in judge.floors(JUDGED)}
        assert verdicts == {
            "accuracy, sequential": True,
            "accuracy, gradient diversity, n = 8": True,
            "accuracy, gradient diversity, n = 16": False,
            "accuracy, gradient diversity, n = 32": None,
            "accuracy, gradient diversity, n = 64": True,
            "speed-up to 98 %, modelled, n = 8": False,
            "speed-up to 98 %, modelled, n = 16": True,
            "speed-up to 98 %, modelled, n = 32": None,
            "speed-up to 98 %, modelled, n = 64": None,
            "speed-up to 98 %, measured, n = 2": False,
            "digits, n = 32, beside sequential": True,
        }

    def test_nothing_measured_is_nothing_reached(self) -> None:
        assert {floor["reached"] for floor in judge.floors({})} == {None}
        assert judge.rounds({}) == {}

    def test_where_a_round_goes_by_hand(self) -> None:
        """8 replicas of 60,000 samples, 100 merges an epoch: 75 samples a round."""
        assert judge.rounds(JUDGED)["8"] == pytest.approx(
            {
                "samples": 75,
                "replica_seconds": 0.15 / 8 / 100,
                "taking_turns_seconds": 0.3 / 8 / 100,
                "sequential_seconds": 75 * 2e-6,  # 0.12 s for 60,000 samples
                "slowest_above_mean_percent": 25,
                "merge_seconds": 2e-5,
                "epochs_allow_times": 8 * 2.0 / 2.5,
                "left_percent": 100 * 0.6 / 0.8,
            }
        )

    def test_periods_that_grow_have_as_many_merges_as_fixed_ones(self) -> None:
        found = judge.equal_periods()
        # 16 (256 / 16)^p at the part p: the integral of its inverse is (1 - 1/16) / (16 ln 16).
        assert found["16 to 256"] == pytest.approx(16 * math.log(16) / (1 - 1 / 16))
        assert {"8 to 128", "32 to 512", "64 to 256"} < set(found)


def test_one_merge_after_a_warm_up_has_the_base_where_the_replicas_part() -> None:
    options = {"learning_rate": 0.05, "batch_size": 8, "merge_every": None, "warmup_samples": 200}
    job = work.Training(Source(limit=LIMIT), "classification", "average", 4, options)
    scores = once.score_once(job)
    assert {line.name for line in ONCE} < set(scores)
    problem = job.source.load("classification")
    model, _ = work.train(job, keep_replicas=True)
    base, _ = work.train(dataclasses.replace(job, epochs=0.0))
    # Half of the sum of the updates, by hand.
    updates = [
        sum(after - before for after in layers) / 2
        for before, *layers in zip(
            base.weights, *(replica.weights for replica in model.replicas), strict=True
        )
    ]
    biases = [
        sum(after - before for after in layers) / 2
        for before, *layers in zip(
            base.biases, *(replica.biases for replica in model.replicas), strict=True
        )
    ]
    merged = omp_mlp.Model(
        [W + u for W, u in zip(base.weights, updates, strict=True)],
        [b + u for b, u in zip(base.biases, biases, strict=True)],
        classes=base.classes,
    )
    expected = 100 * merged.score(problem.X_test, problem.y_test)
    # One sample may lie on the border between two classes.
    assert scores["delta_sum"] == pytest.approx(expected, abs=100 / len(problem.y_test))


def test_a_training_that_diverged_has_no_score() -> None:
    job = work.Training(Source(limit=LIMIT), "regression", "average", 2, {"learning_rate": 1e4})
    assert math.isnan(work.score(job))
    curve = files.plain(measure.curve({2: [math.nan, 90.0], 8: [95.0, 96.0]}))
    assert curve["mean"] == [None, 95.5]
    assert tables._row("x", curve, [2, 8]) == ["x", "diverged", "95.50 ± 0.71"]
    assert pictures._means(curve).tolist() == [95.5]


def test_table_of_the_periods_that_were_searched() -> None:
    searched = {
        "32": settings.packed(
            [
                ({"merge_every": 64, "outer_momentum": 0.3}, {2.0: [97, 98], 5.0: [98, 98.5]}),
                ({"merge_every": [16, 256], "outer_momentum": 0.5}, {2.0: [97, None], 5.0: [1, 3]}),
            ]
        )
    }
    assert tables.periods(searched).splitlines() == [
        "| merged every | outer momentum | n = 32, 2 epochs | n = 32, 5 epochs |",
        "| --- | --- | --- | --- |",
        "| 64 | 0.3 | 97.50 | 98.25 |",
        "| 16 to 256 | 0.5 | diverged | 2.00 |",
    ]


class TestRules:
    def updates(self) -> Any:
        return np.random.default_rng(0).normal(size=(4, 6, 5)).astype(np.float32)

    def test_the_rule_that_others_are_compared_with_is_the_librarys(self) -> None:
        updates = self.updates()
        base = omp_mlp.Model([np.zeros((5, 5), np.float32)], [np.zeros(5, np.float32)])
        replicas = [omp_mlp.Model([layer[:-1]], [layer[-1]]) for layer in updates]
        merged = omp_mlp.merge(replicas, "gradient_diversity", base=base)
        expected = np.vstack([merged.weights[0], merged.biases[0]])
        np.testing.assert_allclose(rules.by_layer(updates), expected, rtol=1e-5)

    def test_factors_by_unit_and_by_input_are_those_of_parts_of_the_layer(self) -> None:
        updates = self.updates()
        by_unit = [rules.by_layer(updates[:, :, k : k + 1]) for k in range(5)]
        np.testing.assert_allclose(rules.by_unit(updates), np.hstack(by_unit), rtol=1e-5)
        by_input = [rules.by_layer(updates[:, k : k + 1]) for k in range(6)]
        np.testing.assert_allclose(rules.by_input(updates), np.vstack(by_input), rtol=1e-5)

    def test_what_is_sent_in_fewer_bits_is_near(self) -> None:
        updates = self.updates()
        exact = rules.by_layer(updates)
        # bfloat16 has 8 bits of mantissa, float16 has 11: of four updates, a sum is that exact.
        most = 4 * np.abs(updates).max()
        assert np.abs(rules.in_bfloat16(updates) - exact).max() < most / 2**8
        assert np.abs(rules.in_float16(updates) - exact).max() < most / 2**11
        assert set(np.sign(rules.signs(np.abs(updates))).ravel()) == {1.0}

    # The trial takes pixels as they are; few samples leave some columns next to nothing.
    @pytest.mark.filterwarnings("ignore:the columns of X have scales:omp_mlp.SettingsWarning")
    def test_one_round_of_a_trial_by_hand(self) -> None:
        """266 samples are one round of 8 replicas; a merge that comes a round late has no turn."""
        job = dataclasses.replace(rules.JOB, source=Source(limit=LIMIT), threads=8, epochs=1)
        problem = rules.centred(job.source, "mnist")
        options = {"hidden_layer_sizes": problem.hidden, "shuffle": False, "batch_size": 1}
        start = fixed.train_parallel(problem.X, problem.y, 1, epochs=0, **options)
        rows = np.random.default_rng((0, 0)).permutation(len(problem.X))[: 8 * 32]
        trained = fixed.train_parallel(
            problem.X[rows], problem.y[rows], 8, "average", init=start, epochs=1,
            learning_rate=0.04, learning_rate_schedule="constant", merge_every=None,
            keep_replicas=True, **options,
        )  # fmt: skip
        merged = omp_mlp.merge(trained.replicas, "gradient_diversity", base=start)
        as_it_is, late = (rules.RULES[k].about for k in (0, 4))
        assert rules.score(dataclasses.replace(job, method=late)) == work.percent(start, problem)
        # One sample may lie on the border between two classes.
        assert rules.score(dataclasses.replace(job, method=as_it_is)) == pytest.approx(
            work.percent(merged, problem), abs=100 / len(problem.y_test)
        )

    def test_touched_rows_by_hand(self) -> None:
        problem = Source(limit=LIMIT).load("digits")
        X = np.zeros((8, 4))
        X[:, 0] = 1
        problem = dataclasses.replace(problem, X=X)
        assert rules.touched_rows(problem, 4) == 0.25


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of the whole benchmark on few samples, and what its JSON file holds."""
    out = tmp_path_factory.mktemp("results") / "made" / "by the run"
    returned = run.main([*SMALL, "--out", str(out)])
    text = (out / "frontier.json").read_text(encoding="utf-8")
    written = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert written == returned
    return out, written


class TestSmallRun:
    def test_all_parts_and_problems(self, small_run: tuple[Path, dict[str, Any]]) -> None:
        _, results = small_run
        scores = {slug: results["pieces"][f"score/{slug}"] for slug in problems.LOADERS}
        assert set(results["pieces"]) == {
            *(f"score/{slug}" for slug in scores),
            *measure.PARTS[1:],
        }
        for result in scores.values():
            assert set(result["periodic"]) == {line.name for line in PERIODIC}
            for curve in result["periodic"].values():
                assert curve["threads"] == [1, 2, 8]
                assert curve["mean"][0] == result["sequential"]["mean"][0]
            assert {line.name for line in ONCE} <= set(result["once"])

    def test_a_score_is_that_of_the_training(self, small_run: tuple[Path, dict[str, Any]]) -> None:
        """One cell, trained here once more by hand."""
        _, results = small_run
        result = results["pieces"]["score/digits"]
        curve = result["periodic"]["gradient_diversity"]
        problem = Source(limit=LIMIT).load("digits")
        options = {**settings.COMMON, **result["settings"]["gradient_diversity"]["8"]}
        model = fixed.train_parallel(
            problem.X,
            problem.y,
            8,
            "gradient_diversity",
            hidden_layer_sizes=problem.hidden,
            epochs=problem.epochs,
            seed=0,
            **options,
        )
        score = 100 * model.score(problem.X_test, problem.y_test)
        assert curve["runs"][2][0] == round(score, 4)

    def test_pictures(self, small_run: tuple[Path, dict[str, Any]]) -> None:
        out, _ = small_run
        names = ("accuracy", "once", "others", "speedup")
        for name in names:
            assert (out / f"frontier-{name}.png").read_bytes().startswith(b"\x89PNG")

    def test_drawn_again_without_measuring(
        self, small_run: tuple[Path, dict[str, Any]], tmp_path: Path
    ) -> None:
        out, results = small_run
        (tmp_path / "frontier.json").write_bytes((out / "frontier.json").read_bytes())
        assert run.main(["--redraw", "--out", str(tmp_path)]) == results
        for path in out.iterdir():
            assert (tmp_path / path.name).read_bytes() == path.read_bytes()

    def test_goes_on_where_it_was_ended(
        self,
        small_run: tuple[Path, dict[str, Any]],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Without one problem's scores and one part, as if ended before; the rest is kept."""
        out, results = small_run
        ended = json.loads((out / "frontier.json").read_text(encoding="utf-8"))
        del ended["pieces"]["score/digits"], ended["pieces"]["changes"]
        (tmp_path / "frontier.json").write_text(json.dumps(ended), encoding="utf-8")
        options = [*SMALL, "--out", str(tmp_path)]
        monkeypatch.setattr(run.pictures, "all_pictures", lambda _: {})
        measured: list[str] = []
        for name in ("scores", "epochs", "times", "changes", "rules"):
            whole = getattr(measure, f"measure_{name}")

            def noted(*given: Any, name: str = name, whole: Any = whole) -> Any:
                measured.append(name)
                return whole(*given)

            monkeypatch.setattr(measure, f"measure_{name}", noted)
        resumed = run.main([*options, "--resume"])
        assert measured == ["scores", "changes"]
        assert resumed["pieces"] == results["pieces"]
        assert resumed["floors"] == results["floors"]
        measured.clear()
        again = run.main([*options, "--resume", "--again", "time"])
        assert measured == ["times"]
        assert again["pieces"]["epochs"] == results["pieces"]["epochs"]
        with pytest.raises(SystemExit, match="has options "):
            run.main([*options, "--threads", "4", "--resume"])

    def test_again_what_was_never_measured(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            run.main(["--again", "time"])
        assert "--again measures parts of an earlier run again" in capsys.readouterr().err

    def test_every_block_of_the_document_has_a_table(
        self, small_run: tuple[Path, dict[str, Any]]
    ) -> None:
        _, results = small_run
        text = (files.DOCS / "frontier.md").read_text(encoding="utf-8")
        blocks = documents.blocks_of(text)
        assert {block.command for block in blocks} == {run.COMMAND}
        assert {block.name for block in blocks} == set(tables.all_tables(results))


def test_unknown_problem_ends_with_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["--problems", "cifar"])
    assert "cifar" in capsys.readouterr().err
