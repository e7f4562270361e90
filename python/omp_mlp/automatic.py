"""Decide what was left to "auto" in replicas, batches, rate, epochs and centring: from the data.

Nothing here reads a clock. The numbers were chosen on tables and images of many kinds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

from omp_mlp.cadence import ENOUGH_MERGES, WORK_OF_A_MERGE, count_parameters, work_a_sample
from omp_mlp.checks import Matrix
from omp_mlp.data import TrainingData, read_data
from omp_mlp.doubts import FEWEST_ROWS
from omp_mlp.inputs import Inputs
from omp_mlp.network import layer_sizes_for
from omp_mlp.options import COMPRESS, LBFGS, ONE_NETWORK, Options
from omp_mlp.search import is_worth_a_search, most_epochs_of_a_search, search
from omp_mlp.warned import keep_warnings
from omp_mlp.workers import available_cores

# The step of a batch of up to 8 samples, in units of 1 / curvature. Squared errors are stable up to
# about 2. Replicas add up their steps, so that theirs are shorter. Cross-entropy has only a part of
# the curvature, p (1 - p).
_STEP_OF_CLASSES = 8.0
_STEP_OF_VALUES = 1.5
_STEP_OF_VALUES_OF_REPLICAS = 1.0
_MOST_RATE = 0.1
_BATCH_OF_STEP = 8

# Of adaptive optimisers, whose steps do not depend on the size of the gradient, in batches of 32.
_ADAPTIVE_RATE = 0.002
# The same in the neural tangent parametrisation, in batches of 256 that all replicas take together.
_ADAPTIVE_RATE_OF_NTK = 0.04
_BATCH_OF_NTK = 256
# About so many batches an epoch, where rows are too few for as many large ones.
_BATCHES_OF_NTK = 32
_FEWEST_IN_BATCH_OF_NTK = 16
_ADAPTIVE = ("adam", "adamw", "rmsprop")
# Of optimisers whose steps visit every weight, however few samples the batch has.
BATCH_OF_WHOLE_STEPS = 32

# Batches grow with the network: its weights pass through the caches once a batch.
_SMALL_NETWORK, _LARGE_NETWORK = 100_000, 1_000_000  # parameters

# Samples that a whole training takes, all epochs together, and limits to the epochs.
_SAMPLES = 800_000
_FEWEST_EPOCHS = 10
_MOST_EPOCHS = 80
# Of few rows, 80 epochs are few steps. A search may go on up to so many samples.
_SAMPLES_OF_FEW_ROWS = 200_000
_FEW_REPLICAS = 8  # more than these need twice as many epochs

_MOST_ITERATIONS = 200  # of L-BFGS, as in scikit-learn

_MOST_RETREATS = 10


def retreats(options: Options) -> int:
    """Return how often a training may go on with half its rate: only if nobody gave the rate."""
    return _MOST_RETREATS if _is_open(options, "learning_rate") else 0


def settle(
    options: Options,
    data: TrainingData,
    *,
    read: Callable[[Options], TrainingData] | None = None,
    most_epochs: int | None = None,
) -> tuple[Options, TrainingData]:
    """Return the options with a decision in the place of all that is left to be decided here.

    And the data, which a decision may read otherwise. ``read``: reads them as options ask. Without
    it, "auto" of the epochs is a fixed number. ``most_epochs``: what it is at most.
    """
    finds_rate, finds_epochs = (_is_open(options, name) for name in ("learning_rate", "epochs"))
    given, options = options, _decided(options, data)
    if not finds_epochs:
        return options, data
    limit = most_epochs or math.inf
    candidates, work, most_of_a_search = _epochs_to_try(options, data, limit)
    if options.early_stopping:
        return dataclasses.replace(options, epochs=candidates[-1]), data
    if read is None or not is_worth_a_search(options, data.inputs.n_samples, work):
        epochs = int(min(max(candidates[-1] // 2, _FEWEST_EPOCHS), limit))
        return dataclasses.replace(options, epochs=epochs), data
    contenders = [(options, data)]
    if options.scale_inputs == "auto" and data.inputs.has_long_tails:
        compresses = dataclasses.replace(given, scale_inputs=COMPRESS)
        with keep_warnings():  # of the data, which were read before
            other = read(compresses)
        if other.inputs.scaling is not None and len(other.inputs.scaling.compressed):
            contenders.append((_decided(compresses, other), other))
    return search(
        contenders,
        candidates,
        work,
        changes_rate=finds_rate and options.optimizer != LBFGS,
        **most_of_a_search,
    )


def read_and_settle(
    options: Options,
    X: Matrix,
    y: object,
    *,
    known: Options | None = None,
    most_epochs: int | None = None,
) -> tuple[Options, TrainingData]:
    """Read the data of one process, and settle what the options leave open.

    ``known``: the options with all decisions, of a state that the training goes on from.
    """
    if known is not None:
        return known, read_data(known, X, y)
    return settle(
        options,
        read_data(options, X, y),
        read=lambda others: read_data(others, X, y),
        most_epochs=most_epochs,
    )


def _decided(options: Options, data: TrainingData) -> Options:
    """Return the options with decisions about all but the epochs."""
    # In this order: each decision may look at those before it.
    for name, decide in _DECISIONS.items():
        if _is_open(options, name):
            options = dataclasses.replace(options, **{name: decide(options, data)})
    return options


def _is_open(options: Options, name: str) -> bool:
    return getattr(options, name) in (None, "auto")


def _replicas(options: Options, data: TrainingData) -> int:
    cores = available_cores() if options.workers is None else options.workers
    return max(1, min(cores, data.inputs.n_samples // FEWEST_ROWS))


def _center_inputs(_: Options, data: TrainingData) -> bool:
    return data.inputs.is_image


def _batch_size(options: Options, data: TrainingData) -> int:
    if options.optimizer == LBFGS:
        return data.inputs.n_samples
    if options.parametrization == "ntk":
        replicas = 1 if options.strategy in ONE_NETWORK else options.threads
        largest = max(BATCH_OF_WHOLE_STEPS, _BATCH_OF_NTK // replicas)
        # A few large batches an epoch have little of the noise that keeps small tables from being
        # learned by heart, and a last batch of few rows then decides how much.
        by_rows = 2 ** round(math.log2(data.inputs.n_samples / (_BATCHES_OF_NTK * replicas)))
        return int(max(_FEWEST_IN_BATCH_OF_NTK, min(largest, by_rows)))
    parameters = count_parameters(layer_sizes_for(options, data.inputs, data.targets))
    if parameters > _LARGE_NETWORK or not options.steps_in_place:
        return BATCH_OF_WHOLE_STEPS
    is_small = parameters <= _SMALL_NETWORK and not data.inputs.is_sparse
    return 2 if is_small and not data.inputs.is_image else 8


# ------------------------------------------------------------------------------- the learning rate


def _learning_rate(options: Options, data: TrainingData) -> float:
    """Return a rate in proportion to 1 / curvature, so that it fits all widths and scales.

    Larger batches have less noise, so that longer steps pay; they grow with the square root.
    """
    if options.optimizer == LBFGS:
        return 1.0  # a line search finds the step
    # No batch has more rows than there are. Sizes by "auto" have their rates with few rows, too.
    in_batch = min(options.batch_size, max(data.inputs.n_samples, BATCH_OF_WHOLE_STEPS))
    if options.optimizer in _ADAPTIVE:
        if options.parametrization == "ntk":
            batches = in_batch / _BATCH_OF_NTK
            return float(f"{_ADAPTIVE_RATE_OF_NTK * batches**0.5:.3g}")
        batches = in_batch / BATCH_OF_WHOLE_STEPS
        return float(f"{_ADAPTIVE_RATE * batches**0.5:.3g}")
    if data.targets.labels is not None or data.targets.is_multilabel:
        step = _STEP_OF_CLASSES
    elif options.threads == 1:
        step = _STEP_OF_VALUES
    else:
        step = _STEP_OF_VALUES_OF_REPLICAS
    batches = max(1.0, in_batch / _BATCH_OF_STEP) ** 0.5
    by_curvature = step * batches / _curvature(options, data.inputs)
    rate = min(by_curvature, _MOST_RATE * batches)
    if options.optimizer in ("momentum", "nesterov"):
        rate *= 1.0 - options.momentum  # a gradient goes on for 1 / (1 - momentum) steps
    return float(f"{rate:.3g}")


def _curvature(options: Options, inputs: Inputs) -> float:
    """Return the curvature of the squared error of one sample, at a start by He's rule.

    It is the squared norm of the gradient of an output: the sum over the layers of the squared norm
    of what a layer reads, and 1 for its bias. An input of mean square m makes hidden units of mean
    square m.
    """
    square_norm = inputs.scale**2 * inputs.moments().mean_square_norm(
        centered=options.center_inputs
    )
    if options.parametrization == "ntk":
        # The squared norm of what a layer reads is divided by its length, as its weights are.
        return (square_norm / inputs.n_features + 1.0) * (len(options.hidden_layer_sizes) + 1.0)
    hidden = sum(options.hidden_layer_sizes) * square_norm / inputs.n_features
    return square_norm + hidden + len(options.hidden_layer_sizes) + 1.0


# -------------------------------------------------------------------------------------- the epochs


def _work_of_merges(threads: int, layer_sizes: Sequence[int]) -> float:
    """Return the multiply-adds that take as long as the merges of one training, about 512."""
    merged = threads * count_parameters(layer_sizes) if threads > 1 else 0
    return ENOUGH_MERGES * WORK_OF_A_MERGE * merged


def _epochs_to_try(
    options: Options, data: TrainingData, limit: float
) -> tuple[list[int], float, dict[str, int]]:
    """Return three numbers of epochs, the work of trainings with them, and limits of a search."""
    n_samples = data.inputs.n_samples
    most_of_few_rows = 0
    if options.optimizer == LBFGS:
        most = _MOST_ITERATIONS
    else:
        longer = 2 if options.threads > _FEW_REPLICAS else 1
        most = min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, _SAMPLES // n_samples)) * longer
        most_of_few_rows = _SAMPLES_OF_FEW_ROWS // n_samples * longer
    most = int(min(most, limit))
    candidates = sorted({max(epochs, 1) for epochs in (most // 16, most // 4, most)})
    nonzeros = data.inputs.nonzeros_a_sample()
    layer_sizes = layer_sizes_for(options, data.inputs, data.targets)
    work_an_epoch = n_samples * work_a_sample(nonzeros, layer_sizes)
    work = sum(candidates) * work_an_epoch
    if options.optimizer != LBFGS:
        work += len(candidates) * _work_of_merges(options.threads, layer_sizes)
    most_while_learning = most_epochs_of_a_search(max(work_an_epoch, 1.0))
    return (
        candidates,
        work,
        {
            "most_epochs": int(min(most_of_few_rows, most_while_learning, limit)),
            "most_while_learning": int(min(most_while_learning, limit)),
        },
    )


_DECISIONS: dict[str, Callable[[Options, TrainingData], Any]] = {
    "threads": _replicas,
    "center_inputs": _center_inputs,
    "batch_size": _batch_size,
    "learning_rate": _learning_rate,
}
