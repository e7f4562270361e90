"""The step from a gradient to the next parameters, and its rate."""

from __future__ import annotations

from oracle.network import FloatArray, Parameters


def sgd_step(
    parameters: Parameters,
    gradients: list[tuple[FloatArray, FloatArray]],
    learning_rate: float,
) -> Parameters:
    """Return parameters - learning_rate * gradient, in the parameters' floating type."""
    rate = parameters[0][0].dtype.type(learning_rate)
    return [
        (weights - rate * d_weights, biases - rate * d_biases)
        for (weights, biases), (d_weights, d_biases) in zip(parameters, gradients, strict=True)
    ]


def learning_rate_at(learning_rate: float, schedule: str, position: int, length: int) -> float:
    """Return the rate of the batch that begins at a position of a replica's stream of that length.

    constant: learning_rate; linear: learning_rate * (1 - position / length).
    """
    if schedule == "constant":
        return learning_rate
    if schedule == "linear":
        return learning_rate * (1 - position / length)
    raise ValueError(f"learning_rate_schedule must be 'constant' or 'linear', got {schedule!r}")
