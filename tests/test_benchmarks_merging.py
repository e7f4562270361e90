"""benchmarks/merging: the cards of docs/merge_methods.md, and what a merge costs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fixed
import omp_mlp
from benchmarks.common import documents, files
from omp_mlp import _core

pytest.importorskip("matplotlib")

from benchmarks.merging import cards, cost, draw

PAGE = cards.PAGE.read_text(encoding="utf-8")
MEASURED = files.read_json(cards.MEASURED)["cards"]


def filled(page: str, methods: Any) -> str:
    page, texts = cards.render(page, methods, MEASURED)
    return documents.filled(page, cards.COMMAND, texts, MEASURED)


def test_the_page_is_up_to_date() -> None:
    assert filled(PAGE, omp_mlp.merge_methods()) == PAGE, "run: make cards"


@pytest.mark.parametrize("method", omp_mlp.merge_methods(), ids=lambda method: method.name)
def test_every_card_has_its_text(method: omp_mlp.MergeMethod) -> None:
    card = PAGE.split(f"\n## {method.name}\n")[1].split("\n## ")[0]
    for part in ("**When**", "**When not**", "**Cost**", "**Reference**"):
        assert card.count(part) == 1
    assert method.summary in card
    assert cards.MISSING not in card


def test_every_card_is_of_a_method() -> None:
    blocks = {block.name for block in documents.blocks_of(PAGE)}
    names = {method.name for method in omp_mlp.merge_methods()}
    assert blocks == names | {"overview", "measured"}


def test_a_new_method_gets_a_card_and_a_changed_one_is_noticed() -> None:
    methods = omp_mlp.merge_methods()
    new = omp_mlp.MergeMethod(
        name="mode", summary="Most of all.", formula="W = mode_i w_i; a = 1", reference="Nobody",
        cadence="once", needs_base=True, may_skip=True, options=(), needs_data=("X",),
    )  # fmt: skip
    page = filled(PAGE, [*methods, new])
    assert "| [`mode`](#mode) | once | base, X | Most of all. |" in page
    card = page.split("\n## mode\n")[1]
    assert "    W = mode_i w_i\n    a = 1\n" in card
    assert cards.MISSING in card
    assert filled(page, [*methods, new]) == page
    changed = [replace(methods[0], summary="Something else."), *methods[1:]]
    assert "Something else." in filled(PAGE, changed)


def test_the_table_says_what_was_measured() -> None:
    scores = {"8 shared": [0.9, 0.92], "32 shared": [0.8, 0.8], "8 independent": [0.5, 0.6]}
    results = {
        "one_network": [0.97, 0.99],
        "methods": {
            "average": {"scores": scores, "seconds": 0.0123},
            "ensemble": {"scores": {}, "seconds": None},
            "regmean": {"scores": {"32 independent, aligned": [0.5, 0.5]}, "seconds": 0.94},
        },
    }
    assert cards.measured(results).splitlines()[2:] == [
        "| [`average`](#average) | 91.0 ± 1.4 | 80.0 ± 0.0 | 55.0 ± 7.1 | - | - | - | 12 ms |",
        "| [`ensemble`](#ensemble) | - | - | - | - | - | - | - |",
        "| [`regmean`](#regmean) | - | - | - | - | - | 50.0 ± 0.0 | 0.9 s |",
        "",
        "One network on all samples: 98.0 ± 1.4 %.",
    ]


def test_cards_are_measured_by_merging_the_same_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = cards.data.load("digits", 240)
    monkeypatch.setattr(cards.data, "load", lambda _: digits)
    monkeypatch.setattr(cards, "SEEDS", (3,))
    monkeypatch.setattr(cards, "REPLICAS", (2,))
    monkeypatch.setattr(
        cards, "TRAINING", {**fixed.SETTINGS, "hidden_layer_sizes": (8,), "epochs": 2}
    )
    found = cards.measure()
    replicas = fixed.train_parallel(
        digits.X, digits.y, 2, "average", hidden_layer_sizes=(8,), epochs=2, seed=3,
        init="independent", merge_every=None, keep_replicas=True,
    ).replicas  # fmt: skip
    merged = omp_mlp.merge(replicas, "average")
    scores = found["methods"]["average"]["scores"]
    assert scores["2 independent"] == [merged.score(digits.X_test, digits.y_test)]
    for method in omp_mlp.merge_methods():
        settings = {"2 shared"}
        if method.cadence == "once" and not method.needs_base:
            settings.add("2 independent")
        if "align" in {option.name for option in method.options}:
            settings.add("2 independent, aligned")
        assert set(found["methods"][method.name]["scores"]) == settings


CORE = {row.name for row in _core.merge_methods()}  # those in Python have no slices


@pytest.mark.parametrize(
    "method",
    [row for row in omp_mlp.merge_methods() if row.name in CORE],
    ids=lambda row: row.name,
)
@pytest.mark.parametrize("touched", [None, 0.0, 0.6])
def test_every_method_of_the_core_can_be_timed(
    method: omp_mlp.MergeMethod, touched: float | None
) -> None:
    found = cost.measure(method.name, 3, (70, 31, 10), touched=touched, passes=5)
    assert (found.method, found.threads) == (method.name, 3)
    # Methods that look at whole layers first go through the slices twice.
    assert found.loops == (2 if method.cadence == "periodic" else 1)
    loops = found.loops * found.loop_seconds
    assert found.seconds == pytest.approx(found.share_seconds + found.load_seconds + loops)


def test_a_cost_is_the_median_of_what_the_core_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def merge_cost(**given: Any) -> Any:
        asked.update(given)
        seconds = {"share_seconds": [3.0, 1.0, 2.0], "load_seconds": [4.0], "loop_seconds": [0.5]}
        return SimpleNamespace(**seconds, loops=2)

    monkeypatch.setattr(cost._core, "merge_cost", merge_cost)
    assert cost.measure("delta_sum", 64, (7, 3), passes=9).seconds == 2 + 4 + 2 * 0.5
    assert asked["options"] == ["1/sqrt(n)"]
    assert asked["outer"].momentum == 0  # applied once
    assert asked["passes"] == 64  # one of each share


def test_costs_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--threads", "2", "4", "--methods", "adasum", "--layers", "7", "5", "3"]
    cost.main([*arguments, "--passes", "4", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "merge_cost.json").read_text(encoding="utf-8"))
    assert results["options"]["layer_sizes"] == [7, 5, 3]
    assert [found["threads"] for found in results["costs"]] == [2, 4]
    assert results["build"]["version"] == omp_mlp.__version__
    for found in results["costs"]:
        assert f"{found['share_seconds'] * 1e6:.1f}" in printed


def test_the_picture_shows_what_the_methods_make() -> None:
    """The replicas of a case, merged by hand: Eq. 1, Eq. 2, and the clipped ratio."""
    ends = np.array([[1.5, 0.35], [0.5, 1.35]])
    merged = draw.merged(ends)
    np.testing.assert_allclose(merged["average"], [1.0, 0.85], rtol=1e-6)
    np.testing.assert_allclose(merged["sum"], [2.0, 1.7], rtol=1e-6)
    # Orthogonal updates of (1, 0) and (0, 1): c = 1, their sum.
    np.testing.assert_allclose(merged["gradient_diversity"], [1.5, 1.35], rtol=1e-6)
