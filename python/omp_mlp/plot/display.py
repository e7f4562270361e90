"""What all displays share: the axes, and the network of an estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omp_mlp.ensemble import Ensemble
from omp_mlp.extras import imported
from omp_mlp.model import Model

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "0.55"


class Display:
    """Something to draw.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        What it was drawn on last.
    figure_ : matplotlib.figure.Figure
        The figure of ``ax_``.
    """

    ax_: Axes
    figure_: Figure

    def _on(self, ax: Axes | None) -> Axes:
        """Keep the axes to draw on, which are new ones if there are none."""
        plt = imported("matplotlib.pyplot", "drawing", "Matplotlib", "plot")
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        figure: Any = getattr(ax, "figure", None)
        if figure is None:
            raise TypeError(f"ax must be Matplotlib axes; got {type(ax).__name__}")
        self.ax_, self.figure_ = ax, figure.figure  # of a SubFigure: the whole one
        return ax


def network_of(estimator: Any) -> Any:  # noqa: ANN401 - a Model or an Ensemble
    """Return the network of a fitted estimator, or of the last step of a pipeline."""
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    network = getattr(last, "model_", None)
    if not isinstance(network, (Model, Ensemble)):
        raise TypeError(
            "estimator must be a fitted estimator of omp_mlp, which has a network as model_; got "
            f"{type(estimator).__name__}"
        )
    return network


def check_model(model: object) -> Model:
    """Check that there is a single network to draw."""
    if not isinstance(model, Model):
        raise TypeError(f"model must be a Model; got {type(model).__name__}")
    return model
