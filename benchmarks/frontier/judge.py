"""The results beside what was to be reached, and the figures that docs/frontier.md explains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .arithmetic import mean_period
from .tune import GROWING, TIME_GRIDS

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


def _floor(what: str, floor: float, unit: str, measured: float | None) -> dict[str, Any]:
    """Judge to the last digit that is shown; None where it was not measured."""
    reached = None if measured is None else round(measured, 2) >= floor
    return {"what": what, "floor": floor, "unit": unit, "measured": measured, "reached": reached}


def _mean_at(pieces: Mapping[str, Any], problem: str, threads: int) -> float | None:
    curve = pieces.get(f"score/{problem}", {}).get("periodic", {}).get(DEFAULT)
    if curve is None or threads not in curve["threads"]:
        return None
    mean: float = curve["mean"][curve["threads"].index(threads)]
    return mean


def floors(pieces: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Compare the pieces that were measured with the floors."""
    found = []
    for n, floor in SCORE_FLOORS.items():
        who = "sequential" if n == 1 else f"gradient diversity, n = {n}"
        found.append(_floor(f"accuracy, {who}", floor, "%", _mean_at(pieces, "mnist", n)))
    reached = {
        entry["threads"]: entry["reach"][str(SPEED_TARGET)]
        for entry in pieces.get("time", {}).get("entries", ())
        if entry["line"] == DEFAULT
    }
    for n, floor in SPEED_FLOORS.items():
        what = f"speed-up to {SPEED_TARGET:g} %, modelled, n = {n}"
        found.append(_floor(what, floor, "times", reached.get(n, {}).get("modelled_speed_up")))
    what = f"speed-up to {SPEED_TARGET:g} %, measured, n = 2"
    found.append(_floor(what, WALL_FLOOR, "times", reached.get(2, {}).get("measured_speed_up")))
    one, many = (_mean_at(pieces, "digits", n) for n in (1, DIGITS_THREADS))
    gap = None if one is None or many is None else many - one
    what = f"digits, n = {DIGITS_THREADS}, beside sequential"
    return [*found, _floor(what, -DIGITS_MARGIN, "points", gap)]


def rounds(pieces: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Say for each n where a round of gradient diversity spends its time, and what that leaves.

    Returns
    -------
    dict
        By n: ``samples`` of a replica in a round; the seconds that the slowest replica takes for
        them, with a core to itself and taking turns, that the sequential training takes for as
        many, and that a merge takes; how far the slowest is above the mean; the speed-up that the
        epochs alone would allow, and how much of it is left.
    """
    if "time" not in pieces:
        return {}
    entries, found = pieces["time"]["entries"], {}
    samples = pieces["time"]["problem"]["training_samples"]
    one = next(entry for entry in entries if entry["line"] == "sequential")
    target = str(SPEED_TARGET)
    for entry in (entry for entry in entries if entry["line"] == DEFAULT):
        n, cost, merges = entry["threads"], entry["cost"], entry["cost"]["merges"]
        row = {
            "samples": samples / n / merges,
            "replica_seconds": cost["replica_seconds"] / merges,
            "taking_turns_seconds": cost["turns_seconds"] / merges,
            "sequential_seconds": one["cost"]["replica_seconds"] / n / merges,
            "slowest_above_mean_percent": 100 * (cost["slowest_to_mean"] - 1),
            "merge_seconds": cost["merge_seconds"],
        }
        epochs, alone = (e["reach"][target]["epochs"] for e in (entry, one))
        if epochs is not None and alone is not None:
            row["epochs_allow_times"] = n * alone / epochs
            speed_up = entry["reach"][target]["modelled_speed_up"]
            row["left_percent"] = 100 * speed_up / row["epochs_allow_times"]
        found[str(n)] = row
    return found


def equal_periods() -> dict[str, float]:
    """Return for each period that grows the fixed one with as many merges."""
    pairs = [
        period
        for grids in TIME_GRIDS.values()
        for grid in grids
        for period in grid.periods
        if not isinstance(period, int)
    ]
    return {f"{first} to {last}": mean_period((first, last)) for first, last in [*GROWING, *pairs]}
