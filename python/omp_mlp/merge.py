"""Merging networks that are already trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omp_mlp import _core, _validate
from omp_mlp.model import Model, layer_ends


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
    """

    name: str
    summary: str
    formula: str
    reference: str
    cadence: str
    needs_base: bool


def merge_methods() -> tuple[MergeMethod, ...]:
    """Return every merge method that there is, with its formula and its reference."""
    return tuple(MergeMethod(**row) for row in _core.merge_methods())


def find_method(name: object, *, parameter: str = "merge") -> MergeMethod:
    """Return the method of that name, or raise an error that lists the names."""
    methods = {method.name: method for method in merge_methods()}
    return methods[_validate.choice(parameter, name, methods)]


def merge(
    models: Sequence[Model],
    method: str = "average",
    *,
    base: Model | None = None,
    sample_share: npt.ArrayLike | None = None,
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

    Returns
    -------
    Model
        Without history. The result depends on the order of the models only in the last bits.

    Raises
    ------
    TypeError, ValueError
        If there is no model, the networks differ in more than their parameters, the method is
        unknown, it needs a base and there is none, or a merged parameter is infinite.
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
    merged = _core.merge(
        method=method,
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
