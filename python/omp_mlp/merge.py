"""Merging networks that are already trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import _core
from omp_mlp._methods import PythonMethod, apply, check_options, find_method
from omp_mlp._validate import Matrix
from omp_mlp.model import Model, check_alike, layer_ends

Network = Model | Sequence[Any]  # or a network as arrays


def merge(
    models: Sequence[Network],
    method: str = "average",
    *,
    base: Network | None = None,
    sample_share: npt.ArrayLike | None = None,
    X: Matrix | None = None,
    y: object = None,
    merge_options: Mapping[str, Any] | None = None,
    activation: str = "relu",
    output_activation: str = "auto",
    classes: npt.ArrayLike | None = None,
) -> Model | Any:  # noqa: ANN401 - an Ensemble for one method, else a Model
    """Merge networks of one shape into one.

    Parameters
    ----------
    models : sequence of Model, or of networks as lists of arrays
        At least one; all of the same layer sizes, activations and classes. A network may also be
        a pair (weights, biases) of lists of arrays, such as scikit-learn's ``coefs_`` and
        ``intercepts_``, or one list of NumPy arrays [W1, b1, W2, b2, ...]; W is of shape
        (fan_in, fan_out), b of shape (fan_out,).
    method : str, default "average"
        A name from :func:`omp_mlp.merge_methods`.
    base : Model, or a network as a list of arrays, optional
        The network that all of them started from; methods that merge updates need it.
    sample_share : array-like of shape (n_models,), optional
        How many samples each model has seen, or any numbers in that proportion; for
        ``"weighted_average"``. Default: equal shares.
    X : array-like or SciPy sparse matrix of shape (n_samples, n_features), optional
        Samples for the methods that need some: ``"regmean"``, ``"refit_output"``. Networks that
        were trained on bytes have a first layer of another size than its biases;
        ``"weight_matching"`` takes that into account if it is given X as bytes too.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
        Their labels or values, for ``"refit_output"``.
    merge_options : mapping, optional
        Options of the method. ``"regmean"``: ``non_diagonal`` in [0, 1] (default 0.9), the factor
        of the Gram matrices off the diagonal. ``"refit_output"``: ``steps`` of least squares
        (default 30; one is enough with identity outputs), ``ridge`` (default 1e-6), the penalty on
        what a step changes, in units of the hidden units' mean square. Both: ``align`` (default
        False), whether hidden units are matched first, as ``"weight_matching"`` does.
    activation, output_activation, classes
        Of networks that are given as arrays; as in :class:`Model`.

    Returns
    -------
    Model, or for ``"ensemble"`` an Ensemble
        Without history. The result depends on the order of the models only in the last bits; for
        ``"weight_matching"`` the hidden units are in the order of the first model.

    Raises
    ------
    TypeError, ValueError
        If there is no model, the networks differ in more than their parameters, the method is
        unknown, it needs a base or data and there are none, or a merged parameter is infinite.
    ImportError
        If hidden units are to be matched and SciPy is missing.

    Notes
    -----
    Methods that need data solve linear systems with NumPy: their last bits may change with its
    build and its number of threads.
    """
    row = find_method(method, parameter="method")
    kind: dict[str, Any] = {
        "activation": activation,
        "output_activation": output_activation,
        "classes": classes,
    }
    networks = [as_model(model, f"models[{i}]", **kind) for i, model in enumerate(models)]
    if not networks:
        raise ValueError("merge needs at least one model; got none")
    first = networks[0]
    start = None if base is None else as_model(base, "base", **kind)
    for i, network in enumerate(networks):
        check_alike(f"models[{i}]", network, first)
    if start is not None:
        check_alike("base", start, first)
    if row.needs_base and base is None:
        raise ValueError(
            f"method {method!r} merges updates and needs base=, the network that all models "
            "started from; got none"
        )
    for name, data in (("X", X), ("y", y)):
        if name in row.needs_data and data is None:
            raise ValueError(
                f"method {method!r} looks at data and needs "
                + " and ".join(f"{needed}=" for needed in row.needs_data)
                + f"; got no {name}"
            )
    if isinstance(row, PythonMethod):
        return apply(row, networks, X, y, check_options(row, merge_options))
    merged = _core.merge(
        method=method,
        replicas=[network._packed for network in networks],
        base=None if start is None else start._packed,
        sample_share=_shares(sample_share, len(networks)),
        layer_ends=layer_ends(first.layer_sizes),
        workers=1,
    )
    if not np.isfinite(merged).all():
        raise ValueError(
            f"method {method!r} made a parameter infinite: the models' parameters are too large "
            f"for float32; the largest is {max(abs(n._packed).max() for n in networks):g}"
        )
    return first._like(merged)


def as_model(
    network: object,
    name: str,
    *,
    activation: str,
    output_activation: str,
    classes: npt.ArrayLike | None,
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
        return Model(
            weights,
            biases,
            activation=activation,
            output_activation=output_activation,
            classes=classes,
        )
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


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
