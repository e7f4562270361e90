"""One change at a time: what gradient diversity at n = 64 owes to what goes with it.

On the validation split, since this is how settings are found and not how a result is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

THREADS = 64


@dataclass(frozen=True)
class Change:
    """A change of the line's settings."""

    about: str  # in tables
    options: dict[str, Any] = field(default_factory=dict)  # of train_parallel
    method: str = "gradient_diversity"  # of merging
    scale: dict[str, float] = field(default_factory=dict)  # options that are multiplied


_CONSTANT = {"learning_rate_schedule": "constant"}
CHANGES = (
    Change("the settings as they are"),
    Change("inputs as they are, not centred", {"center_inputs": False}),
    Change("no outer momentum", {"outer_momentum": 0.0}),
    Change("outer momentum 0.3", {"outer_momentum": 0.3}),
    Change("outer momentum 0.8", {"outer_momentum": 0.8}),
    Change(
        "outer momentum in Nesterov's way",
        {"outer_optimizer": "nesterov", "outer_learning_rate": 1.0},
    ),
    Change("outer momentum that falls with the rate", {"outer_optimizer": "slowmo"}),
    Change("average of the updates in place of their diversity", method="average"),
    Change("Adasum in place of their diversity", method="adasum"),
    Change("merged half as often", scale={"merge_every": 2}),
    Change("merged a quarter as often", scale={"merge_every": 4}),
    Change("merged twice as often", scale={"merge_every": 0.5}),
    Change("16 samples between merges, growing to 256", {"merge_every": (16, 256)}),
    Change(
        "8 samples between merges, growing to 128, outer momentum 0.3",
        {"merge_every": (8, 128), "outer_momentum": 0.3},
    ),
    Change("16 samples between merges, growing to 64", {"merge_every": (16, 64)}),
    Change("64 samples between merges, falling to 16", {"merge_every": (64, 16)}),
    Change("half the learning rate", scale={"learning_rate": 0.5}),
    Change("twice the learning rate", scale={"learning_rate": 2}),
    Change("constant learning rate", _CONSTANT),
    Change("constant learning rate, a quarter of it", _CONSTANT, scale={"learning_rate": 0.25}),
    Change("batches of 4, four times the rate", {"batch_size": 4}, scale={"learning_rate": 4}),
    Change("batches of 8, six times the rate", {"batch_size": 8}, scale={"learning_rate": 6}),
    Change("the same shard for a replica in every epoch", {"shuffle": "shards"}),
    Change("2,500 samples before the replicas part", {"warmup_samples": 2_500}),
    Change("10,000 samples before the replicas part", {"warmup_samples": 10_000}),
    Change("products in bfloat16", {"precision": "bfloat16"}),
    Change("no steps for samples with 1 - p below 0.05", {"skip_confident": 0.05}),
)


def changed(settings: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """Return the settings with the change made; no period is shorter than a batch."""
    options = {**settings, **change.options}
    for key, factor in change.scale.items():
        options[key] = _scaled(options[key], factor)
    period, batch = options["merge_every"], options["batch_size"]
    if isinstance(period, int):
        options["merge_every"] = max(period, batch)
    else:
        options["merge_every"] = [max(part, batch) for part in period]
    return options


def _scaled(value: Any, factor: float) -> Any:  # noqa: ANN401 - a number, or a pair of them
    if isinstance(value, list | tuple):
        return [_scaled(part, factor) for part in value]
    return round(value * factor) if isinstance(value, int) else value * factor
