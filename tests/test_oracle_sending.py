"""The oracle's sums of rounded updates, by hand."""

import numpy as np
import pytest

import oracle

ULP = 2.0**-7  # from one bfloat16 number to the next, from 1 on


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, 1.0),
        (1 + 0.49 * ULP, 1.0),
        (1 + 0.5 * ULP, 1.0),  # even
        (1 + 0.51 * ULP, 1 + ULP),
        (1 + 1.5 * ULP, 1 + 2 * ULP),  # even
        (-1 - 1.5 * ULP, -1 - 2 * ULP),
        (2 - 0.25 * ULP, 2.0),
        (3.4e38, np.inf),  # the largest one is (2 - ULP) 2^127 = 3.39e38
        (-np.inf, -np.inf),
        (2.0**-140, 0.0),  # the least one is 2^-133
        (np.nan, np.nan),
    ],
)
def test_numbers(value: float, expected: float) -> None:
    assert oracle.to_bfloat16(np.float32([value])).tolist() == pytest.approx(
        [expected], rel=0, abs=0, nan_ok=True
    )


def of(*values: float) -> list[np.ndarray]:
    return [np.float32([value]) for value in values]


def test_a_tree_rounds_where_it_sends() -> None:
    # Rank 3 sends 1, rank 2 its sum with that, and rank 0 the sum of all.
    total, left = oracle.sum_up_a_tree(of(4, 0, 2, 1 + ULP / 4), of(0, ULP, 2 * ULP, 0))
    # 3 + 2 ULP is a number of bfloat16; 7 + 3 ULP lies between 7 + 2 ULP and ... of 4 ULP each.
    assert total.item() == 7 + 4 * ULP
    assert [one.item() for one in left] == [-ULP, 0, 0, ULP / 4]


def test_parts_are_rounded_by_all_and_again_by_one() -> None:
    updates = [np.float32([1 + ULP / 4, 4]), np.float32([4, 3 * ULP])]
    left = [np.zeros(2, np.float32), np.float32([0, ULP / 512])]
    total, left = oracle.sum_up_in_parts(updates, left)
    # The sums are 5 and 4 + 3 ULP; numbers from 4 on are 4 ULP apart.
    assert total.tolist() == [5, 4 + 4 * ULP]
    assert left[0].tolist() == [ULP / 4, 0]
    assert left[1].tolist() == [0, ULP / 512 - ULP]
