"""One training, and many of them side by side.

Scores need no quiet machine, and not as many cores as replicas: the result of a training does not
depend on the cores that ran it. So trainings run beside each other, each on a core of its own.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

import omp_mlp

from . import problems
from .lines import Line
from .settings import COMMON

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Source:
    """Where the problems come from.

    Attributes
    ----------
    path : str
        "auto", or a folder with MNIST's four files.
    limit : int, optional
        For a trial run: so many training samples.
    """

    path: str = "auto"
    limit: int | None = None

    def load(self, slug: str) -> problems.Problem:
        """Load a problem."""
        return problems.load(slug, self.path, self.limit)


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes
    ----------
    source : Source
    problem : str
    method : str
        Merge method.
    threads : int
        Replicas.
    options : mapping
        Of ``train_parallel``; ``COMMON`` ones need not be there.
    seed : int
    epochs : float, optional
        In place of the problem's; between 0 and 1, one epoch over a random part.
    held_out : bool
        Train on the first part of the training samples and score on the rest of them.
    """

    source: Source
    problem: str
    method: str
    threads: int
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    epochs: float | None = None
    held_out: bool = False


def training(
    source: Source,
    problem: str,
    line: Line,
    threads: int,
    settings: Mapping[str, Any],
    **more: Any,  # noqa: ANN401 - fields of many types
) -> Training:
    """Return a training of a line."""
    options = {**settings, **line.options}
    return Training(source, problem, line.method, threads, options, **more)


def options_of(job: Training) -> dict[str, Any]:
    """Return all options of the training."""
    options = {**COMMON, **job.options}
    if isinstance(options.get("merge_every"), Sequence):
        # JSON has no tuples.
        options["merge_every"] = tuple(options["merge_every"])
    return options


def train(
    job: Training,
    *,
    workers: int | None = 1,
    **more: Any,  # noqa: ANN401
) -> tuple[omp_mlp.Model, problems.Problem]:
    """Train; return the network, and the problem with the samples that it saw."""
    problem = job.source.load(job.problem)
    if job.held_out:
        problem = problem.held_out()
    epochs = problem.epochs if job.epochs is None else job.epochs
    if 0 < epochs < 1:
        problem = problem.part(epochs, job.seed)
        epochs = 1
    model = omp_mlp.train_parallel(
        problem.X,
        problem.y,
        job.threads,
        job.method,
        hidden_layer_sizes=problem.hidden,
        epochs=round(epochs),
        seed=job.seed,
        workers=workers,
        **options_of(job),
        **more,
    )
    return model, problem


def score(job: Training) -> float:
    """Train and score; percent. NaN if the training diverges, as it may with a rate too high."""
    try:
        model, problem = train(job)
    except omp_mlp.TrainingDivergedError:
        return float("nan")
    return 100.0 * model.score(problem.X_test, problem.y_test)


class Pool:
    """Runs jobs on the cores that this process may use, one a core, in processes of their own."""

    def __init__(self, cores: Sequence[int | None], announce: Callable[[str], None]) -> None:
        self._cores = cores
        self._announce = announce
        self._executor: ProcessPoolExecutor | None = None

    @property
    def processes(self) -> int:
        """Processes that run side by side."""
        return len(self._cores)

    def map(
        self, function: Callable[[Job], Result], jobs: Sequence[Job], what: str
    ) -> list[Result]:
        """Return the results in the order of the jobs; ``what`` says what goes on."""
        results = []
        for number, result in enumerate(self._results(function, jobs), 1):
            results.append(result)
            self._announce(f"{what}: {number} of {len(jobs)}")
        return results

    def _results(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
        if self.processes == 1:
            return map(function, jobs)
        if self._executor is None:
            # A process has one core: more threads for linear algebra would wait for each other.
            for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
                os.environ.setdefault(variable, "1")
            context = multiprocessing.get_context("spawn")
            cores = context.Queue()
            for core in self._cores:
                cores.put(core)
            self._executor = ProcessPoolExecutor(
                self.processes, mp_context=context, initializer=_stay_on_a_core, initargs=(cores,)
            )
        return self._executor.map(function, jobs)

    def close(self) -> None:
        """End the processes, so that timings are alone on the machine."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None


def _stay_on_a_core(cores: Any) -> None:  # noqa: ANN401 - the type of a queue is not public
    core = cores.get()
    if core is not None:
        os.sched_setaffinity(0, {core})


@contextmanager
def pool(announce: Callable[[str], None]) -> Iterator[Pool]:
    """Open a pool with a process for each core of this process."""
    cores: Sequence[int | None]
    if hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))
    else:
        cores = [None] * (os.cpu_count() or 1)
    made = Pool(cores, announce)
    try:
        yield made
    finally:
        made.close()


def grid_of_scores(scores: Sequence[float], *shape: int) -> np.ndarray:
    """Bring a list of scores into shape."""
    return np.asarray(scores, dtype=np.float64).reshape(shape)
