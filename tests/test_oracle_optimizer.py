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
    optimizer = oracle.Optimizer("momentum", oracle.Settings(momentum=0.25))
    found = []
    for g in (2.0, 3.0, 0.0):
        parameters = optimizer.step(parameters, [(np.full((1, 1), g), np.zeros(1))], 0.5)
        found.append(parameters[0][0].item())
    assert found == [0.0, -1.75, -2.1875]
    assert parameters[0][1].tolist() == [0.0]


def steps_by_hand(name: str, gradients: list[float], **settings: float) -> list[float]:
    """Return the weights after each step from w = 1 with the rate 1/2."""
    parameters: oracle.Parameters = [(np.ones((1, 1)), np.zeros(1))]
    optimizer = oracle.Optimizer(name, oracle.Settings(**settings))
    found = []
    for g in gradients:
        parameters = optimizer.step(parameters, [(np.full((1, 1), g), np.zeros(1))], 0.5)
        found.append(parameters[0][0].item())
    assert parameters[0][1].tolist() == [0.0]
    return found


def test_nesterov_by_hand() -> None:
    # From w = 1 with the rate 1/2 and momentum 1/4:
    #   g = 2: v = 2,        g + v/4 = 5/2,     w = 1 - 5/4
    #   g = 3: v = 7/2,      g + v/4 = 31/8,    w = -1/4 - 31/16
    #   g = 0: v = 7/8,      g + v/4 = 7/32,    w = -35/16 - 7/64
    assert steps_by_hand("nesterov", [2.0, 3.0, 0.0], momentum=0.25) == [-0.25, -2.1875, -2.296875]


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_by_hand(name: str) -> None:
    # From w = 1 with the rate 1/2, beta_1 = 1/2, beta_2 = 3/4, epsilon = 1:
    #   g = 2: m = 1, v = 1, m / (1/2) = 2, v / (1/4) = 4, w = 1 - 1/2 * 2 / (2 + 1) = 2/3
    #   g = 3: m = 2, v = 3, m / (3/4) = 8/3, v / (7/16) = 48/7, w = 2/3 - 4/3 / (sqrt(48/7) + 1)
    found = steps_by_hand(name, [2.0, 3.0], beta_1=0.5, beta_2=0.75, epsilon=1.0)
    assert found == pytest.approx([2 / 3, 2 / 3 - 4 / 3 / ((48 / 7) ** 0.5 + 1)], rel=1e-15)


def test_rmsprop_by_hand() -> None:
    # From w = 1 with the rate 1/2, rho = 3/4, epsilon = 1:
    #   g = 2: v = 1,  w = 1 - 1/2 * 2 / (1 + 1) = 1/2
    #   g = 3: v = 3,  w = 1/2 - 3/2 / (sqrt(3) + 1)
    found = steps_by_hand("rmsprop", [2.0, 3.0], rho=0.75, epsilon=1.0)
    assert found == pytest.approx([0.5, 0.5 - 1.5 / (3**0.5 + 1)], rel=1e-15)


def test_clipping_and_decay_by_hand() -> None:
    # W = (1, 2), b = 3, gradients (6, 0) and 8 of norm 10, the rate 1/2:
    #   clipped to the norm 5:  (3, 0) and 4 (up to PyTorch's 1e-6)
    #   with l2 = 1/4:          (3.25, 0.5) and 4
    #   with weight decay 1/5:  (1, 2) * (1 - 1/10) - (1.625, 0.25), and 3 - 2
    parameters: oracle.Parameters = [(np.array([[1.0], [2.0]]), np.array([3.0]))]
    gradients: oracle.Parameters = [(np.array([[6.0], [0.0]]), np.array([8.0]))]
    settings = oracle.Settings(weight_decay=0.2, l2=0.25, max_norm=5.0)
    ((W, b),) = oracle.Optimizer("sgd", settings).step(parameters, gradients, 0.5)
    np.testing.assert_allclose(W.ravel(), [-0.725, 1.55], rtol=1e-6)
    np.testing.assert_allclose(b, [1.0], rtol=1e-6)
    # A gradient below the norm stays as it is.
    ((W, b),) = oracle.Optimizer("sgd", oracle.Settings(max_norm=10.1)).step(
        parameters, gradients, 0.5
    )
    np.testing.assert_array_equal(np.r_[W.ravel(), b], [-2.0, 2.0, -1.0])


def test_states_at_a_merge_by_hand() -> None:
    def two() -> list[oracle.Optimizer]:
        return [
            oracle.Optimizer("adam", state=(np.array([1.0, 2.0]), np.array([4.0, 0.0])), number=3),
            oracle.Optimizer("adam", state=(np.array([3.0, -2.0]), np.array([0.0, 1.0])), number=2),
        ]

    kept, averaged, reset = two(), two(), two()
    oracle.merge_states(kept, "keep")
    oracle.merge_states(averaged, "average")
    oracle.merge_states(reset, "reset")
    assert [o.number for o in kept + averaged + reset] == [3, 2, 3, 3, 0, 0]
    assert [o.state for o in reset] == [(), ()]
    np.testing.assert_array_equal(kept[1].state, two()[1].state)
    for optimizer in averaged:
        np.testing.assert_array_equal(optimizer.state, [[2.0, 0.0], [2.0, 0.5]])
    with pytest.raises(ValueError, match="forget"):
        oracle.merge_states(two(), "forget")
