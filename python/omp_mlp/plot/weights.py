"""The weights of the first layer as images, one for each hidden unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from omp_mlp import checks
from omp_mlp.model import Model
from omp_mlp.plot.display import Display, check_model, network_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class WeightsDisplay(Display):
    """What each hidden unit of the first layer adds up: its weights, in the shape of an input.

    Parameters
    ----------
    weights : array-like of shape (n_features, n_units)
    shape : pair of int, optional
        Rows and columns of an input. Default: the square that has as many pixels as there are
        features.
    n_units : int, default 64
        How many units are drawn, at most: those with the largest weights (by their squares).

    Attributes
    ----------
    weights : ndarray of float64
    shape : tuple of int
    units : ndarray of int64
        The units that are drawn, row by row.
    image_ : matplotlib.image.AxesImage
        After :meth:`plot`.
    """

    def __init__(
        self,
        weights: npt.ArrayLike,
        *,
        shape: Sequence[int] | None = None,
        n_units: int = 64,
    ) -> None:
        self.weights = np.asarray(checks.numeric(weights, "weights"), dtype=np.float64)
        if self.weights.ndim != 2:
            raise ValueError(
                f"weights must have shape (n_features, n_units); got {self.weights.shape}"
            )
        n_features = len(self.weights)
        side = math.isqrt(n_features)
        if shape is None and side * side != n_features:
            raise ValueError(
                f"shape must say how {n_features} features make an image: that is no square; "
                "got None"
            )
        sizes = (side, side) if shape is None else tuple(shape)
        self.shape = tuple(checks.integer(f"shape[{k}]", size, 1) for k, size in enumerate(sizes))
        if len(self.shape) != 2 or math.prod(self.shape) != n_features:
            raise ValueError(
                f"shape must be rows and columns of {n_features} pixels; got {self.shape}"
            )
        most = checks.integer("n_units", n_units, 1)
        largest = np.argsort(-np.sum(self.weights**2, axis=0), kind="stable")
        self.units = np.sort(largest[:most])

    @classmethod
    def from_model(
        cls,
        model: Model,
        *,
        shape: Sequence[int] | None = None,
        n_units: int = 64,
        ax: Axes | None = None,
    ) -> WeightsDisplay:
        """Draw the first layer of a network.

        Parameters
        ----------
        model : Model
        shape : pair of int, optional
        n_units : int, default 64
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.

        Returns
        -------
        WeightsDisplay
        """
        return cls(check_model(model).weights[0], shape=shape, n_units=n_units).plot(ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,  # noqa: ANN401
        *,
        shape: Sequence[int] | None = None,
        n_units: int = 64,
        ax: Axes | None = None,
    ) -> WeightsDisplay:
        """Draw the first layer of a fitted estimator of omp_mlp; see :meth:`from_model`."""
        return cls.from_model(network_of(estimator), shape=shape, n_units=n_units, ax=ax)

    def mosaic(self) -> npt.NDArray[np.float64]:
        """Return the images in one, a blank (NaN) pixel apart."""
        rows, columns = self.shape
        across = math.ceil(math.sqrt(len(self.units)))
        down = math.ceil(len(self.units) / across)
        mosaic = np.full((down * (rows + 1) - 1, across * (columns + 1) - 1), np.nan)
        for place, unit in enumerate(self.units):
            top, left = (place // across) * (rows + 1), (place % across) * (columns + 1)
            mosaic[top : top + rows, left : left + columns] = self.weights[:, unit].reshape(
                self.shape
            )
        return mosaic

    def plot(self, ax: Axes | None = None) -> WeightsDisplay:
        """Draw the images: blue for positive weights, red for negative ones.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.

        Returns
        -------
        WeightsDisplay
            This display.
        """
        ax = self._on(ax)
        # A few weights of pixels that are hardly ever used would make all others pale.
        most = np.quantile(np.abs(self.weights[:, self.units]), 0.995) or 1.0
        self.image_ = ax.imshow(self.mosaic(), cmap="RdBu", vmin=-most, vmax=most)
        ax.set_xticks([])
        ax.set_yticks([])
        for side in ax.spines.values():
            side.set_visible(False)
        ax.set_title(f"weights of {len(self.units)} of {self.weights.shape[1]} units")
        self.figure_.colorbar(self.image_, ax=ax, extend="both")
        return self
