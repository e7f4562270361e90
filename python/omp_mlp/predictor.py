"""Predict and score with a classifier or a regression, made of one network or of several."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp.checks import Column, FloatArray, Matrix, check_out
from omp_mlp.encoding import Columns
from omp_mlp.inputs import Inputs
from omp_mlp.losses import OUTPUT_FUNCTIONS, Doubles, LossKind, own_loss
from omp_mlp.reading import read_known
from omp_mlp.scaling import Scaling
from omp_mlp.summary import model_html, model_text
from omp_mlp.targets import TargetKind, Targets, read_sample_weight, read_targets


class Predictor:
    """Predictions and scores from the last layer's pre-activations.

    Attributes
    ----------
    layer_sizes : tuple of int
        Features, hidden units of each layer, outputs.
    output_activation : {"softmax", "identity", "logistic", "exponential"}
    classes : ndarray of shape (n_outputs,), or None for a regression or a multilabel classifier
    multilabel : bool
        Whether each output says of one label whether a sample has that label.
    input_scaling, target_scaling : Scaling or None
        What stands beside the weights: X is taken in units of ``input_scaling``, and the outputs
        are in those of ``target_scaling``.
    columns : Columns or None
        What is known of the columns of the table that the network was trained on.
    """

    layer_sizes: tuple[int, ...]
    output_activation: str
    classes: npt.NDArray[Any] | None
    multilabel: bool
    input_scaling: Scaling | None
    target_scaling: Scaling | None
    columns: Columns | None = None

    def __setattr__(self, name: str, value: object) -> None:
        # What is computed and what is saved must be the same, so neither changes.
        raise AttributeError(f"a {type(self).__name__} does not change: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a {type(self).__name__} does not change: {name} cannot be deleted")

    def _run(self, inputs: Inputs, *, raw: bool, out: FloatArray | None = None) -> FloatArray:
        """Return the outputs, or with ``raw`` the pre-activations of the last layer.

        The inputs are in the units of ``input_scaling``, the outputs in those of
        ``target_scaling``. ``out``: an array of shape (n_samples, n_outputs) to write and return.
        """
        raise NotImplementedError

    def summary(self) -> str:
        """Return a description in some lines: layers, parameters, classes, the training.

        Returns
        -------
        str
        """
        return model_text(self)

    def _repr_html_(self) -> str:
        return model_html(self)

    def decision_function(
        self, X: Matrix, *, out: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        """Return the pre-activations of the last layer (logits, where softmax follows).

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)
        out : ndarray, optional
            As of :meth:`predict`.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_outputs)
            Of float64 for a network with a ``target_scaling``.

        Raises
        ------
        ValueError, TypeError
            If X has another number of features than the network, or is not finite and numeric, or
            ``out`` does not fit.
        """
        return self._outputs(self._read(X), raw=True, out=out)

    def predict(self, X: Matrix, *, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Return the labels of the samples, or the outputs of a regression.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)
            In the units of the training data.
        out : ndarray, optional
            Where to write the result, of its shape and dtype; then it is what is returned. It may
            have any strides, and may share memory with X. Default: a new array. A program that
            predicts again and again saves the time of new memory. If an error says that the
            network's outputs are infinite, ``out`` has any content.

        Returns
        -------
        ndarray of shape (n_samples,)
            The label of the largest output, of the dtype of ``classes``; or float32 values, of
            shape (n_samples, n_outputs) if there are several outputs. The values are float64 if the
            network has a ``target_scaling``, which float32 would round too far. A multilabel
            classifier gives an int64 matrix of shape (n_samples, n_outputs): 1 where the
            probability is above 1/2, and 0 elsewhere.

        Raises
        ------
        ValueError, TypeError
            If X has another number of features than the network, or is not finite and numeric, or
            ``out`` does not fit.
        """
        inputs = self._read(X)
        n_samples, n_outputs = inputs.n_samples, self.layer_sizes[-1]
        if self.classes is not None:
            check_out(out, (n_samples,), self.classes.dtype)
            labels = self.classes[self._outputs(inputs, raw=True).argmax(axis=1)]
            return written(labels, out)
        if self.multilabel:
            check_out(out, (n_samples, n_outputs), np.dtype(np.int64))
            return written((self._outputs(inputs, raw=True) > 0).astype(np.int64), out)
        if n_outputs > 1:
            return self._outputs(inputs, raw=False, out=out)
        check_out(out, (n_samples,), self._dtype)
        column = None if out is None else out[:, np.newaxis]
        values = self._outputs(inputs, raw=False, out=column)[:, 0]
        return values if out is None else out

    def predict_proba(self, X: Matrix, *, out: FloatArray | None = None) -> FloatArray:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)
        out : ndarray of float32, optional
            As of :meth:`predict`.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_classes)
            Softmax outputs are the probabilities. Logistic outputs are divided by their sum; but
            those of a multilabel classifier are the probabilities of its labels as they are.

        Raises
        ------
        ValueError, TypeError
            If the network is a regression, or its outputs are not probabilities (identity), or
            X or ``out`` does not fit.
        """
        if self.multilabel:
            return self._outputs(self._read(X), raw=False, out=out)
        if self.classes is None or self.output_activation == "identity":
            raise ValueError(
                "predict_proba needs a classifier with softmax or logistic outputs; this network "
                + (
                    "is a regression"
                    if self.classes is None
                    else f"has {self.output_activation} outputs"
                )
            )
        outputs: FloatArray = self._outputs(self._read(X), raw=False, out=out)
        if self.output_activation == "logistic":
            # Where every output underflows, nothing speaks for one class more than for another.
            outputs += np.finfo(np.float32).tiny
            outputs /= outputs.sum(axis=1, keepdims=True)
        return outputs

    def score(self, X: Matrix, y: Column, sample_weight: npt.ArrayLike | None = None) -> float:
        """Return the accuracy of a classifier, or R^2 of a regression (mean over the outputs).

        The accuracy of a multilabel classifier is the share of samples of which all labels are
        right (subset accuracy).

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels, each of which the training had; or values; or 0 and 1 of each label.
        sample_weight : array-like of shape (n_samples,), optional
            How much each sample counts: not negative, and not all 0.

        Raises
        ------
        ValueError, TypeError
            If X or y do not fit the network, or y has labels that the training did not have.
        """
        return self.evaluate(X, y, sample_weight)[1]

    def evaluate(
        self, X: Matrix, y: Column, sample_weight: npt.ArrayLike | None = None
    ) -> tuple[float, float]:
        """Return the mean loss and the score of :meth:`score`, which has the parameters.

        The loss is cross-entropy for softmax outputs, binary cross-entropy for a multilabel
        classifier, and the Poisson loss for exponential outputs. Otherwise it is half the squared
        error, whatever the network was trained with; a classifier's target is 1 for the right class
        and 0 for the others. All but cross-entropy are summed over the outputs.
        """
        inputs = self._read(X)
        targets = read_targets(
            y, inputs.n_samples, like=self._target_kind, scaling=self.target_scaling
        )
        weight = read_sample_weight(sample_weight, inputs.n_samples)
        return self._evaluate(inputs, targets, weight=weight)

    @property
    def _target_kind(self) -> TargetKind:
        return TargetKind(self.classes, self.layer_sizes[-1], self.multilabel)

    def _evaluate(
        self,
        inputs: Inputs,
        targets: Targets,
        loss: LossKind | None = None,
        *,
        weight: FloatArray | None = None,
    ) -> tuple[float, float]:
        """Return a loss, by default the network's own, and the score."""
        loss = loss or own_loss(self.output_activation, self._target_kind)
        z = self._run(inputs, raw=True).astype(np.float64)
        weights = None if weight is None else weight.astype(np.float64)
        return (
            loss.mean(self.output_activation, z, targets, weights),
            _score(z, self.output_activation, targets, weights),
        )

    def _read(self, X: Matrix) -> Inputs:
        return read_known(
            self.columns, X, n_features=self.layer_sizes[0], scaling=self.input_scaling
        )

    @property
    def _dtype(self) -> np.dtype[Any]:
        """Of outputs in the units of y: float32 would round too far beside a target_scaling."""
        return np.dtype(np.float32 if self.target_scaling is None else np.float64)

    def _outputs(
        self, inputs: Inputs, *, raw: bool, out: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        check_out(out, (inputs.n_samples, self.layer_sizes[-1]), self._dtype)
        scaling = self.target_scaling
        outputs = self._run(inputs, raw=raw, out=out if scaling is None else None)
        may_be_infinite = self.output_activation == "exponential"
        good = ~np.isnan(outputs) if may_be_infinite else np.isfinite(outputs)
        if not good.all():
            row = int(np.argwhere(~good)[0][0])
            raise ValueError(
                f"the network's outputs are infinite in float32 for row {row} of X: its values, or "
                "the network's parameters, are too large"
            )
        return outputs if scaling is None else written(scaling.undo(outputs), out)


def written(result: npt.NDArray[Any], out: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
    """Return the result; in ``out``, if it is given."""
    if out is None:
        return result
    out[...] = result
    return out


def _score(z: Doubles, output_activation: str, targets: Targets, weights: Doubles | None) -> float:
    # Like predict, from the pre-activations: where outputs saturate, they are still different.
    if targets.indices is not None:
        return float(np.average(z.argmax(axis=1) == targets.indices, weights=weights))
    assert targets.values is not None
    if targets.is_multilabel:
        is_right = ((z > 0) == (targets.values > 0)).all(axis=1)
        return float(np.average(is_right, weights=weights))
    # R^2 does not depend on the units of y.
    return _r2(OUTPUT_FUNCTIONS[output_activation](z), targets.compared, weights)


def _r2(outputs: Doubles, values: Doubles, weights: Doubles | None) -> float:
    weight = np.ones((len(values), 1)) if weights is None else weights[:, None]
    residual = np.sum(weight * (values - outputs) ** 2, axis=0)
    mean = np.average(values, axis=0, weights=weights)
    total = np.sum(weight * (values - mean) ** 2, axis=0)
    # A constant output has no variance to explain: 1 if it is met, else 0, as scikit-learn has it.
    constant = total == 0
    explained = np.where(constant, residual == 0, 1 - residual / np.where(constant, 1, total))
    return float(explained.mean())
