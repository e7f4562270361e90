"""Merging networks that are already trained."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import _core, _validate
from omp_mlp._errors import SkippedReplicaWarning
from omp_mlp.model import Model, layer_ends


@dataclass(frozen=True)
class MergeOption:
    """A setting of a merge method, given in ``merge_options``.

    Attributes
    ----------
    name, summary : str
    words : tuple of str
        What it may be besides a number that is not negative; the first is the default.
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
        Whether the method is best applied once, at the end, or over and over during the training.
    needs_base : bool
        Whether it needs the network that all replicas started from.
    may_skip : bool
        Whether ``on_nonfinite="skip"`` may leave out replicas that are not finite.
    options : tuple of MergeOption
        What ``merge_options`` takes.
    """

    name: str
    summary: str
    formula: str
    reference: str
    cadence: str
    needs_base: bool
    may_skip: bool
    options: tuple[MergeOption, ...]


def merge_methods() -> tuple[MergeMethod, ...]:
    """Return every merge method that there is, with its formula and its reference."""
    return tuple(_method(row) for row in _core.merge_methods())


def _method(row: _core._MergeMethod) -> MergeMethod:
    options = tuple(
        MergeOption(option["name"], option["summary"], tuple(option["words"]))
        for option in row["options"]
    )
    return MergeMethod(**{**row, "options": options})  # type: ignore[arg-type]


def find_method(name: object, *, parameter: str = "merge") -> MergeMethod:
    """Return the method of that name, or raise an error that lists the names."""
    methods = {method.name: method for method in merge_methods()}
    return methods[_validate.choice(parameter, name, methods)]


def option_values(method: MergeMethod, merge_options: object) -> list[float | str]:
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
    return [_option_value(option, given.get(option.name)) for option in method.options]


def _option_value(option: MergeOption, value: object) -> float | str:
    if value is None:
        return option.words[0]
    name = f"merge_options[{option.name!r}]"
    if isinstance(value, str):
        if value not in option.words:
            listed = ", ".join(map(repr, option.words))
            raise ValueError(f"{name} must be a number or one of {listed}; got {value!r}")
        return value
    return _validate.real(name, value, 0.0)


def skips(method: MergeMethod, on_nonfinite: object) -> bool:
    """Check ``on_nonfinite``, and return whether replicas may be left out."""
    skip = _validate.choice("on_nonfinite", on_nonfinite, ("raise", "skip")) == "skip"
    if skip and not method.may_skip:
        raise ValueError(
            f"on_nonfinite='skip' goes with methods that mean the same without a replica, and "
            f"{method.name!r} does not; got on_nonfinite='skip'"
        )
    return skip


def merge(
    models: Sequence[Model],
    method: str = "average",
    *,
    base: Model | None = None,
    sample_share: npt.ArrayLike | None = None,
    merge_options: Mapping[str, Any] | None = None,
    on_nonfinite: str = "raise",
) -> Model:
    """Merge networks of one shape into one.

    Parameters
    ----------
    models : sequence of Model
        At least one; all of the same layer sizes, activations and classes.
    method : str, default "average"
        A name from :func:`merge_methods`.
    base : Model, optional
        The network that all of them started from; methods that merge updates need it.
    sample_share : array-like of shape (n_models,), optional
        How many samples each model has seen, or any numbers in that proportion; for
        ``"weighted_average"``. Default: equal shares.
    merge_options : mapping, optional
        Settings of the method by name, such as ``{"alpha": "1/n"}`` of ``"delta_sum"``; the
        method's ``options`` in :func:`merge_methods` lists them.
    on_nonfinite : {"raise", "skip"}, default "raise"
        What to do about models with parameters that are infinite or not a number. "skip": merge the
        others, with a :class:`omp_mlp.SkippedReplicaWarning`; for methods whose ``may_skip`` is
        true.

    Returns
    -------
    Model
        Without history. The result depends on the order of the models only in the last bits.

    Raises
    ------
    TypeError, ValueError
        If there is no model, the networks differ in more than their parameters, the method or an
        option of it is unknown, it needs a base and there is none, a model or the base is not
        finite, or a merged parameter is infinite.
    """
    row = find_method(method, parameter="method")
    models = list(models)
    if not models:
        raise ValueError("merge needs at least one model; got none")
    for name, model in [
        *((f"models[{i}]", model) for i, model in enumerate(models)),
        *([("base", base)] if base is not None else []),
    ]:
        if not isinstance(model, Model):
            raise TypeError(f"{name} must be a Model; got {type(model).__name__}")
        _check_alike(name, model, models[0])
    if row.needs_base and base is None:
        raise ValueError(
            f"method {method!r} merges updates and needs base=, the network that all models "
            "started from; got none"
        )
    options = option_values(row, merge_options)
    shares = _shares(sample_share, len(models))
    finite = _finite(models, base, skip=skips(row, on_nonfinite))
    models = [models[i] for i in finite]
    merged = _core.merge(
        method=method,
        options=options,
        replicas=[model._packed for model in models],
        base=None if base is None else base._packed,
        sample_share=_shares([shares[i] for i in finite], len(models)),
        layer_ends=layer_ends(models[0].layer_sizes),
        workers=1,
    )
    if not np.isfinite(merged).all():
        raise ValueError(
            f"method {method!r} made a parameter infinite: the models' parameters are too large "
            f"for float32; the largest is {max(abs(model._packed).max() for model in models):g}"
        )
    return models[0]._like(merged)


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
        warnings.warn(f"merged without {listed}: not finite", SkippedReplicaWarning, stacklevel=3)
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


def _check_alike(name: str, model: Model, first: Model) -> None:
    for attribute in ("layer_sizes", "activation", "output_activation"):
        got, expected = getattr(model, attribute), getattr(first, attribute)
        if got != expected:
            raise ValueError(
                f"{name} must have the {attribute} of models[0], {expected!r}; got {got!r}"
            )
    if not _validate.same_labels(model.classes, first.classes):
        raise ValueError(
            f"{name} must have the classes of models[0], {first.classes}; got {model.classes}"
        )


def _shares(shares: npt.ArrayLike | None, n_models: int) -> list[float]:
    if shares is None:
        return [1.0 / n_models] * n_models
    array = np.asarray(shares, dtype=np.float64)
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
