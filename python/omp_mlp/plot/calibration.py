"""How often a network is right where it says how sure it is, by scikit-learn's display."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from omp_mlp.checks import Column, Matrix, choice
from omp_mlp.extras import imported
from omp_mlp.plot.display import Display, network_of
from omp_mlp.predictor import Predictor
from omp_mlp.targets import read_targets

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class CalibrationDisplay(Display):
    """A reliability diagram: the share of samples of a class against its predicted probability.

    scikit-learn computes and draws it (``sklearn.calibration.CalibrationDisplay``, extra
    ``sklearn``). A perfectly calibrated network is on the diagonal.

    Parameters
    ----------
    prob_true : array-like of shape (n_bins,)
        The share of samples that have the class, in each bin.
    prob_pred : array-like of shape (n_bins,)
        The mean probability of the class in each bin.
    y_prob : array-like of shape (n_samples,)
        The probability of the class of each sample.
    label : str, default ""
        The class.

    Attributes
    ----------
    prob_true, prob_pred, y_prob : ndarray
    label : str
    line_ : matplotlib.lines.Line2D
        After :meth:`plot`.
    """

    def __init__(
        self,
        prob_true: npt.ArrayLike,
        prob_pred: npt.ArrayLike,
        y_prob: npt.ArrayLike,
        *,
        label: str = "",
    ) -> None:
        self.prob_true = np.asarray(prob_true)
        self.prob_pred = np.asarray(prob_pred)
        self.y_prob = np.asarray(y_prob)
        self.label = label

    @classmethod
    def from_model(
        cls,
        model: Predictor,
        X: Matrix,
        y: Column,
        *,
        label: Any = None,  # noqa: ANN401 - of any type that labels have
        n_bins: int = 5,
        strategy: str = "uniform",
        ax: Axes | None = None,
        **line: Any,  # noqa: ANN401 - Matplotlib's
    ) -> CalibrationDisplay:
        """Compare a classifier's probabilities with the labels, and draw.

        Parameters
        ----------
        model : Model or Ensemble
            A classifier with softmax or logistic outputs.
        X, y
            Samples that the training did not see, and their labels.
        label : optional
            The class to look at. Default: the second of two classes. It has to be given if there
            are more.
        n_bins : int, default 5
        strategy : {"uniform", "quantile"}, default "uniform"
            Bins of equal width, or of equally many samples.
        ax : matplotlib.axes.Axes, optional
            Default: axes of a new figure.
        **line
            Options of the line.

        Returns
        -------
        CalibrationDisplay

        Raises
        ------
        TypeError, ValueError
            If the network is no classifier with probabilities, or has no such class.
        """
        if model.classes is None:
            raise ValueError("calibration is that of a classifier with classes; got none")
        labels = model.classes.tolist()
        if label is None and len(labels) == 2:
            label = labels[1]
        index = labels.index(choice("label", label, labels))
        probability = model.predict_proba(X)[:, index]
        curve = _calibration()
        targets = read_targets(y, len(probability), like=model._target_kind)
        true, predicted = curve.calibration_curve(
            targets.indices == index,
            probability,
            n_bins=n_bins,
            strategy=strategy,
        )
        return cls(true, predicted, probability, label=str(label)).plot(ax, **line)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,  # noqa: ANN401
        X: Matrix,
        y: Column,
        **options: Any,  # noqa: ANN401 - of from_model
    ) -> CalibrationDisplay:
        """Draw the calibration of a fitted estimator's network; the options of :meth:`from_model`.

        Parameters
        ----------
        estimator : OmpMLPClassifier
            With a pipeline, the calibration display of scikit-learn itself is the one to take: X
            has to go through the other steps.
        X, y
            Samples that the training did not see, and their labels.
        **options
            Those of :meth:`from_model`.

        Returns
        -------
        CalibrationDisplay

        Raises
        ------
        TypeError
            If the estimator is none of omp_mlp, or is not fitted.
        """
        if hasattr(estimator, "steps"):
            raise TypeError("estimator must be an OmpMLPClassifier; got a Pipeline")
        return cls.from_model(network_of(estimator), X, y, **options)

    def plot(self, ax: Axes | None = None, **line: Any) -> CalibrationDisplay:  # noqa: ANN401
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: axes of a new figure.
        **line
            Options of the line.

        Returns
        -------
        CalibrationDisplay
            This one, with ``ax_``, ``figure_`` and ``line_``.
        """
        drawing = _calibration()
        axes = self._on(ax)
        drawn = drawing.CalibrationDisplay(self.prob_true, self.prob_pred, self.y_prob)
        self.line_ = drawn.plot(ax=axes, name=self.label or None, **line).line_
        axes.set(xlabel="mean predicted probability", ylabel="share of samples of the class")
        return self


def _calibration() -> Any:  # noqa: ANN401 - scikit-learn need not be there
    return imported("sklearn.calibration", "calibration", "scikit-learn", "sklearn")
