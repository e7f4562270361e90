"""Pictures of trainings, networks and merges, in the style of scikit-learn's displays.

A display is made by one of its ``from_`` methods, which compute and draw. ``plot`` draws it again,
on axes of your own. ``ax_`` and ``figure_`` are what it was drawn on last. Matplotlib (extra
``plot``) is imported when something is drawn.

>>> display = omp_mlp.plot.HistoryDisplay.from_model(model)  # doctest: +SKIP
>>> display.ax_.set_yscale("log")                            # doctest: +SKIP
"""

from omp_mlp.plot.calibration import CalibrationDisplay
from omp_mlp.plot.history import HistoryDisplay
from omp_mlp.plot.line import LossLineDisplay
from omp_mlp.plot.scaling import ScalingDisplay
from omp_mlp.plot.weights import WeightsDisplay

__all__ = [
    "CalibrationDisplay",
    "HistoryDisplay",
    "LossLineDisplay",
    "ScalingDisplay",
    "WeightsDisplay",
]
