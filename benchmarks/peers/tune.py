"""The search for each peer's best settings, on a validation split.

For every target the quickest settings of the peer's grid whose mean validation accuracy over the
seeds is at least the target. Quickest by processor time, which other work on the machine changes
less than wall-clock time; one core. The comparison itself trains on the validation part too, and
with so much more data the same settings do a little better.

Epochs are tried from few to many. Left out is a candidate that can no longer become the quickest
for any target, by the time that its epochs took so far. A trial ends after its first seed if that
is far below every target that is still to be had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean, median
from typing import Any

from ..common.process import ProcessError
from . import Row, Training
from .bench import Bench, Entry, describe
from .settings import GRIDS, TARGETS

SEEDS = (1_000, 1_001, 1_002)
# A first seed that is so far below the lowest target that it still misses ends the trial.
HOPELESS = 0.3


def tune(bench: Bench) -> dict[str, Any]:
    """Search all grids; the images of ``bench`` are the training and the validation part."""
    return {peer.name: _search(bench, peer) for peer in bench.rows if peer.name in GRIDS}


def _search(bench: Bench, peer: Row) -> dict[str, Any]:
    grid = GRIDS[peer.name]
    trials: list[dict[str, Any]] = []
    best: dict[float, dict[str, Any]] = {}
    seconds_an_epoch: dict[Training, float] = {}
    alive = grid.candidates()
    for epochs in grid.epochs:
        for candidate in list(alive):
            expected = epochs * seconds_an_epoch.get(candidate, 0.0)
            if len(best) == len(TARGETS) and expected > max(b["seconds"] for b in best.values()):
                alive.remove(candidate)
                continue
            setting = replace(candidate, epochs=epochs)
            bench.say(f"tuning {peer.label}: {_words(setting)}")
            try:
                trial = _try(bench, peer, setting, best, expected)
            except ProcessError as error:
                bench.failures.append(str(error))
                alive.remove(candidate)
                continue
            seconds_an_epoch[candidate] = trial["seconds"] / epochs
            trials.append(trial)
            for target in TARGETS:
                reached = trial["complete"] and trial["accuracy_percent"] >= target
                if reached and (target not in best or trial["seconds"] < best[target]["seconds"]):
                    best[target] = trial
    bench.end_processes()
    return {
        "chosen": {str(target): trial for target, trial in best.items()},
        "best_accuracy_percent": max((t["accuracy_percent"] for t in trials), default=None),
        "trials": trials,
    }


def _try(
    bench: Bench,
    peer: Row,
    setting: Training,
    best: Mapping[float, Mapping[str, Any]],
    expected: float,
) -> dict[str, Any]:
    """Train with each seed; stop when the trial can no longer be the best for a target."""
    entry = Entry(peer, setting)
    seconds, scores = [], []
    for seed in SEEDS:
        reply = bench.train(entry, seed=seed)
        seconds.append(reply["cpu_seconds"])
        scores.append(reply["accuracy"])
        open_targets = [
            target
            for target in TARGETS
            if target not in best or expected <= best[target]["seconds"]
        ]
        if not open_targets or scores[0] < min(open_targets) - HOPELESS:
            break
    return {
        "setting": describe(setting),
        "seconds": median(seconds),
        "accuracy_percent": fmean(scores),
        "accuracies_percent": scores,
        "complete": len(scores) == len(SEEDS),
    }


def _words(setting: Training) -> str:
    return (
        f"{setting.solver}, B = {setting.batch_size}, rate {setting.learning_rate:g}, "
        f"{setting.epochs} epoch(s){', ' if setting.options else ''}{', '.join(setting.options)}"
    )
