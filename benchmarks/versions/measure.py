"""Ask the processes of both versions in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..common import timing
from ..common.data import Data
from ..common.process import Process
from .cells import LEARNING_RATES, Cell

CHILD = Path(__file__).with_name("child.py")
LEAST_SAMPLES = 500
# A ratio of the medians below this is a loss of speed.
LEAST_RATIO = 0.98


def start(name: str, python: str, data: Data, folder: Path) -> Process:
    """Start the process of a version; ``about`` of it is what the version says of itself.

    Raises
    ------
    OSError, ProcessError
        If there is no such Python, or it has no omp_mlp.
    """
    images, labels = folder / "X.npy", folder / "y.npy"
    if not images.exists():
        np.save(images, data.X)
        np.save(labels, data.y)
    return Process(name, [python, str(CHILD)], images=str(images), labels=str(labels))


def _samples_for(process: Process, cell: Cell, seconds: float, most: int) -> int:
    """Return how many samples take about so long, and warm the process up."""
    samples = min(max(LEAST_SAMPLES, 4 * cell.batch_size), most)
    while True:
        took = _seconds(process, cell, samples)
        if took >= seconds / 2 or samples == most:
            return samples
        samples = min(most, round(samples * min(8.0, seconds / took)))


def compare(
    old: Process,
    new: Process,
    cells: Sequence[Cell],
    *,
    pairs: int,
    again: int,
    seconds: float,
    most: int,
    probe: timing.Probe,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Measure every cell in pairs; the version that goes first changes from pair to pair.

    Cells whose ratio is too low get as many further pairs, up to ``again`` times, so that a noisy
    minute does not accuse a version.

    Returns
    -------
    list of dict
        For each cell its fields, ``samples``, and samples a second of ``old`` and ``new`` and
        their ``ratio``, with medians, ranges and runs. The median of the ratios within the pairs is
        that to judge: a slow spell of the machine is in both members of a pair.
    """
    counts: dict[Cell, int] = {}
    for cell in cells:
        say(f"samples of {cell.name}")
        counts[cell] = _samples_for(old, cell, seconds, most)
        _seconds(new, cell, counts[cell])
    runs: dict[Cell, list[dict[str, float]]] = {cell: [] for cell in cells}
    versions = {"old": old, "new": new}

    def pair(cell: Cell) -> dict[str, float]:
        say(cell.name)
        order = ("old", "new") if len(runs[cell]) % 2 == 0 else ("new", "old")
        return probe.undisturbed(
            lambda: {name: _seconds(versions[name], cell, counts[cell]) for name in order}
        )

    def take(cell: Cell) -> None:
        runs[cell].append(pair(cell))

    def entry(cell: Cell) -> dict[str, Any]:
        was, now = ([run[name] for run in runs[cell]] for name in ("old", "new"))
        return {
            **asdict(cell),
            "samples": counts[cell],
            "old": timing.summarise([counts[cell] / taken for taken in was]),
            "new": timing.summarise([counts[cell] / taken for taken in now]),
            "ratio": timing.ratios(was, now),
        }

    timing.in_turn(cells, take, pairs)
    for _ in range(again):
        timing.in_turn([cell for cell in cells if slower([entry(cell)])], take, pairs)
    return [entry(cell) for cell in cells]


def _seconds(process: Process, cell: Cell, samples: int) -> float:
    rate = LEARNING_RATES.get(cell.batch_size, 0.1)
    reply = process.ask("train", samples=samples, learning_rate=rate, **asdict(cell))
    return float(reply["seconds"])


def slower(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries whose median ratio is too low."""
    return [entry for entry in entries if entry["ratio"]["median"] < LEAST_RATIO]
