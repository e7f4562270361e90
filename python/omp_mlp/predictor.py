"""Predict and score with a classifier or a regression, made of one network or of several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp.checks import FloatArray, Matrix
from omp_mlp.inputs import Inputs, read_inputs
from omp_mlp.scaling import Scaling
from omp_mlp.targets import Targets, read_targets


class Predictor:
    """Predictions and scores from the last layer's pre-activations.

    Attributes
    ----------
    layer_sizes : tuple of int
        Features, hidden units of each layer, outputs.
    output_activation : {"softmax", "identity", "logistic"}
    classes : ndarray of shape (n_outputs,), or None for a regression
    input_scaling, target_scaling : Scaling or None
        What stands beside the weights: X is taken in units of ``input_scaling``, and the outputs
        are in those of ``target_scaling``.
    """

    layer_sizes: tuple[int, ...]
    output_activation: str
    classes: npt.NDArray[Any] | None
    input_scaling: Scaling | None
    target_scaling: Scaling | None

    def _run(self, inputs: Inputs, *, raw: bool) -> FloatArray:
        """Return the outputs, or with ``raw`` the pre-activations of the last layer.

        The inputs are in the units of ``input_scaling``, the outputs in those of
        ``target_scaling``.
        """
        raise NotImplementedError

    def decision_function(self, X: Matrix) -> npt.NDArray[Any]:
        """Return the pre-activations of the last layer (logits, where softmax follows).

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float32, shape (n_samples, n_outputs)
            Of float64 for a network with a ``target_scaling``.

        Raises
        ------
        ValueError, TypeError
            If X has another number of features than the network, or is not finite and numeric.
        """
        return self._outputs(X, raw=True)

    def predict(self, X: Matrix) -> npt.NDArray[Any]:
        """Return the label of the largest output, or the outputs of a regression.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)
            In the units of the training data.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels, of the dtype of ``classes``; or float32 values, of shape
            (n_samples, n_outputs) if there are several outputs. The values are float64 if the
            network has a ``target_scaling``, which float32 would round too far.

        Raises
        ------
        ValueError, TypeError
            If X has another number of features than the network, or is not finite and numeric.
        """
        if self.classes is not None:
            labels: npt.NDArray[Any] = self.classes[self._outputs(X, raw=True).argmax(axis=1)]
            return labels
        outputs = self._outputs(X, raw=False)
        return outputs[:, 0] if self.layer_sizes[-1] == 1 else outputs

    def predict_proba(self, X: Matrix) -> FloatArray:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float32, shape (n_samples, n_classes)
            Softmax outputs are the probabilities. Logistic outputs are divided by their sum.

        Raises
        ------
        ValueError
            If the network is a regression, or its outputs are not probabilities (identity).
        """
        if self.classes is None or self.output_activation == "identity":
            raise ValueError(
                "predict_proba needs a classifier with softmax or logistic outputs; this network "
                + (
                    "is a regression"
                    if self.classes is None
                    else f"has {self.output_activation} outputs"
                )
            )
        outputs: FloatArray = self._outputs(X, raw=False)
        if self.output_activation == "logistic":
            # Where every output underflows, nothing speaks for one class more than for another.
            outputs += np.finfo(np.float32).tiny
            outputs /= outputs.sum(axis=1, keepdims=True)
        return outputs

    def score(self, X: Matrix, y: object) -> float:
        """Return the accuracy of a classifier, or R^2 of a regression (mean over the outputs).

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels, each of which the training had; or values.

        Raises
        ------
        ValueError, TypeError
            If X or y do not fit the network, or y has labels that the training did not have.
        """
        return self.evaluate(X, y)[1]

    def evaluate(self, X: Matrix, y: object) -> tuple[float, float]:
        """Return the mean loss and the score of :meth:`score`.

        The loss is cross-entropy for softmax outputs. Otherwise it is half the squared error summed
        over the outputs; a classifier's target is 1 for the right class and 0 for the others.
        """
        inputs = self._read(X)
        like = (self.classes, self.layer_sizes[-1])
        targets = read_targets(y, inputs.n_samples, like=like, scaling=self.target_scaling)
        return self._evaluate(inputs, targets)

    def _evaluate(self, inputs: Inputs, targets: Targets) -> tuple[float, float]:
        z = self._run(inputs, raw=True).astype(np.float64)
        return loss_and_score(self.output_activation, z, targets)

    def _read(self, X: Matrix) -> Inputs:
        return read_inputs(X, n_features=self.layer_sizes[0], scaling=self.input_scaling)

    def _outputs(self, X: Matrix, *, raw: bool) -> npt.NDArray[Any]:
        outputs = self._run(self._read(X), raw=raw)
        return outputs if self.target_scaling is None else self.target_scaling.undo(outputs)


def loss_and_score(
    output_activation: str, z: npt.NDArray[np.float64], targets: Targets
) -> tuple[float, float]:
    """Return what :meth:`Predictor.evaluate` does, from pre-activations and targets."""
    outputs = OUTPUT_FUNCTIONS[output_activation](z)
    if targets.indices is None:
        assert targets.values is not None
        # In the units of y; R^2 does not depend on them.
        units = 1.0 if targets.scaling is None else targets.scaling.scale
        return _mean_squared_error(outputs, targets.values, units), _r2(outputs, targets.values)
    # Like predict, from the pre-activations: where outputs saturate, they are still different.
    accuracy = float(np.mean(z.argmax(axis=1) == targets.indices))
    if output_activation != "softmax":
        one_hot = np.eye(z.shape[1])[targets.indices]
        return _mean_squared_error(outputs, one_hot), accuracy
    correct = z[np.arange(len(z)), targets.indices]
    return float(np.mean(_log_sum_exp(z)[:, 0] - correct)), accuracy


def _log_sum_exp(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    largest = z.max(axis=1, keepdims=True)
    result: npt.NDArray[np.float64] = largest + np.log(
        np.exp(z - largest).sum(axis=1, keepdims=True)
    )
    return result


OUTPUT_FUNCTIONS: dict[str, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]] = {
    "softmax": lambda z: np.exp(z - _log_sum_exp(z)),
    "identity": lambda z: z,
    "logistic": lambda z: 0.5 + 0.5 * np.tanh(0.5 * z),
}


def _mean_squared_error(
    outputs: npt.NDArray[Any], values: npt.NDArray[Any], units: npt.NDArray[Any] | float = 1.0
) -> float:
    return float(0.5 * np.mean(np.sum((units * (outputs - values)) ** 2, axis=1)))


def _r2(outputs: npt.NDArray[Any], values: npt.NDArray[Any]) -> float:
    values = values.astype(np.float64)
    residual = np.sum((values - outputs) ** 2, axis=0)
    total = np.sum((values - values.mean(axis=0)) ** 2, axis=0)
    # A constant output has no variance to explain: 1 if it is met, else 0, as scikit-learn has it.
    constant = total == 0
    explained = np.where(constant, residual == 0, 1 - residual / np.where(constant, 1, total))
    return float(explained.mean())
