"""Taking turns: the same request to many peers, round after round."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean, median
from types import TracebackType
from typing import Any

from . import Row, Training
from .process import PeerError, PeerProcess

# Where a peer is too slow to train on all samples in the time of a turn, it trains on the most of
# these that it can.
SAMPLE_COUNTS = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000)

# OpenBLAS's threads look for work that long after a product, on cores that the next peer needs.
SETTLE_SECONDS = 0.03


def spread(runs: Sequence[float]) -> dict[str, Any]:
    """Return median and range of repeated runs, and the runs."""
    return {"median": median(runs), "min": min(runs), "max": max(runs), "runs": list(runs)}


def ratio(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Compare two results of :func:`spread` from the same rounds, ours divided by theirs.

    ``of_medians`` is what the floors are about; ``paired`` are the ratios within each round, which
    a slow spell of the machine does not change.
    """
    paired = [a / b for a, b in zip(ours["runs"], theirs["runs"], strict=True)]
    return {"of_medians": ours["median"] / theirs["median"], "paired": spread(paired)}


def describe(training: Training) -> dict[str, Any]:
    """Describe a training for files; its seed is the number of the round."""
    return {k: v for k, v in asdict(training).items() if k != "seed" and v != {}}


@dataclass(frozen=True)
class Entry:
    """One training that takes part in the turns.

    Attributes
    ----------
    row : Row
        Who trains.
    training : Training
        What; its seed is the round's number.
    cores : int
    about : mapping
        What tells this entry from the others in the results.
    data : mapping, optional
        Other than the images.
    environment : mapping
        Of the process.
    calls : int
        How many trainings make a turn; their median is its time.
    """

    row: Row
    training: Training
    cores: int = 1
    about: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    calls: int = 1


class Bench:
    """Peers' processes, and how often and how long they are measured.

    Attributes
    ----------
    rows : sequence of Row
        What is compared: asked for and installed.
    images : mapping
        The data that the images are loaded from.
    n_samples : int
        How many there are to train on.
    cores : list of int
        That processes are pinned to; where few are asked for, the last ones are taken.
    quick : bool
        Fewer cases.
    rounds, seeds : int
    turn : float
        Seconds of one turn, about.
    max_samples : int
        At most so many samples a turn.
    failures : list of str
        What peers could not do.
    versions, thread_pools : dict
        What the processes said of their libraries, the latter for each number of cores.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        images: Mapping[str, Any],
        n_samples: int,
        *,
        quick: bool,
        rounds: int,
        seeds: int,
        turn: float,
        max_samples: int,
        announce: Callable[[str], object],
    ) -> None:
        self.rows = rows
        self.images = images
        self.n_samples = n_samples
        has_affinity = hasattr(os, "sched_getaffinity")
        self.cores = sorted(os.sched_getaffinity(0)) if has_affinity else [0]
        self.quick = quick
        self.rounds = rounds
        self.seeds = seeds
        self.turn = turn
        self.max_samples = max_samples
        self.announce = announce
        self.failures: list[str] = []
        self.versions: dict[str, str] = {}
        self.thread_pools: dict[str, dict[int, list[str]]] = {}
        self._processes: dict[str, PeerProcess] = {}

    @property
    def core_counts(self) -> tuple[int, ...]:
        """One core, and two where there are."""
        return (1, 2) if len(self.cores) >= 2 else (1,)

    def rows_for(self, cores: int) -> list[Row]:
        """Return the rows that are different on that many cores."""
        return [row for row in self.rows if row.least_cores <= cores]

    def named(self, *names: str) -> list[Row]:
        """Return the rows of these names, as far as they are compared."""
        return [row for row in self.rows if row.name in names]

    def start(self, entry: Entry) -> PeerProcess:
        """Start a new process for an entry."""
        self.announce(f"starting {entry.row.label}")
        process = PeerProcess(
            entry.row,
            self.cores[-entry.cores :],
            entry.data or self.images,
            entry.environment,
        )
        self.versions[entry.row.name] = process.about["version"]
        pools = self.thread_pools.setdefault(entry.row.name, {})
        pools[entry.cores] = process.about["thread_pools"]
        return process

    def process(self, entry: Entry) -> PeerProcess:
        """Return the process for an entry, started if need be; entries alike share it."""
        same = (asdict(entry.row), entry.cores, entry.data, entry.environment)
        key = repr(same)
        if key not in self._processes:
            self._processes[key] = self.start(entry)
        return self._processes[key]

    def ask(self, entry: Entry, do: str, **request: object) -> dict[str, Any]:
        """Ask the process for an entry, when the threads of the one before have come to rest."""
        process = self.process(entry)
        if entry.cores > 1:
            time.sleep(SETTLE_SECONDS)
        return process.ask(do, **request)

    def end_processes(self) -> None:
        """End all processes that :meth:`process` started."""
        while self._processes:
            self._processes.popitem()[1].close()

    def __enter__(self) -> Bench:
        """Return the bench itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all processes."""
        self.end_processes()

    def take_turns(
        self,
        turns: Mapping[int, Callable[[int], Mapping[str, Any]]],
        rounds: int | None = None,
        before_round: Callable[[], object] | None = None,
    ) -> dict[int, list[Mapping[str, Any]]]:
        """Call every turn once a round, every second round backwards; return the replies.

        Who fails is left out, and noted in ``failures``.
        """
        replies: dict[int, list[Mapping[str, Any]]] = {key: [] for key in turns}
        for number in range(self.rounds if rounds is None else rounds):
            if before_round is not None:
                before_round()
            keys = list(replies)
            for key in keys if number % 2 == 0 else reversed(keys):
                try:
                    replies[key].append(turns[key](number))
                except PeerError as error:
                    self.failures.append(str(error))
                    del replies[key]
        return replies

    def measure(
        self,
        entries: Sequence[Entry],
        *,
        turn: float | None = None,
        score: bool = True,
        before_round: Callable[[], object] | None = None,
    ) -> list[dict[str, Any]]:
        """Measure trainings in turns, after a warm-up that is not counted.

        Returns
        -------
        list of dict
            For each entry that did not fail: ``about``, the training, samples, seconds and samples
            a second with their spread, the mean accuracy in percent, and the share of the wall
            clock time in which the process had the processor.
        """
        counts = {}
        for number, entry in enumerate(entries):
            words = ", ".join(f"{key} {value}" for key, value in entry.about.items())
            self.announce(f"{entry.row.label}, {words}" if words else entry.row.label)
            try:
                counts[number] = self._sample_count(entry, self.turn if turn is None else turn)
            except PeerError as error:
                self.failures.append(str(error))

        def one(number: int) -> Callable[[int], Mapping[str, Any]]:
            def train(seed: int) -> Mapping[str, Any]:
                entry = entries[number]
                return self._train(entry, counts[number], seed, score)

            return train

        turns = {number: one(number) for number in counts}
        replies = self.take_turns(turns, before_round=before_round)
        return [_summary(entries[number], runs) for number, runs in replies.items()]

    def _train(self, entry: Entry, samples: int, seed: int, score: bool) -> Mapping[str, Any]:
        return self.ask(
            entry,
            "train",
            training=asdict(replace(entry.training, seed=seed)),
            samples=samples,
            score=score,
            calls=entry.calls,
        )

    def _sample_count(self, entry: Entry, turn: float) -> int:
        """Warm the peer up, and find how many samples it can train on in a turn."""
        total = self.n_samples if entry.data is None else entry.data["samples"]
        largest = min(total, self.max_samples)
        counts = sorted({n for n in SAMPLE_COUNTS if n < largest} | {largest})
        least = min(2 * entry.training.batch_size, largest)
        counts = [n for n in counts if n >= least]
        count = counts[0]
        self._train(entry, count, 0, score=True)
        while True:
            seconds = self._train(entry, count, 0, score=False)["seconds"]
            fitting = [n for n in counts if n <= turn / seconds * count]
            if not fitting or fitting[-1] <= count:
                return count
            # A first run with so many samples, for those who compile for it.
            count = fitting[-1]
            self._train(entry, count, 0, score=False)


def _summary(entry: Entry, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    seconds = [run["seconds"] for run in runs]
    samples = runs[0]["samples"]
    accuracies = [run["accuracy"] for run in runs if run["accuracy"] is not None]
    return {
        "peer": entry.row.name,
        "cores": entry.cores,
        **describe(entry.training),
        **entry.about,
        "samples": samples,
        "seconds": spread(seconds),
        "samples_per_second": spread([entry.training.epochs * samples / s for s in seconds]),
        "accuracy_percent": fmean(accuracies) if accuracies else None,
        "processor_share": median(run["cpu_seconds"] / run["seconds"] for run in runs),
    }
