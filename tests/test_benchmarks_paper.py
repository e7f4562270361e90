"""benchmarks/paper: the script behind `make figures`, on a few digits, and how it judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fixed
import omp_mlp
from benchmarks.common import documents, files
from benchmarks.common.data import Data
from benchmarks.paper import ANSWERS, PRESETS, judge, measure, tables
from benchmarks.paper import __main__ as script
from benchmarks.paper import pictures as drawing
from omp_mlp import datasets

THREADS = [1, 2, 3]
SEEDS = [0, 1]
PASSES = 2
LIMIT = 600


def run(out: Path, *arguments: str) -> dict[str, Any]:
    return script.main(
        [
            *("--data", "digits", "--limit", str(LIMIT), "--quick", "--passes", str(PASSES)),
            *("--out", str(out), *arguments),
        ]
    )


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of the whole script on 600 digits, and what its JSON file holds."""
    out = tmp_path_factory.mktemp("results") / "made" / "by the script"
    returned = run(out, "--threads", "3", "1", "2", "--seeds", "2")
    written = files.read_json(out / "paper-augmented-digits-paper.json")
    assert written == returned
    return out, written


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, ...]:
    """The data of ``small_run``."""
    arrays: tuple[np.ndarray, ...] = datasets.load_augmented_digits(
        LIMIT, LIMIT // 5, dtype="float32", seed=0
    )
    return arrays


# ---- the files ----


def test_json_says_what_was_run_and_names_no_folder(
    small_run: tuple[Path, dict[str, Any]],
) -> None:
    out, results = small_run
    assert results["options"] == files.plain(
        {
            "preset": "paper",
            "training": omp_mlp.PAPER,
            "threads": THREADS,
            "seeds": 2,
            "passes": PASSES,
            "limit": LIMIT,
            "quick": True,
        }
    )
    assert results["data"]["training_samples"] == LIMIT
    assert results["data"]["test_samples"] == LIMIT // 5
    assert str(out) not in (out / "paper-augmented-digits-paper.json").read_text()
    assert sorted(path.name for path in out.iterdir()) == [
        *(f"figure{number}-augmented-digits-paper.png" for number in (3, 4, 5)),
        "paper-augmented-digits-paper.json",
    ]


def test_times_are_summarised_from_their_rows(small_run: tuple[Path, dict[str, Any]]) -> None:
    time = small_run[1]["pieces"]["time"]
    # In each pass one run for one thread and two for every other number.
    assert len(time["rows"]) == PASSES * (1 + 2 * (len(THREADS) - 1))
    assert [entry["threads"] for entry in time["seconds"]] == THREADS

    def seconds(n: int, workers: int | str, train: str) -> list[float]:
        return [
            row[train] + row["merge_seconds"]
            for row in time["rows"]
            if (row["threads"], row["workers"]) == (n, workers)
        ]

    one = seconds(1, 1, "train_seconds")
    for entry, speedup in zip(time["seconds"], time["speedup"], strict=True):
        n = entry["threads"]
        shared = n if n == 1 else "as many as cores"
        expected = {
            "system_threads": seconds(n, n, "train_seconds"),
            "core_workers": seconds(n, shared, "train_seconds"),
            "modelled": seconds(n, shared, "slowest_replica_cpu_seconds"),
        }
        for curve, runs in expected.items():
            assert entry[curve]["runs"] == runs
            assert min(runs) > 0
        own = expected["system_threads"]
        np.testing.assert_allclose(speedup["system_threads"]["runs"], np.divide(one, own))


def test_claims_are_judged_from_the_runs(small_run: tuple[Path, dict[str, Any]]) -> None:
    _, results = small_run
    assert [claim["figure"] for claim in results["claims"]] == [3, 4, 5]
    # "Until six threads" cannot be judged with three.
    assert results["claims"][0]["holds"] == "untested"
    runs = {
        name: np.array([entry[name]["runs"] for entry in results["pieces"]["accuracy"]])
        for name in ANSWERS
    }
    expected = judge.gain(THREADS, runs["average"], runs["sum"])
    assert results["claims"][2]["verdict"] == expected.verdict
    assert results["claims"][2]["numbers"]["mean_gain_points"] == pytest.approx(
        (runs["sum"] - runs["average"])[1:].mean()
    )


def test_the_page_gets_a_table_for_each_of_its_blocks(
    small_run: tuple[Path, dict[str, Any]],
) -> None:
    page = (files.DOCS / "paper.md").read_text()
    filled = documents.filled(page, script.COMMAND, tables.blocks(small_run[1]), small_run[1])
    [numbers] = [block for block in documents.blocks_of(filled) if block.name == "numbers"]
    rows = [line.split(" | ") for line in numbers.text.splitlines()[2:5]]
    for row, entry in zip(rows, small_run[1]["pieces"]["accuracy"], strict=True):
        average = entry["average"]
        assert row[0] == f"| {entry['threads']}"
        assert row[4] == f"{average['mean']:.1f} ± {average['sd']:.1f}"


# ---- the numbers ----


@pytest.mark.parametrize("n", THREADS)
def test_merged_replicas_are_the_bits_of_a_training_with_sum(
    n: int, small_run: tuple[Path, dict[str, Any]], digits: tuple[np.ndarray, ...]
) -> None:
    """One training is enough for both merges, and the numbers in the JSON are those of `score`."""
    X_train, y_train, X_test, y_test = digits
    entry = small_run[1]["pieces"]["accuracy"][THREADS.index(n)]
    for seed in SEEDS:
        kept = fixed.train_parallel(
            X_train, y_train, n, "average", seed=seed, keep_replicas=True, **omp_mlp.PAPER
        )
        merged = omp_mlp.merge(kept.replicas, "sum")
        trained = fixed.train_parallel(X_train, y_train, n, "sum", seed=seed, **omp_mlp.PAPER)
        for ours, theirs in zip(
            [*merged.weights, *merged.biases], [*trained.weights, *trained.biases], strict=True
        ):
            np.testing.assert_array_equal(ours.view(np.uint32), theirs.view(np.uint32))
        for name, model in (("average", kept), ("sum", trained)):
            assert entry[name]["runs"][seed] == pytest.approx(100 * model.score(X_test, y_test))
        single = np.mean([replica.score(X_test, y_test) for replica in kept.replicas])
        assert entry["single_replica"]["runs"][seed] == pytest.approx(100 * single)
        if n == 1:
            assert len({entry[name]["runs"][seed] for name in ANSWERS}) == 1


def test_sum_is_the_average_with_amplified_hidden_layers(
    small_run: tuple[Path, dict[str, Any]],
) -> None:
    accuracy = small_run[1]["pieces"]["accuracy"]
    # n times a rounded average is not the rounded sum to the last bit, so a sample whose two
    # largest logits are as good as equal may fall to either side.
    assert max(max(entry["differing_answers"]) for entry in accuracy) <= 1


def test_amplifying_leaves_the_output_layer_alone() -> None:
    rng = np.random.default_rng(0)
    shapes = [(3, 4), (4, 5), (5, 2)]
    model = omp_mlp.Model(
        [rng.normal(size=s) for s in shapes], [rng.normal(size=s[1]) for s in shapes]
    )
    amplified = measure.amplify_hidden(model, 3)
    for k, factor in enumerate([3, 3, 1]):
        np.testing.assert_array_equal(amplified.weights[k], np.float32(factor) * model.weights[k])
        np.testing.assert_array_equal(amplified.biases[k], np.float32(factor) * model.biases[k])


def test_shared_starts_are_shared(digits: tuple[np.ndarray, ...]) -> None:
    for options in (PRESETS["relu"], {**PRESETS["paper"], "init": "shared"}):
        options = {**options, "epochs": 0}
        model = fixed.train_parallel(digits[0], digits[1], 2, "average", **options)
        start = fixed.train_parallel(digits[0], digits[1], 1, "average", **options)
        np.testing.assert_array_equal(model.weights[0], start.weights[0])
    entries = measure.shared_start(Data("digits", "digits", *digits), lambda _: None, quick=True)
    assert [entry["setting"] for entry in entries] == [
        "the preset's sigmoid units and squared error",
        "ReLU units and cross-entropy",
    ]


# ---- the verdicts ----

COUNTS = [1, 2, 4, 6, 8]


@pytest.mark.parametrize(
    ("speedup", "holds", "verdict"),
    [
        ([1.0, 0.9, 1.0, 1.3, 1.4], "yes", "holds: faster from 6 threads on"),
        ([1.0, 1.9, 1.9, 1.9, 1.9], "no", "does not hold: 1.90 times as fast with 2 threads"),
        ([1.0, 1.0, 1.5, 1.9, 1.9], "no", "does not hold: 1.50 times as fast with 4 threads"),
        ([1.0, 1.0, 1.0, 1.0, 1.2], "no", "does not hold: faster only from 8 threads on"),
        # Within the margin for noise.
        ([1.0, 1.04, 1.04, 1.04, 1.04], "no", "does not hold: not faster with any"),
    ],
)
def test_judging_speed(speedup: list[float], holds: str, verdict: str) -> None:
    others = {"core_workers": [1.0] * 5, "modelled": [1.0] * 5}
    judged = judge.speed(COUNTS, {"system_threads": speedup, **others}, 0.99)
    assert judged.holds == holds
    assert judged.verdict.startswith(verdict)
    # On a machine that does other work at the same time the same numbers say nothing.
    judged = judge.speed(COUNTS, {"system_threads": speedup, **others}, 0.6)
    assert judged.holds == "untested"
    assert "only 60% of its cores" in judged.verdict


def test_undisturbed_share_is_that_of_replicas_with_a_core_each() -> None:
    rows = [
        {"threads": n, "train_seconds": 2.0, "slowest_replica_cpu_seconds": cpu}
        # The single slow run is one of three; four replicas must share two cores.
        for n, cpu in [(1, 2.0), (1, 0.2), (1, 1.98), (2, 1.9), (4, 0.9)]
    ]
    assert measure.undisturbed_share(rows, 2) == pytest.approx(0.95)
    assert measure.undisturbed_share(rows, 1) == pytest.approx(0.99)


@pytest.mark.parametrize(
    ("means", "spread", "holds"),
    [
        ([95, 90, 80, 70, 60], 1, "yes"),
        ([95, 90, 80, 60, 61], 1, "partly"),
        ([95, 96, 95, 96, 95], 1, "no"),
        ([60, 70, 80, 90, 95], 1, "no"),
        # Falls at every step, by less than the seeds differ.
        ([95, 94.9, 94.8, 94.7, 94.6], 3, "no"),
    ],
)
def test_judging_the_fall(means: list[float], spread: float, holds: str) -> None:
    runs = np.array(means, dtype=float)[:, None] + np.array([-spread, 0, spread])
    judged = judge.fall(COUNTS, runs, runs)
    assert judged.holds == holds
    assert judged.verdict.startswith("does not hold" if holds == "no" else "holds")


@pytest.mark.parametrize(
    ("gains", "holds", "verdict"),
    [
        ([0, 8, 9, 11, 12], "yes", "holds for all n > 1: 2, 4, 6, 8"),
        ([0, 1, 9, 11, 19], "partly", "holds only for n = 4, 6 (less at 2, more at 8)"),
        ([0, 0, 0, 1, -3], "no", "does not hold: less than 5 points for every n"),
        ([0, 0, 0, 20, 30], "no", "does not hold: less at 2, 4, more at 6, 8"),
    ],
)
def test_judging_the_gain(gains: list[float], holds: str, verdict: str) -> None:
    average = np.full((len(COUNTS), 2), 50.0)
    total = average + np.array(gains, dtype=float)[:, None]
    judged = judge.gain(COUNTS, average, total)
    assert judged.holds == holds
    assert judged.verdict == verdict
    assert judged.numbers["mean_gain_points"] == pytest.approx(np.mean(gains[1:]))


def test_judging_the_gain_allows_for_its_standard_error() -> None:
    average = np.full((2, 4), 50.0)
    # Four seeds, standard deviation 2: the mean is known to 1.
    noise = np.array([-1, -1, 1, 1]) * np.sqrt(3)
    within = judge.gain([1, 8], average, average + np.array([[0.0], [15.9]]) + noise)
    beyond = judge.gain([1, 8], average, average + np.array([[0.0], [16.1]]) + noise)
    assert within.numbers["standard_error_points"] == pytest.approx([1.0])
    assert (within.holds, beyond.holds) == ("yes", "no")


# ---- the figures ----


def test_figures_fit_the_bands_and_shade_what_passes_for_about_ten() -> None:
    def entry(n: int) -> dict[str, Any]:
        of_one = {"mean": 50.0, "sd": 20.0, "runs": [45.0, 55.0]}
        return {"threads": n, **dict.fromkeys(ANSWERS, of_one), "gain": of_one}

    top, bottom = drawing.draw_sum([entry(1), entry(2)], "a subtitle", []).axes
    low, high = top.get_ylim()
    assert (low, high) == (28, 72)  # the bands, and a twentieth of them
    assert bottom.patches[0].get_y() == judge.ABOUT_TEN[0]
    assert "(5 to 15 pass)" in bottom.texts[0].get_text()


# ---- the command ----


def test_defaults_are_those_of_the_note() -> None:
    arguments = script.parse_arguments([])
    assert arguments.threads == [1, 2, 4, 6, 8, 10, 12, 16]
    assert (arguments.seeds, arguments.passes, arguments.preset) == (5, 9, "paper")
    assert PRESETS["paper"] == dict(omp_mlp.PAPER)
    quick = script.parse_arguments(["--quick"])
    assert (quick.seeds, quick.passes, quick.patience) == (2, 3, 0.0)
    assert script.parse_arguments(["--quick", "--seeds", "4"]).seeds == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["--threads", "0"],
        ["--seeds", "x"],
        ["--preset", "no"],
        ["--docs", "--preset", "relu"],
        ["--docs", "--limit", "9"],
    ],
)
def test_refuses_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        script.parse_arguments(arguments)
    assert stopped.value.code == 2
    assert arguments[0] in capsys.readouterr().err
