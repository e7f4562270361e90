"""The pieces of the measurement. Each returns a dict for the JSON file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..common.machine import available_cores
from ..common.progress import Progress
from ..common.timing import Probe
from . import changes, rules, timing
from .arithmetic import budget_to_reach, mean_and_sd, speed_up
from .lines import PERIODIC, SEQUENTIAL, Line, named
from .once import score_once
from .problems import Source
from .settings import is_tuned, settings_for
from .work import Pool, Training, score, training

PARTS = ("score", "epochs", "time", "changes", "rules")

TARGETS = (97.0, 97.5, 98.0)
# Epochs of the trainings whose scores say how many are needed for a target.
BUDGETS = (0.5, 0.75, 1, 2, 3, 4, 5, 7)
TIMED_PROBLEM = "mnist"
# Near 98 % a tenth of a point is an epoch, so that three seeds would not do.
TIMED_SEEDS = 8

# Of the small problems a seed costs next to nothing, and their scores are coarse.
SEEDS_OF_SMALL = {"digits": 10, "classification": 5, "regression": 5}
# Lines that go on beyond 64 replicas.
LARGE_LINES = ("gradient_diversity", "local_sgd")
DIVERSITY = named("gradient_diversity")


@dataclass(frozen=True)
class Bench:
    """What the pieces need."""

    source: Source
    pool: Pool
    problems: tuple[str, ...]
    threads: tuple[int, ...]  # numbers of replicas, increasing
    seeds: int  # of MNIST
    quick: bool  # fewer seeds, budgets, changes and rules
    patience: float  # seconds that timings may wait in all for cores that nobody else slows down
    progress: Progress

    def seeds_of(self, problem: str) -> range:
        """Return the seeds, from 0."""
        return range(max(self.seeds, 0 if self.quick else SEEDS_OF_SMALL.get(problem, 0)))

    def several(self, problem: str, most: int | None = None) -> list[int]:
        """Return the numbers of replicas above 1 that leave each of them eight samples or more."""
        most = min(len(self.source.load(problem).X) // 8, most or max(self.threads))
        return [n for n in self.threads if 1 < n <= most]


def curve(by_threads: Mapping[int, Sequence[float]]) -> dict[str, Any]:
    """Summarise the runs of a line: for each n its mean and its standard deviation."""
    pairs = [mean_and_sd(scores) for scores in by_threads.values()]
    return {
        "threads": list(by_threads),
        "mean": [mean for mean, _ in pairs],
        "sd": [sd for _, sd in pairs],
        "runs": [list(scores) for scores in by_threads.values()],
    }


# --- score against n ----------------------------------------------------------------------------


def measure_scores(bench: Bench, slug: str) -> dict[str, Any]:
    """Score every line on a problem after the fixed number of samples, for each n.

    Returns
    -------
    dict
        ``periodic``, ``once`` (from a shared start) and ``once_independent``: a curve for each
        line; and the ``settings`` of all.
    """
    seeds, problem = bench.seeds_of(slug), bench.source.load(slug)
    used: dict[str, dict[str, Any]] = {}

    def job(line: Line, n: int, key: str) -> Training:
        settings = settings_for(slug, key, n, line.options)
        used.setdefault(key, {})[str(n)] = settings
        return training(bench.source, slug, line, n, settings)

    cells = [(SEQUENTIAL, 1)] + [
        (line, n)
        for line in PERIODIC
        for n in bench.several(slug, None if line.name in LARGE_LINES else 64)
    ]
    jobs = [job(line, n, line.name) for line, n in cells]
    periodic: dict[str, dict[int, list[float]]] = {}
    found = bench.pool.of_seeds(score, jobs, seeds, f"{slug}, periodic merges")
    for (line, n), scores in zip(cells, found, strict=True):
        periodic.setdefault(line.name, {})[n] = scores
    sequential = periodic.pop(SEQUENTIAL.name)

    # A warm-up is one start for all.
    starts = {
        "once": {"init": "shared"},
        "once_independent": {"init": "independent", "warmup_samples": 0},
    }
    # Hundreds of replicas would take the methods that match or solve minutes.
    once_cells = [(family, n) for family in starts for n in bench.several(slug, 64)]
    jobs = [
        replace(alone, options={**alone.options, **starts[family]})
        for family, n in once_cells
        for alone in [job(named("average"), n, "once")]
    ]
    once: dict[str, dict[str, dict[int, list[float]]]] = {family: {} for family in starts}
    merged = bench.pool.of_seeds(score_once, jobs, seeds, f"{slug}, one merge")
    for (family, n), results in zip(once_cells, merged, strict=True):
        for name in results[0]:
            once[family].setdefault(name, {})[n] = [result[name] for result in results]
    return {
        "problem": problem.describe(),
        "line": problem.line(),
        "seeds": list(seeds),
        "sequential": curve(sequential),
        "periodic": {name: curve({**sequential, **runs}) for name, runs in periodic.items()},
        **{
            family: {name: curve(runs) for name, runs in lines.items()}
            for family, lines in once.items()
        },
        "settings": used,
        "not_tuned": [name for name in used if not is_tuned(slug, name)],
    }


# --- time to a score ----------------------------------------------------------------------------


def measure_epochs(bench: Bench) -> dict[str, Any]:
    """Score trainings of several lengths, from which follow the epochs to a score."""
    slug = TIMED_PROBLEM
    seeds = range(bench.seeds if bench.quick else max(bench.seeds, TIMED_SEEDS))
    budgets = BUDGETS[1::2] if bench.quick else BUDGETS
    several = bench.several(slug, 64)
    cells = [
        (SEQUENTIAL, 1),
        *((line, n) for line in PERIODIC if line.timed for n in several),
    ]
    settings = [settings_for(slug, line.name, n, line.options, "time") for line, n in cells]
    scores: list[list[list[float]]] = [[] for _ in cells]
    for budget in budgets:
        # What has reached all targets needs no longer training.
        going_on = [k for k, runs in enumerate(scores) if not runs or not reached_all(runs[-1])]
        jobs = [
            training(bench.source, slug, *cells[k], settings[k], epochs=float(budget))
            for k in going_on
        ]
        what = f"{slug}, epochs to a score, {budget:g} epochs"
        for k, found in zip(going_on, bench.pool.of_seeds(score, jobs, seeds, what), strict=True):
            scores[k].append(found)
    return {
        "problem": bench.source.load(slug).describe(),
        "line": bench.source.load(slug).line(with_epochs=False),
        "seeds": list(seeds),
        "budgets": list(budgets),
        "cells": [
            {"line": line.name, "threads": n, "settings": options, "scores_of_seeds": runs}
            for (line, n), options, runs in zip(cells, settings, scores, strict=True)
        ],
    }


def reached_all(scores: Sequence[float]) -> bool:
    """Whether the mean over the seeds is no less than the highest of the targets."""
    return float(np.mean(scores)) >= max(TARGETS)


def measure_times(bench: Bench, epochs: Mapping[str, Any]) -> dict[str, Any]:
    """Time an epoch of each line, and with it the epochs that the line needs for the targets.

    ``epochs`` is what :func:`measure_epochs` returned.
    """
    # From here on nothing else runs.
    bench.pool.close()
    cells = [(named(cell["line"]), cell["threads"], cell["settings"]) for cell in epochs["cells"]]
    probe = Probe(available_cores(), bench.patience)
    costs = timing.epoch_costs(
        bench.source, TIMED_PROBLEM, cells, 2 if bench.quick else 5, probe, bench.progress
    )
    entries = [
        time_entry(cell, epochs["budgets"], cost)
        for cell, cost in zip(epochs["cells"], costs, strict=True)
    ]
    add_speed_ups(entries)
    return {
        **{key: epochs[key] for key in ("problem", "line", "seeds", "budgets")},
        "targets": list(TARGETS),
        "patience": bench.patience,
        "entries": entries,
        "merge_seconds": _merge_seconds(bench, probe, cells),
    }


def _merge_seconds(
    bench: Bench, probe: Probe, cells: Sequence[timing.Cell]
) -> dict[str, dict[str, float]]:
    """Time one worker's part of a merge by every periodic method, as often as diversity merges."""
    found: dict[str, dict[str, float]] = {}
    for method in dict.fromkeys(line.method for line in PERIODIC):
        for line, n, settings in cells:
            if line is DIVERSITY:
                job = training(bench.source, TIMED_PROBLEM, line, n, settings)
                seconds = probe.undisturbed(lambda j=job, m=method: timing.merge_seconds(j, m))
                found.setdefault(method, {})[str(n)] = seconds
    return found


def time_entry(
    cell: Mapping[str, Any], budgets: Sequence[float], cost: Mapping[str, float]
) -> dict[str, Any]:
    """Put together what one line takes with n replicas.

    The cell has scores in percent, of shape (budgets, seeds): of the first of the ``budgets``, in
    epochs, if no more were needed.
    """
    runs = np.asarray(cell["scores_of_seeds"], dtype=np.float64)  # diverged: None, then NaN
    budgets, means = budgets[: len(runs)], runs.mean(axis=1).tolist()
    kinds = {"modelled": "modelled", "turns": "turns_modelled", "measured": "wall"}
    reach = {}
    for target in TARGETS:
        epochs = budget_to_reach(budgets, means, target)
        reach[str(target)] = {
            "epochs": epochs,
            "epochs_of_seeds": [budget_to_reach(budgets, run.tolist(), target) for run in runs.T],
            **{
                f"{kind}_seconds": None if epochs is None else epochs * cost[f"{key}_seconds"]
                for kind, key in kinds.items()
            },
        }
    return {
        **{key: cell[key] for key in ("line", "threads", "settings")},
        "scores": means,
        "cost": cost,
        "reach": reach,
    }


def add_speed_ups(entries: list[dict[str, Any]]) -> None:
    """Add to each target of each entry how much sooner it is reached than by one replica."""
    one = next(entry for entry in entries if entry["line"] == SEQUENTIAL.name)
    for entry in entries:
        for target, reached in entry["reach"].items():
            for kind in ("modelled", "turns", "measured"):
                key = f"{kind}_seconds"
                reached[f"{kind}_speed_up"] = speed_up(one["reach"][target][key], reached[key])


# --- one change at a time -----------------------------------------------------------------------


def _compared(names: Sequence[str], found: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """Set the scores of each row beside those of the first."""
    rows: list[dict[str, Any]] = []
    for name, runs in zip(names, found, strict=True):
        mean, sd = mean_and_sd(runs)
        first = rows[0]["mean"] if rows else mean
        rows.append({"change": name, "mean": mean, "sd": sd, "points": mean - first, "runs": runs})
    return rows


def measure_changes(bench: Bench) -> dict[str, Any]:
    """Score changes of the settings of gradient diversity, on the validation split."""
    slug, n = TIMED_PROBLEM, changes.THREADS
    # The seeds of the search, not of the test.
    seeds = [1_000 + seed for seed in bench.seeds_of(slug)]
    base = settings_for(slug, DIVERSITY.name, n, DIVERSITY.options)
    tried = changes.CHANGES[:4] if bench.quick else changes.CHANGES
    jobs = [
        training(
            bench.source, slug, replace(DIVERSITY, method=change.method), n,
            changes.changed(base, change), held_out=True,
        )
        for change in tried
    ]  # fmt: skip
    found = bench.pool.of_seeds(score, jobs, seeds, f"{slug}, changes")
    names = [change.about for change in tried]
    return {"threads": n, "seeds": seeds, "settings": base, "rows": _compared(names, found)}


def measure_rules(bench: Bench) -> dict[str, Any]:
    """Score changes of the merge itself, on the validation split."""
    slug = TIMED_PROBLEM
    tried = rules.RULES[:3] if bench.quick else rules.RULES
    seeds = rules.SEEDS[:1] if bench.quick else rules.SEEDS
    jobs = [
        replace(rules.JOB, source=bench.source, problem=slug, method=rule.about) for rule in tried
    ]
    found = bench.pool.of_seeds(rules.score, jobs, seeds, f"{slug}, rules")
    return {
        "threads": rules.JOB.threads,
        "epochs": rules.JOB.epochs,
        "seeds": list(seeds),
        "settings": rules.JOB.options,
        "rows": _compared([rule.about for rule in tried], found),
        "touched_rows_share": {
            str(samples): rules.touched_rows(bench.source.load(slug), samples)
            for samples in (8, 32, 128)
        },
    }


def pieces(
    bench: Bench, only: Sequence[str], measured: Mapping[str, Any]
) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Return the names of the pieces, each with what measures it.

    ``measured`` holds the pieces that were measured when a piece's turn comes.
    """
    if "score" in only:
        for slug in bench.problems:
            yield f"score/{slug}", partial(measure_scores, bench, slug)
    if "epochs" in only or "time" in only:
        yield "epochs", partial(measure_epochs, bench)
    if "time" in only:
        yield "time", lambda: measure_times(bench, measured["epochs"])
    if "changes" in only:
        yield "changes", partial(measure_changes, bench)
    if "rules" in only:
        yield "rules", partial(measure_rules, bench)
