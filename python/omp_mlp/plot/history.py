"""The history of a training, with its merges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from omp_mlp import checks
from omp_mlp.ensemble import Ensemble
from omp_mlp.history import History
from omp_mlp.model import Model
from omp_mlp.plot.display import GREY, Display, network_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_MARKS = 200  # beyond that, marks of merges are a bar


class HistoryDisplay(Display):
    """Losses, or validation scores, over the samples of a training.

    Parameters
    ----------
    history : History
        At least one round.
    metric : {"loss", "score"}, default "loss"
        "loss": training loss and, if there is one, validation loss. "score": the validation score.

    Attributes
    ----------
    history, metric
    lines_ : list of matplotlib.lines.Line2D
        The curves, after :meth:`plot`.
    merges_ : matplotlib.collections.LineCollection or None
        The marks of the merges; None if there are more than 200.
    """

    def __init__(self, history: History, *, metric: str = "loss") -> None:
        if not isinstance(history, History):
            raise TypeError(f"history must be a History; got {type(history).__name__}")
        if not len(history):
            raise ValueError("history must have at least one round; got none")
        self.history = history
        self.metric = checks.choice("metric", metric, ("loss", "score"))
        if metric == "score" and np.isnan(history.validation_score).all():
            raise ValueError(
                "metric='score' needs a training with validation_data; got one without"
            )

    @classmethod
    def from_model(
        cls,
        model: Any,  # noqa: ANN401 - a Model or an Ensemble
        *,
        metric: str = "loss",
        ax: Axes | None = None,
    ) -> HistoryDisplay:
        """Draw the history of a network.

        Parameters
        ----------
        model : Model or Ensemble
            One that was trained.
        metric : {"loss", "score"}, default "loss"
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.

        Returns
        -------
        HistoryDisplay
        """
        if not isinstance(model, (Model, Ensemble)):
            raise TypeError(f"model must be a Model or an Ensemble; got {type(model).__name__}")
        return cls(model.history, metric=metric).plot(ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,  # noqa: ANN401
        *,
        metric: str = "loss",
        ax: Axes | None = None,
    ) -> HistoryDisplay:
        """Draw the history of a fitted estimator of omp_mlp; see :meth:`from_model`."""
        return cls.from_model(network_of(estimator), metric=metric, ax=ax)

    def plot(self, ax: Axes | None = None) -> HistoryDisplay:
        """Draw the curves, and a mark at the foot for each merge.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.

        Returns
        -------
        HistoryDisplay
            This display.
        """
        ax = self._on(ax)
        from matplotlib.ticker import EngFormatter

        history = self.history
        curves = {"score": {"validation": history.validation_score}}.get(
            self.metric, {"training": history.loss, "validation": history.validation_loss}
        )
        self.lines_ = []
        for name, column in curves.items():
            known = ~np.isnan(column)
            if known.any():
                few = "." if known.sum() <= 50 else None
                (line,) = ax.plot(history.samples[known], column[known], marker=few, label=name)
                self.lines_.append(line)
        best = history.best_round
        if best is not None and not np.isnan(column[best]):
            ax.plot(history.samples[best], column[best], "*", color="black", label="best round")
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))  # 50k
        ax.set_xlabel("samples, of all replicas together")
        ax.set_ylabel("validation score" if self.metric == "score" else "mean loss")
        self._mark_merges(ax)
        ax.legend()
        return self

    def _mark_merges(self, ax: Axes) -> None:
        history = self.history
        has_merges = history.strategy in ("replica", "pattern") and history.threads > 1
        self.merges_ = None
        if has_merges and len(history) <= _MOST_MARKS:
            self.merges_ = ax.vlines(
                history.samples,
                0,
                0.03,
                transform=ax.get_xaxis_transform(),
                color=GREY,
                linewidth=1,
                label=f"{len(history)} merges",
            )
        elif has_merges:
            ax.plot([], [], " ", label=f"{len(history):,} merges")
