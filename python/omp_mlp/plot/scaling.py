"""How the time of a training falls with more threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from omp_mlp import checks
from omp_mlp.checks import Column, Matrix
from omp_mlp.plot.display import GREY, Display
from omp_mlp.train import train_parallel

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ScalingDisplay(Display):
    """The speed-up over threads: the time with the fewest threads, divided by the time with n.

    Parameters
    ----------
    threads : sequence of int
        Numbers of threads, ascending.
    seconds : sequence of float
        The time of a training with each.

    Attributes
    ----------
    threads, seconds : ndarray
    speed_up : ndarray of float64
        Relative to the fewest threads.
    """

    def __init__(self, threads: Sequence[int], seconds: Sequence[float]) -> None:
        self.threads = np.array([checks.integer("threads[k]", n, 1) for n in threads])
        self.seconds = np.array([checks.real("seconds[k]", s, 0.0) for s in seconds])
        if len(self.threads) != len(self.seconds) or not len(self.threads):
            raise ValueError(
                "threads and seconds must have one entry for each training, and at least one; got "
                f"{len(self.threads)} threads and {len(self.seconds)} seconds"
            )
        if (np.diff(self.threads) <= 0).any() or not (self.seconds > 0).all():
            raise ValueError(
                "threads must be ascending, and seconds greater than 0; got "
                f"{self.threads.tolist()} and {self.seconds.tolist()}"
            )
        self.speed_up = self.seconds[0] / self.seconds

    @classmethod
    def from_data(
        cls,
        X: Matrix,
        y: Column,
        threads: Sequence[int] = (1, 2, 4),
        *,
        repeats: int = 3,
        ax: Axes | None = None,
        **options: Any,  # noqa: ANN401 - handed on to train_parallel
    ) -> ScalingDisplay:
        """Train with each number of threads, and draw the speed-up.

        Parameters
        ----------
        X, y
            As in :func:`omp_mlp.train_parallel`.
        threads : sequence of int, default (1, 2, 4)
            Numbers of replicas, ascending.
        repeats : int, default 3
            Trainings of each number, of which the quickest counts. They are taken in turn, so that
            a busy minute of the machine meets all numbers.
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.
        **options
            Of :func:`omp_mlp.train_parallel`. ``epochs``, ``batch_size`` and ``learning_rate``
            default to 1, 8 and 0.01, so that nothing is searched for while the clock runs.

        Returns
        -------
        ScalingDisplay
        """
        threads = [checks.integer("threads[k]", n, 1) for n in threads]
        options = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01, **options}
        taken = np.full((checks.integer("repeats", repeats, 1), len(threads)), np.inf)
        for row in taken:
            for k, n in enumerate(threads):
                history = train_parallel(X, y, n, **options).history
                row[k] = history.train_seconds.sum() + history.merge_seconds.sum()
        return cls(threads, taken.min(axis=0).tolist()).plot(ax)

    def plot(self, ax: Axes | None = None) -> ScalingDisplay:
        """Draw the speed-up, and the line that it would have if threads cost nothing.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.

        Returns
        -------
        ScalingDisplay
            This display.
        """
        ax = self._on(ax)
        ideal = self.threads / self.threads[0]
        ax.plot(self.threads, ideal, linestyle=":", color=GREY, label="as many times as threads")
        ax.plot(self.threads, self.speed_up, marker="o", label="measured")
        for n, factor, seconds in zip(self.threads, self.speed_up, self.seconds, strict=True):
            ax.annotate(
                f"{seconds:.3g} s",
                (n, factor),
                xytext=(6, -12),
                textcoords="offset points",
                fontsize="small",
            )
        ax.set_xticks(self.threads)
        ax.set_xlabel("threads (replicas)")
        ax.set_ylabel(f"speed-up over threads={self.threads[0]}")
        ax.margins(x=0.12, y=0.12)
        ax.set_ylim(bottom=0)
        ax.legend(loc="upper left")
        return self
