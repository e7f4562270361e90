"""What happened in each round of a training."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import checks
from omp_mlp.summary import history_facts, html_table

Column = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Progress:
    """What a callback gets, after each round and about every 50 ms within a round.

    Attributes
    ----------
    round : int
        The round, counted from 0.
    rounds : int
        The number of rounds that the whole training takes.
    merged : bool
        True after a round's merge; False within a round that still goes on.
    samples : int
        Samples trained on so far, by all replicas together.
    total_samples : int
        Samples that the whole training takes.
    loss : float
        Mean training loss of the round so far. The loss of a sample is the one before its step.
    validation_loss, validation_score : float
        Of the merged network on ``validation_data``; NaN without it, while ``merged`` is False, and
        after rounds that ``validate_every`` leaves out.
    model : Model, Ensemble or None
        The network of the last merge, as the training would return it, without a history. It is
        made when it is asked for. None before the first merge.
    """

    round: int
    rounds: int
    merged: bool
    samples: int
    total_samples: int
    loss: float
    validation_loss: float = float("nan")
    validation_score: float = float("nan")

    @functools.cached_property
    def model(self) -> Any:  # noqa: ANN401 - a Model or an Ensemble, or None
        """The network of the last merge."""
        make = self.__dict__.pop("_make_model", None)
        return None if make is None else make()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_make_model"}


@dataclass(frozen=True, repr=False)
class History:
    """The rounds of a training; each column has one entry a round.

    A round ends with a merge. For the strategies that train one network without replicas, a round
    is an epoch.

    Attributes
    ----------
    samples : ndarray of int64, shape (rounds,)
        Samples trained on by the end of the round, by all replicas together.
    loss : ndarray of float64
        Mean training loss over the round's samples. The loss of a sample is the one before its
        step.
    validation_loss, validation_score : ndarray of float64
        Mean loss, and accuracy or R^2, of the merged network on ``validation_data``; NaN without
        such data, and in rounds that ``validate_every`` leaves out.
    learning_rate : ndarray of float64
        The learning rate at the start of the round; NaN for networks that older versions saved.
    train_seconds : ndarray of float64
        Wall-clock time of the parallel training.
    merge_seconds : ndarray of float64
        Wall-clock time of the merge.
    slowest_replica_seconds : ndarray of float64
        CPU time of the round's slowest replica. A machine with a free core for every replica would
        need this time for the round without its merge. Without replicas: CPU time of the slowest
        thread, including its short waits for the others.
    mean_replica_seconds : ndarray of float64
        Mean CPU time of the round's replicas. The other replicas wait while the slowest one takes
        longer than this mean. NaN without replicas, and for networks that older versions saved.
    predicted_seconds : ndarray of float64
        What the cost model (:mod:`omp_mlp.costs`) predicted for ``train_seconds`` and
        ``merge_seconds`` together; NaN if the model was not asked.
    strategy : str
        The strategy of the training: the one that ``strategy="auto"`` chose, or the one asked for.
    threads : int
        The number of threads; for replicas, the number of replicas. 0: never trained.
    best_round : int or None
        The round whose network ``early_stopping`` gave back, counted from 0; None without it.
    """

    samples: npt.NDArray[np.int64]
    loss: Column
    validation_loss: Column
    validation_score: Column
    learning_rate: Column
    train_seconds: Column
    merge_seconds: Column
    slowest_replica_seconds: Column
    mean_replica_seconds: Column
    predicted_seconds: Column
    strategy: str = "replica"
    threads: int = 0
    best_round: int | None = None

    @property
    def merge_share(self) -> float:
        """Merging's share of the training's wall-clock time; NaN without rounds."""
        merging, training = self.merge_seconds.sum(), self.train_seconds.sum()
        return float(merging / (merging + training)) if len(self) else float("nan")

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        if not len(self):
            return "History(no rounds)"
        text = f"History({len(self)} rounds, {self.samples[-1]} samples"
        text += f", last loss {self.loss[-1]:.4g}"
        if not np.isnan(self.validation_score[-1]):
            text += f", last validation score {self.validation_score[-1]:.4g}"
        return text + f", {self.train_seconds.sum() + self.merge_seconds.sum():.3g} s)"

    def _repr_html_(self) -> str:
        return html_table(repr(self), history_facts(self))

    def first(self, rounds: int) -> History:
        """Return the history of the first rounds alone."""
        return replace(
            self, **{name: getattr(self, name)[:rounds] for name in ("samples", *_FLOAT_COLUMNS)}
        )

    def as_dict(self) -> dict[str, list[float]]:
        """Return the columns as lists of plain numbers, for JSON or ``pandas.DataFrame``."""
        return {name: getattr(self, name).tolist() for name in ("samples", *_FLOAT_COLUMNS)}

    @classmethod
    def from_dict(cls, columns: Mapping[str, Any]) -> History:
        """Undo :meth:`as_dict`; the other attributes may stand beside the columns.

        Raises
        ------
        ValueError, TypeError, KeyError
            If these are no columns of one length, or the attributes are not what they should be.
        """
        # Files of older versions lack the columns that came later, and the names of strategies.
        nothing = [np.nan] * len(columns["samples"])
        later = [name for name in _FLOAT_COLUMNS if name not in _FIRST_COLUMNS]
        values: dict[str, Any] = {**dict.fromkeys(later, nothing), **columns}
        for name in _FLOAT_COLUMNS:
            values[name] = np.asarray(values[name], dtype=np.float64)
        values["samples"] = np.asarray(values["samples"], dtype=np.int64)
        known = [field.name for field in fields(cls)]
        history = cls(**{name: values[name] for name in known if name in values})
        history._check()
        return history

    def _check(self) -> None:
        rounds = self.samples.size
        for name in ("samples", *_FLOAT_COLUMNS):
            if getattr(self, name).shape != (rounds,):
                raise ValueError(
                    f"history.{name} must have one entry for each of the {rounds} rounds; "
                    f"got shape {getattr(self, name).shape}"
                )
        if rounds and (self.samples[0] < 0 or (np.diff(self.samples) < 0).any()):
            raise ValueError("history.samples must not fall")
        if not isinstance(self.strategy, str):
            raise TypeError(f"history.strategy must be a str; got {type(self.strategy).__name__}")
        checks.integer("history.threads", self.threads, 0)
        if self.best_round is not None:
            checks.integer("history.best_round", self.best_round, 0, max(rounds - 1, 0))

    @classmethod
    def of_training(
        cls,
        columns: Mapping[str, npt.NDArray[Any]],
        *,
        validation: Sequence[tuple[float, float]],
        predicted: float,
        total_samples: int,
        strategy: str,
        threads: int,
        best_round: int | None,
    ) -> History:
        """Return the history of a training, from the core's columns by their names.

        ``validation`` has loss and score of each round, or nothing; ``predicted`` are the seconds
        of the whole training, or NaN, which the rounds share by their samples.
        """
        nan = [(np.nan, np.nan)] * len(columns["samples"])
        validation_loss, validation_score = np.array(validation or nan).reshape(-1, 2).T
        share = np.diff(columns["samples"], prepend=0) / max(total_samples, 1)
        return cls(
            **columns,
            validation_loss=validation_loss,
            validation_score=validation_score,
            predicted_seconds=share * predicted,
            strategy=strategy,
            threads=threads,
            best_round=best_round,
        )

    @classmethod
    @functools.cache
    def empty(cls) -> History:
        """Return the history of a network that was never trained."""
        return cls.from_dict({name: [] for name in ("samples", *_FLOAT_COLUMNS)})


# What files of every version have.
_FIRST_COLUMNS = (
    *("loss", "validation_loss", "validation_score"),
    *("train_seconds", "merge_seconds", "slowest_replica_seconds"),
)
_FLOAT_COLUMNS = [field.name for field in fields(History) if field.type == "Column"]
