"""benchmarks/merge_cost.py: what it measures, and what it writes."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

import omp_mlp
from omp_mlp import _core

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "merge_cost.py"


def load_script() -> ModuleType:
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        spec = importlib.util.spec_from_file_location("merge_cost", SCRIPT)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["merge_cost"] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPT.parent))
    return module


merge_cost = load_script()


CORE = {row["name"] for row in _core.merge_methods()}  # those in Python have no slices


@pytest.mark.parametrize(
    "method",
    [row for row in omp_mlp.merge_methods() if row.name in CORE],
    ids=lambda row: row.name,
)
@pytest.mark.parametrize("touched", [None, 0.0, 0.6])
def test_every_method_can_be_measured(method: omp_mlp.MergeMethod, touched: float | None) -> None:
    cost = merge_cost.measure(method.name, 3, (70, 31, 10), touched=touched, passes=5)
    assert (cost.method, cost.threads) == (method.name, 3)
    assert min(cost.share_seconds, cost.load_seconds, cost.loop_seconds) >= 0
    assert cost.share_seconds > 0
    # Methods that look at whole layers first go through the slices twice.
    assert cost.loops == (2 if method.cadence == "periodic" else 1)
    loops = cost.loops * cost.loop_seconds
    assert cost.seconds == pytest.approx(cost.share_seconds + cost.load_seconds + loops)


def test_a_share_is_a_part() -> None:
    # A worker of 16 has a sixteenth of the slices of 16 replicas, a lone one all slices of one: the
    # bytes that both read are the same. A worker that did the work of all would take 16 times that.
    alone = merge_cost.measure("average", 1, (784, 128, 10), passes=50)
    share = merge_cost.measure("average", 16, (784, 128, 10), passes=50)
    assert share.share_seconds < 5 * alone.share_seconds


def test_the_script_writes_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--threads", "2", "4", "--methods", "adasum", "--layers", "7", "5", "3"]
    merge_cost.main([*arguments, "--passes", "4", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "merge_cost.json").read_text(encoding="utf-8"))
    assert results["layer_sizes"] == [7, 5, 3]
    assert [cost["threads"] for cost in results["costs"]] == [2, 4]
    assert results["machine"]["cores"] >= 1
    assert results["build"]["version"] == omp_mlp.__version__
    for cost in results["costs"]:
        assert f"{cost['share_seconds'] * 1e6:9.1f}" in printed
