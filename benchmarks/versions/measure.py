"""Let both versions do the same trainings in turn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..common.timing import ratios, summarise
from ..peers import Row, Training
from ..peers.bench import Bench, Entry, Result
from .cells import LEARNING_RATES, Cell

VERSIONS = ("old", "new")
# A ratio of the medians below this is a loss of speed.
LEAST_RATIO = 0.98


def entry(cell: Cell, version: str, python: str, samples: int | None = None) -> Entry:
    """Return the training of a cell by the version that an interpreter has installed."""
    options: dict[str, Any] = {
        "strategy": cell.strategy, "threads": cell.threads or cell.workers, "workers": cell.workers,
    }  # fmt: skip
    if cell.strategy == "replica":
        options["merge_every"] = max(1_024, cell.batch_size)
    else:
        # The defaults: it trains one network and has nothing to merge.
        options |= {"merge": "gradient_diversity", "merge_every": "auto"}
    rate = LEARNING_RATES.get(cell.batch_size, 0.1)
    return Entry(
        Row(version, version, "omp", "omp_mlp", form=cell.form, python=python),
        Training(cell.batch_size, rate, hidden=cell.hidden, options=options),
        cell.workers,
        {"cell": cell.name},
        samples=samples,
    )


def compare(
    bench: Bench, cells: Sequence[Cell], pythons: Mapping[str, str], again: int
) -> list[Result]:
    """Measure every cell with both versions, which take turns.

    Both train on as many samples as the old version can in a turn. Cells whose ratio is too low are
    measured again, up to ``again`` times, so that a noisy minute does not accuse a version.

    Returns
    -------
    list of dict
        For each cell its fields, ``samples``, and samples a second of ``old`` and ``new`` and
        their ``ratio``, with medians, ranges and runs. The median of the ratios within the turns is
        that to judge: a slow spell of the machine is in both members of a pair.

    Raises
    ------
    SystemExit
        If a version cannot do one of the trainings.
    """
    counts: dict[str, int] = {}
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)

    def take(cells: Sequence[Cell]) -> None:
        both = [entry(c, v, pythons[v], counts[c.name]) for c in cells for v in VERSIONS]
        for found in bench.measure(both, score=False):
            rates[found["cell"], found["peer"]] += found["samples_per_second"]["runs"]
        if bench.failures:
            raise SystemExit("\n".join(bench.failures))

    def result(cell: Cell) -> Result:
        old, new = (rates[cell.name, version] for version in VERSIONS)
        return {
            **asdict(cell),
            "samples": counts[cell.name],
            "old": summarise(old),
            "new": summarise(new),
            "ratio": ratios(new, old),
        }

    for cell in cells:
        bench.say(f"samples of {cell.name}")
        counts[cell.name] = bench.sample_count(entry(cell, "old", pythons["old"]), bench.turn)
    take(cells)
    for _ in range(again):
        take([cell for cell in cells if slower([result(cell)])])
    return [result(cell) for cell in cells]


def slower(entries: Sequence[Result]) -> list[Result]:
    """Return the entries whose median ratio is too low."""
    return [entry for entry in entries if entry["ratio"]["median"] < LEAST_RATIO]
