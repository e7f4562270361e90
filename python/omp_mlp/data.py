"""The data of a training: X, y, the weights of the samples, and data to validate on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp.checks import FloatArray, Matrix
from omp_mlp.early_stopping import split
from omp_mlp.encoding import Columns, find_columns
from omp_mlp.far_columns import warning_of_columns
from omp_mlp.gathering import Gather, alone, total
from omp_mlp.inputs import Inputs, read_inputs, read_rows
from omp_mlp.losses import OF_VALUES, LossKind
from omp_mlp.model import Model
from omp_mlp.options import COMPRESS, ONE_NETWORK, Options
from omp_mlp.outliers import Limits, find_limits
from omp_mlp.predictor import Predictor
from omp_mlp.reading import read_known
from omp_mlp.scaling import Scaling
from omp_mlp.targets import (
    TargetKind,
    Targets,
    among,
    as_target,
    check_not_negative,
    doubtful_task,
    read_class_weight,
    read_classes,
    read_sample_weight,
    read_targets,
)
from omp_mlp.warned import SettingsWarning, TaskWarning, warn
from omp_mlp.workers import effective_workers


@dataclass(frozen=True, eq=False, repr=False)
class Validation:
    """Data that the training does not see."""

    inputs: Inputs
    targets: Targets
    near: Targets | None = None  # without outliers, if there are any; early stopping judges by them

    def evaluate(self, model: Predictor, loss: LossKind) -> tuple[float, float]:
        """Return loss and score."""
        return model._evaluate(self.inputs, self.targets, loss)

    def near_loss(self, model: Predictor, loss: LossKind) -> float:
        """Return the loss without outliers; only where there are any."""
        assert self.near is not None
        return model._evaluate(self.inputs, self.near, loss)[0]


@dataclass(frozen=True, eq=False, repr=False)
class TrainingData:
    """All data of a training, checked."""

    inputs: Inputs
    targets: Targets
    sample_weight: FloatArray | None
    validation: Validation | None
    columns: Columns | None = None  # of X, if it is a table


def read_data(
    options: Options,
    X: Matrix,
    y: object,
    gather: Gather | None = None,
    *,
    found: Collection[str] = (),
) -> TrainingData:
    """Check the data, and read them as the options ask.

    ``gather``: from all processes that have rows of X and y, which may be none here. All then read
    theirs alike, and no rows are held out. ``found``: the options among "scale_inputs" and
    "scale_targets" whose Scaling was found in earlier rows, and nobody gave it. Outliers are then
    brought nearer as with "auto".
    """
    matrix, columns = _read_columns(options, X)
    y = as_target(y, "y")
    workers = effective_workers(options.workers, options.threads)
    holds_out = options.early_stopping and options.validation_data is None
    for_replicas = uses_pixels(options)
    scale_inputs = _scale_inputs(options)
    rows = read_rows(matrix, n_features=_columns_of(scale_inputs), may_be_empty=gather is not None)
    brings_outliers = _brings_outliers(options, scale_is_found="scale_targets" in found)
    targets = _read_y(options, y, rows.shape[0], brings_outliers, gather or alone)
    kept = held = None
    as_given, near = targets, None
    if holds_out:
        # Nothing but the rows to train on decides what the network makes of X and y.
        kept, held = split(targets, rows.shape[0], options.validation_fraction, options.seed)
        targets, as_given, near = _without_held(options, y, targets, brings_outliers, kept, held)
        if columns is not None and _columns_of_start(options) is None:
            if columns.encodings is not None:
                matrix, columns = _read_columns(options, X, kept)
                rows = read_rows(matrix, n_features=_columns_of(scale_inputs))
            elif columns.medians is not None:
                columns = columns.with_medians(matrix, kept)
    if targets.limits is not None:
        warn(targets.limits.warning(), SettingsWarning)
    weight = _read_weight(options, targets, rows.shape[0], kept, gather or alone)
    inputs = read_inputs(
        rows,
        for_training=True,
        for_replicas=for_replicas and not holds_out and gather is None,
        workers=workers,
        scaling=_scaling_of(scale_inputs),
        sample=kept,
        gather=gather,
        finds_limits="scale_inputs" in found,
        compresses=scale_inputs == COMPRESS,
        columns=columns,
    )
    if isinstance(scale_inputs, str) or "scale_inputs" in found:
        _warn_of_far_columns(inputs, kept, columns, gather or alone)
    if kept is None or held is None:
        validation = _validation(options, inputs, targets, columns)
        return TrainingData(inputs, targets, weight, validation, columns)
    data = TrainingData(
        inputs.take(kept, for_training=True),
        targets.take(kept),
        weight,
        Validation(
            inputs.take(held), as_given.take(held), None if near is None else near.take(held)
        ),
        columns,
    )
    if for_replicas:
        data.inputs.core.keep_pixels(workers=workers)
    return data


def uses_pixels(options: Options) -> bool:
    """Return whether a training uses a copy of float inputs as bytes, if they are bytes.

    Replicas do so if they read X sparse and train for an epoch at least.
    """
    return (
        options.strategy not in ONE_NETWORK
        and options.first_layer != "dense"
        and options.epochs != 0
    )


def _read_y(
    options: Options,
    y: npt.NDArray[Any],
    n_samples: int,
    brings_outliers: bool,
    gather: Gather,
) -> Targets:
    # Logistic outputs are between 0 and 1: the values have to be, too, and stay as they are.
    # A rate has no shift.
    scales = (
        options.scale_targets is not False
        and options.output_activation in ("auto", "identity")
        and options.loss != "poisson"
    )
    task = "values" if options.task == "auto" and options.loss in OF_VALUES else options.task
    if options.classes is not None:
        labels = read_classes(options.classes)
        targets = read_targets(y, n_samples, like=TargetKind(labels, len(labels)))
    else:
        scaling = _scaling_of(options.scale_targets) if scales else None
        targets = read_targets(
            y,
            n_samples,
            scaling=scaling,
            brings_outliers=brings_outliers,
            task=task,
            gather=gather,
        )
        if targets.scaling is not None:
            _check_outputs(targets, scaling)
        if isinstance(options.init, Model):
            targets = among(targets, options.init.classes)
    if options.loss == "poisson":
        check_not_negative(targets, "y")
    if (
        task == "auto"
        and options.classes is None
        and (doubt := doubtful_task(y, targets, gather)) is not None
    ):
        warn(doubt, TaskWarning)
    return targets


def _without_held(
    options: Options,
    y: npt.NDArray[Any],
    targets: Targets,
    brings_outliers: bool,
    kept: npt.NDArray[np.int64],
    held: npt.NDArray[np.int64],
) -> tuple[Targets, Targets, Targets | None]:
    """Return the targets to train on, to score by, and to judge by where these are others.

    The rows to train on tell scale and limits, if no scale was given. Scores have y as it is given.
    But one outlier among the rows that are held out would decide alone which network is the best.
    """
    if targets.scaling is None or options.scale_targets != "auto":
        return targets, targets, None
    found = read_targets(
        y[kept], len(kept), scaling="auto", brings_outliers=brings_outliers, task="values"
    )

    def scaled(limits: Limits | None) -> Targets:
        return read_targets(y, len(y), scaling=found.scaling, limits=limits, task="values")

    as_given = scaled(None)
    if not brings_outliers:
        return as_given, as_given, None
    if found.limits is not None:
        near = scaled(found.limits)
        return near, as_given, near
    values = y.reshape(len(y), -1)
    of_held = find_limits(values[kept], beside=values[held])
    return as_given, as_given, None if of_held is None else scaled(of_held)


def _brings_outliers(options: Options, *, scale_is_found: bool) -> bool:
    """Tell whether values far from all others are brought nearer: other losses bound their pull."""
    is_found = scale_is_found or options.scale_targets == "auto"
    return is_found and options.loss in ("auto", "squared_error")


def _warn_of_far_columns(
    inputs: Inputs,
    kept: npt.NDArray[np.int64] | None,
    columns: Columns | None,
    gather: Gather,
) -> None:
    """Warn if values in X, or in the rows that are kept, are beyond the limits of its scaling."""
    scaling = inputs.scaling
    if scaling is None or scaling.limits is None:
        return
    at = scaling.limited
    assert isinstance(inputs.rows, np.ndarray)
    rows = inputs.rows[:, at] if kept is None else inputs.rows[np.ix_(kept, at)]
    lower, upper = scaling.scaled_limits()
    beyond = total(gather, ((rows <= lower) | (rows >= upper)).sum(axis=0))
    n_rows = total(gather, len(rows))
    is_used = beyond > 0
    if not is_used.any():
        return
    names = None if columns is None else columns.input_names
    used = at[is_used]
    called = [f"column {j}" if names is None else f"column {names[j]!r}" for j in used]
    limits = (scaling.limits[0][used], scaling.limits[1][used])
    warn(warning_of_columns(beyond[is_used], n_rows, limits, called), SettingsWarning)


def _read_weight(
    options: Options,
    targets: Targets,
    n_samples: int,
    kept: npt.NDArray[np.int64] | None,
    gather: Gather,
) -> FloatArray | None:
    """Return the weights of the rows to train on; ``kept``: None if these are all."""
    weight = read_sample_weight(options.sample_weight, n_samples)
    if kept is not None:
        weight, targets = None if weight is None else weight[kept], targets.take(kept)
    if options.class_weight is None:
        return weight
    weight = np.ones(1, np.float32) if weight is None else weight
    with np.errstate(over="ignore", invalid="ignore"):
        of_both = weight * read_class_weight(options.class_weight, targets, gather)
    if not np.isfinite(of_both).all():
        raise ValueError(
            "sample_weight times class_weight must be finite in float32; got "
            f"{of_both[~np.isfinite(of_both)][0]}"
        )
    if total(gather, np.count_nonzero(of_both)) == 0:
        raise ValueError(
            "class_weight must leave a sample a weight above zero; got zero for every sample"
        )
    return of_both


def _read_columns(
    options: Options, X: Matrix, rows: npt.NDArray[np.int64] | None = None
) -> tuple[Any, Columns | None]:
    """Return X as the network reads it, and what is known of its columns from some rows or all."""
    columns = _columns_of_start(options)
    if columns is None:
        return find_columns(X, encodes=options.categorical_features is not None, rows=rows)
    matrix = columns.read(X)
    filled = columns.filled(X, matrix)
    return matrix if filled is None else filled, columns


def _columns_of_start(options: Options) -> Columns | None:
    return options.init.columns if isinstance(options.init, Model) else None


def _scale_inputs(options: Options) -> Scaling | str | bool:
    """Return the option; a start that compresses columns goes on with the columns as they were."""
    init, option = options.init, options.scale_inputs
    if isinstance(option, str) and isinstance(init, Model) and init.input_scaling is not None:
        return option if init.input_scaling.bend is None else init.input_scaling
    return option


def _scaling_of(option: Scaling | str | bool) -> Scaling | str | None:
    return None if isinstance(option, bool) else option


def _columns_of(option: Scaling | str | bool) -> int | None:
    return len(option.scale) if isinstance(option, Scaling) else None


def _check_outputs(targets: Targets, scaling: Scaling | str | None) -> None:
    n_outputs = targets.kind.n_outputs
    if isinstance(scaling, Scaling) and len(scaling.scale) != n_outputs:
        raise ValueError(
            f"scale_targets is for {len(scaling.scale)} column(s) of y; got {n_outputs}"
        )


def _validation(
    options: Options, inputs: Inputs, targets: Targets, columns: Columns | None
) -> Validation | None:
    if options.validation_data is None:
        return None
    X, y = options.validation_data
    read = read_known(
        columns,
        X,
        name="validation_data[0]",
        n_features=inputs.n_features,
        scaling=inputs.scaling,
    )
    name = "validation_data[1]"
    held_out = read_targets(
        y, read.n_samples, name=name, like=targets.kind, scaling=targets.scaling
    )
    if options.loss == "poisson":
        check_not_negative(held_out, name)
    return Validation(read, held_out)
