"""Which cases of a product run: every combination of values is among them."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from covering import covering

SIZES = [(2, 3), (4, 3, 2), (7, 7, 3, 3, 3), (2, 3, 4, 4, 8)]


def cases_of(sizes: tuple[int, ...]) -> list[tuple[str, ...]]:
    return list(product(*([str(value) for value in range(size)] for size in sizes)))


@pytest.mark.parametrize("strength", [1, 2, 3])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_combination_is_met(sizes: tuple[int, ...], strength: int) -> None:
    cases = cases_of(sizes)
    chosen = [cases[k] for k in covering(cases, strength)]
    assert len(set(chosen)) == len(chosen)
    for columns in combinations(range(len(sizes)), min(strength, len(sizes))):
        met = {tuple(case[column] for column in columns) for case in chosen}
        assert met == set(product(*(map(str, range(sizes[column])) for column in columns)))


def test_few_cases_are_enough() -> None:
    # 7 x 7 values have to meet, and 8 x 4, so that no fewer cases would do.
    assert len(covering(cases_of((7, 7, 3, 3, 3)), 2)) == 49
    assert len(covering(cases_of((2, 3, 4, 4, 8)), 2)) == 32


def test_what_is_not_a_product_is_met_too() -> None:
    cases = [("a", "x"), ("a", "y"), ("b", "y")]
    assert sorted(covering(cases, 2)) == [0, 1, 2]
    assert sorted(covering(cases, 1)) == [0, 2]
    assert covering([], 2) == []
