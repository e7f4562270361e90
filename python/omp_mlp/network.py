"""The kind of network that a training makes, and its parameters in the units of X or the core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import _core, cadence
from omp_mlp.checks import FloatArray
from omp_mlp.encoding import Columns
from omp_mlp.ensemble import Ensemble
from omp_mlp.inputs import Inputs
from omp_mlp.losses import OF_VALUES, LossKind
from omp_mlp.model import Model
from omp_mlp.options import OUTPUTS_OF_LOSS, Options
from omp_mlp.packed import pack
from omp_mlp.scaling import Layers, Scaling, change_inputs, change_outputs, same_scaling
from omp_mlp.targets import Targets, same_labels

MOST_PARAMETERS = 2**40
"""Of a network: 4,400 GB. Products of sizes then fit 64 bits, with padding and for all samples."""


@dataclass(frozen=True)
class NetworkKind:
    """A network without its parameters.

    ``scale``: the training reads ``scale`` times X. A network of the core applies to that, and a
    Model applies to X. Their first layers differ by the scale. It is a power of two, so the
    conversion is exact.

    ``input_scaling``, ``target_scaling``: X and y of the training are the user's in these units. A
    Model has them too, until ``as_given`` brings it to the user's units.

    ``columns``: of X, if it is a table.
    """

    layer_sizes: tuple[int, ...]
    activation: str
    output: str
    labels: npt.NDArray[Any] | None
    scale: float
    input_scaling: Scaling | None
    target_scaling: Scaling | None
    is_multilabel: bool
    columns: Columns | None = None

    def model(self, packed: FloatArray) -> Model:
        """Return a Model in the training's units; it takes over parameters of the core."""
        if self.scale != 1.0:
            self._first_weights(packed)[...] *= np.float32(self.scale)
        return self._model(packed)

    def as_given(self, model: Model | Ensemble) -> Model | Ensemble:
        """Return the network on X and y as the user gave them.

        A scaling is folded into the weights, in double precision, or stands beside them.
        """
        if isinstance(model, Ensemble):
            return Ensemble([self.model_as_given(one) for one in model.models])
        return self.model_as_given(model)

    def model_as_given(self, model: Model) -> Model:
        """Return one network of ``as_given``."""
        inputs, targets = self.input_scaling, self.target_scaling
        if inputs is None and targets is None:
            return model
        layers = _layers_of(model)
        with np.errstate(over="ignore", invalid="ignore"):  # replicas that diverged may be kept
            if inputs is not None and inputs.folds:
                change_inputs(layers, inputs, None)
                inputs = None
            if targets is not None and targets.folds:
                change_outputs(layers, targets, None)
                targets = None
            packed = pack(layers).astype(np.float32)
        return self._model(packed, inputs, targets)

    def _model(
        self,
        packed: FloatArray,
        input_scaling: Scaling | None = None,
        target_scaling: Scaling | None = None,
    ) -> Model:
        return Model._of(
            self.layer_sizes,
            packed,
            self.activation,
            self.output,
            self.labels,
            input_scaling=input_scaling,
            target_scaling=target_scaling,
            multilabel=self.is_multilabel,
            columns=self.columns,
        )

    def core(self, parameters: FloatArray | None) -> _core.Network:
        """Return the core's network, with parameters of the core or without."""
        return _core.Network(
            layer_sizes=list(self.layer_sizes),
            activation=self.activation,
            output=self.output,
            parameters=parameters,
        )

    def start(self, init: str | Model) -> FloatArray | None:
        """Return the core's parameters to start from; None if they are drawn."""
        if not isinstance(init, Model):
            return None
        for name, got, expected in (
            ("layer_sizes", init.layer_sizes, self.layer_sizes),
            ("activation", init.activation, self.activation),
            ("output_activation", init.output_activation, self.output),
            ("multilabel", init.multilabel, self.is_multilabel),
        ):
            if got != expected:
                raise ValueError(
                    f"init must be a Model of {name} {expected!r}, as this training has; "
                    f"got {got!r}"
                )
        if not same_labels(init.classes, self.labels):
            raise ValueError(
                f"init must be a Model of the classes in y, {self.labels}; got {init.classes}"
            )
        packed = self._in_units_of_training(init)
        if self.scale != 1.0:
            self._first_weights(packed)[...] /= np.float32(self.scale)
        return packed

    def _in_units_of_training(self, init: Model) -> FloatArray:
        """Return parameters that make the same function, in the units of the training."""
        for name in ("input_scaling", "target_scaling"):
            if getattr(init, name) is not None and getattr(self, name) is None:
                option = name.replace("input_scaling", "scale_inputs").replace(
                    "target_scaling", "scale_targets"
                )
                raise ValueError(
                    f"init has {name} beside its weights, and this training has none; expected "
                    f"{option}='auto', with data like those that init was trained on"
                )
        layers = _layers_of(init)
        changed = False
        # Without a scaling on either side, or with the same on both, the start has the same bits.
        if not same_scaling(init.input_scaling, self.input_scaling):
            change_inputs(layers, init.input_scaling, self.input_scaling)
            changed = True
        if not same_scaling(init.target_scaling, self.target_scaling):
            change_outputs(layers, init.target_scaling, self.target_scaling)
            changed = True
        if not changed:
            return init._packed.copy()
        with np.errstate(over="ignore"):
            packed: FloatArray = pack(layers).astype(np.float32)
        if not np.isfinite(packed).all():
            raise ValueError(
                "init must be a Model for data like X and y; got one whose parameters are infinite "
                "in float32 in the units of this training's scales"
            )
        return packed

    def _first_weights(self, packed: FloatArray) -> FloatArray:
        return packed[: self.layer_sizes[0] * self.layer_sizes[1]]


def layer_sizes_for(options: Options, inputs: Inputs, targets: Targets) -> tuple[int, ...]:
    """Return the number of features, of hidden units of each layer, and of outputs."""
    return (inputs.n_features, *options.hidden_layer_sizes, targets.kind.n_outputs)


def network_kind(
    options: Options,
    inputs: Inputs,
    targets: Targets,
    loss: LossKind,
    columns: Columns | None,
) -> NetworkKind:
    """Return the kind of network for these options and data."""
    output = _output_function(options, targets, loss)
    if options.skip_confident > 0 and output != "softmax":
        raise ValueError(
            "skip_confident goes with loss='cross_entropy' on softmax outputs; "
            f"got output_activation={output!r}"
        )
    layer_sizes = layer_sizes_for(options, inputs, targets)
    _check_size(options, layer_sizes)
    return NetworkKind(
        layer_sizes,
        options.activation,
        output,
        targets.labels,
        inputs.scale,
        inputs.scaling,
        targets.scaling,
        targets.is_multilabel,
        columns,
    )


def _check_size(options: Options, layer_sizes: tuple[int, ...]) -> None:
    """Check that a network can be counted and held; what this machine holds shows later."""
    parameters = cadence.count_parameters(layer_sizes)
    if parameters > MOST_PARAMETERS:
        raise ValueError(
            f"hidden_layer_sizes must make a network of at most {MOST_PARAMETERS} parameters; got "
            f"{options.hidden_layer_sizes}, which makes {parameters} of layers {layer_sizes}, or "
            f"{4 * parameters / 1e9:.6g} GB"
        )


def _layers_of(model: Model) -> Layers:
    return [
        (W.astype(np.float64), b.astype(np.float64))
        for W, b in zip(model.weights, model.biases, strict=True)
    ]


_LOSSES_OF = {
    "labels": ("cross_entropy", "squared_error"),
    "several labels": ("binary_cross_entropy",),
    "values": ("squared_error", *OF_VALUES),
}


def loss_kind(options: Options, targets: Targets) -> LossKind:
    """Resolve "auto" in loss, and check that the loss goes with y."""
    what = "several labels" if targets.is_multilabel else "values"
    what = "labels" if targets.labels is not None else what
    name = _LOSSES_OF[what][0] if options.loss == "auto" else options.loss
    if name not in _LOSSES_OF[what]:
        raise ValueError(
            f"loss={name!r} needs y of {_needed(name)}; got y of {what} (task={options.task!r}), "
            f"which goes with loss {' or '.join(map(repr, _LOSSES_OF[what]))}"
        )
    if options.label_smoothing > 0 and name != "cross_entropy":
        raise ValueError(
            "label_smoothing goes with loss='cross_entropy' and y of labels; got y of "
            f"{what}, of which the loss is {name!r}"
        )
    return LossKind(name, options.huber_delta, options.quantile, options.label_smoothing)


def _needed(loss: str) -> str:
    if loss == "cross_entropy":
        return "labels (integers, strings or booleans, or whole floats with task='classes')"
    if loss == "binary_cross_entropy":
        return "several labels a sample (a matrix of integers or booleans 0 and 1)"
    return "values (floats, or integers with task='values')"


def _output_function(options: Options, targets: Targets, loss: LossKind) -> str:
    """Resolve "auto" in output_activation, and check that it goes with the loss."""
    output = options.output_activation
    outputs = OUTPUTS_OF_LOSS[loss.name]
    if output == "auto":
        is_one_hot = loss.name == "squared_error" and targets.labels is not None
        return "logistic" if is_one_hot else outputs[0]
    if output not in outputs:
        raise ValueError(
            f"loss={loss.name!r} goes with output_activation "
            + " or ".join(repr(name) for name in outputs)
            + f"; got {output!r}"
        )
    return output
