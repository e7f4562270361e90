"""A trained network: prediction, parameters, files."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import _core, checks, files
from omp_mlp.activations import ACTIVATIONS
from omp_mlp.checks import FloatArray
from omp_mlp.convert import Conversions
from omp_mlp.convert.parts import Parts
from omp_mlp.encoding import Columns
from omp_mlp.history import History
from omp_mlp.inputs import Inputs
from omp_mlp.losses import OUTPUT_FUNCTIONS
from omp_mlp.packed import layer_ends, layer_sizes_of, pack, views
from omp_mlp.predictor import Predictor, written
from omp_mlp.scaling import Scaling, check_scaling, same_scaling
from omp_mlp.targets import read_class_labels, same_labels
from omp_mlp.workers import effective_workers

OUTPUT_ACTIVATIONS = tuple(OUTPUT_FUNCTIONS)

# Below this many multiply-adds a second thread would wait longer than it works.
_WORK_PER_WORKER = 20_000_000


class Model(Predictor, Conversions):
    """A multilayer perceptron: layer sizes, parameters, and what its outputs mean.

    :func:`omp_mlp.train_parallel` returns a model. You may also build one from your own arrays, to
    predict with it, to merge it with others, or to start a training from it. A model does not
    change: its attributes cannot be set, and its arrays are read-only.

    Parameters
    ----------
    weights : sequence of array-like, each of shape (fan_in, fan_out)
        One matrix for each layer, converted to float32.
    biases : sequence of array-like, each of shape (fan_out,)
        One vector for each layer, converted to float32.
    activation : str, default "relu"
        The activation of every hidden layer: "relu", "leaky_relu" (0.01 z for negative z), "tanh",
        "logistic", "gelu" (the exact one, z Phi(z) with Phi the normal distribution), "silu"
        (z times the logistic of z), "selu", "mish" (z tanh(ln(1 + exp(z)))) or "identity".
    output_activation : {"auto", "softmax", "identity", "logistic", "exponential"}, default "auto"
        The activation of the last layer. "auto" is "softmax" with ``classes``, "logistic" with
        ``multilabel``, else "identity". "exponential" is exp(z), for rates.
    classes : array-like of shape (n_outputs,), optional
        The label that each output stands for, sorted; None for a regression or a multilabel
        classifier.
    multilabel : bool, default False
        Whether each output is the probability of a label of its own. Goes with logistic outputs and
        without ``classes``.

    Attributes
    ----------
    weights, biases : tuple of ndarray of float32, read-only
        They apply to X and make y as they are given; but see ``input_scaling`` and
        ``target_scaling``.
    activation, output_activation : str
    multilabel : bool
    classes : ndarray of shape (n_outputs,), read-only, or None
    layer_sizes : tuple of int
        Features, hidden units of each layer, outputs.
    input_scaling : Scaling or None
        None: the weights apply to X as it is given. Else they apply to
        ``(X - input_scaling.offset) / input_scaling.scale``, which all methods compute in double
        precision. A training with ``scale_inputs="auto"`` keeps it where float32 weights that take
        it up would lose digits: if ``|offset| / scale`` of a column is over 64, as for a time
        stamp, or a scale is not between 2^-60 and 2^60. It also keeps it where X had outliers:
        values beyond ``input_scaling.lower`` and ``input_scaling.upper`` are then brought to these
        limits first, in all methods. Columns with a finite ``input_scaling.bend``, b, are then
        compressed: their scaled values z become ``b arsinh(z / b)``.
    target_scaling : Scaling or None
        The same for the outputs o of a regression, whose values are
        ``target_scaling.offset + target_scaling.scale * o``.
    history : History
        One entry for each round of the training; no entries for a model built by hand.
    columns : Columns or None
        Of a training on a table: names of the columns (``names``; ``keys``, where pandas has others
        than text, such as 0, 1, 2), and how each is read as numbers (``encodings``), if some are
        not; else the medians (``medians``) of which one stands for a number that a table lacks.
        Methods then find the columns of a table by name, in any order, and overlook others. None: a
        training on an array, or a model built by hand.
    replicas : tuple of Model
        The networks that the last merge merged, if ``keep_replicas`` was set; else empty.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit each other, a parameter is not a finite number, or a name is unknown.
    """

    activation: str
    weights: tuple[FloatArray, ...]
    biases: tuple[FloatArray, ...]
    history: History
    replicas: tuple[Model, ...]
    _packed: FloatArray

    def __init__(
        self,
        weights: Sequence[npt.ArrayLike],
        biases: Sequence[npt.ArrayLike],
        *,
        activation: str = "relu",
        output_activation: str = "auto",
        classes: npt.ArrayLike | None = None,
        multilabel: bool = False,
    ) -> None:
        weights = checks.sequence("weights", weights, "arrays")
        biases = checks.sequence("biases", biases, "arrays")
        if len(weights) != len(biases):
            raise ValueError(
                "weights and biases must have one entry for each layer; "
                f"got {len(weights)} weights and {len(biases)} biases"
            )
        layers = [
            (checks.parameters(W, f"weights[{k}]"), checks.parameters(b, f"biases[{k}]"))
            for k, (W, b) in enumerate(zip(weights, biases, strict=True))
        ]
        layer_sizes = layer_sizes_of(layers)
        packed = pack(layers)
        if not np.isfinite(packed).all():
            raise ValueError("weights and biases must be finite in float32")
        kind = kind_of(layer_sizes[-1], activation, output_activation, classes, multilabel)
        # Without scalings.
        self._fill(layer_sizes, packed, **kind)

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
        input_scaling: Scaling | None = None,
        target_scaling: Scaling | None = None,
        multilabel: bool = False,
        columns: Columns | None = None,
    ) -> Model:
        """Build a model from parameters in the core's packed form, which it takes over."""
        model = cls.__new__(cls)
        model._fill(
            layer_sizes,
            packed,
            activation,
            output_activation,
            classes,
            history,
            replicas,
            input_scaling,
            target_scaling,
            multilabel,
            columns,
        )
        return model

    @classmethod
    def _of_parts(cls, parts: Parts) -> Model:
        """Build a model from what another library's network holds, with all checks."""
        plain = cls(
            parts.weights,
            parts.biases,
            activation=parts.activation,
            output_activation=parts.output_activation,
            classes=parts.classes,
            multilabel=parts.multilabel,
        )
        _check_scalings(plain.layer_sizes, vars(parts))
        kind_of(
            plain.layer_sizes[-1],
            plain.activation,
            plain.output_activation,
            plain.classes,
            plain.multilabel,
            parts.target_scaling,
        )
        return cls._of(
            plain.layer_sizes,
            plain._packed,
            plain.activation,
            plain.output_activation,
            plain.classes,
            input_scaling=parts.input_scaling,
            target_scaling=parts.target_scaling,
            multilabel=plain.multilabel,
            columns=parts.columns,
        )

    def _parts(self) -> Parts:
        return Parts(
            self.weights,
            self.biases,
            self.activation,
            self.output_activation,
            self.classes,
            self.multilabel,
            self.input_scaling,
            self.target_scaling,
            self.columns,
        )

    def _like(self, packed: FloatArray) -> Model:
        """Build a model that differs in its parameters only."""
        return Model._of(
            self.layer_sizes,
            packed,
            self.activation,
            self.output_activation,
            self.classes,
            input_scaling=self.input_scaling,
            target_scaling=self.target_scaling,
            multilabel=self.multilabel,
            columns=self.columns,
        )

    def _with(self, history: History, replicas: tuple[Model, ...] = ()) -> Model:
        """Return a model that differs in its history and replicas only, and shares all else."""
        model = object.__new__(type(self))
        model.__dict__.update(self.__dict__, history=history, replicas=replicas)
        return model

    def _fill(
        self,
        layer_sizes: tuple[int, ...],
        packed: FloatArray,
        activation: str,
        output_activation: str,
        classes: npt.NDArray[Any] | None,
        history: History | None = None,
        replicas: tuple[Model, ...] = (),
        input_scaling: Scaling | None = None,
        target_scaling: Scaling | None = None,
        multilabel: bool = False,
        columns: Columns | None = None,
    ) -> None:
        packed.setflags(write=False)
        if classes is not None:
            classes.setflags(write=False)
        weights, biases = views(layer_sizes, packed)
        self.__dict__.update(
            layer_sizes=layer_sizes,
            activation=activation,
            output_activation=output_activation,
            classes=classes,
            multilabel=multilabel,
            input_scaling=input_scaling,
            target_scaling=target_scaling,
            columns=columns,
            history=History.empty() if history is None else history,
            replicas=replicas,
            weights=tuple(weights),
            biases=tuple(biases),
            _packed=packed,
        )

    @functools.cached_property
    def _network(self) -> _core.Network:
        """The core's network, which has a copy of the parameters: made when it is first asked."""
        return _core.Network(
            layer_sizes=list(self.layer_sizes),
            activation=self.activation,
            output=self.output_activation,
            parameters=self._packed,
        )

    def __repr__(self) -> str:
        sizes = "-".join(str(size) for size in self.layer_sizes)
        beside = ", multilabel" if self.multilabel else ""
        beside += ", scaled inputs" if self.input_scaling is not None else ""
        beside += ", scaled targets" if self.target_scaling is not None else ""
        return f"Model({sizes}, {self.activation}, {self.output_activation}{beside})"

    def _run(self, inputs: Inputs, *, raw: bool, out: FloatArray | None = None) -> FloatArray:
        useful = 1 + inputs.n_samples * self._packed.size // _WORK_PER_WORKER
        workers = effective_workers(None, useful)
        # The core writes to plain memory, and reads rows of X after it wrote outputs of others.
        is_direct = out is not None and out.flags.carray and not inputs.shares_memory(out)
        outputs = self._network.predict(
            samples=inputs.core, raw=raw, workers=workers, out=out if is_direct else None
        )
        return outputs if is_direct else written(outputs, out)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "layer_sizes": self.layer_sizes,
            "packed": self._packed,
            "activation": self.activation,
            "output_activation": self.output_activation,
            "classes": self.classes,
            "history": self.history,
            "replicas": self.replicas,
            "input_scaling": self.input_scaling,
            "target_scaling": self.target_scaling,
            "multilabel": self.multilabel,
            "columns": self.columns,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up a state of ``__getstate__``; raise ValueError if it is of no network."""
        try:
            self._fill(**_checked_state(state))
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"a damaged state of a Model: {error}") from error

    def save(self, path: files.Place) -> None:
        """Write the network and its history to a safetensors file.

        The file appears whole or not at all, whatever ends the program, and is on the disk when
        this returns. Kept ``replicas`` are not written.

        Parameters
        ----------
        path : str, bytes, path-like or binary file
            A file that exists under the path is replaced; it keeps its mode. A symbolic link stays,
            and what it points to is replaced. A file that is open is written from where it stands,
            without the promise above.

        Raises
        ------
        OSError
            If the file cannot be written. An old file is as it was then.
        """
        store(path, FORMAT, [self], self.history)


def kind_of(
    n_outputs: int,
    activation: object,
    output_activation: object,
    classes: npt.ArrayLike | None,
    multilabel: object,
    target_scaling: Scaling | None = None,
) -> dict[str, Any]:
    """Check what a network is besides its parameters, and resolve "auto"."""
    labels = None if classes is None else read_class_labels(classes, n_outputs)
    output = checks.choice("output_activation", output_activation, ("auto", *OUTPUT_ACTIVATIONS))
    is_multilabel = bool(checks.choice("multilabel", multilabel, (False, True)))
    if output == "auto":
        output = "logistic" if is_multilabel else "identity" if labels is None else "softmax"
    if is_multilabel and (output != "logistic" or labels is not None):
        raise ValueError(
            "multilabel=True goes with output_activation='logistic' and classes=None; got "
            f"{output_activation!r} and classes={None if labels is None else labels.tolist()}"
        )
    if output == "exponential" and labels is not None:
        raise ValueError(
            "output_activation='exponential' goes with a regression, classes=None; got "
            f"classes={labels.tolist()}"
        )
    if target_scaling is not None and (output != "identity" or labels is not None):
        raise ValueError(
            "target_scaling goes with output_activation='identity' and classes=None; got "
            f"{output!r} and classes={None if labels is None else labels.tolist()}"
        )
    return {
        "activation": checks.choice("activation", activation, ACTIVATIONS),
        "output_activation": output,
        "classes": labels,
        "multilabel": is_multilabel,
    }


def _checked_state(state: dict[str, Any]) -> dict[str, Any]:
    """Check the state of a pickled network. Replicas that diverged may be infinite."""
    sizes, packed = tuple(state["layer_sizes"]), state["packed"]
    sizes = tuple(checks.integer(f"layer_sizes[{k}]", size, 1) for k, size in enumerate(sizes))
    if len(sizes) < 2 or not isinstance(packed, np.ndarray) or packed.dtype != np.float32:
        raise ValueError(f"layers {sizes} with parameters of type {type(packed).__name__}")
    if packed.shape != (layer_ends(sizes)[-1],):
        raise ValueError(f"layers {sizes} with parameters of shape {packed.shape}")
    _check_scalings(sizes, state)
    columns = state.get("columns")  # which older versions had not
    if columns is not None:
        columns.check(sizes[0])
    if not all(isinstance(replica, Model) for replica in state["replicas"]):
        raise ValueError("replicas that are no Models")
    state["history"]._check()
    kind = ("activation", "output_activation", "classes", "multilabel", "target_scaling")
    checked = kind_of(sizes[-1], *(state[name] for name in kind))
    return {**state, **checked, "layer_sizes": sizes, "packed": np.ascontiguousarray(packed)}


def _check_scalings(sizes: tuple[int, ...], given: Mapping[str, Any]) -> None:
    """Check what stands beside the weights of a network that comes from elsewhere."""
    for name, size in (("input_scaling", sizes[0]), ("target_scaling", sizes[-1])):
        if given[name] is not None:
            check_scaling(name, given[name], size, may_limit=name == "input_scaling")


def check_alike(name: str, model: object, first: Model) -> None:
    """Check that a model differs from the first one in its parameters only."""
    if not isinstance(model, Model):
        raise TypeError(f"{name} must be a Model; got {type(model).__name__}")
    for attribute in ("layer_sizes", "activation", "output_activation", "multilabel"):
        got, expected = getattr(model, attribute), getattr(first, attribute)
        if got != expected:
            raise ValueError(
                f"{name} must have the {attribute} of models[0], {expected!r}; got {got!r}"
            )
    if not same_labels(model.classes, first.classes):
        raise ValueError(
            f"{name} must have the classes of models[0], {first.classes}; got {model.classes}"
        )
    if model.columns != first.columns:
        raise ValueError(
            f"{name} must have the columns of models[0], {checks.shown(first.columns)}; got "
            f"{checks.shown(model.columns)}"
        )
    for attribute in ("input_scaling", "target_scaling"):
        if not same_scaling(getattr(model, attribute), getattr(first, attribute)):
            raise ValueError(
                f"{name} must have the {attribute} of models[0], beside whose weights it stands; "
                "got another. Weights in different units do not merge"
            )


FORMAT = "omp_mlp"  # of the file of one network


def store(path: files.Place, file_format: str, models: Sequence[Model], history: History) -> None:
    """Write networks of one kind, and a history, to a file."""
    first = models[0]
    stored = files.Stored(
        file_format,
        first.layer_sizes,
        first.activation,
        first.output_activation,
        first.classes,
        [model._packed for model in models],
        history,
        first.input_scaling,
        first.target_scaling,
        first.multilabel,
        first.columns,
    )
    files.write(path, stored)
