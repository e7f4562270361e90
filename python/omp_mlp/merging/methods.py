"""The table of all merge methods: the core's, and those in Python that see layers as matrices."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from omp_mlp import _core, checks
from omp_mlp.ensemble import Ensemble
from omp_mlp.inputs import Inputs
from omp_mlp.merging.layers import average, layers_of, with_layers
from omp_mlp.merging.matching import match, require_scipy
from omp_mlp.merging.refit import refit_output
from omp_mlp.merging.regmean import regmean
from omp_mlp.model import Model
from omp_mlp.summary import html_table
from omp_mlp.targets import Targets


@dataclass(frozen=True)
class MergeOption:
    """A setting of a merge method, given in ``merge_options``.

    Attributes
    ----------
    name, summary : str
    words : tuple of str
        The words that the option takes besides a number that is not negative; the first is the
        default. Empty for options whose summary says what they take.
    """

    name: str
    summary: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class MergeMethod:
    """A way to merge replicas into one network.

    Attributes
    ----------
    name : str
        What ``merge=`` takes.
    summary, formula, reference : str
    cadence : {"once", "periodic"}
        Whether the method is best applied once, at the end, or in every round of a training.
    needs_base : bool
        Whether the method needs the network that all replicas started from.
    may_skip : bool
        Whether ``on_nonfinite="skip"`` may leave out replicas that are not finite.
    options : tuple of MergeOption
        What ``merge_options`` takes.
    needs_data : tuple of str
        What the method needs besides the networks: nothing, ("X",), or ("X", "y").
    """

    name: str
    summary: str
    formula: str
    reference: str
    cadence: str
    needs_base: bool
    may_skip: bool
    options: tuple[MergeOption, ...]
    needs_data: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        needs = ["base"] * self.needs_base + list(self.needs_data)
        facts = [
            ("summary", self.summary),
            ("formula", self.formula),
            ("reference", self.reference),
            ("cadence", self.cadence),
            ("needs", ", ".join(needs) or "the networks alone"),
        ]
        options = [[option.name, option.summary] for option in self.options]
        return html_table(self.name, facts, (["option", "summary"], options))


@dataclass(frozen=True, eq=False, repr=False)
class Given:
    """What a method in Python may see besides the networks, all of it checked."""

    inputs: Inputs | None  # in the units that the user gave
    scale: float  # of the units that the training reads
    targets: Targets | None
    options: Mapping[str, Any]  # all that the method has


@dataclass(frozen=True, kw_only=True)
class PythonOption(MergeOption):
    """An option of a method in Python: its default, and what checks another value."""

    words: tuple[str, ...] = ()
    default: Any
    check: Callable[[str, object], Any]


@dataclass(frozen=True, kw_only=True)
class PythonMethod(MergeMethod):
    """A method in Python: it is applied once, to networks that are trained."""

    cadence: str = "once"
    needs_base: bool = False
    may_skip: bool = True
    options: tuple[MergeOption, ...] = ()
    function: Callable[[list[Model], Given], Model | Ensemble]
    needs_scipy: bool = False


def matched(models: Sequence[Model], scale: float) -> list[Model]:
    """Bring the hidden units of all networks into the same order.

    ``scale``: the training saw ``scale`` times X; it is 1 unless X is bytes.
    """
    networks = [layers_of(model) for model in models]
    for network in networks:
        network[0] = (network[0][0] / scale, network[0][1])
    matched = match(networks, models[0].activation)
    for network in matched:
        network[0] = (network[0][0] * scale, network[0][1])
    return [with_layers(model, network) for model, network in zip(models, matched, strict=True)]


def _average(models: list[Model]) -> Model:
    return with_layers(models[0], average([layers_of(model) for model in models]))


def _regmean(models: list[Model], given: Given) -> Model:
    if given.options["align"]:
        models = matched(models, given.scale)
    assert given.inputs is not None
    return regmean(models, given.inputs, given.options["non_diagonal"])


def _refit_output(models: list[Model], given: Given) -> Model:
    if given.options["align"]:
        models = matched(models, given.scale)
    assert given.inputs is not None
    assert given.targets is not None
    return refit_output(
        _average(models),
        given.inputs,
        given.targets,
        given.options["ridge"],
        given.options["steps"],
    )


def _align(name: str, value: object) -> bool:
    if checks.choice(name, value, (False, True)):
        require_scipy()
        return True
    return False


def _share(name: str, value: object) -> float:
    share = checks.real(name, value, 0.0)
    if share > 1:
        raise ValueError(f"{name} must be at most 1; got {value}")
    return share


_ALIGN = PythonOption(
    name="align",
    summary="Whether hidden units are matched first, as weight_matching does: False (the default) "
    "or True.",
    default=False,
    check=_align,
)
LINE_SEARCH = "line_search"
"""A word for alpha of delta_sum: the number with the least loss, which needs data to be found."""

# ---- The table of methods in Python -------------------------------------------------------------
_PYTHON_METHODS = (
    PythonMethod(
        name="weight_matching",
        summary="The mean of the replicas' parameters, after each replica's hidden units were put "
        "into the order (and sign, for odd activations) that fits the others best.",
        formula="P_i = argmax sum_{i<j} <P_i w_i, P_j w_j> over reorderings of hidden units; "
        "W = (1/n) sum_i P_i w_i",
        reference="Ainsworth, Hayase & Srinivasa 2023 (Git Re-Basin)",
        function=lambda models, given: _average(matched(models, given.scale)),
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
        options=(
            PythonOption(
                name="non_diagonal",
                summary="Factor a of the Gram matrices off their diagonal, 0 to 1 (default 0.9).",
                default=0.9,
                check=_share,
            ),
            _ALIGN,
        ),
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
        options=(
            PythonOption(
                name="ridge",
                summary="Penalty on what a step changes, in units of the hidden units' mean square "
                "(default 1e-6).",
                default=1e-6,
                check=lambda name, value: checks.real(name, value, 0.0),
            ),
            PythonOption(
                name="steps",
                summary="Steps of least squares (default 30); with identity outputs one is enough, "
                "and is all.",
                default=30,
                check=lambda name, value: checks.integer(name, value, 0),
            ),
            _ALIGN,
        ),
        function=_refit_output,
    ),
    PythonMethod(
        name="ensemble",
        summary="No merge: the replicas answer together, with the mean of their outputs' "
        "pre-activations; distill trains one network from that.",
        formula="W = {w_1, ..., w_n}; z(x) = (1/n) sum_i z_i(x)",
        reference="Hansen & Salamon 1990; distill: Ba & Caruana 2014",
        function=lambda models, given: Ensemble(models),  # noqa: ARG005
    ),
)
# -------------------------------------------------------------------------------------------------


@functools.cache
def merge_methods() -> tuple[MergeMethod, ...]:
    """Return every merge method that there is, with its formula and its reference."""
    return (*(_core_method(row) for row in _core.merge_methods()), *_PYTHON_METHODS)


def _core_method(row: _core.MergeMethod) -> MergeMethod:
    options = tuple(
        MergeOption(
            option.name,
            option.summary,
            (*option.words, *([LINE_SEARCH] if row.name == "delta_sum" else [])),
        )
        for option in row.options
    )
    return MergeMethod(
        name=row.name,
        summary=row.summary,
        formula=row.formula,
        reference=row.reference,
        cadence=row.cadence,
        needs_base=row.needs_base,
        may_skip=row.may_skip,
        options=options,
    )


def find_method(name: object, *, parameter: str = "merge") -> MergeMethod:
    """Return the method of that name, or raise an error that lists the names."""
    methods = _methods_by_name()
    return methods[checks.choice(parameter, name, methods)]


@functools.cache
def _methods_by_name() -> dict[str, MergeMethod]:
    return {method.name: method for method in merge_methods()}


def option_values(method: MergeMethod, merge_options: object) -> list[Any]:
    """Check ``merge_options``, and return a value for each option of the method, in order."""
    given = {} if merge_options is None else merge_options
    if not isinstance(given, Mapping):
        raise TypeError(
            f"merge_options must be a mapping, such as {{'alpha': '1/n'}}; "
            f"got {type(given).__name__}"
        )
    takes = [option.name for option in method.options]
    for name in given:
        if name not in takes:
            raise ValueError(
                f"merge_options of {method.name!r}: it takes "
                f"{', '.join(map(repr, takes)) or 'none'}; got {name!r}"
            )
    values = [_option_value(option, given.get(option.name)) for option in method.options]
    if isinstance(method, PythonMethod) and method.needs_scipy:
        require_scipy()
    return values


def _option_value(option: MergeOption, value: object) -> Any:  # noqa: ANN401 - its own kind each
    name = f"merge_options[{option.name!r}]"
    if isinstance(option, PythonOption):
        return option.default if value is None else option.check(name, value)
    if value is None:
        return option.words[0]
    if isinstance(value, str):
        if value not in option.words:
            listed = ", ".join(map(repr, option.words))
            raise ValueError(f"{name} must be a number or one of {listed}; got {value!r}")
        return value
    return checks.real(name, value, 0.0)


def skips(method: MergeMethod, on_nonfinite: object) -> bool:
    """Check ``on_nonfinite``, and return whether replicas may be left out."""
    skip = checks.choice("on_nonfinite", on_nonfinite, ("raise", "skip")) == "skip"
    if skip and not method.may_skip:
        raise ValueError(
            f"on_nonfinite='skip' goes with methods that mean the same without a replica, and "
            f"{method.name!r} does not; got on_nonfinite='skip'"
        )
    return skip


def apply(
    method: PythonMethod,
    models: Sequence[Model],
    inputs: Inputs | None,
    targets: Targets | None,
    values: Sequence[Any],
) -> Model | Ensemble:
    """Merge networks of one kind by a method in Python.

    ``inputs`` and ``targets`` are those of a training; ``values`` has one for each option.
    """
    options = {option.name: value for option, value in zip(method.options, values, strict=True)}
    given = Given(
        None if inputs is None else inputs.as_given(),
        1.0 if inputs is None else inputs.scale,
        targets,
        options,
    )
    merged = method.function(list(models), given)
    if isinstance(merged, Model) and not np.isfinite(merged._packed).all():
        raise ValueError(
            f"method {method.name!r} made a parameter infinite; the largest of the models' "
            f"parameters is {max(abs(model._packed).max() for model in models):g}"
        )
    return merged
