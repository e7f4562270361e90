"""docs/merge_methods.md: a card for every method, up to date with the table."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import omp_mlp

SCRIPTS = Path(__file__).resolve().parents[1] / "benchmarks"


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


cards = load_script("merge_cards")
PAGE = cards.PAGE.read_text(encoding="utf-8")
MEASURED = json.loads(cards.MEASURED.read_text(encoding="utf-8"))


def test_the_page_is_up_to_date() -> None:
    rendered = cards.render(PAGE, omp_mlp.merge_methods(), MEASURED)
    assert rendered == PAGE, "run: python benchmarks/merge_cards.py"


@pytest.mark.parametrize("method", omp_mlp.merge_methods(), ids=lambda method: method.name)
def test_every_card_has_its_text(method: omp_mlp.MergeMethod) -> None:
    assert f"\n## {method.name}\n" in PAGE
    card = PAGE.split(f"\n## {method.name}\n")[1].split("\n## ")[0]
    for part in ("**When**", "**When not**", "**Cost**", "**Reference**", "**Measured**"):
        assert card.count(part) == 1
    assert method.summary in card
    assert cards._MISSING not in card


def test_every_card_is_of_a_method() -> None:
    names = {method.name for method in omp_mlp.merge_methods()}
    assert {line[3:] for line in PAGE.splitlines() if line.startswith("## ")} <= names


def test_a_new_method_gets_a_card_and_a_changed_one_is_noticed() -> None:
    methods = omp_mlp.merge_methods()
    new = omp_mlp.MergeMethod(
        name="mode", summary="Most of all.", formula="W = mode_i w_i", reference="Nobody 2001",
        cadence="once", needs_base=True, may_skip=True, options=(),
    )  # fmt: skip
    page = cards.render(PAGE, [*methods, new], MEASURED)
    assert "| [`mode`](#mode) | once | base | Most of all. |" in page
    assert page.count("\n## mode\n") == 1
    assert "    W = mode_i w_i\n" in page
    assert "see [frontier.md](frontier.md)" in page.split("## mode")[1]
    assert cards._MISSING in page
    assert cards.render(page, [*methods, new], MEASURED) == page
    changed = [replace(methods[0], summary="Something else."), *methods[1:]]
    assert "Something else." in cards.render(PAGE, changed, MEASURED)


def test_measured_lines_say_what_was_measured() -> None:
    measured = {
        "methods": {
            "average": {
                "scores": {
                    "8 shared": [0.9, 0.92], "32 shared": [0.8, 0.8], "8 independent": [0.5, 0.6]
                },
                "seconds": 0.0123,
            }
        }
    }  # fmt: skip
    assert cards.measured_line("average", measured) == (
        "n = 8 and 32: 91.0 ± 1.4 and 80.0 ± 0.0 % (shared); 55.0 ± 7.1 % (independent); "
        "12 ms for n = 8."
    )
