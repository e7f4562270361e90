"""Taking turns: the same request to many peers, round after round."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean, median
from typing import Any, TypeVar

from ..common.machine import usable_cores
from ..common.process import Process, ProcessError
from ..common.timing import in_turn, ratios, summarise
from . import Row, Training, row

Key = TypeVar("Key")
Result = dict[str, Any]

# Where a peer is too slow to train on all samples in the time of a turn, it trains on the most of
# these that it can.
SAMPLE_COUNTS = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000)

# OpenBLAS's threads look for work that long after a product, on cores that the next peer needs.
SETTLE_SECONDS = 0.03


# Of every library's pool of threads; the last is XLA's.
_THREAD_VARIABLES = (
    *(f"{name}_NUM_THREADS" for name in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR")),
    *("VECLIB_MAXIMUM_THREADS", "NPROC"),
)


def environment(cores: int) -> dict[str, str]:
    """Return the environment of a process that may use so many cores."""
    variables = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(cores))}
    # Each run says what it needs; a setting of the user's would change one peer and not the others.
    for name in ("OMP_MLP_KERNELS", "OMP_WAIT_POLICY", "GOMP_CPU_AFFINITY", "OMP_PROC_BIND"):
        variables.pop(name, None)
    single = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return {**variables, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": single if cores == 1 else ""}


def describe(training: Training) -> dict[str, Any]:
    """Describe a training for files; its seed is the number of the round."""
    return {k: v for k, v in asdict(training).items() if k != "seed" and v != {}}


def ratios_to_peers(group: Sequence[Result], rate: str, *keys: str) -> list[Result]:
    """Return the ratios of every row of ours to every peer, all measured in the same rounds.

    ``rate`` is the key of what is divided, ours by theirs; ``keys`` are of what goes along with it.
    """
    return [
        {
            "ours": mine["peer"],
            "peer": other["peer"],
            **{key: mine[key] for key in keys},
            "ratio": ratios(mine[rate]["runs"], other[rate]["runs"]),
        }
        for mine in group
        for other in group
        if row(mine["peer"]).ours and not row(other["peer"]).ours
    ]


@dataclass(frozen=True)
class Entry:
    """One training that takes part in the turns."""

    row: Row  # who trains
    training: Training  # what; its seed is the round's number
    cores: int = 1
    about: Mapping[str, Any] = field(default_factory=dict)  # tells it from the others in results
    data: Mapping[str, Any] | None = None  # other than the images
    environment: Mapping[str, str] = field(default_factory=dict)  # of the process
    calls: int = 1  # how many trainings make a turn; their median is its time
    samples: int | None = None  # of a training; None: as many as fit into a turn


@dataclass
class Bench:
    """Peers' processes, and how often and how long they are measured.

    As a context manager it ends its processes.
    """

    rows: Sequence[Row]  # what is compared: asked for and installed
    images: Mapping[str, Any]  # what the images are loaded from
    n_samples: int  # how many there are to train on
    quick: bool  # fewer cases
    rounds: int
    seeds: int
    turn: float  # seconds of one turn, about
    max_samples: int  # at most so many a turn
    say: Callable[[str], object]  # is told what goes on
    # Where processes are pinned to; where few are asked for, the last ones are taken.
    cores: list[int] = field(default_factory=usable_cores)
    failures: list[str] = field(default_factory=list)  # what peers could not do
    # What the processes said of their libraries, the latter for each number of cores.
    versions: dict[str, str] = field(default_factory=dict)
    thread_pools: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    _processes: dict[str, Process] = field(default_factory=dict)

    @property
    def core_counts(self) -> tuple[int, ...]:
        """One core, and two where there are."""
        return (1, 2) if len(self.cores) >= 2 else (1,)

    def rows_for(self, cores: int) -> list[Row]:
        """Return the rows that are different on that many cores."""
        return [row for row in self.rows if row.least_cores <= cores]

    def start(self, entry: Entry) -> Process:
        """Start a new process for an entry: a peer with its data, on cores of its own."""
        self.say(f"starting {entry.row.label}")
        cores = self.cores[-entry.cores :]
        process = Process(
            entry.row.label,
            [entry.row.python or sys.executable, "-m", f"{__package__}.serve"],
            {**environment(len(cores)), **entry.environment},
            row=asdict(entry.row),
            cores=cores,
            data=dict(entry.data or self.images),
        )
        self.versions[entry.row.name] = process.about["version"]
        pools = self.thread_pools.setdefault(entry.row.name, {})
        pools[entry.cores] = process.about["thread_pools"]
        return process

    def process(self, entry: Entry) -> Process:
        """Return the process for an entry, started if need be; entries alike share it."""
        key = repr((asdict(entry.row), entry.cores, entry.data, entry.environment))
        if key not in self._processes:
            self._processes[key] = self.start(entry)
        return self._processes[key]

    def ask(self, entry: Entry, do: str, **request: object) -> dict[str, Any]:
        """Ask the process for an entry."""
        process = self.process(entry)
        if entry.cores > 1:
            # The threads of the one before have to come to rest.
            time.sleep(SETTLE_SECONDS)
        return process.ask(do, **request)

    def train(self, entry: Entry, **request: object) -> dict[str, Any]:
        """Ask for the training of an entry; a ``seed`` is of the shuffling."""
        training = entry.training
        if "seed" in request:
            training = replace(training, seed=request.pop("seed"))  # type: ignore[arg-type]
        return self.ask(entry, "train", training=asdict(training), **request)

    def end_processes(self) -> None:
        """End all processes that were started to be asked."""
        while self._processes:
            self._processes.popitem()[1].close()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_processes()

    def describe_peers(self, earlier: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entries of ``peers`` and ``failures`` in the results.

        ``earlier`` are the results so far: in a run that was resumed, not all were asked again.
        """
        known = earlier.get("peers", {})
        asked = [row for row in self.rows if row.name in self.versions or row.name not in known]
        peers = {
            row.name: {
                "label": row.label,
                "library": row.library,
                "version": self.versions.get(row.name),
                "thread_pools": self.thread_pools.get(row.name, {}),
                "given": row.form,
                "options": row.options,
            }
            for row in asked
        }
        failures = [*earlier.get("failures", []), *self.failures]
        return {"peers": {**known, **peers}, "failures": failures}

    def all_but_failures(
        self, keys: Iterable[Key], do: Callable[[Key], Result]
    ) -> dict[Key, Result]:
        """Do something for every key; leave out which fails, and note it in ``failures``."""
        done = {}
        for key in keys:
            try:
                done[key] = do(key)
            except ProcessError as error:
                self.failures.append(str(error))
        return done

    def take_turns(
        self, keys: Sequence[Key], turn: Callable[[Key, int], Result], rounds: int | None = None
    ) -> dict[Key, list[Result]]:
        """Call ``turn`` with every key and the number of the round; return the replies.

        What fails is left out from then on, and of the replies.
        """
        numbers: Counter[Key] = Counter()
        alive = dict.fromkeys(keys)

        def once(key: Key) -> Result | None:
            if key not in alive:
                return None
            number = numbers[key]
            numbers[key] += 1
            done = self.all_but_failures([key], lambda key: turn(key, number))
            if not done:
                del alive[key]
            return done.get(key)

        found = in_turn(keys, once, self.rounds if rounds is None else rounds)
        return {
            key: [reply for reply in replies if reply is not None]
            for key, replies in zip(keys, found, strict=True)
            if key in alive
        }

    def measure(
        self, entries: Sequence[Entry], *, turn: float | None = None, score: bool = True
    ) -> list[Result]:
        """Measure trainings in turns, after a warm-up that is not counted.

        Returns
        -------
        list of dict
            For each entry that did not fail: ``about``, the training, samples, seconds and samples
            a second with their spread, the mean accuracy in percent, and the share of the wall
            clock time in which the process had the processor.
        """

        def warm_up(number: int) -> Result:
            entry = entries[number]
            self.say(", ".join([entry.row.label, *(f"{k} {v}" for k, v in entry.about.items())]))
            if entry.samples is None:
                return {"count": self.sample_count(entry, self.turn if turn is None else turn)}
            self.train(entry, samples=entry.samples, calls=entry.calls)
            return {"count": entry.samples}

        counts = self.all_but_failures(range(len(entries)), warm_up)

        def train(number: int, seed: int) -> Result:
            entry, count = entries[number], counts[number]["count"]
            return self.train(entry, samples=count, seed=seed, score=score, calls=entry.calls)

        replies = self.take_turns(list(counts), train)
        return [_summary(entries[number], runs) for number, runs in replies.items()]

    def sample_count(self, entry: Entry, turn: float) -> int:
        """Warm the peer up, and find how many samples it can train on in a turn."""
        total = self.n_samples if entry.data is None else entry.data["samples"]
        largest = min(total, self.max_samples)
        counts = sorted({n for n in SAMPLE_COUNTS if n < largest} | {largest})
        least = min(2 * entry.training.batch_size, largest)
        counts = [n for n in counts if n >= least]
        count = counts[0]
        self.train(entry, samples=count, calls=entry.calls)
        while True:
            reply = self.train(entry, samples=count, score=False, calls=entry.calls)
            fitting = [n for n in counts if n <= turn / reply["seconds"] * count]
            if not fitting or fitting[-1] <= count:
                return count
            # A first run with so many samples, for those who compile for it.
            count = fitting[-1]
            self.train(entry, samples=count, score=False, calls=entry.calls)


def _summary(entry: Entry, runs: Sequence[Result]) -> Result:
    seconds = [run["seconds"] for run in runs]
    samples = runs[0]["samples"]
    accuracies = [run["accuracy"] for run in runs if run["accuracy"] is not None]
    return {
        "peer": entry.row.name,
        "cores": entry.cores,
        **describe(entry.training),
        **entry.about,
        "samples": samples,
        "seconds": summarise(seconds),
        "samples_per_second": summarise([entry.training.epochs * samples / s for s in seconds]),
        "accuracy_percent": fmean(accuracies) if accuracies else None,
        "processor_share": median(run["cpu_seconds"] / run["seconds"] for run in runs),
    }
