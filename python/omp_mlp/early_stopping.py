"""When to stop early: the rows that are held out, and the judge of what is scored on them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import _core
from omp_mlp.checks import FloatArray
from omp_mlp.targets import Targets

_FEWEST_SCORINGS = 10
_PATIENT_EPOCHS = 2


def patience_of(patience: int | str, scorings: int, epochs: int) -> int:
    """Resolve "auto": the scorings of two epochs, but not fewer than ten."""
    if not isinstance(patience, str):
        return patience
    return max(_FEWEST_SCORINGS, math.ceil(_PATIENT_EPOCHS * scorings / max(epochs, 1)))


class Judge:
    """Keeps the master of the least validation loss, and says when there is no hope for a better.

    The loss is judged and not the score: accuracy moves in steps of one row, and stays the same
    while the probabilities improve.
    """

    def __init__(self, patience: int, min_delta: float) -> None:
        self.best: FloatArray | None = None  # parameters of the core
        self.best_round: int | None = None
        self._least = math.inf
        self._patience = patience
        self._min_delta = min_delta
        self._to_beat = math.inf
        self._failures = 0

    def as_dict(self) -> dict[str, Any]:
        """Return all that was seen, besides the best network."""
        return {
            "least": self._least,
            "to_beat": self._to_beat,
            "failures": self._failures,
            "best_round": self.best_round,
        }

    def go_on(self, seen: Mapping[str, Any], best: FloatArray | None) -> None:
        """Take over what another judge has seen."""
        self._least, self._to_beat = seen["least"], seen["to_beat"]
        self._failures, self.best_round, self.best = seen["failures"], seen["best_round"], best

    def judge(self, round_: int, loss: float, packed: FloatArray) -> bool:
        """Take note of a scored master, and return whether to stop."""
        if loss < self._least:
            self._least, self.best, self.best_round = loss, packed, round_
        if loss < self._to_beat - self._min_delta:
            self._to_beat, self._failures = loss, 0
        else:
            self._failures += 1
        return self._failures >= self._patience


def split(
    targets: Targets, n_samples: int, fraction: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows to train on and those to hold out, each in ascending order.

    Every class (or, of values, the whole) is held out in the same share, rounded to whole rows. The
    rows are the first of the class in a random order, which is the core's and does not depend on
    NumPy's version.
    """
    order = _core.epoch_order(
        samples=n_samples, replicas=1, replica=0, epoch=0, shuffle="global", seed=seed
    )
    kinds = np.zeros(n_samples, dtype=np.int32) if targets.indices is None else targets.indices
    rows = np.bincount(kinds)
    held = np.floor(fraction * rows + 0.5).astype(np.int64)
    _check_sides(rows, held, fraction, targets.labels)
    by_kind = order[np.argsort(kinds[order], kind="stable")]
    rank = np.arange(n_samples) - np.repeat(np.cumsum(rows) - rows, rows)
    is_held = np.empty(n_samples, dtype=bool)
    is_held[by_kind] = rank < np.repeat(held, rows)
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def _check_sides(
    rows: npt.NDArray[np.int64],
    held: npt.NDArray[np.int64],
    fraction: float,
    labels: npt.NDArray[Any] | None,
) -> None:
    # A class without rows needs none.
    bad = np.flatnonzero(((held == 0) | (held == rows)) & (rows > 0))
    if not len(bad):
        return
    kind = bad[0]
    what = "y" if labels is None else f"class {labels[kind].item()!r}"
    raise ValueError(
        "early_stopping=True needs at least one row of each class (or one of all values) to train "
        f"on and one to validate on; got validation_fraction={fraction:g}, which holds out "
        f"{held[kind]} of the {rows[kind]} rows of {what}. Give another validation_fraction, or "
        "validation_data"
    )
