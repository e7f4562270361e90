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

from omp_mlp import _core, checks
from omp_mlp.checks import FloatArray
from omp_mlp.history import History
from omp_mlp.inputs import Inputs
from omp_mlp.predictor import OUTPUT_FUNCTIONS, Predictor
from omp_mlp.targets import read_class_labels, same_labels
from omp_mlp.workers import effective_workers

ACTIVATIONS = ("relu", "tanh", "logistic", "identity")
OUTPUT_ACTIVATIONS = tuple(OUTPUT_FUNCTIONS)

# Below this many multiply-adds a second thread would wait longer than it works.
_WORK_PER_WORKER = 20_000_000
_FORMAT_VERSION = "1"


class Model(Predictor):
    """A multilayer perceptron: layer sizes, parameters, and what its outputs mean.

    :func:`omp_mlp.train_parallel` returns a model. You may also build one from your own arrays, to
    predict with it, to merge it with others, or to start a training from it. A model does not
    change: its arrays are read-only.

    Parameters
    ----------
    weights : sequence of array-like, each of shape (fan_in, fan_out)
        One matrix for each layer, converted to float32.
    biases : sequence of array-like, each of shape (fan_out,)
        One vector for each layer, converted to float32.
    activation : {"relu", "tanh", "logistic", "identity"}, default "relu"
        The activation of every hidden layer.
    output_activation : {"auto", "softmax", "identity", "logistic"}, default "auto"
        The activation of the last layer. "auto" is "softmax" with ``classes``, else "identity".
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
        One entry for each round of the training; no entries for a model built by hand.
    replicas : tuple of Model
        The networks that the last merge merged, if ``keep_replicas`` was set; else empty.

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
            (checks.parameters(W, f"weights[{k}]"), checks.parameters(b, f"biases[{k}]"))
            for k, (W, b) in enumerate(zip(weights, biases, strict=True))
        ]
        layer_sizes = _layer_sizes(layers)
        packed = np.concatenate([part.ravel() for layer in layers for part in layer])
        if not np.isfinite(packed).all():
            raise ValueError("weights and biases must be finite in float32")
        labels = None if classes is None else read_class_labels(classes, layer_sizes[-1])
        output = checks.choice(
            "output_activation", output_activation, ("auto", *OUTPUT_ACTIVATIONS)
        )
        if output == "auto":
            output = "identity" if labels is None else "softmax"
        activation = checks.choice("activation", activation, ACTIVATIONS)
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

    def _with(self, history: History, replicas: tuple[Model, ...] = ()) -> Model:
        """Build a model that differs in its history and replicas only."""
        return Model._of(
            self.layer_sizes,
            self._packed,
            self.activation,
            self.output_activation,
            self.classes,
            history,
            replicas,
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

    def _run(self, inputs: Inputs, *, raw: bool) -> FloatArray:
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
        write_networks(path, "omp_mlp", [self], self.history)


def check_alike(name: str, model: object, first: Model) -> None:
    """Check that a model differs from the first one in its parameters only."""
    if not isinstance(model, Model):
        raise TypeError(f"{name} must be a Model; got {type(model).__name__}")
    for attribute in ("layer_sizes", "activation", "output_activation"):
        got, expected = getattr(model, attribute), getattr(first, attribute)
        if got != expected:
            raise ValueError(
                f"{name} must have the {attribute} of models[0], {expected!r}; got {got!r}"
            )
    if not same_labels(model.classes, first.classes):
        raise ValueError(
            f"{name} must have the classes of models[0], {first.classes}; got {model.classes}"
        )


# What a file of each format becomes: omp_mlp.ensemble enters its own.
READERS: dict[str, Callable[[Sequence[Model], History], Any]] = {
    "omp_mlp": lambda models, history: models[0]._with(history),
}


def write_networks(
    path: str | os.PathLike[str], file_format: str, models: Sequence[Model], history: History
) -> None:
    """Write networks of one kind, and a history, to a safetensors file with a digest."""
    tensors = {}
    for index, model in enumerate(models):
        prefix = _prefix(index, len(models))
        for layer, (W, b) in enumerate(zip(model.weights, model.biases, strict=True)):
            tensors[f"{prefix}weights.{layer}"] = W
            tensors[f"{prefix}biases.{layer}"] = b
    first = models[0]
    metadata = {
        "format": file_format,
        "format_version": _FORMAT_VERSION,
        "activation": first.activation,
        "output_activation": first.output_activation,
        "classes": _classes_to_json(first.classes),
        "classes_dtype": "" if first.classes is None else first.classes.dtype.str,
        "history": json.dumps(
            {**history.as_dict(), "strategy": history.strategy, "threads": history.threads}
        ),
    }
    if len(models) > 1:
        metadata["models"] = str(len(models))
    packed = np.concatenate([model._packed for model in models])
    metadata["sha256"] = _digest(metadata, first.layer_sizes, packed)
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


def _prefix(index: int, count: int) -> str:
    return "" if count == 1 else f"models.{index}."


def load(path: str | os.PathLike[str]) -> Model | Any:  # noqa: ANN401 - nearly always a Model
    """Read what :meth:`Model.save` or :meth:`omp_mlp.Ensemble.save` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Model or Ensemble

    Raises
    ------
    ValueError
        If the file is damaged, was not written by this package, or is of another version of the
        format.
    OSError
        If there is no such file, or it cannot be read.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file: {error}") from error
    if metadata.get("format") not in READERS:
        raise ValueError(f"{path}: not a network saved by omp_mlp (metadata: {sorted(metadata)})")
    if metadata.get("format_version") != _FORMAT_VERSION:
        raise ValueError(
            f"{path}: format version {metadata.get('format_version')!r}; this omp_mlp reads "
            f"version {_FORMAT_VERSION!r}"
        )
    try:
        digest = metadata.pop("sha256")
        count = int(metadata.get("models", "1"))
        depth = len(tensors) // (2 * count)
        networks = [
            [
                (tensors[f"{prefix}weights.{k}"], tensors[f"{prefix}biases.{k}"])
                for k in range(depth)
            ]
            for prefix in (_prefix(index, count) for index in range(count))
        ]
        (layer_sizes,) = {_layer_sizes(layers) for layers in networks}
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{path}: damaged or incomplete: {error}") from error
    packed = [
        np.concatenate([part.ravel() for layer in layers for part in layer]) for layers in networks
    ]
    if digest != _digest(metadata, layer_sizes, np.concatenate(packed)):
        raise ValueError(f"{path}: damaged: the content does not have the digest that was saved")
    classes = _classes_from_json(metadata["classes"], metadata["classes_dtype"])
    models = [
        Model._of(layer_sizes, one, metadata["activation"], metadata["output_activation"], classes)
        for one in packed
    ]
    history = History.from_dict(json.loads(metadata["history"]))
    return READERS[metadata["format"]](models, history)


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
