"""Merging networks that are already trained."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, overload

import numpy as np
import numpy.typing as npt

from omp_mlp import _core, checks
from omp_mlp.checks import Column, Matrix
from omp_mlp.ensemble import Ensemble
from omp_mlp.inputs import Inputs
from omp_mlp.merging.line_search import best_alpha
from omp_mlp.merging.methods import (
    LINE_SEARCH,
    MergeMethod,
    PythonMethod,
    apply,
    find_method,
    option_values,
    skips,
)
from omp_mlp.model import Model, check_alike
from omp_mlp.packed import layer_ends, pack
from omp_mlp.reading import read_known
from omp_mlp.targets import Targets, read_targets
from omp_mlp.warned import SkippedReplicaWarning, warn

if TYPE_CHECKING:
    from typing_extensions import Unpack

Network = Model | Sequence[Any]  # or a network as arrays

MergesToModel = Literal[
    "average",
    "sum",
    "weighted_average",
    "median",
    "delta_sum",
    "gradient_diversity",
    "adasum",
    "weight_matching",
    "regmean",
    "refit_output",
]
"""The methods whose result is one network: all but "ensemble"."""


class _Options(TypedDict, total=False):
    base: Network | None
    sample_share: npt.ArrayLike | None
    X: Matrix | None
    y: Column | None
    merge_options: Mapping[str, Any] | None
    on_nonfinite: str
    activation: str
    output_activation: str
    classes: npt.ArrayLike | None
    multilabel: bool


@overload
def merge(
    models: Sequence[Network], method: Literal["ensemble"], **options: Unpack[_Options]
) -> Ensemble: ...
@overload
def merge(
    models: Sequence[Network], method: MergesToModel = "average", **options: Unpack[_Options]
) -> Model: ...
@overload
def merge(
    models: Sequence[Network], method: str = "average", **options: Unpack[_Options]
) -> Model | Ensemble: ...


def merge(
    models: Sequence[Network],
    method: str = "average",
    *,
    base: Network | None = None,
    sample_share: npt.ArrayLike | None = None,
    X: Matrix | None = None,
    y: Column | None = None,
    merge_options: Mapping[str, Any] | None = None,
    on_nonfinite: str = "raise",
    activation: str = "relu",
    output_activation: str = "auto",
    classes: npt.ArrayLike | None = None,
    multilabel: bool = False,
) -> Model | Ensemble:
    """Merge networks of one shape into one.

    Parameters
    ----------
    models : sequence of Model, or of networks as lists of arrays
        At least one network. All have the same layer sizes, activations and classes. A network may
        also be a pair (weights, biases) of lists of arrays, such as scikit-learn's ``coefs_`` and
        ``intercepts_``, or one list of NumPy arrays [W1, b1, W2, b2, ...]. W has shape
        (fan_in, fan_out), b has shape (fan_out,).
    method : str, default "average"
        A name from :func:`omp_mlp.merge_methods`.
    base : Model, or a network as a list of arrays, optional
        The network that all models started from. Methods that merge updates need it.
    sample_share : array-like of shape (n_models,), optional
        How many samples each model has seen, or any numbers in that proportion, for
        ``"weighted_average"``. Default: equal shares.
    X : array-like or SciPy sparse matrix of shape (n_samples, n_features), optional
        Samples for the methods that need them. ``"regmean"`` and ``"refit_output"`` do.
        ``"delta_sum"`` with ``{"alpha": "line_search"}`` takes the factor with the least loss on X;
        X should not be the training data then. Networks that were trained on bytes have a first
        layer of another size than its biases; ``"weight_matching"`` takes that into account if X is
        bytes too.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
        The labels or values of X, for ``"refit_output"`` and the line search.
    merge_options : mapping, optional
        Settings of the method by name, such as ``{"alpha": "1/n"}`` of ``"delta_sum"`` or
        ``{"align": True}`` of ``"regmean"``. The method's ``options`` in
        :func:`omp_mlp.merge_methods` list them.
    on_nonfinite : {"raise", "skip"}, default "raise"
        What to do about models with parameters that are infinite or not a number. "raise": raise a
        ValueError. "skip": merge the others, with a :class:`omp_mlp.SkippedReplicaWarning`; this
        goes with methods whose ``may_skip`` is true.
    activation, output_activation, classes, multilabel
        What networks that are given as arrays have; as in :class:`Model`.

    Returns
    -------
    Model, or for ``"ensemble"`` an Ensemble
        It has no history. The order of the models changes the last bits only, but for two methods:
        ``"adasum"`` merges neighbours first, and the hidden units of ``"weight_matching"`` have the
        order of the first model.

    Raises
    ------
    TypeError, ValueError
        If there is no model; if the networks differ in more than their parameters; if the method or
        an option is unknown; if the method needs a base or data and there are none; if a model or
        the base is not finite; or if a merged parameter is infinite.
    ImportError
        If hidden units are to be matched and SciPy is missing.

    Notes
    -----
    Methods that need data solve linear systems with NumPy. The last bits of their results may
    change with NumPy's build and its number of threads.
    """
    row = find_method(method, parameter="method")
    kind: dict[str, Any] = {
        "activation": activation,
        "output_activation": output_activation,
        "classes": classes,
        "multilabel": multilabel,
    }
    given = checks.sequence("models", models, "networks")
    networks = [as_model(model, f"models[{i}]", **kind) for i, model in enumerate(given)]
    start = None if base is None else as_model(base, "base", **kind)
    _check_networks(networks, start)
    options = option_values(row, merge_options)
    searches = LINE_SEARCH in options
    needed = ("X", "y") if searches else row.needs_data
    _check_needs(row, start, needed, {"X": X, "y": y})
    shares = _shares(sample_share, len(networks))
    finite = _finite(networks, start, skip=skips(row, on_nonfinite))
    networks = [networks[i] for i in finite]
    if not searches and not isinstance(row, PythonMethod):
        return _merge_in_core(method, options, networks, start, [shares[i] for i in finite])
    inputs, targets = _data_of(networks[0], X, y if "y" in needed else None, scaled=not searches)
    if isinstance(row, PythonMethod):
        return apply(row, networks, inputs, targets, options)
    assert start is not None
    assert inputs is not None
    assert targets is not None
    loss = functools.partial(_loss, inputs=inputs, targets=targets)
    return search_alpha(networks, start, loss)


def _check_networks(networks: Sequence[Model], start: Model | None) -> None:
    if not networks:
        raise ValueError("merge needs models, at least one; got none")
    for i, network in enumerate(networks):
        check_alike(f"models[{i}]", network, networks[0])
    if start is not None:
        check_alike("base", start, networks[0])


def _check_needs(
    method: MergeMethod, start: Model | None, needed: Sequence[str], data: Mapping[str, object]
) -> None:
    if method.needs_base and start is None:
        raise ValueError(
            f"method {method.name!r} merges updates and needs base=, the network that all models "
            "started from; got none"
        )
    for name in needed:
        if data[name] is None:
            raise ValueError(
                f"method {method.name!r} looks at data and needs "
                + " and ".join(f"{argument}=" for argument in needed)
                + f"; got no {name}"
            )


def _data_of(
    model: Model, X: Matrix | None, y: Column | None, *, scaled: bool
) -> tuple[Inputs | None, Targets | None]:
    """Read the data that a method may see, ``scaled`` as a training reads them."""
    if X is None:
        return None, None
    inputs = read_known(
        model.columns,
        X,
        n_features=model.layer_sizes[0],
        for_training=scaled,
        scaling=model.input_scaling,
    )
    if y is None:
        return inputs, None
    kind, scaling = model._target_kind, model.target_scaling
    return inputs, read_targets(y, inputs.n_samples, like=kind, scaling=scaling)


def search_alpha(models: Sequence[Model], base: Model, loss: Callable[[Model], float]) -> Model:
    """Merge by ``delta_sum`` with the alpha of the least loss."""
    alpha = best_alpha(models, base, loss)
    return _merge_in_core("delta_sum", [alpha], models, base, None)


def _loss(model: Model, inputs: Inputs, targets: Targets) -> float:
    return model._evaluate(inputs, targets)[0]


def _merge_in_core(
    method: str,
    options: list[Any],
    models: Sequence[Model],
    base: Model | None,
    sample_share: npt.ArrayLike | None,
) -> Model:
    merged = _core.merge(
        method=_core.merge_method(method),
        options=options,
        replicas=[model._packed for model in models],
        base=None if base is None else base._packed,
        sample_share=_shares(sample_share, len(models)),
        layer_ends=layer_ends(models[0].layer_sizes),
        workers=1,
    )
    if not np.isfinite(merged).all():
        raise ValueError(
            f"method {method!r} made a parameter infinite: the models' parameters are too large "
            f"for float32; the largest is {max(abs(model._packed).max() for model in models):g}"
        )
    return models[0]._like(merged)


def as_model(
    network: object,
    name: str,
    *,
    activation: str,
    output_activation: str,
    classes: npt.ArrayLike | None,
    multilabel: bool,
) -> Model:
    """Return a network as a Model: one that it is already, or arrays."""
    if isinstance(network, Model):
        return network
    entries = list(network) if isinstance(network, (list, tuple)) else []
    if len(entries) == 2 and all(isinstance(entry, (list, tuple)) for entry in entries):
        weights, biases = (list(entry) for entry in entries)
    elif entries and len(entries) % 2 == 0 and all(isinstance(e, np.ndarray) for e in entries):
        weights, biases = entries[::2], entries[1::2]
    else:
        got = type(network).__name__ + (f" of {len(entries)}" if entries else "")
        raise TypeError(
            f"{name} must be a Model, a pair (weights, biases) of lists of arrays, or a list of "
            f"arrays [W1, b1, W2, b2, ...]; got {got}"
        )
    try:
        layers = [checks.parameters(array, "parameters") for array in (*weights, *biases)]
        finite = [np.where(np.isfinite(array), array, 0) for array in layers]
        model = Model(
            finite[: len(weights)],
            finite[len(weights) :],
            activation=activation,
            output_activation=output_activation,
            classes=classes,
            multilabel=multilabel,
        )
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
    # Whether it is finite is asked where it is known what to do if not.
    pairs = zip(layers[: len(weights)], layers[len(weights) :], strict=True)
    return model._like(pack(pairs))


def _finite(models: Sequence[Model], base: Model | None, *, skip: bool) -> list[int]:
    """Return the indices of the finite models; complain of the others, or warn if they may go."""
    if base is not None and not np.isfinite(base._packed).all():
        raise ValueError(f"base must be finite; got {_nonfinite(base)}")
    finite = [i for i, model in enumerate(models) if np.isfinite(model._packed).all()]
    skipped = [i for i in range(len(models)) if i not in finite]
    if skipped and not (skip and finite):
        raise ValueError(
            f"models[{skipped[0]}] must be finite; got {_nonfinite(models[skipped[0]])}"
            + ("; no other model is finite" if skip else "")
        )
    if skipped:
        listed = ", ".join(f"models[{i}]" for i in skipped)
        warn(f"merged without {listed}: not finite", SkippedReplicaWarning)
    return finite


def _nonfinite(model: Model) -> str:
    """Tell the first parameter that is not finite."""
    for layer, (W, b) in enumerate(zip(model.weights, model.biases, strict=True)):
        for name, array in ((f"weights[{layer}]", W), (f"biases[{layer}]", b)):
            bad = np.argwhere(~np.isfinite(array))
            if len(bad):
                entry = tuple(bad[0].tolist())
                return f"{array[entry]} in {name}[{', '.join(map(str, entry))}]"
    raise AssertionError("all parameters are finite")


def _shares(shares: npt.ArrayLike | None, n_models: int) -> list[float]:
    if shares is None:
        return [1.0 / n_models] * n_models
    array = checks.numeric(shares, "sample_share").astype(np.float64)
    if array.shape != (n_models,):
        raise ValueError(
            f"sample_share must have one entry for each of the {n_models} models; "
            f"got shape {array.shape}"
        )
    if not (np.isfinite(array).all() and (array >= 0).all() and array.sum() > 0):
        raise ValueError(
            f"sample_share must be finite, not negative, and not all zero; got {array.tolist()}"
        )
    shares_list: list[float] = (array / array.sum()).tolist()
    return shares_list
