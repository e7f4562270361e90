"""The script behind `make strategies`: what it measures, how it judges, what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.common import documents, files
from omp_mlp import costs

pytest.importorskip("matplotlib")

from benchmarks.strategies import __main__ as run
from benchmarks.strategies import judge, measure, tables


def entry(strategy: str, threads: int, seconds: float, predicted: float, **more: Any) -> Any:
    return {
        "name": "784-1024-10", "n_samples": 100, "batch_size": 256, "strategy": strategy,
        "threads": threads, "seconds": seconds, "predicted": predicted, "chosen": False,
        "share": 1.0, "accuracy": 0.5, **more,
    }  # fmt: skip


CELL = [
    entry("replica", 1, 2.0, 2.2),
    entry("replica", 2, 1.25, 1.0, chosen=True),
    entry("synchronous", 2, 1.0, 1.1),
    entry("section", 2, 1.6, 1.6),
    entry("hogwild", 2, 0.5, 5.0),
]


def test_judgement_by_hand() -> None:
    summary = judge.summarise(CELL)
    # |2.2/2 - 1|, |1/1.25 - 1|, |1.1/1 - 1|, 0, |5/0.5 - 1|
    assert summary["errors_of_all"]["median_error"] == pytest.approx(0.1)
    assert summary["errors"]["hogwild, 2"]["median_error"] == pytest.approx(9)
    assert summary["errors_of_choices"]["entries"] == 4
    # Hogwild is not among the candidates: the best is synchronous, and the choice takes 1.25 of it.
    assert summary["choice_best_share"] == 0
    assert summary["choice_within_10_percent_share"] == 0
    assert summary["choice_worst_ratio"] == pytest.approx(1.25)
    assert summary["worst_against_one_thread_ratio"] == pytest.approx(1.25 / 2)
    verdicts = [target["reached"] for target in judge.targets(CELL, summary)]
    # Errors, choice, section on another network, synchronous 2 >= 1.7, choice against one thread.
    assert verdicts == [True, False, None, True, True]


def test_node_or_exemplar_by_hand() -> None:
    # Section takes 1.6 s and replica 1.25 s of the 2 s of one thread.
    found = judge.node_or_exemplar(CELL)
    assert found == {("784-1024-10", 256): {"section": [1.25], "replica": [1.6]}}
    predicted = judge.node_or_exemplar(CELL, "predicted")
    assert predicted == {("784-1024-10", 256): {"section": [2.2 / 1.6], "replica": [2.2]}}
    summary = judge.summarise(CELL)
    assert summary["node_wins"] == 0
    speed_ups = summary["node_or_exemplar_speed_ups"]
    assert speed_ups == {"784-1024-10, B = 256": {"section": 1.25, "replica": 1.6}}
    assert "| 784-1024-10 | 1.25 / **1.60** |" in tables.sides(CELL)


def test_tables_by_hand() -> None:
    assert tables.winners(CELL).splitlines()[2:] == [
        "| 784-1024-10 | 100 | 256 | 2 s | sync. | 2.00 | replica | replica | 1.60 |"
    ]
    cell = [{**e, "n_samples": tables.SHOWN_SAMPLES} for e in CELL]
    assert tables.times(cell).splitlines()[2:] == [
        "| 784-1024-10 | 256 | 2 s (2.2 s) | 1.25 s (1 s) | 1.6 s (1.6 s) | 1 s (1.1 s) | "
        "500 ms (5 s) | - |"
    ]
    # A cell that one strategy did not train in full has no accuracy to compare.
    other = [{**e, "batch_size": 8, "accuracy": None} for e in CELL]
    assert "| one thread | 50.0 % |" in tables.accuracies([*CELL, *other])


@pytest.mark.parametrize(
    "value, text", [(2.0, "2 s"), (0.12345, "123 ms"), (4.2e-5, "42 µs"), (4.2e-7, "0.42 µs")]
)
def test_times_have_three_digits_and_a_unit(value: float, text: str) -> None:
    assert tables.seconds(value) == text


@pytest.mark.parametrize(
    "strategy, seconds",
    [
        # Rounds of 5, 1 and 1 s: 4 s to get ready, and 3 s for a quarter of the samples; 1.5 s to
        # give the network back.
        ("section", 4 + 4 * 3 + 1.5),
        # Three merges, of 0.5 s and 0.25 s for copies each; 3.75 s to get ready; 0.75 * 3 s for a
        # quarter of the samples.
        ("pattern", 4 + 4 * 2.25 + 3 * 0.75),
    ],
)
def test_shortened_trainings_are_put_together_from_parts(
    monkeypatch: pytest.MonkeyPatch, strategy: str, seconds: float
) -> None:
    cell = measure.Cell((8, 16, 10), 1.0, 400, 8)
    data = measure.make_data(8, 1.0, 400)

    class Trained:
        class history:  # noqa: N801 - stands for an attribute
            train_seconds = np.array([5.0, 1.0, 1.0])
            merge_seconds = np.array([0.5, 0.5, 0.5])
            slowest_replica_seconds = np.array([0.75, 0.75, 0.75])

    monkeypatch.setattr(measure.omp_mlp, "train_parallel", lambda *_, **__: Trained)
    found = measure.train(cell, measure.Way(strategy, 2), data, 100)
    assert found == {"seconds": seconds, "share": 0.25, "accuracy": None}


def test_data_have_the_density_and_the_norm_that_they_say() -> None:
    X, y, X_test, y_test = measure.make_data(784, 0.2, 2_000)
    assert X.shape == (2_000, 784)
    assert len(X_test) == len(y_test) == measure.HELD_OUT
    # 784 * 2,000 draws: a standard error of 0.0003.
    assert np.count_nonzero(X) / X.size == pytest.approx(0.2, abs=0.003)
    assert np.sqrt((X**2).sum(axis=1)).mean() == pytest.approx(10, rel=0.1)
    assert set(y) == set(range(measure.CLASSES))


def test_ways_take_turns_and_every_second_pass_is_backwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = costs.TYPICAL
    taken: list[str] = []

    def train(_: measure.Cell, way: measure.Way, *__: Any) -> dict[str, Any]:
        taken.append(way.strategy)
        number = len(taken)
        return {"seconds": float(number), "share": 1.0, "accuracy": number / 100}

    monkeypatch.setattr(measure, "train", train)
    clock = iter(range(1_000))  # every look at it takes a second: no run is repeated
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock))
    cell = measure.Cell((8, 16, 10), 1.0, 100, 8)
    *_, found = measure.take([cell], [1, 2], 2, known, 1.0)
    order = [way.strategy for way in measure.ways([1, 2])]
    assert taken == order + order[::-1]
    # The first in the first pass is the last in the second.
    assert [entry["seconds"] for entry in found] == [(1 + 2 * len(order)) / 2] * len(order)
    assert (found[0]["fastest"], found[0]["slowest"]) == (1, 2 * len(order))
    predicted = measure.predict(cell, measure.Way("replica", 1), known).total
    assert found[0]["predicted"] == predicted


def test_a_small_run_writes_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(run.costs, "calibrate", lambda **_: costs.TYPICAL)
    monkeypatch.setattr(measure, "NETWORKS", ((16, 16, 10), (20, 32, 10)))
    monkeypatch.setattr(measure, "SPARSE", ((16, 16, 10),))
    arguments = ["--quick", "--threads", "1", "2", "--longest", "0.001", "--out", str(tmp_path)]
    run.main(arguments)
    result = json.loads((tmp_path / "strategies.json").read_text())
    # (16-16 dense and sparse) x (100, 10,000) x (1, 32), and of the last network 100 x 32.
    assert result["summary"]["cells"] == 9
    entries = files.from_columns(result["entries"])
    assert len(entries) == 9 * (1 + len(costs.STRATEGIES))
    for found in entries:
        assert (found["accuracy"] is None) == (found["share"] < 1)
    for stem in ("strategies-winners", "strategies-predicted", "strategies-node-or-exemplar",
                 "strategies-extrapolation", "strategy-section"):  # fmt: skip
        assert (tmp_path / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
    drawn = {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}
    assert run.main(["--redraw", "--out", str(tmp_path)]) == result
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.png")} == drawn


def test_the_document_has_a_block_for_every_table() -> None:
    text = (files.DOCS / "strategies.md").read_text(encoding="utf-8")
    content = {"summary": judge.summarise(CELL), "targets": []}
    made = tables.all_tables(content, CELL)
    assert {block.name for block in documents.blocks_of(text)} == set(made)
    assert {block.command for block in documents.blocks_of(text)} == {run.COMMAND}


def test_one_thread_alone_is_no_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["--threads", "1"])
    assert "must have a number above 1; got [1]" in capsys.readouterr().err
