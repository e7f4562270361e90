"""The oracle's optimisers and their rates, by hand."""

from __future__ import annotations

import numpy as np
import pytest

import oracle


def test_learning_rate_by_hand() -> None:
    # The first replica of the rounds above, L = 8, batches at 0, 2, 3, 4, 6 and a rate of 0.8:
    # 0.8, 0.8 * 6/8, 0.8 * 5/8, 0.8 * 4/8, 0.8 * 2/8.
    rates = [oracle.learning_rate_at(0.8, "linear", p, 8) for p in (0, 2, 3, 4, 6)]
    assert rates == pytest.approx([0.8, 0.6, 0.5, 0.4, 0.2], rel=1e-15)
    # The second, L = 6, batches at 0, 2, 3, 5: 0.8, 0.8 * 4/6, 0.8 * 3/6, 0.8 * 1/6.
    rates = [oracle.learning_rate_at(0.8, "linear", p, 6) for p in (0, 2, 3, 5)]
    assert rates == pytest.approx([0.8, 1.6 / 3, 0.4, 0.4 / 3], rel=1e-15)
    assert oracle.learning_rate_at(0.8, "constant", 5, 6) == 0.8
    with pytest.raises(ValueError, match="stairs"):
        oracle.learning_rate_at(0.8, "stairs", 0, 1)


def test_momentum_by_hand() -> None:
    # From w = 1 with the rate 1/2 and momentum 1/4:
    #   g = 2: v = 2,            w = 1 - 1 = 0
    #   g = 3: v = 1/2 + 3,      w = 0 - 7/4
    #   g = 0: v = 7/8,          w = -7/4 - 7/16
    parameters: oracle.Parameters = [(np.ones((1, 1)), np.zeros(1))]
    optimizer = oracle.Optimizer("momentum", {"momentum": 0.25})
    found = []
    for g in (2.0, 3.0, 0.0):
        parameters = optimizer.step(parameters, [(np.full((1, 1), g), np.zeros(1))], 0.5)
        found.append(parameters[0][0].item())
    assert found == [0.0, -1.75, -2.1875]
    assert parameters[0][1].tolist() == [0.0]
