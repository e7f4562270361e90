"""The script behind `make strategies`: what it measures, how it judges, what it writes."""

from __future__ import annotations

import importlib.util
import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from omp_mlp import costs
from omp_mlp.costs import calibration

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "strategies.py"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("strategies_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["strategies_benchmark"] = module
    spec.loader.exec_module(module)
    return module


benchmark = load_script()

# After the script, which makes them importable.
from _strategies import grid, judge, tables  # noqa: E402


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
    assert summary["errors_of_all"]["median"] == pytest.approx(0.1)
    assert summary["errors"]["hogwild, 2"]["median"] == pytest.approx(9)
    # Hogwild is not among the candidates: the best is synchronous, and the choice takes 1.25 of it.
    assert summary["choice_best"] == 0
    assert summary["choice_within_10_percent"] == 0
    assert summary["choice_worst_ratio"] == pytest.approx(1.25)
    assert summary["worst_against_one_thread"] == pytest.approx(1.25 / 2)
    verdicts = [target["reached"] for target in judge.targets(CELL, summary)]
    # Errors, choice, section on another network, synchronous 2 >= 1.7, choice against one thread.
    assert verdicts == [True, False, None, True, True]


def test_node_or_exemplar_by_hand() -> None:
    # Section takes 1.6 s and replica 1.25 s of the 2 s of one thread.
    assert tables.node_wins(CELL) == (0, 1)
    assert "| 784-1024-10 | 1.25 / **1.60** |" in tables.node_or_exemplar(CELL)


def test_document_replaces_what_was_between_the_marks() -> None:
    text = f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter"
    once = tables.document(text, "new")
    assert once == f"before\n{tables.BEGIN}\n\nnew\n\n{tables.END}\nafter"
    assert tables.document(once, "new") == once
    with pytest.raises(ValueError, match="once each"):
        tables.document("no marks", "new")


def test_documentation_has_the_marks() -> None:
    path = SCRIPT.parents[1] / "docs" / "strategies.md"
    tables.document(path.read_text(encoding="utf-8"), "")


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
    cell = grid.Cell((8, 16, 10), 1.0, 400, 8)
    data = grid.make_data(8, 1.0, 400)

    class Trained:
        class history:  # noqa: N801 - stands for an attribute
            train_seconds = np.array([5.0, 1.0, 1.0])
            merge_seconds = np.array([0.5, 0.5, 0.5])
            slowest_replica_seconds = np.array([0.75, 0.75, 0.75])

    monkeypatch.setattr(grid.omp_mlp, "train_parallel", lambda *_, **__: Trained)
    found = grid.train(cell, grid.Way(strategy, 2), data, 100)
    assert found == {"seconds": seconds, "share": 0.25, "accuracy": None}


def test_a_small_run_writes_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(calibration, "_NETWORKS", ((64, 16), (96, 16)))
    monkeypatch.setattr(calibration, "_READ", (20, 40))
    monkeypatch.setattr(benchmark, "NETWORKS", ((16, 16, 10), (20, 32, 10)))
    monkeypatch.setattr(benchmark, "SPARSE", ((16, 16, 10),))
    arguments = ["--quick", "--threads", "1", "2", "--longest", "0.001", "--out", str(tmp_path)]
    assert benchmark.main(arguments) == 0
    result = json.loads((tmp_path / "strategies.json").read_text())
    # (16-16 dense and sparse) x (100, 10,000) x (1, 32), and of the last network 100 x 32.
    assert result["summary"]["cells"] == 9
    assert len(result["entries"]) == 9 * (1 + len(costs.STRATEGIES))
    assert all(e["seconds"] > 0 and e["predicted"] > 0 for e in result["entries"])
    assert sum(e["chosen"] for e in result["entries"]) <= 9
    full = [e["accuracy"] for e in result["entries"] if e["share"] == 1]
    assert full
    assert all(0 <= accuracy <= 1 for accuracy in full)
    assert all(e["accuracy"] is None for e in result["entries"] if e["share"] < 1)
    for stem in ("strategies-winners", "strategies-predicted", "strategies-node-or-exemplar",
                 "strategies-extrapolation", "strategy-section"):  # fmt: skip
        assert (tmp_path / f"{stem}.png").stat().st_size > 1000
        ET.parse(tmp_path / f"{stem}.svg")
    text = benchmark.document(result)
    assert "Modelled" in (tmp_path / "strategies-extrapolation.svg").read_text()
    assert text.count("| 16-16-10 |") >= 4
