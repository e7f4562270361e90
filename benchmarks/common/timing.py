"""Take times in turn, and wait for cores that nobody else slows down.

What is compared is measured in passes, each of which takes everything once, every second pass
backwards. A slow spell of the machine then does not fall on one of the things compared. Shown are
medians over the passes; a ratio is the median of the ratios within a pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

import omp_mlp

from .data import AS_GIVEN

Cell = TypeVar("Cell")
Found = TypeVar("Found")


def in_turn(
    cells: Sequence[Cell],
    measure: Callable[[Cell], Found],
    passes: int,
    *,
    budget: float = float("inf"),
) -> list[list[Found]]:
    """Measure every cell once a pass, every second pass backwards.

    No further pass is begun after ``budget`` seconds, once there are three of them. Returned is for
    each cell what was found in each pass, in the order of the passes.
    """
    found: list[list[Found]] = [[] for _ in cells]
    begin = time.perf_counter()
    for number in range(passes):
        order = range(len(cells))
        for k in order if number % 2 == 0 else reversed(order):
            found[k].append(measure(cells[k]))
        if number >= 2 and time.perf_counter() - begin > budget:
            break
    return found


def summarise(runs: Sequence[float]) -> dict[str, Any]:
    """Return median, mean, standard deviation (None for one run), range and the runs themselves."""
    values = np.asarray(runs, dtype=np.float64)
    return {
        "median": float(np.median(values)),
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        "min": float(values.min()),
        "max": float(values.max()),
        "runs": values.tolist(),
    }


def ratios(above: Sequence[float], below: Sequence[float]) -> dict[str, Any]:
    """Summarise the ratios of what was measured in the same passes."""
    return summarise([a / b for a, b in zip(above, below, strict=True)])


class Probe:
    """Tells whether all cores are as fast as they can be.

    On a machine that is shared, others come and go within seconds, and slow down one core or
    another. A training on one core then meets them less often than one on several, so that medians
    alone do not compare the two. A fixed piece of work on all cores, which takes some milliseconds
    and has nothing to do with what is measured, shows how it stands: they are disturbed if it takes
    a tenth more than the least that was seen.

    ``patience`` is the seconds that are spent in all on waiting and on measurements that are
    repeated. Then things are measured whatever the cores are like.
    """

    def __init__(self, cores: int, patience: float) -> None:
        self._cores, self.patience = cores, patience
        rng = np.random.default_rng(0)
        # Sparse, and as many weights as fill the caches that a core has to itself.
        shape = (2_000 * cores, 800)
        self._X = (255 * (rng.random(shape, np.float32) < 0.15)).astype(np.uint8)
        self._y = rng.integers(10, size=len(self._X))
        self._least = float("inf")
        if patience > 0:
            self._least = min(self.seconds() for _ in range(20))

    def seconds(self) -> float:
        """Time the piece of work: CPU time of the slowest core."""
        history = omp_mlp.train_parallel(
            self._X,
            self._y,
            self._cores,
            "average",
            epochs=2,
            batch_size=8,
            learning_rate=0.05,
            workers=self._cores,
            **AS_GIVEN,
        ).history
        return float(np.sum(history.slowest_replica_seconds))

    def is_quiet(self) -> bool:
        """Whether the cores are undisturbed now."""
        seconds = self.seconds()
        self._least = min(self._least, seconds)
        return seconds <= 1.1 * self._least

    def undisturbed(
        self, measure: Callable[[], Found], was_alone: Callable[[Found], bool] = lambda _: True
    ) -> Found:
        """Measure until the cores were quiet before and after, or patience is at its end.

        ``was_alone`` tells of what was measured whether no other program took the cores meanwhile,
        which the piece of work, whose CPU time is taken, does not show.
        """
        while True:
            start = time.monotonic()
            # The cores are not looked at any more once patience is at its end.
            if self.patience <= 0 or self.is_quiet():
                measured = measure()
                if self.patience <= 0 or (was_alone(measured) and self.is_quiet()):
                    return measured
            else:
                time.sleep(0.2)
            self.patience -= time.monotonic() - start
