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
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import omp_mlp

from ..common.machine import stay_on, usable_cores
from .lines import Line
from .problems import Problem, Source
from .settings import COMMON

Result = TypeVar("Result")


@dataclass(frozen=True)
class Training:
    """One training."""

    source: Source
    problem: str
    method: str  # of merging
    threads: int  # replicas
    options: Mapping[str, Any] = field(default_factory=dict)  # on top of COMMON
    seed: int = 0
    epochs: float | None = None  # the problem's; below 1: one epoch over a random part
    held_out: bool = False  # train on the first part of the training samples, score on the rest


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


def train(
    job: Training,
    *,
    workers: int | None = 1,
    **more: Any,  # noqa: ANN401
) -> tuple[omp_mlp.Model, Problem]:
    """Train; return the network, and the problem with the samples that it saw."""
    problem = job.source.load(job.problem)
    if job.held_out:
        problem = problem.held_out()
    epochs = problem.epochs if job.epochs is None else job.epochs
    if 0 < epochs < 1:
        problem = problem.part(epochs, job.seed)
        epochs = 1
    options = {**COMMON, **job.options}
    if isinstance(options.get("merge_every"), Sequence):
        options["merge_every"] = tuple(options["merge_every"])  # JSON has no tuples
    model = omp_mlp.train_parallel(
        problem.X,
        problem.y,
        job.threads,
        job.method,
        hidden_layer_sizes=problem.hidden,
        epochs=round(epochs),
        seed=job.seed,
        workers=workers,
        **options,
        **more,
    )
    return model, problem


def percent(model: omp_mlp.Model | omp_mlp.Ensemble, problem: Problem) -> float:
    """Score a network on the test samples."""
    return round(100 * model.score(problem.X_test, problem.y_test), 4)


def score(job: Training) -> float:
    """Train and score; percent. NaN if the training diverges, as it may with a rate too high."""
    try:
        return percent(*train(job))
    except omp_mlp.TrainingDivergedError:
        return float("nan")


class Pool:
    """Runs trainings on the cores that this process may use, one a core, in their own processes."""

    def __init__(self, cores: Sequence[int], announce: Callable[[str], None]) -> None:
        self._cores, self._announce = cores, announce
        self._executor: ProcessPoolExecutor | None = None

    def of_seeds(
        self,
        function: Callable[[Training], Result],
        jobs: Sequence[Training],
        seeds: Sequence[int],
        what: str,
    ) -> list[list[Result]]:
        """Return for each job its results with each of the seeds; ``what`` says what goes on."""
        found: list[Result] = []
        # All at once, so that no core waits at the end of a job.
        every = [replace(job, seed=seed) for job in jobs for seed in seeds]
        for result in self._results(function, every):
            found.append(result)
            self._announce(f"{what}: {len(found)} of {len(every)}")
        return [found[k : k + len(seeds)] for k in range(0, len(found), len(seeds))]

    def _results(
        self, function: Callable[[Training], Result], jobs: Sequence[Training]
    ) -> Iterator[Result]:
        if len(self._cores) == 1:
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
                len(self._cores), context, initializer=_stay_on_a_core, initargs=(cores,)
            )
        return self._executor.map(function, jobs)

    def close(self) -> None:
        """End the processes, so that timings are alone on the machine."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None


def _stay_on_a_core(cores: Any) -> None:  # noqa: ANN401 - the type of a queue is not public
    stay_on([cores.get()])


@contextmanager
def pool(announce: Callable[[str], None]) -> Iterator[Pool]:
    """Open a pool with a process for each core of this process."""
    made = Pool(usable_cores(), announce)
    try:
        yield made
    finally:
        made.close()
