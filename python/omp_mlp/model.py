"""A trained network: prediction, parameters, files."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from omp_mlp import _core, _validate
from omp_mlp._validate import FloatArray, Matrix
from omp_mlp._workers import effective_workers
from omp_mlp.history import History

ACTIVATIONS = ("relu", "tanh", "logistic", "identity")
OUTPUT_ACTIVATIONS = ("softmax", "identity", "logistic")

# Below this many multiply-adds a second thread would wait longer than it works.
_WORK_PER_WORKER = 20_000_000
_FORMAT_VERSION = "1"


class Model:
    """A multilayer perceptron: layer sizes, parameters, and what its outputs mean.

    :func:`omp_mlp.train_parallel` returns one; build one by hand from arrays of your own to predict
    with it, to merge it with others, or to start a training from it. A model does not change:
    its arrays are read-only.

    Parameters
    ----------
    weights : sequence of array-like, each of shape (fan_in, fan_out)
        One matrix for each layer, converted to float32.
    biases : sequence of array-like, each of shape (fan_out,)
        One vector for each layer, converted to float32.
    activation : {"relu", "tanh", "logistic", "identity"}, default "relu"
        Of every hidden layer.
    output_activation : {"auto", "softmax", "identity", "logistic"}, default "auto"
        Of the last layer. "auto" is "softmax" with ``classes`` and "identity" without.
    classes : array-like of shape (n_outputs,), optional
        The label that each output stands for, sorted; None for a regression.

    Attributes
    ----------
    weights, biases : list of ndarray of float32, read-only
    activation, output_activation : str
    classes : ndarray of shape (n_outputs,), read-only, or None
    layer_sizes : tuple of int
        Features, hidden units of each layer, outputs.
    history : History
        One entry for each round of the training; without entries for a model built by hand.
    replicas : tuple of Model
        What went into the last merge, if the training was asked to ``keep_replicas``; else empty.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit each other, a parameter is not a finite number, or a name is unknown.
    """

    def __init__(
        self,
        weights: Sequence[npt.ArrayLike],
        biases: Sequence[npt.ArrayLike],
        *,
        activation: str = "relu",
        output_activation: str = "auto",
        classes: npt.ArrayLike | None = None,
    ) -> None:
        if len(weights) != len(biases):
            raise ValueError(
                "weights and biases must have one entry for each layer; "
                f"got {len(weights)} weights and {len(biases)} biases"
            )
        layers = [
            (_validate.parameters(W, f"weights[{k}]"), _validate.parameters(b, f"biases[{k}]"))
            for k, (W, b) in enumerate(zip(weights, biases, strict=True))
        ]
        layer_sizes = _layer_sizes(layers)
        packed = np.concatenate([part.ravel() for layer in layers for part in layer])
        if not np.isfinite(packed).all():
            raise ValueError("weights and biases must be finite in float32")
        labels = None if classes is None else _validate.class_labels(classes, layer_sizes[-1])
        output = _validate.choice(
            "output_activation", output_activation, ("auto", *OUTPUT_ACTIVATIONS)
        )
        if output == "auto":
            output = "identity" if labels is None else "softmax"
        activation = _validate.choice("activation", activation, ACTIVATIONS)
        self._fill(layer_sizes, packed, activation, output, labels)

    @classmethod
    def _of(
        cls,
        layer_sizes: tuple[int, ...],
        packed: FloatArray,
        activation: str,
        output_activation: str,
        classes: npt.NDArray[Any] | None,
        history: History | None = None,
        replicas: tuple[Model, ...] = (),
    ) -> Model:
        """Build a model from parameters in the core's packed form, which it takes over."""
        model = cls.__new__(cls)
        model._fill(layer_sizes, packed, activation, output_activation, classes, history, replicas)
        return model

    def _like(self, packed: FloatArray) -> Model:
        """Build a model that differs in its parameters only."""
        return Model._of(
            self.layer_sizes, packed, self.activation, self.output_activation, self.classes
        )

    def _fill(
        self,
        layer_sizes: tuple[int, ...],
        packed: FloatArray,
        activation: str,
        output_activation: str,
        classes: npt.NDArray[Any] | None,
        history: History | None = None,
        replicas: tuple[Model, ...] = (),
    ) -> None:
        packed.setflags(write=False)
        if classes is not None:
            classes.setflags(write=False)
        self.layer_sizes = layer_sizes
        self.activation = activation
        self.output_activation = output_activation
        self.classes = classes
        self.history = History.empty() if history is None else history
        self.replicas = replicas
        self._packed = packed
        self.weights, self.biases = _views(layer_sizes, packed)
        self._network = _core.Network(
            layer_sizes=list(layer_sizes),
            activation=activation,
            output=output_activation,
            parameters=packed,
        )

    def __repr__(self) -> str:
        sizes = "-".join(str(size) for size in self.layer_sizes)
        return f"Model({sizes}, {self.activation}, {self.output_activation})"

    def decision_function(self, X: Matrix) -> FloatArray:
        """Return the pre-activations of the last layer (logits, where softmax follows).

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float32, shape (n_samples, n_outputs)

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
            (n_samples, n_outputs) if there are several outputs.

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
            Softmax outputs as they are; logistic outputs divided by their sum.

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
        outputs = self._outputs(X, raw=False)
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
            Labels that the training had, or values.

        Raises
        ------
        ValueError, TypeError
            If X or y do not fit the network, or y has labels that the training did not have.
        """
        return self.evaluate(X, y)[1]

    def evaluate(self, X: Matrix, y: object) -> tuple[float, float]:
        """Return the mean loss and the score of :meth:`score`.

        The loss is cross-entropy for softmax outputs, else half the squared error summed over the
        outputs (for a classifier, against 1 for the right class and 0 for the others).
        """
        inputs = _validate.inputs(X, n_features=self.layer_sizes[0])
        targets = _validate.targets(y, inputs.n_samples, like=(self.classes, self.layer_sizes[-1]))
        return self._evaluate(inputs, targets)

    def _evaluate(
        self, inputs: _validate.Inputs, targets: _validate.Targets
    ) -> tuple[float, float]:
        # Like predict, from the pre-activations: where outputs saturate, they are still different.
        z = self._run(inputs, raw=True).astype(np.float64)
        outputs = _OUTPUT_FUNCTIONS[self.output_activation](z)
        if targets.indices is None:
            assert targets.values is not None
            return _mean_squared_error(outputs, targets.values), _r2(outputs, targets.values)
        accuracy = float(np.mean(z.argmax(axis=1) == targets.indices))
        if self.output_activation != "softmax":
            one_hot = np.eye(self.layer_sizes[-1])[targets.indices]
            return _mean_squared_error(outputs, one_hot), accuracy
        correct = z[np.arange(len(z)), targets.indices]
        return float(np.mean(_log_sum_exp(z)[:, 0] - correct)), accuracy

    def _outputs(self, X: Matrix, *, raw: bool) -> FloatArray:
        return self._run(_validate.inputs(X, n_features=self.layer_sizes[0]), raw=raw)

    def _run(self, inputs: _validate.Inputs, *, raw: bool) -> FloatArray:
        useful = 1 + inputs.n_samples * self._packed.size // _WORK_PER_WORKER
        workers = effective_workers(None, useful)
        return self._network.predict(samples=inputs.core, raw=raw, workers=workers)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "layer_sizes": self.layer_sizes,
            "packed": self._packed,
            "activation": self.activation,
            "output_activation": self.output_activation,
            "classes": self.classes,
            "history": self.history,
            "replicas": self.replicas,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._fill(**state)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network and its history to a safetensors file.

        The file appears whole or not at all. Kept ``replicas`` are not written.

        Parameters
        ----------
        path : str or path-like
            Replaced if it exists.
        """
        tensors = {}
        for layer, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            tensors[f"weights.{layer}"] = W
            tensors[f"biases.{layer}"] = b
        metadata = {
            "format": "omp_mlp",
            "format_version": _FORMAT_VERSION,
            "activation": self.activation,
            "output_activation": self.output_activation,
            "classes": _classes_to_json(self.classes),
            "classes_dtype": "" if self.classes is None else self.classes.dtype.str,
            "history": json.dumps(
                {
                    **self.history.as_dict(),
                    "strategy": self.history.strategy,
                    "threads": self.history.threads,
                }
            ),
        }
        metadata["sha256"] = _digest(metadata, self.layer_sizes, self._packed)
        data = safetensors.numpy.save(tensors, metadata=metadata)
        path = Path(path)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)  # mkstemp's files are for their owner alone
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def load(path: str | os.PathLike[str]) -> Model:
    """Read a network that :meth:`Model.save` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If the file is damaged, was not written by :meth:`Model.save`, or is of another version of
        the format.
    OSError
        If there is no such file, or it cannot be read.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file: {error}") from error
    if metadata.get("format") != "omp_mlp":
        raise ValueError(f"{path}: not a network saved by omp_mlp (metadata: {sorted(metadata)})")
    if metadata.get("format_version") != _FORMAT_VERSION:
        raise ValueError(
            f"{path}: format version {metadata.get('format_version')!r}; this omp_mlp reads "
            f"version {_FORMAT_VERSION!r}"
        )
    count = len(tensors) // 2
    try:
        digest = metadata.pop("sha256")
        layers = [(tensors[f"weights.{k}"], tensors[f"biases.{k}"]) for k in range(count)]
        layer_sizes = _layer_sizes(layers)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: damaged or incomplete: {error}") from error
    packed = np.concatenate([part.ravel() for layer in layers for part in layer])
    if digest != _digest(metadata, layer_sizes, packed):
        raise ValueError(f"{path}: damaged: the content does not have the digest that was saved")
    return Model._of(
        layer_sizes,
        packed,
        metadata["activation"],
        metadata["output_activation"],
        _classes_from_json(metadata["classes"], metadata["classes_dtype"]),
        History.from_dict(json.loads(metadata["history"])),
    )


def _classes_to_json(classes: npt.NDArray[Any] | None) -> str:
    if classes is not None and classes.dtype.kind == "S":
        classes = np.char.decode(classes, "latin-1")  # JSON has no bytes; this maps each to itself
    return json.dumps(None if classes is None else classes.tolist())


def _classes_from_json(text: str, dtype: str) -> npt.NDArray[Any] | None:
    labels = json.loads(text)
    if labels is None:
        return None
    if np.dtype(dtype).kind == "S":
        labels = [label.encode("latin-1") for label in labels]
    return np.array(labels, dtype=dtype)


def _digest(metadata: dict[str, str], layer_sizes: tuple[int, ...], packed: FloatArray) -> str:
    """Hash what a file holds: safetensors itself does not notice that a bit of it has changed."""
    described = json.dumps([sorted(metadata.items()), layer_sizes])
    return hashlib.sha256(described.encode() + packed.astype("<f4").tobytes()).hexdigest()


def _layer_sizes(layers: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[int, ...]:
    """Check that the shapes fit each other, and return features, hidden units, outputs."""
    if not layers:
        raise ValueError("a network needs at least one layer; got no weights")
    sizes: list[int] = []
    for k, (W, b) in enumerate(layers):
        if W.ndim != 2 or 0 in W.shape or (sizes and W.shape[0] != sizes[-1]):
            fan_in = sizes[-1] if sizes else "n_features"
            raise ValueError(f"weights[{k}] must have shape ({fan_in}, fan_out); got {W.shape}")
        if b.shape != W.shape[1:]:
            raise ValueError(f"biases[{k}] must have shape {W.shape[1:]}; got {b.shape}")
        sizes += [W.shape[1]] if sizes else [*W.shape]
    return tuple(sizes)


def layer_ends(layer_sizes: tuple[int, ...]) -> list[int]:
    """Return where each layer ends in the packed form: its weights row by row, then its biases."""
    sizes = [(fan_in + 1) * fan_out for fan_in, fan_out in pairwise(layer_sizes)]
    return [int(end) for end in np.cumsum(sizes)]


def _views(
    layer_sizes: tuple[int, ...], packed: FloatArray
) -> tuple[list[FloatArray], list[FloatArray]]:
    weights, biases = [], []
    begin = 0
    for end, fan_out in zip(layer_ends(layer_sizes), layer_sizes[1:], strict=True):
        layer = packed[begin:end].reshape(-1, fan_out)
        weights.append(layer[:-1])
        biases.append(layer[-1])
        begin = end
    return weights, biases


def _log_sum_exp(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    largest = z.max(axis=1, keepdims=True)
    result: npt.NDArray[np.float64] = largest + np.log(
        np.exp(z - largest).sum(axis=1, keepdims=True)
    )
    return result


_OUTPUT_FUNCTIONS: dict[str, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]] = {
    "softmax": lambda z: np.exp(z - _log_sum_exp(z)),
    "identity": lambda z: z,
    "logistic": lambda z: 0.5 + 0.5 * np.tanh(0.5 * z),
}


def _mean_squared_error(outputs: npt.NDArray[Any], values: npt.NDArray[Any]) -> float:
    return float(0.5 * np.mean(np.sum((outputs - values) ** 2, axis=1)))


def _r2(outputs: npt.NDArray[Any], values: npt.NDArray[Any]) -> float:
    values = values.astype(np.float64)
    residual = np.sum((values - outputs) ** 2, axis=0)
    total = np.sum((values - values.mean(axis=0)) ** 2, axis=0)
    # A constant output has no variance to explain: 1 if it is met, else 0, as scikit-learn has it.
    constant = total == 0
    explained = np.where(constant, residual == 0, 1 - residual / np.where(constant, 1, total))
    return float(explained.mean())
