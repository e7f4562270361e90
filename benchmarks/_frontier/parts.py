"""The parts of the measurement. Each returns a dict for the JSON file, and rows for CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from . import ablation as changes
from . import timing
from .arithmetic import EpochCost, budget_to_reach, mean_and_sd, speed_up
from .lines import SEQUENTIAL, Line, once_lines, periodic_lines
from .once import score_once
from .settings import is_tuned, settings_for
from .work import Pool, Source, Training, score, training

PARTS = ("score", "epochs", "time", "ablation")

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


@dataclass(frozen=True)
class Bench:
    """What the parts need.

    Attributes
    ----------
    source : Source
    pool : Pool
    problems : tuple of str
    threads : tuple of int
        Numbers of replicas, increasing.
    seeds : int
        Of MNIST.
    quick : bool
        Fewer seeds, budgets and changes.
    patience : float
        Seconds that timings may wait in all for cores that nobody else slows down.
    announce : callable
        Told what goes on.
    """

    source: Source
    pool: Pool
    problems: tuple[str, ...]
    threads: tuple[int, ...]
    seeds: int
    quick: bool
    patience: float
    announce: Callable[[str], None]

    def seeds_of(self, problem: str) -> range:
        """Return the seeds, from 0."""
        more = 0 if self.quick else SEEDS_OF_SMALL.get(problem, 0)
        return range(max(self.seeds, more))

    def threads_of(self, problem: str) -> tuple[int, ...]:
        """Return the numbers of replicas that leave each of them eight samples or more."""
        samples = len(self.source.load(problem).X)
        return tuple(n for n in self.threads if n * 8 <= samples)


def curve(threads: Sequence[int], runs: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Summarise the runs of a line: for each n its mean and its standard deviation."""
    pairs = [mean_and_sd(np.asarray(scores)) for scores in runs]
    return {
        "threads": list(threads),
        "mean": [mean for mean, _ in pairs],
        "sd": [sd for _, sd in pairs],
        "runs": [list(scores) for scores in runs],
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
    seeds = bench.seeds_of(slug)
    threads = bench.threads_of(slug)
    several = [n for n in threads if n > 1]
    used: dict[str, dict[str, Any]] = {}

    def trainings(line: Line, n: int, key: str, **more: Any) -> list[Training]:  # noqa: ANN401
        settings = {**settings_for(slug, key, n, line.options), **more}
        used.setdefault(key, {})[str(n)] = settings
        return [training(bench.source, slug, line, n, settings, seed=seed) for seed in seeds]

    # All problems' jobs of one kind go to the pool at once, so that no core waits at the end of a
    # line.
    cells = [(SEQUENTIAL, 1)] + [
        (line, n)
        for line in periodic_lines()
        for n in several
        if n <= 64 or line.name in LARGE_LINES
    ]
    jobs = [job for line, n in cells for job in trainings(line, n, line.name)]
    scores = bench.pool.map(score, jobs, f"{slug}, periodic merges")
    runs: dict[str, dict[int, list[float]]] = {}
    for k, (line, n) in enumerate(cells):
        runs.setdefault(line.name, {})[n] = scores[k * len(seeds) : (k + 1) * len(seeds)]
    sequential = runs.pop(SEQUENTIAL.name)

    average = next(line for line in once_lines() if line.method == "average")
    starts = ("shared", "independent")
    # Hundreds of replicas would take the methods that match or solve minutes.
    few = [n for n in several if n <= 64]
    once_cells = [(start, n) for start in starts for n in few]
    # A warm-up is one start for all.
    own = {"shared": {}, "independent": {"warmup_samples": 0}}
    once_jobs = [
        replace(job, options={**job.options, "init": start, **own[start]})
        for start, n in once_cells
        for job in trainings(average, n, "once")
    ]
    merged = bench.pool.map(score_once, once_jobs, f"{slug}, one merge")
    once: dict[str, dict[str, dict[int, list[float]]]] = {start: {} for start in starts}
    for k, (start, n) in enumerate(once_cells):
        for result in merged[k * len(seeds) : (k + 1) * len(seeds)]:
            for name, value in result.items():
                once[start].setdefault(name, {}).setdefault(n, []).append(value)

    def curves(
        lines: Mapping[str, Mapping[int, list[float]]], with_one: bool
    ) -> dict[str, dict[str, Any]]:
        made = {}
        for name, by_threads in lines.items():
            full = {**(sequential if with_one else {}), **by_threads}
            made[name] = curve(list(full), list(full.values()))
        return made

    return {
        "problem": bench.source.load(slug).describe(),
        "line": bench.source.load(slug).line(),
        "seeds": list(seeds),
        "sequential": curve([1], [sequential[1]]),
        "periodic": curves(runs, True),
        "once": curves(once["shared"], False),
        "once_independent": curves(once["independent"], False),
        "settings": used,
        "not_tuned": [name for name in used if not is_tuned(slug, name)],
    }


# --- time to a score ----------------------------------------------------------------------------


def measure_epochs(bench: Bench) -> dict[str, Any]:
    """Score trainings of several lengths, from which follow the epochs to a score."""
    slug = TIMED_PROBLEM
    seeds = range(bench.seeds if bench.quick else max(bench.seeds, TIMED_SEEDS))
    budgets = BUDGETS[1::2] if bench.quick else BUDGETS
    lines = [line for line in periodic_lines() if line.timed]
    several = [n for n in bench.threads_of(slug) if 1 < n <= 64]
    cells = [(SEQUENTIAL, 1), *((line, n) for line in lines for n in several)]
    settings = [settings_for(slug, line.name, n, line.options, "time") for line, n in cells]
    scores: list[list[list[float]]] = [[] for _ in cells]
    for budget in budgets:
        # What has reached all targets needs no longer training.
        going_on = [k for k, runs in enumerate(scores) if not runs or not reached_all(runs[-1])]
        jobs = [
            training(bench.source, slug, *cells[k], settings[k], seed=seed, epochs=float(budget))
            for k in going_on
            for seed in seeds
        ]
        found = bench.pool.map(score, jobs, f"{slug}, epochs to a score, {budget:g} epochs")
        for row, k in enumerate(going_on):
            scores[k].append(found[row * len(seeds) : (row + 1) * len(seeds)])
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
    lines = {line.name: line for line in (SEQUENTIAL, *periodic_lines())}
    # From here on nothing else runs.
    bench.pool.close()
    costs = timing.epoch_costs(
        bench.source,
        TIMED_PROBLEM,
        [(lines[cell["line"]], cell["threads"], cell["settings"]) for cell in epochs["cells"]],
        passes=2 if bench.quick else 5,
        patience=bench.patience,
        announce=bench.announce,
    )
    entries = [
        time_entry(
            cell["line"],
            cell["threads"],
            epochs["budgets"],
            np.asarray(cell["scores_of_seeds"]),
            cost,
            cell["settings"],
        )
        for cell, cost in zip(epochs["cells"], costs, strict=True)
    ]
    add_speed_ups(entries)
    return {
        **{key: epochs[key] for key in ("problem", "line", "seeds", "budgets")},
        "targets": list(TARGETS),
        "patience": bench.patience,
        "entries": entries,
    }


def time_entry(
    name: str,
    threads: int,
    budgets: Sequence[float],
    runs: np.ndarray,
    cost: EpochCost,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Put together what one line takes with n replicas.

    Parameters
    ----------
    name : str
    threads : int
    budgets : sequence of float
        In epochs.
    runs : ndarray of shape (budgets, seeds)
        Scores, percent. Of the first budgets, if no more were needed.
    cost : EpochCost
    settings : mapping
    """
    budgets = budgets[: len(runs)]
    reach = {}
    for target in TARGETS:
        epochs = budget_to_reach(budgets, runs.mean(axis=1).tolist(), target)
        single = [budget_to_reach(budgets, run.tolist(), target) for run in runs.T]
        reach[str(target)] = {
            "epochs": epochs,
            "epochs_of_seeds": single,
            "modelled_seconds": None if epochs is None else epochs * cost.modelled_seconds,
            "turns_seconds": None if epochs is None else epochs * cost.turns_modelled_seconds,
            "measured_seconds": None if epochs is None else epochs * cost.wall_seconds,
        }
    return {
        "line": name,
        "threads": threads,
        "settings": dict(settings),
        "scores": curve(list(range(len(budgets))), runs.tolist())["mean"],
        "scores_of_seeds": runs.tolist(),
        "cost": {
            **asdict(cost),
            "modelled_seconds": cost.modelled_seconds,
            "turns_modelled_seconds": cost.turns_modelled_seconds,
            "merge_share": cost.merge_share,
        },
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


def measure_changes(bench: Bench) -> dict[str, Any]:
    """Score changes of the settings of gradient diversity, on the validation split."""
    slug, n = TIMED_PROBLEM, changes.THREADS
    # The seeds of the search, not of the test.
    seeds = [1_000 + seed for seed in bench.seeds_of(slug)]
    line = next(line for line in periodic_lines() if line.name == "gradient_diversity")
    base = settings_for(slug, line.name, n, line.options)
    tried = changes.CHANGES[:4] if bench.quick else changes.CHANGES
    jobs = []
    for change in tried:
        options = changes.changed(base, change)
        changed_line = replace(line, method=change.method)
        jobs += [
            training(bench.source, slug, changed_line, n, options, seed=seed, held_out=True)
            for seed in seeds
        ]
    scores = np.reshape(bench.pool.map(score, jobs, f"{slug}, changes"), (len(tried), len(seeds)))
    rows = []
    for change, runs in zip(tried, scores, strict=True):
        mean, sd = mean_and_sd(runs)
        rows.append(
            {
                "change": change.about,
                "options": changes.changed(base, change),
                "method": change.method,
                "mean": mean,
                "sd": sd,
                "difference": mean - float(scores[0].mean()),
                "runs": runs.tolist(),
            }
        )
    return {"threads": n, "seeds": seeds, "settings": base, "rows": rows}


# Parts that are measured, and written, one problem after the other.
BY_PROBLEM = ("score",)


def steps(
    bench: Bench, only: Sequence[str], measured: Mapping[str, Any]
) -> Iterator[tuple[str, str, Callable[[], dict[str, Any]]]]:
    """Return the parts in pieces: part, problem, and what measures it.

    ``measured`` holds the parts that were measured when the piece's turn comes.
    """
    if "score" in only:
        for slug in bench.problems:
            yield "score", slug, partial(measure_scores, bench, slug)
    if "epochs" in only or "time" in only:
        yield "epochs", TIMED_PROBLEM, partial(measure_epochs, bench)
    if "time" in only:
        yield "time", TIMED_PROBLEM, lambda: measure_times(bench, measured["epochs"])
    if "ablation" in only:
        yield "ablation", TIMED_PROBLEM, partial(measure_changes, bench)


def csv_rows(parts: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return a row for each single score and each timed line, by the name of the file."""
    rows: dict[str, list[dict[str, Any]]] = {"scores": [], "times": [], "ablation": []}
    for slug, result in parts.get("score", {}).items():
        for family in ("periodic", "once", "once_independent"):
            for line, line_curve in result[family].items():
                for n, runs in zip(line_curve["threads"], line_curve["runs"], strict=True):
                    rows["scores"] += [
                        {
                            "problem": slug,
                            "family": family,
                            "line": line,
                            "threads": n,
                            "seed": seed,
                            "score_percent": value,
                        }
                        for seed, value in zip(result["seeds"], runs, strict=True)
                    ]
    for entry in parts.get("time", {}).get("entries", ()):
        for target, reached in entry["reach"].items():
            rows["times"].append(
                {
                    "line": entry["line"],
                    "threads": entry["threads"],
                    "merge_every": entry["settings"].get("merge_every"),
                    "target_percent": float(target),
                    "epochs": reached["epochs"],
                    **{
                        f"{kind}_{what}": reached[f"{kind}_{what}"]
                        for kind in ("modelled", "turns", "measured")
                        for what in ("seconds", "speed_up")
                    },
                    **entry["cost"],
                }
            )
    for row in parts.get("ablation", {}).get("rows", ()):
        rows["ablation"] += [
            {"change": row["change"], "seed": seed, "score_percent": value}
            for seed, value in zip(parts["ablation"]["seeds"], row["runs"], strict=True)
        ]
    return rows
