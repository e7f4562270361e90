"""The results beside what was to be reached: accuracy to keep, and speed-up to gain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

DEFAULT = "gradient_diversity"

# MNIST, 784-128-10, ReLU, 5 epochs in total: least mean test accuracy by number of replicas.
SCORE_FLOORS = {1: 98.0, 8: 98.0, 16: 98.0, 32: 97.9, 64: 97.7}
# Least speed-up to SPEED_TARGET, modelled for n cores with the measured cost of merges.
SPEED_TARGET = 98.0
SPEED_FLOORS = {8: 5.0, 16: 9.0, 32: 15.0, 64: 16.0}
# Two replicas on two cores, wall clock.
WALL_FLOOR = 1.7
# Digits at 32 replicas: points below sequential that pass.
DIGITS_THREADS, DIGITS_MARGIN = 32, 0.3


@dataclass(frozen=True)
class Floor:
    """Something to reach. ``reached`` is None where it was not measured."""

    what: str
    floor: float
    unit: str
    measured: float | None

    @property
    def reached(self) -> bool | None:
        """Whether it was reached, to the last digit that is shown."""
        return None if self.measured is None else round(self.measured, 2) >= self.floor


def _mean_at(curve: Mapping[str, Any] | None, threads: int) -> float | None:
    if curve is None or threads not in curve["threads"]:
        return None
    mean: float = curve["mean"][curve["threads"].index(threads)]
    return mean


def judge(parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Compare the parts that were measured with the floors."""
    floors = []
    scores = parts.get("score", {})
    mnist = scores.get("mnist", {}).get("periodic", {}).get(DEFAULT)
    for n, floor in SCORE_FLOORS.items():
        who = "sequential" if n == 1 else f"gradient diversity, n = {n}"
        floors.append(Floor(f"accuracy, {who}", floor, "%", _mean_at(mnist, n)))
    entries = {
        (entry["line"], entry["threads"]): entry["reach"][str(SPEED_TARGET)]
        for entry in parts.get("time", {}).get("entries", ())
    }
    for n, floor in SPEED_FLOORS.items():
        measured = entries.get((DEFAULT, n), {}).get("modelled_speed_up")
        what = f"speed-up to {SPEED_TARGET:g} %, modelled, n = {n}"
        floors.append(Floor(what, floor, "times", measured))
    measured = entries.get((DEFAULT, 2), {}).get("measured_speed_up")
    what = f"speed-up to {SPEED_TARGET:g} %, measured, n = 2"
    floors.append(Floor(what, WALL_FLOOR, "times", measured))
    digits = scores.get("digits", {}).get("periodic", {}).get(DEFAULT)
    one, many = _mean_at(digits, 1), _mean_at(digits, DIGITS_THREADS)
    gap = None if one is None or many is None else many - one
    what = f"digits, n = {DIGITS_THREADS}, beside sequential"
    floors.append(Floor(what, -DIGITS_MARGIN, "points", gap))
    return [{**asdict(floor), "reached": floor.reached} for floor in floors]
