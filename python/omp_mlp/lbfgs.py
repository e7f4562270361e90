"""L-BFGS: steps by SciPy on the full batch, whose loss and gradient all workers find at once.

Liu & Nocedal (1989), as SciPy has it (Byrd, Lu, Nocedal & Zhu 1995). The core has float32 weights,
and SciPy goes on in double: the loss is that of the nearest float32 weights.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import _core
from omp_mlp.checks import FloatArray
from omp_mlp.data import TrainingData
from omp_mlp.packed import views
from omp_mlp.plan import Plan
from omp_mlp.watch import Watcher
from omp_mlp.workers import effective_workers

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What a training returns, as the core's does; a round is an iteration."""

    parameters: FloatArray
    rounds: int
    history: dict[str, npt.NDArray[Any]]
    divergence: tuple[int, int] | None
    replicas: list[FloatArray] = field(default_factory=list)
    skipped: list[tuple[int, int]] = field(default_factory=list)
    retreats: list[tuple[int, float]] = field(default_factory=list)


def minimize(
    plan: Plan, data: TrainingData, targets: _core.Targets, watcher: Watcher | None
) -> Result:
    """Minimise the loss until its gradient is small, or for ``epochs`` iterations."""
    return _Training(plan, data, targets, watcher).run()


class _Ended(Exception):  # noqa: N818 - it is no error
    """The user stops the training, or it diverged."""


class _Training:
    def __init__(
        self, plan: Plan, data: TrainingData, targets: _core.Targets, watcher: Watcher | None
    ) -> None:
        options = plan.options
        self._plan, self._watcher = plan, watcher
        self._batch = _core.FullBatch(
            network=plan.network.core(plan.start),
            samples=data.inputs.core,
            targets=targets,
            first_layer=options.first_layer,
            center_inputs=options.center_inputs,
            workers=effective_workers(options.workers, options.threads),
        )
        # The last good network, and where it is for SciPy.
        self._master = self._batch.start(init=plan.core_init(), seed=options.seed)
        self._x = self._batch.to_centered(parameters=self._master).astype(np.float64)
        self._last = self._x  # where the loss was found last, without the penalty of l2
        self._loss = math.nan
        self._rows: list[dict[str, float]] = []
        self._divergence: tuple[int, int] | None = None
        self._began = time.perf_counter()
        self._cpu_began = time.thread_time()

    def run(self) -> Result:
        """Return what was trained; an exception has it as ``partial_result``."""
        try:
            self._minimize()
        except BaseException as error:  # what ends a training takes along what was trained
            with contextlib.suppress(Exception):  # some exceptions take no attributes
                error.partial_result = self._result()  # type: ignore[attr-defined]
            raise
        return self._result()

    def _minimize(self) -> None:
        from scipy.optimize import minimize

        options = self._plan.options
        if options.epochs > 0:
            with contextlib.suppress(_Ended):
                minimize(
                    self._objective,
                    self._x,
                    method="L-BFGS-B",
                    jac=True,
                    callback=self._end_iteration,
                    options={"maxiter": options.epochs, "maxfun": sys.maxsize, "gtol": options.tol},
                )
        if self._watcher is not None:
            self._watcher.end(self._master)

    def _result(self) -> Result:
        names = ("samples", *(name for name in _core.history_columns() if name != "samples"))
        # Columns of other trainings, such as the learning rate, are NaN.
        history = {
            name: np.array([row.get(name, math.nan) for row in self._rows]) for name in names
        }
        history["samples"] = history["samples"].astype(np.int64)
        return Result(self._master, len(self._rows), history, self._divergence)

    def _objective(self, x: Doubles) -> tuple[float, Doubles]:
        """Return the loss with the penalty l2 / 2 times the sum of all W^2, and its gradient."""
        parameters = _single(x)
        found = self._batch.evaluate(parameters=parameters, during_round=self._within)
        if found is None:
            raise _Ended
        self._loss, gradient = found
        self._last = x.copy()
        if not self._rows and not math.isfinite(self._loss) and np.array_equal(x, self._x):
            self._diverge()
        penalty, l2 = 0.0, self._plan.options.l2
        if l2:
            sizes = self._plan.network.layer_sizes
            # Both are views: the slopes are those of the gradient.
            pairs = zip(views(sizes, parameters)[0], views(sizes, gradient)[0], strict=True)
            for W, slope in pairs:
                penalty += 0.5 * l2 * float(np.sum(np.square(W, dtype=np.float64)))
                np.add(slope, l2 * W.astype(np.float64), out=slope)
        return self._loss + penalty, gradient

    @property
    def _within(self) -> Callable[[int, float], bool] | None:
        watcher = self._watcher
        return watcher.during_round if watcher and watcher.watches_within else None

    def _end_iteration(self, x: Doubles) -> None:
        if not np.array_equal(x, self._last):
            self._objective(x)  # the line search looked beyond the point that it took
        master = self._batch.to_raw(parameters=_single(x))
        if not (math.isfinite(self._loss) and np.isfinite(master).all()):
            self._diverge()
        self._master = master
        n_samples = self._plan.n_samples
        now, cpu_now = time.perf_counter(), time.thread_time()
        self._rows.append(
            {
                "samples": n_samples * (len(self._rows) + 1),
                "loss": self._loss,
                "train_seconds": now - self._began,
                "merge_seconds": 0.0,
                "slowest_replica_seconds": cpu_now - self._cpu_began,
            }
        )
        self._began, self._cpu_began = now, cpu_now
        if self._watcher is None:
            return
        if len(self._rows) == 1 and self._watcher.after_first_round is not None:
            self._watcher.after_first_round(master.copy())
        if not self._watcher.watches_rounds:
            return
        # The judge may keep the array.
        if self._watcher.after_round(self._rows[-1], master.copy()):
            raise _Ended

    def _diverge(self) -> None:
        self._divergence = (len(self._rows), 0)
        raise _Ended


def _single(x: Doubles) -> FloatArray:
    """Return parameters as the core takes them; those that are too large become infinite."""
    with np.errstate(over="ignore"):
        return x.astype(np.float32)
