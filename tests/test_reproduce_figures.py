"""The script behind `make figures`, run on a small sample; what it writes; and how it judges."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import omp_mlp
from omp_mlp import datasets

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "reproduce_figures.py"
THREADS = [1, 2, 3]
SEEDS = [0, 1]
PASSES = 2
LIMIT = 600
CURVES = {"average", "sum", "single_replica", "logit_ensemble"}


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reproduce_figures", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reproduce_figures"] = module
    spec.loader.exec_module(module)
    return module


figures = load_script()
report = figures.report


def run(out: Path, *arguments: str) -> dict[str, Any]:
    results: dict[str, Any] = figures.main(
        ["--limit", str(LIMIT), "--passes", str(PASSES), "--out", str(out), *arguments]
    )
    return results


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of the whole script on 600 digits, and what its JSON file holds."""
    out = tmp_path_factory.mktemp("results") / "made" / "by the script"
    threads = [str(n) for n in reversed(THREADS)]
    returned = run(out, "--data", "digits", "--threads", *threads, "--seeds", str(len(SEEDS)))
    text = (out / "results-augmented-digits-paper.json").read_text(encoding="utf-8")
    written = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert written == returned
    return out, written


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, ...]:
    """The data of ``small_run``."""
    arrays: tuple[np.ndarray, ...] = datasets.load_augmented_digits(
        LIMIT, LIMIT // 5, dtype="float32", seed=0
    )
    return arrays


def read_csv(path: Path) -> tuple[dict[str, str], list[dict[str, str]]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    about = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
    return about, list(csv.DictReader(line for line in lines if not line.startswith("# ")))


# --- the files ----------------------------------------------------------------------------------


def test_json_says_what_was_run(small_run: tuple[Path, dict[str, Any]]) -> None:
    _, results = small_run
    assert results["threads"] == THREADS
    assert results["seeds"] == SEEDS
    assert results["timing_passes"] == PASSES
    assert results["limit"] == LIMIT
    assert results["preset"] == "paper"
    assert results["options"] == report.plain(omp_mlp.PAPER)
    assert results["build"] == report.plain(omp_mlp.build_config())
    assert results["machine"]["cores"] >= results["machine"]["cores_available"] >= 1
    assert {"processor", "operating_system", "python", "numpy"} <= results["machine"].keys()
    assert results["data"] == {
        "name": "augmented digits (scikit-learn)",
        "training_samples": LIMIT,
        "test_samples": LIMIT // 5,
        "features": 784,
        "classes": 10,
        "dtype": "float32",
    }


def test_json_names_no_folder_of_this_machine(small_run: tuple[Path, dict[str, Any]]) -> None:
    out, results = small_run
    text = json.dumps(results)
    assert str(out) not in text
    assert str(SCRIPT.parent) not in text


def test_accuracies_have_the_right_shape_and_range(
    small_run: tuple[Path, dict[str, Any]],
) -> None:
    _, results = small_run
    assert results["accuracy"]["unit"] == "percent"
    curves = results["accuracy"]["curves"]
    assert curves.keys() == CURVES
    for curve in curves.values():
        runs = np.array(curve["runs"])
        assert runs.shape == (len(THREADS), len(SEEDS))
        assert np.all((runs >= 0) & (runs <= 100))
        np.testing.assert_allclose(curve["mean"], runs.mean(axis=1))
        np.testing.assert_allclose(curve["sd"], runs.std(axis=1, ddof=1))
    gain = np.array(curves["sum"]["runs"]) - np.array(curves["average"]["runs"])
    np.testing.assert_allclose(results["accuracy"]["sum_minus_average"]["runs"], gain)
    # Ten classes: a run that learned nothing has about 10 %.
    assert min(curves["average"]["runs"][0]) > 20


def test_one_replica_is_every_way_to_use_it(small_run: tuple[Path, dict[str, Any]]) -> None:
    _, results = small_run
    curves = results["accuracy"]["curves"]
    for name in CURVES:
        assert curves[name]["runs"][0] == curves["average"]["runs"][0]


def test_times_have_the_right_shape(small_run: tuple[Path, dict[str, Any]]) -> None:
    _, results = small_run
    assert results["time"]["unit"] == "seconds"
    curves = results["time"]["curves"]
    assert curves.keys() == {"system_threads", "core_workers", "modelled"}
    for curve in curves.values():
        runs = np.array(curve["runs"])
        assert runs.shape == (len(THREADS), PASSES)
        assert np.all(runs > 0)
        np.testing.assert_allclose(curve["median"], np.median(runs, axis=1))
    # With one thread the two measured curves are the same runs.
    assert curves["system_threads"]["runs"][0] == curves["core_workers"]["runs"][0]
    for speedup in results["time"]["speedup"].values():
        assert len(speedup) == len(THREADS)
        assert speedup[0] == 1


def test_every_claim_has_a_verdict(small_run: tuple[Path, dict[str, Any]]) -> None:
    _, results = small_run
    assert [claim["figure"] for claim in results["claims"]] == [3, 4, 5]
    for claim in results["claims"]:
        assert claim["holds"] in {"yes", "partly", "no", "untested"}
        for key in ("claim", "criterion", "verdict", "measured"):
            assert claim[key]
    # "Until six threads" cannot be judged with three.
    assert results["claims"][0]["holds"] == "untested"
    assert results["claims"][1]["holds"] != "untested"
    assert results["claims"][2]["numbers"]["threads"] == [2, 3]


def test_pictures_carry_the_name_of_the_data(small_run: tuple[Path, dict[str, Any]]) -> None:
    out, results = small_run
    for number in (3, 4, 5):
        png = out / f"figure{number}-augmented-digits-paper.png"
        svg = out / f"figure{number}-augmented-digits-paper.svg"
        assert {png.name, svg.name} <= set(results["files"])
        content = png.read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(content) > 10_000
        title = f"Figure {number}: augmented digits (scikit-learn), preset paper"
        assert title.encode() in content
        titles = ET.parse(svg).getroot().iter("{http://purl.org/dc/elements/1.1/}title")
        assert next(titles).text == title
    assert sorted(path.name for path in out.iterdir()) == sorted(results["files"])


def test_csv_files_hold_the_same_numbers(small_run: tuple[Path, dict[str, Any]]) -> None:
    out, results = small_run
    about, rows = read_csv(out / "accuracy-augmented-digits-paper.csv")
    for key in ("data", "options", "machine", "build"):
        assert json.loads(about[key]) == results[key]
    assert [(int(row["threads"]), int(row["seed"])) for row in rows] == [
        (n, seed) for n in THREADS for seed in SEEDS
    ]
    for name in CURVES:
        written = np.array([float(row[f"{name}_percent"]) for row in rows])
        runs = np.array(results["accuracy"]["curves"][name]["runs"])
        assert written.tolist() == runs.ravel().tolist()

    about, rows = read_csv(out / "time-augmented-digits-paper.csv")
    assert json.loads(about["machine"]) == results["machine"]
    # In each pass one run for one thread and two for every other number.
    assert len(rows) == PASSES * (1 + 2 * (len(THREADS) - 1))
    for i, n in enumerate(THREADS):
        own = [row for row in rows if row["threads"] == row["workers"] == str(n)]
        seconds = [float(row["train_seconds"]) + float(row["merge_seconds"]) for row in own]
        assert seconds == results["time"]["curves"]["system_threads"]["runs"][i]


# --- the numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", THREADS)
def test_merged_replicas_are_the_bits_of_a_training_with_sum(
    n: int, small_run: tuple[Path, dict[str, Any]], digits: tuple[np.ndarray, ...]
) -> None:
    """One training is enough for both merges, and the numbers in the JSON are those of `score`."""
    _, results = small_run
    X_train, y_train, X_test, y_test = digits
    for j, seed in enumerate(SEEDS):
        kept = omp_mlp.train_parallel(
            X_train, y_train, n, "average", seed=seed, keep_replicas=True, **omp_mlp.PAPER
        )
        merged = omp_mlp.merge(kept.replicas, "sum")
        trained = omp_mlp.train_parallel(X_train, y_train, n, "sum", seed=seed, **omp_mlp.PAPER)
        for ours, theirs in zip(
            [*merged.weights, *merged.biases], [*trained.weights, *trained.biases], strict=True
        ):
            assert ours.dtype == theirs.dtype == np.float32
            np.testing.assert_array_equal(ours.view(np.uint32), theirs.view(np.uint32))
        curves = results["accuracy"]["curves"]
        i = THREADS.index(n)
        for name, model in (("average", kept), ("sum", trained)):
            assert curves[name]["runs"][i][j] == pytest.approx(100 * model.score(X_test, y_test))
        single = np.mean([replica.score(X_test, y_test) for replica in kept.replicas])
        assert curves["single_replica"]["runs"][i][j] == pytest.approx(100 * single)


def test_sum_is_the_average_with_amplified_hidden_layers(
    small_run: tuple[Path, dict[str, Any]],
) -> None:
    _, results = small_run
    identity = results["sum_identity"]
    assert identity["holds"] is True
    assert identity["test_samples"] == LIMIT // 5
    assert np.array(identity["differing_predictions"]).shape == (len(THREADS), len(SEEDS))
    assert identity["sum"] == results["accuracy"]["curves"]["sum"]["runs"]
    # One answer of 120 at most.
    assert identity["largest_accuracy_difference"] <= 100 / (LIMIT // 5) + 1e-9


def test_relu_preset_starts_all_replicas_alike(
    tmp_path: Path, digits: tuple[np.ndarray, ...]
) -> None:
    options = figures.PRESETS["relu"] | {"epochs": 0}
    model = omp_mlp.train_parallel(
        digits[0], digits[1], 2, "average", keep_replicas=True, **options
    )
    start = omp_mlp.train_parallel(digits[0], digits[1], 1, "average", **options)
    np.testing.assert_array_equal(model.weights[0], start.weights[0])
    results = run(
        tmp_path, "--data", "digits", "--preset", "relu", "--threads", "1", "2", "--seeds", "1"
    )
    assert results["options"]["loss"] == "cross_entropy"
    # One seed has no spread, and says so with null rather than 0.
    assert results["accuracy"]["curves"]["average"]["sd"] == [None, None]
    assert (tmp_path / "figure4-augmented-digits-relu.png").stat().st_size > 10_000


# --- data that cannot be had --------------------------------------------------------------------


def test_falls_back_to_the_digits_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise datasets.DatasetNotFoundError("MNIST is nowhere")

    monkeypatch.setattr(datasets, "load_mnist", unreachable)
    results = run(tmp_path, "--threads", "1", "--seeds", "1")
    printed = capsys.readouterr().out
    about = [line for line in printed.splitlines() if "MNIST" in line]
    assert about == ["MNIST is neither here nor to be downloaded: going on with augmented digits"]
    assert results["data"]["name"] == "augmented digits (scikit-learn)"
    assert f"measured here, {results['data']['name']}" in printed
    # Asked for by name, MNIST is not replaced by anything.
    with pytest.raises(SystemExit, match="MNIST is nowhere"):
        run(tmp_path, "--data", "mnist")


# --- the verdicts -------------------------------------------------------------------------------

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
    judged = figures.judge_speed(COUNTS, {"system_threads": speedup, **others}, 0.99)
    assert judged.holds == holds
    assert judged.verdict.startswith(verdict)
    # On a machine that does other work at the same time the same numbers say nothing.
    judged = figures.judge_speed(COUNTS, {"system_threads": speedup, **others}, 0.6)
    assert judged.holds == "untested"
    assert "only 60% of its cores" in judged.verdict


def test_undisturbed_share_is_that_of_replicas_with_a_core_each() -> None:
    rows = [
        {"threads": n, "train_seconds": 2.0, "slowest_replica_cpu_seconds": cpu}
        # The single slow run is one of three; four replicas must share two cores.
        for n, cpu in [(1, 2.0), (1, 0.2), (1, 1.98), (2, 1.9), (4, 0.9)]
    ]
    assert figures.undisturbed_share(rows, 2) == pytest.approx(0.95)
    assert figures.undisturbed_share(rows, 1) == pytest.approx(0.99)


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
    judged = figures.judge_fall(COUNTS, runs, runs)
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
    judged = figures.judge_gain(COUNTS, average, total)
    assert judged.holds == holds
    assert judged.verdict == verdict
    assert judged.numbers["mean_gain_points"] == pytest.approx(np.mean(gains[1:]))


def test_judging_the_gain_allows_for_its_standard_error() -> None:
    average = np.full((2, 4), 50.0)
    # Four seeds, standard deviation 2: the mean is known to 1.
    noise = np.array([-1, -1, 1, 1]) * np.sqrt(3)
    within = figures.judge_gain([1, 8], average, average + np.array([[0.0], [15.9]]) + noise)
    beyond = figures.judge_gain([1, 8], average, average + np.array([[0.0], [16.1]]) + noise)
    assert within.numbers["standard_error_points"] == pytest.approx([1.0])
    assert (within.holds, beyond.holds) == ("yes", "no")


def test_spearman_with_ties() -> None:
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(5 * 4.5).
    assert figures.spearman([1, 2, 3, 4], [1, 5, 5, 9]) == pytest.approx(4.5 / np.sqrt(22.5))
    assert figures.spearman([1, 2, 3], [9, 5, 1]) == pytest.approx(-1)
    assert figures.spearman([1, 2, 3], [7, 7, 7]) == 0


# --- the command --------------------------------------------------------------------------------


def test_starts_from_any_directory(tmp_path: Path) -> None:
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for option in ("--data", "--threads", "--seeds", "--quick", "--out", "--preset", "--limit"):
        assert option in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_defaults_are_those_of_the_note() -> None:
    arguments = figures.parse_arguments([])
    assert arguments.threads == [1, 2, 4, 6, 8, 10, 12, 16]
    assert arguments.seeds == 5
    assert arguments.preset == "paper"
    assert arguments.out == SCRIPT.parents[1] / "results"
    assert figures.PRESETS["paper"] == dict(omp_mlp.PAPER)
    quick = figures.parse_arguments(["--quick"])
    assert quick.seeds < arguments.seeds
    assert quick.passes < arguments.passes
    assert figures.parse_arguments(["--quick", "--seeds", "4"]).seeds == 4


@pytest.mark.parametrize("arguments", [["--threads", "0"], ["--seeds", "x"], ["--preset", "no"]])
def test_refuses_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        figures.parse_arguments(arguments)
    assert stopped.value.code == 2
    assert arguments[0] in capsys.readouterr().err


# --- shared helpers -----------------------------------------------------------------------------


def test_plain_leaves_nothing_that_json_does_not_know() -> None:
    values = {1: (np.float32(0.5), np.int64(3), np.bool_(True)), "a": np.array([[1.0, np.nan]])}
    assert report.plain(values) == {"1": [0.5, 3, True], "a": [[1.0, None]]}
    assert report.plain(float("inf")) is None


def test_text_table_wraps_and_aligns() -> None:
    table = report.text_table(["n", "value"], [["1", "9.5"], ["16", "10.25"]], numeric=True)
    assert table.splitlines() == ["n   value", "--  -----", "1     9.5", "16  10.25"]
    table = report.text_table(["a", "b"], [["one two", "three"], ["x", "y"]], widths=(3, 5))
    assert table.splitlines() == [
        "a    b",
        "---  -----",
        "one  three",
        "two",
        "---  -----",
        "x    y",
    ]
