"""Networks to and from PyTorch: ``nn.Sequential`` of ``nn.Linear`` and activations."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import checks
from omp_mlp.convert.parts import Parts, from_layers, only_activation
from omp_mlp.disk import write_whole
from omp_mlp.extras import imported
from omp_mlp.losses import OUTPUT_FUNCTIONS
from omp_mlp.scaling import PARTS, Doubles, Layers, Scaling

LEAKY_SLOPE = 0.01


def _torch() -> Any:  # noqa: ANN401 - PyTorch need not be there
    return imported("torch", "this conversion", "PyTorch", "torch")


def to_torch(parts: Parts, *, logits: bool) -> Any:  # noqa: ANN401
    """Return the ``nn.Sequential`` of :meth:`omp_mlp.Model.to_torch`."""
    torch = _torch()
    from omp_mlp.convert.torch_modules import Exponential, ScaleInputs, ScaleTargets

    nn = torch.nn
    hidden: dict[str, Callable[[], Any]] = {
        "relu": nn.ReLU,
        "leaky_relu": lambda: nn.LeakyReLU(LEAKY_SLOPE),
        "tanh": nn.Tanh,
        "logistic": nn.Sigmoid,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "selu": nn.SELU,
        "mish": nn.Mish,
        "identity": nn.Identity,
    }
    output: dict[str, Callable[[], Any]] = {
        "softmax": lambda: nn.Softmax(dim=1),
        "logistic": nn.Sigmoid,
        "exponential": Exponential,
    }
    modules: list[Any] = []
    if parts.input_scaling is not None:
        modules.append(ScaleInputs(parts.input_scaling))
    for index, (W, b) in enumerate(parts.layers):
        if index:
            modules.append(hidden[parts.activation]())
        linear = nn.Linear(*W.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(W.T))  # (fan_out, fan_in)
            linear.bias.copy_(torch.tensor(b))
        modules.append(linear)
    if parts.output_activation in output and not logits:
        modules.append(output[parts.output_activation]())
    if parts.target_scaling is not None:
        modules.append(ScaleTargets(parts.target_scaling))
    return nn.Sequential(*modules)


def save_state(module: Any, path: str | os.PathLike[str]) -> None:  # noqa: ANN401
    """Write the ``state_dict`` of a module; the file appears whole or not at all."""
    state = io.BytesIO()
    _torch().save(module.state_dict(), state)
    write_whole(path, state.getvalue())


def from_torch(
    module: object,
    *,
    output_activation: str,
    classes: npt.NDArray[Any] | None,
    multilabel: bool,
) -> Parts:
    """Return the parts of a module; see :meth:`omp_mlp.Model.from_torch`."""
    torch = _torch()
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module; got {type(module).__name__}")
    reader = _Reader(torch.nn)
    for part in _flat(module, torch.nn):
        reader.read(part)
    if not reader.layers:
        raise ValueError("module must have at least one torch.nn.Linear; got none")
    *between, last = reader.activations
    found = last or "identity"
    output_activation = checks.choice(
        "output_activation", output_activation, ("auto", *OUTPUT_FUNCTIONS)
    )
    if output_activation == "auto":
        output_activation = found
    elif last is not None and output_activation != found:
        raise ValueError(
            f"module ends in the output activation {found!r}; "
            f"got output_activation={output_activation!r}"
        )
    return from_layers(
        reader.layers,
        only_activation([name or "identity" for name in between], "PyTorch"),
        output_activation,
        classes=classes,
        multilabel=multilabel,
        input_scaling=reader.input_scaling,
        target_scaling=reader.target_scaling,
    )


def _flat(module: Any, nn: Any) -> list[Any]:  # noqa: ANN401
    """Return the modules of nested Sequentials in order."""
    if isinstance(module, nn.Sequential):
        return [inner for part in module for inner in _flat(part, nn)]
    return [module]


class _Reader:
    """Takes modules in order, and keeps what they say of the network."""

    def __init__(self, nn: Any) -> None:  # noqa: ANN401
        self._nn = nn
        self.layers: Layers = []
        self.activations: list[str | None] = []  # behind each layer
        self.input_scaling: Scaling | None = None
        self.target_scaling: Scaling | None = None

    def read(self, module: Any) -> None:  # noqa: ANN401
        from omp_mlp.convert.torch_modules import ScaleInputs, ScaleTargets

        nn = self._nn
        if isinstance(module, nn.Dropout) or (isinstance(module, nn.Flatten) and not self.layers):
            return  # prediction leaves nothing out, and rows of X are flat
        if isinstance(module, nn.Linear):
            W = _doubles(module.weight).T
            b = np.zeros(W.shape[1]) if module.bias is None else _doubles(module.bias)
            self.layers.append((W, b))
            self.activations.append(None)
        elif isinstance(module, ScaleInputs) and not self.layers:
            self.input_scaling = _scaling(module)
        elif isinstance(module, ScaleTargets) and self.layers:
            self.target_scaling = _scaling(module)
        elif self.layers and self.activations[-1] is None:
            self.activations[-1] = self._activation(module)
        else:
            raise self._unknown(module)

    def _activation(self, module: Any) -> str:  # noqa: ANN401
        from omp_mlp.convert.torch_modules import Exponential

        nn = self._nn
        names = {
            nn.ReLU: "relu",
            nn.Tanh: "tanh",
            nn.Sigmoid: "logistic",
            nn.SiLU: "silu",
            nn.SELU: "selu",
            nn.Mish: "mish",
            nn.Identity: "identity",
            Exponential: "exponential",
        }
        if type(module) in names:
            return names[type(module)]
        if isinstance(module, nn.GELU) and module.approximate == "none":
            return "gelu"
        if isinstance(module, nn.LeakyReLU) and module.negative_slope == LEAKY_SLOPE:
            return "leaky_relu"
        if isinstance(module, nn.Softmax) and module.dim in (1, -1):
            return "softmax"
        raise self._unknown(module)

    def _unknown(self, module: Any) -> ValueError:  # noqa: ANN401
        return ValueError(
            "module must be a Sequential of Linear, each followed by at most one of ReLU, "
            f"LeakyReLU({LEAKY_SLOPE}), Tanh, Sigmoid, GELU, SiLU, SELU, Mish and Identity, and at "
            "the end Softmax(dim=1) or Sigmoid; Flatten may come first, and Dropout anywhere. "
            f"Got {module!r} behind {len(self.layers)} Linear"
        )


def _doubles(tensor: Any) -> Doubles:  # noqa: ANN401
    return checks.numeric(tensor, "a parameter of module").astype(np.float64)


def _scaling(module: Any) -> Scaling:  # noqa: ANN401
    buffers = {part: getattr(module, part, None) for part in PARTS}
    return Scaling(**{part: _doubles(one) for part, one in buffers.items() if one is not None})
