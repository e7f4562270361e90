"""What users are warned of, and how."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType


class LearningRateWarning(UserWarning):
    """The learning rate was too large, and the training went on with a smaller one."""


class TaskWarning(UserWarning):
    """The dtype of y says classes or values, and its numbers look like the other."""


class SettingsWarning(UserWarning):
    """The settings, or the first round, are such that a training will hardly learn well.

    There are seven of them. Columns of X differ in scale by a factor of more than 1,000, and
    ``scale_inputs=False`` trains on them as they are. After the first round, the loss is ten times
    that of one answer for all rows (of the squared error: 100 times), or no unit of a hidden layer
    has a slope left: up to 512 rows are looked at. A given number of ``threads`` leaves a replica
    fewer than 128 rows. ``precision="bfloat16"`` has no effect, because the machine is no faster
    with it. Values of a regression that are too far from all others are brought nearer for the
    training, and so are those of a column of X, for predictions, too. A column of text, each label
    of which is an input, has numbers in all but a few of its labels.
    """


class MissingNumbersWarning(UserWarning):
    """A table lacks numbers in columns in which the training had one in every row.

    They are read as the median of their column in the training. No input of the network says that
    they were missing, because the training had no row to learn this from.
    """


class SkippedReplicaWarning(RuntimeWarning):
    """Replicas that were not finite were left out of a merge, as ``on_nonfinite="skip"`` asks."""


Kept = tuple[str, type[Warning]]
"""A warning that was not given yet."""

_kept: ContextVar[list[Kept] | None] = ContextVar("kept", default=None)


@contextmanager
def keep_warnings() -> Iterator[list[Kept]]:
    """Keep the warnings of this thread's work, for a process that the user looks at."""
    kept: list[Kept] = []
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)


def warn(message: str, category: type[Warning]) -> None:
    """Warn, and name the line that called this package, however deep in it the warning is."""
    kept = _kept.get()
    if kept is not None:
        kept.append((message, category))
        return
    level = 1
    frame: FrameType | None = sys._getframe()
    # SciPy stands between a training by L-BFGS and its callback.
    while frame is not None and _package_of(frame) in ("omp_mlp", "scipy"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _package_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).split(".")[0]
