"""The settings of each line for each n, chosen by ``--tune`` (see tune.py).

They are in settings.json, with the validation scores that decided, and read from there. The test
set had no part in it. Of each search the file holds a table: a row for each setting that was tried,
with the values of the ``options`` and then, for each of the ``epochs`` (null: the problem's), the
scores of the seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..common.files import read_json, write_json

SETTINGS_FILE = Path(__file__).with_name("settings.json")

# Options that all trainings share, unless a line or a setting says otherwise.
COMMON: dict[str, Any] = {
    "activation": "relu",
    "center_inputs": True,
    "scale_inputs": False,
    "scale_targets": False,
    "init": "shared",
    "learning_rate_schedule": "linear",
    "shuffle": "global",
}

# What --tune goes through, one axis after the other, from neighbour to neighbour.
AXES: dict[str, tuple[Any, ...]] = {
    # Steps of a factor of about the root of two.
    "learning_rate": (
        *(0.0035, 0.005, 0.007, 0.01, 0.014, 0.02, 0.028, 0.04, 0.056, 0.08),
        *(0.11, 0.16, 0.22, 0.32, 0.45, 0.64),
    ),
    "batch_size": (1, 2, 4, 8, 16),
    "merge_every": (4, 8, 16, 32, 64, 128, 256, 512),
    "outer_momentum": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "outer_learning_rate": (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0),
    "warmup_samples": (0, 1_000, 2_500, 5_000, 10_000),
}


# The line whose settings all methods of one merge share.
ONE_MERGE = "once"
# Hundreds of replicas are left with few samples each, and need merges that no machine could afford.
LARGE_PERIODS = {256: 16, 1024: 4}

_RATE: dict[str, Any] = {"learning_rate": 0.028, "batch_size": 1}
_PERIODIC_AXES = ("learning_rate", "merge_every", "outer_momentum")
# The momentum that the library takes by itself, by the least number of replicas.
_MOMENTUM = {1: 0.0, 4: 0.3, 16: 0.4, 32: 0.5}


def start_of(
    problem: str, line: str, threads: int, fixed: Mapping[str, Any]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the axes of a line's search, and where it begins.

    All but the sequential training begin with its learning rate and batch size. ``fixed`` are
    options that the line has whatever its settings are.
    """
    if line == "sequential":
        return ("learning_rate", "batch_size"), dict(_RATE)
    begin = {**_RATE, **_chosen("score", problem, "sequential").get("1", {})}
    if line == ONE_MERGE:
        return ("learning_rate", "warmup_samples"), {**begin, "warmup_samples": 0}
    begin["merge_every"] = 64
    if line == "local_sgd":
        # Averages of updates that differ are short; a higher rate makes up for that in part.
        begin["learning_rate"] = nearest_rate(begin["learning_rate"] * threads**0.5)
        return ("learning_rate", "merge_every"), begin
    momentum = _MOMENTUM[max(n for n in _MOMENTUM if n <= threads)]
    if threads in LARGE_PERIODS:
        begin["merge_every"] = max(LARGE_PERIODS[threads], begin["batch_size"])
        return ("outer_momentum",), {**begin, "outer_momentum": momentum}
    if "outer_optimizer" not in fixed:
        return _PERIODIC_AXES, {**begin, "outer_momentum": momentum}
    outer = {"outer_momentum": 0.6, "outer_learning_rate": 1.0 if threads <= 16 else 2.0}
    return ("outer_learning_rate", "outer_momentum", *_PERIODIC_AXES[:2]), {**begin, **outer}


def nearest_rate(rate: float) -> float:
    """Return the learning rate of the grid that is nearest by ratio."""
    rates: tuple[float, ...] = AXES["learning_rate"]
    return min(rates, key=lambda r: abs(math.log(r / rate)))


def nearest(threads: int, tuned: Iterable[int]) -> int:
    """Return the number of replicas that was tuned and is nearest by ratio; the larger of two."""
    return min(tuned, key=lambda n: (abs(math.log(n / threads)), -n))


# --- what the file holds ------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _file() -> dict[str, Any]:
    return read_json(SETTINGS_FILE) if SETTINGS_FILE.exists() else {"chosen": {}, "trials": {}}


def _chosen(purpose: str, problem: str, line: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _file()["chosen"].get(purpose, {}).get(problem, {}).get(line, {})
    return found


def settings_for(
    problem: str,
    line: str,
    threads: int,
    fixed: Mapping[str, Any],
    purpose: str = "score",
) -> dict[str, Any]:
    """Return the chosen options of ``train_parallel``.

    They are for the best "score" after the fixed number of epochs, or for the least "time" to a
    score; the former where there are none for the latter. Where this number of ``threads`` was not
    tuned, they are those of the nearest that was; for a line that was not tuned, those with which
    its search begins. ``fixed`` are options that the line has whatever its settings are.
    """
    for wanted in (purpose, "score"):
        if by_threads := _chosen(wanted, problem, line):
            return dict(by_threads[str(nearest(threads, map(int, by_threads)))])
    return start_of(problem, line, threads, fixed)[1]


def is_tuned(problem: str, line: str) -> bool:
    """Whether the settings of a line come from a search, for at least one number of replicas."""
    return bool(_chosen("score", problem, line))


Scores = list[float | None]  # of the seeds; None where a training diverged
Trial = tuple[dict[str, Any], dict[float | None, Scores]]  # options, and scores by epochs


def packed(trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the table of a search, as the file has it."""
    options, scores = trials[0]
    return {
        "options": list(options),
        "epochs": list(scores),
        "tried": [
            [*(tried[name] for name in options), *(by_epochs[epochs] for epochs in scores)]
            for tried, by_epochs in trials
        ],
    }


def unpacked(table: Mapping[str, Any]) -> list[Trial]:
    """Return the trials of a table."""
    names, epochs = table["options"], table["epochs"]
    return [
        (dict(zip(names, row, strict=False)), dict(zip(epochs, row[len(names) :], strict=True)))
        for row in table["tried"]
    ]


def trials_of(purpose: str, problem: str, line: str, threads: int) -> list[Trial]:
    """Return what the search tried, with scores; nothing if there was none."""
    found = _file()["trials"]
    for key in (purpose, problem, line, str(threads)):
        found = found.get(key, {})
    return unpacked(found) if found else []


def searched_periods() -> dict[str, Any]:
    """Return the trials of gradient diversity's search for the least time, for n = 32 and 64.

    Those at the learning rate and batch size that were chosen.
    """
    searched = {}
    for n in (32, 64):
        chosen = settings_for("mnist", "gradient_diversity", n, {}, "time")
        fixed = {key: chosen[key] for key in ("learning_rate", "batch_size")}
        trials = [
            trial
            for trial in trials_of("time", "mnist", "gradient_diversity", n)
            if fixed.items() <= trial[0].items()
        ]
        if trials:
            searched[str(n)] = packed(trials)
    return searched


def write_chosen(found: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Enter what --tune found into settings.json; what was not tuned stays."""
    _file.cache_clear()
    kept = _file()
    for part in ("chosen", "trials"):
        _merge_into(kept.setdefault(part, {}), found[part])
    kept["axes"], kept["common"] = AXES, COMMON
    run = {key: about[key] for key in ("started", "machine", "build", "source")}
    earlier = [other for other in kept.get("runs", ()) if other["started"] != run["started"]]
    write_json(SETTINGS_FILE, {**kept, "runs": [*earlier, run]})
    _file.cache_clear()


def _merge_into(kept: dict[str, Any], found: Mapping[str, Any], depth: int = 4) -> None:
    """Replace what is ``depth`` levels down: purpose, problem, line, n. Its neighbours stay."""
    for key, value in found.items():
        if depth == 1:
            kept[key] = value
        else:
            _merge_into(kept.setdefault(key, {}), value, depth - 1)
