"""Signs that a training with these settings will not learn, and the warnings that name them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from omp_mlp import _core
from omp_mlp.activations import activate
from omp_mlp.checks import FloatArray
from omp_mlp.inputs import ENTRIES_TOGETHER, Inputs, Rows, inputs_of
from omp_mlp.losses import LossKind
from omp_mlp.model import Model
from omp_mlp.packed import layer_ends
from omp_mlp.sparse import Csr
from omp_mlp.targets import Targets
from omp_mlp.warned import SettingsWarning, warn

Doubles = npt.NDArray[np.float64]

FEWEST_ROWS = 128
"""Rows of a replica. With fewer, replicas merge after so few steps that more do not help."""

_ROWS_OF_SCALES = 1024  # that are looked at
_FAR_APART = 1000.0  # largest over smallest magnitude of the columns
_SHOWN = 3

_FEWEST = 16  # rows, or entries of a column, that tell anything
_MOST_ROWS = 512  # of the first round's network; fewer of a large network
# So that a training of a tenth of a second does not notice it:
_MULTIPLY_ADDS = 2_000_000
_ROWS_OF_ANY_WIDTH = 64  # are looked at, even if these have more than ENTRIES_TOGETHER entries

# The outputs of a sound start are about as far from y as y is from its mean. Ten times as far is
# absurd; in a squared error, that is the square of ten.
_ABSURD = 10.0

# A unit with less slope than this on almost all rows learns next to nothing.
_SLOPE = 1e-3
_ALMOST_ALL = 0.99
_STEP_OF_SLOPE = 1e-4  # of a central difference, in double


# ------------------------------------------------------------------------------ before the training


def warn_of_few_rows(n_samples: int, threads: int) -> None:
    """Warn if the replicas have too few rows each."""
    if threads == 1 or n_samples // threads >= FEWEST_ROWS:
        return
    warn(
        f"threads={threads} leaves a replica {n_samples // threads} of the {n_samples} rows. With "
        f"fewer than about {FEWEST_ROWS}, more replicas learn less; threads="
        f"{max(1, n_samples // FEWEST_ROWS)} leaves enough",
        SettingsWarning,
    )


def warn_of_precision(precision: str) -> None:
    """Warn if the products are in float32 against the wish, because the machine is no faster so."""
    if precision == "bfloat16" and not _core.has_bfloat16_products():
        warn(
            "precision='bfloat16' has no effect here: this machine, or the kernels in use "
            f"({_core.kernels_in_use()!r}), have no products of bfloat16 that are faster than "
            "those of float32. The training is in float32",
            SettingsWarning,
        )


def warn_of_scales(inputs: Inputs, names: Sequence[object] | None) -> None:
    """Warn if the columns of X, which the training reads as they are, have very different scales.

    ``names``: of the columns; None: they go by their places.
    """
    if not isinstance(inputs.rows, Csr) and inputs.rows.dtype == np.uint8:
        return
    # Few rows of wide X are quick to look at, and may miss the large entries of some columns.
    few = max(_ROWS_OF_ANY_WIDTH, ENTRIES_TOGETHER // inputs.n_features)
    for most in sorted({min(few, _ROWS_OF_SCALES), _ROWS_OF_SCALES}):
        rows = _spread_rows(inputs, most)
        largest = _magnitudes(rows)
        if not _are_far_apart(largest):  # nor are some of them
            return
        largest = np.where(_count_entries(rows) >= _FEWEST, largest, 0.0)
        if not _are_far_apart(largest):
            return
    used = np.flatnonzero(largest > 0)
    order = used[np.argsort(largest[used], kind="stable")]
    most, least = largest[order[-1]], largest[order[0]]
    top = [k for k in order[: -_SHOWN - 1 : -1] if largest[k] * _FAR_APART > most]
    bottom = [k for k in order[:_SHOWN] if largest[k] < _FAR_APART * least]
    warn(
        "the columns of X have scales that differ by far, and scale_inputs=False trains on them as "
        f"they are: up to {_listed(top, largest, names)}, and only "
        f"{_listed(bottom, largest, names)}. Steps that are short enough for large columns teach "
        "small ones nothing; scale_inputs='auto' scales them",
        SettingsWarning,
    )


def _spread_rows(inputs: Inputs, most: int) -> Rows:
    """Return up to so many rows; of an array, without a copy."""
    if isinstance(inputs.rows, Csr):
        return inputs.rows.take(_evenly(inputs.n_samples, _ROWS_OF_SCALES))
    return inputs.rows[:: _step(inputs.n_samples, most)]


def _magnitudes(rows: Rows) -> Doubles:
    """Return the largest magnitude of each column."""
    if isinstance(rows, Csr):
        stored = slice(0, int(rows.starts[-1]))
        largest = np.zeros(rows.shape[1])
        sizes = np.abs(rows.values[stored]).astype(np.float64)
        np.maximum.at(largest, rows.indices[stored], sizes)
        return largest
    largest = np.zeros(rows.shape[1])
    together = 1 + ENTRIES_TOGETHER // rows.shape[1]
    for begin in range(0, len(rows), together):
        some = rows[begin : begin + together]
        np.maximum(largest, some.max(axis=0), out=largest)
        np.maximum(largest, -some.min(axis=0), out=largest)
    return largest


def _count_entries(rows: Rows) -> npt.NDArray[np.int64]:
    """Return how many entries of each column are not zero. So few as 15 tell no scale."""
    if isinstance(rows, Csr):
        stored = slice(0, int(rows.starts[-1]))
        columns = rows.indices[stored][rows.values[stored] != 0]
        return np.bincount(columns, minlength=rows.shape[1])
    entries: npt.NDArray[np.int64] = np.count_nonzero(rows, axis=0)
    return entries


def _are_far_apart(largest: Doubles) -> bool:
    used = largest[largest > 0]
    return len(used) > 1 and bool(used.max() > _FAR_APART * used.min())


def _listed(columns: Sequence[int], largest: Doubles, names: Sequence[object] | None) -> str:
    called = [f"column {k}" if names is None else f"column {names[k]!r}" for k in columns]
    return ", ".join(f"{largest[k]:.3g} in {name}" for k, name in zip(columns, called, strict=True))


def _evenly(n_samples: int, most: int) -> npt.NDArray[np.int64]:
    """Return rows that are spread over all samples."""
    return np.arange(0, n_samples, _step(n_samples, most))


def _step(n_samples: int, most: int) -> int:
    return -(-n_samples // most)


# ---------------------------------------------------------------------------- after the first round


def warn_of_first_round(
    model: Model, inputs: Inputs, targets: Targets, loss: LossKind, when: str
) -> None:
    """Warn if the network of the first round answers absurdly, or has no unit left that learns.

    The network and the data are in the units of the training. Up to 512 rows are looked at, of wide
    X or a large network fewer. Fewer than 16 rows tell nothing. ``when``: which round that was, in
    words.
    """
    if inputs.n_samples < _FEWEST:
        return
    rows = _evenly(inputs.n_samples, _most_rows(model, inputs))
    some, wanted = inputs.take(rows), targets.take(rows)
    with np.errstate(all="ignore"):  # a network that is not finite ends the training by itself
        *hidden, z = _pre_activations(model, some)
        found = loss.mean(model.output_activation, z, wanted)
        constant = _of_a_constant(model, z, wanted, loss)
    factor = _ABSURD**2 if loss.name == "squared_error" else _ABSURD
    if found > factor * constant > 0:
        warn(
            f"{when}, the loss is {found:.3g}, and that of one answer for all rows "
            f"is {constant:.3g}. Steps are too long, or X or y has values that are too large: a "
            "smaller learning_rate helps, or scale_inputs='auto' and scale_targets='auto'",
            SettingsWarning,
        )
    for layer, of_layer in enumerate(hidden):
        if _learns_nothing(model.activation, of_layer):
            warn(
                f"{when}, all {of_layer.shape[1]} units of hidden layer {layer} are "
                f"dead or saturated: {model.activation!r} has no slope there, in almost all of "
                f"{len(of_layer)} rows, so that they learn nothing. A smaller learning_rate or "
                "init_scale helps, or scale_inputs='auto'",
                SettingsWarning,
            )
            return


def _most_rows(model: Model, inputs: Inputs) -> int:
    """Return how many rows are looked at after the first round, at most."""
    entries = inputs.n_features
    if isinstance(inputs.rows, Csr):
        entries = int(inputs.rows.starts[-1]) // inputs.n_samples
    of_entries = max(_ROWS_OF_ANY_WIDTH, ENTRIES_TOGETHER // max(1, entries))
    return max(_FEWEST, min(_MOST_ROWS, _MULTIPLY_ADDS // model._packed.size, of_entries))


def _pre_activations(model: Model, inputs: Inputs) -> Iterator[Doubles]:
    """Yield z of each layer, from products of the core.

    A product of NumPy's would wake threads of its own. They spin for a while after it, on the cores
    that the training needs.
    """
    z = _first_product(model, inputs)
    yield z
    for layer, b in enumerate(model.biases[1:], start=1):
        a = activate(model.activation, z)
        # The core multiplies in single precision. What it multiplies by the weights is at most 1,
        # so that products do not overflow where z is absurd.
        unit = np.maximum(np.abs(a).max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        begin, end = layer_ends(model.layer_sizes)[layer - 1 : layer + 1]
        parameters = model._packed[begin:end].copy()
        parameters[-len(b) :] = 0.0
        unit_inputs = inputs_of((a / unit).astype(np.float32))
        z = _product(parameters, model.layer_sizes[layer : layer + 2], unit_inputs) * unit + b
        yield z


def _first_product(model: Model, inputs: Inputs) -> Doubles:
    """Return z of the first layer. Columns in which no row has an entry are left out."""
    sizes = model.layer_sizes[:2]
    parameters = model._packed[: layer_ends(model.layer_sizes)[0]]
    rows = inputs.rows
    if isinstance(rows, Csr):  # of so few rows, the weights take longer to copy than to multiply
        used, indices = np.unique(np.append(rows.indices, 0), return_inverse=True)
        kept = np.append(used, sizes[0])  # biases are behind the weights
        parameters = parameters.reshape(-1, sizes[1])[kept].ravel()
        sizes = (len(used), sizes[1])
        inputs = inputs_of(
            replace(
                rows,
                shape=(inputs.n_samples, len(used)),
                indices=indices[:-1].astype(np.int32),
            )
        )
    return _product(parameters, sizes, inputs)


def _product(parameters: FloatArray, sizes: tuple[int, ...], inputs: Inputs) -> Doubles:
    """Return the inputs of one layer times its weights, and with its biases."""
    alone = _core.Network(
        layer_sizes=list(sizes),
        activation="identity",
        output="identity",
        parameters=parameters,
    )
    return alone.predict(samples=inputs.core, raw=True, workers=1, out=None).astype(np.float64)


def _of_a_constant(model: Model, z: Doubles, targets: Targets, loss: LossKind) -> float:
    """Return the loss of one answer for all rows: of the mean of y, or of outputs without sign."""
    answer = np.zeros_like(z)
    if model.output_activation == "identity" and targets.values is not None:
        answer[:] = targets.compared.mean(axis=0)
    constant = loss.mean(model.output_activation, answer, targets)
    if loss.name == "poisson":  # is no distance: it may be negative, and grows with the counts
        constant += float(targets.compared.sum(axis=1).mean())
    return constant


def _learns_nothing(activation: str, z: Doubles) -> bool:
    """Tell whether no unit of a layer has a slope in more than a hundredth of the rows."""
    above, below = (activate(activation, z + step) for step in (_STEP_OF_SLOPE, -_STEP_OF_SLOPE))
    is_flat = np.abs(above - below) < 2 * _STEP_OF_SLOPE * _SLOPE
    return bool((is_flat.mean(axis=0) >= _ALMOST_ALL).all())
