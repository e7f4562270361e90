"""The options of a training as types, for those who check calls of ``train_parallel``.

What a training returns depends on the method by which it merges. So the signature is overloaded,
and the overloads share these options. A test compares them with the signature.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy.typing as npt

from omp_mlp.checks import Column, Matrix
from omp_mlp.costs import Costs
from omp_mlp.model import Model
from omp_mlp.options import Checkpoint
from omp_mlp.scaling import Scaling
from omp_mlp.state import TrainingState
from omp_mlp.watch import Callback


class Options(TypedDict, total=False):
    """What :func:`omp_mlp.train_parallel` takes by name."""

    preset: str | None
    hidden_layer_sizes: Sequence[int]
    activation: str
    output_activation: str
    task: str
    classes: npt.ArrayLike | None
    loss: str
    huber_delta: float
    quantile: float
    label_smoothing: float
    epochs: int | str
    batch_size: int | str
    learning_rate: float | str
    learning_rate_schedule: str
    power_t: float
    tol: float
    warmup_share: float
    optimizer: str
    momentum: float
    beta_1: float
    beta_2: float
    rho: float
    epsilon: float
    weight_decay: float | str
    l2: float
    max_norm: float | None
    state_at_merge: str
    merge_every: int | tuple[int, int] | str | None
    merge_options: Mapping[str, Any] | None
    outer_optimizer: str
    outer_learning_rate: float | str
    outer_momentum: float | str
    last_merge: str | None
    averaging: str
    averaging_span: int
    on_nonfinite: str
    warmup_samples: int
    init: str | Model
    parametrization: str
    input_gain_rate: float
    init_scale: float | str
    shuffle: str | bool
    sample_weight: npt.ArrayLike | None
    class_weight: Mapping[Any, float] | str | None
    validation_data: tuple[Matrix, Column] | None
    validate_every: int | str
    early_stopping: bool
    validation_fraction: float
    patience: int | str
    min_delta: float
    dropout: float | Sequence[float]
    first_layer: str
    precision: str
    skip_confident: float
    categorical_features: str | None
    center_inputs: bool | str
    scale_inputs: Scaling | str | bool
    scale_targets: Scaling | str | bool
    strategy: str
    costs: Costs | bool | None
    workers: int | None
    seed: int
    callback: Callback | None
    progress: bool
    keep_replicas: bool
    checkpoint: Checkpoint | None
    checkpoint_every: int | str
    resume: TrainingState | str | os.PathLike[str] | None
