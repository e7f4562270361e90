"""Replicas before a merge and after it: the loss along the line between two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from omp_mlp import checks
from omp_mlp.checks import Column, Matrix
from omp_mlp.merging.methods import matched
from omp_mlp.model import Model, check_alike
from omp_mlp.plot.display import GREY, Display, check_model, network_of

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

_BEYOND = 0.25  # of the line on either side


class LossLineDisplay(Display):
    """The loss of the networks (1 - t) A + t B between two replicas A and B.

    The loss is low between replicas that agree on what each hidden unit means. Replicas that
    started apart have a barrier between them, which matching their units removes (Ainsworth et al.
    2023, "Git Re-Basin").

    Parameters
    ----------
    positions : array-like of shape (n_points,)
        The positions t.
    losses : dict of str to array-like of shape (n_points,)
        The loss at each position, for each line by its name.
    merged : float, optional
        The loss of the merged network.

    Attributes
    ----------
    positions : ndarray of float64
    losses : dict of str to ndarray of float64
    merged : float or None
    """

    def __init__(
        self,
        positions: npt.ArrayLike,
        losses: dict[str, npt.ArrayLike],
        merged: float | None = None,
    ) -> None:
        self.positions = np.asarray(positions, dtype=np.float64)
        self.losses = {name: np.asarray(line, np.float64) for name, line in losses.items()}
        self.merged = merged
        for name, line in self.losses.items():
            if line.shape != self.positions.shape or line.ndim != 1:
                raise ValueError(
                    f"losses[{name!r}] must have one entry for each of the "
                    f"{self.positions.size} positions; got shape {line.shape}"
                )

    @classmethod
    def from_models(
        cls,
        one: Model,
        other: Model,
        X: Matrix,
        y: Column,
        *,
        merged: Model | None = None,
        match: bool = False,
        n_points: int = 31,
        ax: Axes | None = None,
    ) -> LossLineDisplay:
        """Compute and draw the loss between two networks.

        Parameters
        ----------
        one, other : Model
            They differ in their parameters only.
        X, y
            The data of the loss, as for :meth:`omp_mlp.Model.evaluate`.
        merged : Model, optional
            The network that a merge made of them.
        match : bool, default False
            Draw a second line, to ``other`` with its hidden units in the order of those of ``one``,
            as ``weight_matching`` brings them (needs SciPy, extra ``merge``).
        n_points : int, default 31
            Points of the line, from a quarter of its length before A to a quarter behind B.
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.

        Returns
        -------
        LossLineDisplay
        """
        check_alike("other", other, check_model(one))
        if merged is not None:
            check_alike("merged", merged, one)
        positions = np.linspace(
            -_BEYOND, 1 + _BEYOND, checks.integer("n_points", n_points, 2), dtype=np.float64
        )
        ends = {"as they are": other}
        if checks.choice("match", match, (False, True)):
            ends["units matched"] = matched([one, other], 1.0)[1]

        def loss(model: Model) -> float:
            return model.evaluate(X, y)[0]

        lines: dict[str, npt.ArrayLike] = {
            name: [loss(_between(one, end, t)) for t in positions] for name, end in ends.items()
        }
        return cls(positions, lines, None if merged is None else loss(merged)).plot(ax)

    @classmethod
    def from_model(
        cls,
        model: Model,
        X: Matrix,
        y: Column,
        *,
        match: bool = False,
        n_points: int = 31,
        ax: Axes | None = None,
    ) -> LossLineDisplay:
        """Draw the loss between the first two replicas of a network, and that of the network.

        Parameters
        ----------
        model : Model
            Trained with ``keep_replicas=True``.
        X, y, match, n_points, ax
            As in :meth:`from_models`.

        Returns
        -------
        LossLineDisplay
        """
        replicas = check_model(model).replicas
        if len(replicas) < 2:
            raise ValueError(
                "model must have two replicas or more, from a training with keep_replicas=True; "
                f"got {len(replicas)}"
            )
        one, other = replicas[:2]
        return cls.from_models(
            one, other, X, y, merged=model, match=match, n_points=n_points, ax=ax
        )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,  # noqa: ANN401
        X: Matrix,
        y: Column,
        *,
        match: bool = False,
        n_points: int = 31,
        ax: Axes | None = None,
    ) -> LossLineDisplay:
        """Draw those of a fitted estimator of omp_mlp; see :meth:`from_model`."""
        network = network_of(estimator)
        return cls.from_model(network, X, y, match=match, n_points=n_points, ax=ax)

    def plot(self, ax: Axes | None = None) -> LossLineDisplay:
        """Draw the lines, the two replicas, and the loss of the merged network.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.

        Returns
        -------
        LossLineDisplay
            This display.
        """
        ax = self._on(ax)
        for name, line in self.losses.items():
            (drawn,) = ax.plot(self.positions, line, label=name)
            ends = np.interp([0.0, 1.0], self.positions, line)
            ax.plot([0, 1], ends, "o", color=drawn.get_color())
        if self.merged is not None:
            ax.axhline(self.merged, linestyle="--", color=GREY, label="merged network")
        ax.set_xticks([0, 0.5, 1], ["replica A", "their average", "replica B"])
        ax.set_ylabel("mean loss")
        ax.legend()
        return self


def _between(one: Model, other: Model, t: float) -> Model:
    """Return the network at a position of the line."""
    mixed = (1 - t) * one._packed.astype(np.float64) + t * other._packed
    return one._like(mixed.astype(np.float32))
