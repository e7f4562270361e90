"""Every merge method there is: the core's, and those in Python that see layers as matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from omp_mlp import _core, _validate
from omp_mlp._layers import average, layers_of, with_layers
from omp_mlp._matching import match, require_scipy
from omp_mlp._refit import refit_output
from omp_mlp._regmean import regmean
from omp_mlp._validate import Matrix, Targets
from omp_mlp.ensemble import Ensemble
from omp_mlp.model import Model


@dataclass(frozen=True)
class MergeMethod:
    """A way to merge replicas into one network.

    Attributes
    ----------
    name : str
        What ``merge=`` takes.
    summary, formula, reference : str
    cadence : {"once", "periodic"}
        Whether the method is best applied once, at the end, or over and over during the training.
    needs_base : bool
        Whether it needs the network that all replicas started from.
    needs_data : tuple of str
        What it needs to see besides the networks: nothing, ("X",), or ("X", "y").
    """

    name: str
    summary: str
    formula: str
    reference: str
    cadence: str
    needs_base: bool
    needs_data: tuple[str, ...] = ()


@dataclass(frozen=True)
class Given:
    """What a method in Python may see besides the networks, all of it checked."""

    X: Matrix | None
    scale: float  # of X, as the training reads it
    targets: Targets | None
    options: Mapping[str, Any]  # all that the method has


@dataclass(frozen=True)
class Option:
    """What ``merge_options`` may hold under a name: its default, and what checks another value."""

    default: Any
    check: Callable[[str, object], Any]


@dataclass(frozen=True, kw_only=True)
class PythonMethod(MergeMethod):
    """A method in Python: applied once, to networks that are done."""

    cadence: str = "once"
    needs_base: bool = False
    options: Mapping[str, Option]
    function: Callable[[list[Model], Given], Model | Ensemble]
    needs_scipy: bool = False


def _matched(models: list[Model], given: Given) -> list[Model]:
    """Bring the units of all networks into the first one's order."""
    # The first layer counts in the units that the training saw.
    networks = [layers_of(model) for model in models]
    for network in networks:
        network[0] = (network[0][0] / given.scale, network[0][1])
    matched = match(networks, models[0].activation)
    for network in matched:
        network[0] = (network[0][0] * given.scale, network[0][1])
    return [with_layers(model, network) for model, network in zip(models, matched, strict=True)]


def _average(models: list[Model]) -> Model:
    return with_layers(models[0], average([layers_of(model) for model in models]))


def _regmean(models: list[Model], given: Given) -> Model:
    if given.options["align"]:
        models = _matched(models, given)
    return regmean(models, given.X, given.options["non_diagonal"])


def _refit_output(models: list[Model], given: Given) -> Model:
    if given.options["align"]:
        models = _matched(models, given)
    assert given.targets is not None
    return refit_output(
        _average(models),
        given.X,
        given.targets,
        given.options["ridge"],
        given.options["steps"],
    )


def _flag(name: str, value: object) -> bool:
    return _validate.choice(name, value, (False, True))


def _share(name: str, value: object) -> float:
    share = _validate.real(name, value, 0.0)
    if share > 1:
        raise ValueError(f"{name} must be at most 1; got {value}")
    return share


_ALIGN = Option(False, _flag)

# ---- The table of methods in Python -------------------------------------------------------------
_PYTHON_METHODS = (
    PythonMethod(
        name="weight_matching",
        summary="The mean of the replicas' parameters, after each replica's hidden units were put "
        "into the order (and sign, for odd activations) that fits the others best.",
        formula="P_i = argmax sum_{i<j} <P_i w_i, P_j w_j> over reorderings of hidden units; "
        "W = (1/n) sum_i P_i w_i",
        reference="Ainsworth, Hayase & Srinivasa 2023 (Git Re-Basin)",
        options={},
        function=lambda models, given: _average(_matched(models, given)),
        needs_scipy=True,
    ),
    PythonMethod(
        name="regmean",
        summary="For each layer the weights whose answers are nearest to those of all replicas, "
        "each on the inputs that the layer gets in it.",
        formula="G_i = A_i^T A_i of the layer's inputs; G~_i = a G_i + (1 - a) diag(G_i); "
        "W = (sum_i G~_i)^-1 sum_i G~_i w_i for each layer",
        reference="Jin, Ren, Preotiuc-Pietro & Cheng 2023 (RegMean)",
        needs_data=("X",),
        options={"non_diagonal": Option(0.9, _share), "align": _ALIGN},
        function=_regmean,
    ),
    PythonMethod(
        name="refit_output",
        summary="The mean of the replicas' parameters, with an output layer fitted anew to what "
        "the hidden layers give, by least squares (repeated for softmax and logistic outputs).",
        formula="W = (1/n) sum_i w_i; output layer, once or repeated: W <- W + argmin_D "
        "sum |D^T a + g / k|^2 + r |D|^2 over the samples, with a what the layer gets, "
        "g the slope of the loss and k its largest curvature",
        reference="Boehning 1992; least squares on fixed features: Huang, Zhu & Siew 2006",
        needs_data=("X", "y"),
        options={
            "ridge": Option(1e-6, lambda name, value: _validate.real(name, value, 0.0)),
            "steps": Option(30, lambda name, value: _validate.integer(name, value, 0)),
            "align": _ALIGN,
        },
        function=_refit_output,
    ),
    PythonMethod(
        name="ensemble",
        summary="No merge: the replicas answer together, with the mean of their outputs' "
        "pre-activations; distill trains one network from that.",
        formula="W = {w_1, ..., w_n}; z(x) = (1/n) sum_i z_i(x)",
        reference="Hansen & Salamon 1990; distill: Ba & Caruana 2014",
        options={},
        function=lambda models, given: Ensemble(models),  # noqa: ARG005
    ),
)
# -------------------------------------------------------------------------------------------------


def merge_methods() -> tuple[MergeMethod, ...]:
    """Return every merge method that there is, with its formula and its reference."""
    return (*(MergeMethod(**row) for row in _core.merge_methods()), *_PYTHON_METHODS)


def find_method(name: object, *, parameter: str = "merge") -> MergeMethod:
    """Return the method of that name, or raise an error that lists the names."""
    methods = {method.name: method for method in merge_methods()}
    return methods[_validate.choice(parameter, name, methods)]


def check_options(method: PythonMethod, merge_options: object) -> dict[str, Any]:
    """Check the options of a method, and fill in the defaults."""
    given = _mapping(merge_options)
    unknown = [name for name in given if name not in method.options]
    if unknown:
        raise ValueError(
            f"merge_options of {method.name!r} may hold "
            + (", ".join(map(repr, method.options)) or "nothing")
            + f"; got {unknown[0]!r}"
        )
    options = {
        name: option.check(f"merge_options[{name!r}]", given[name])
        if name in given
        else option.default
        for name, option in method.options.items()
    }
    if method.needs_scipy or options.get("align"):
        require_scipy()
    return options


def _mapping(merge_options: object) -> Mapping[str, Any]:
    if merge_options is None:
        return {}
    if not isinstance(merge_options, Mapping):
        raise TypeError(f"merge_options must be a mapping; got {type(merge_options).__name__}")
    return merge_options


def apply(
    method: PythonMethod,
    models: Sequence[Model],
    X: Matrix | None,
    y: object,
    options: Mapping[str, Any],
) -> Model | Ensemble:
    """Merge networks of one kind by a method in Python, with checked options."""
    first = models[0]
    scale, targets = 1.0, None
    if X is not None:
        inputs = _validate.inputs(X, n_features=first.layer_sizes[0], for_training=True)
        scale = inputs.scale
        if "y" in method.needs_data:
            like = (first.classes, first.layer_sizes[-1])
            targets = _validate.targets(y, inputs.n_samples, like=like)
    merged = method.function(list(models), Given(X, scale, targets, options))
    if isinstance(merged, Model) and not np.isfinite(merged._packed).all():
        raise ValueError(
            f"method {method.name!r} made a parameter infinite; the largest of the models' "
            f"parameters is {max(abs(model._packed).max() for model in models):g}"
        )
    return merged
