"""Choose epochs and learning rate by cross-validation: noisy data need few epochs, others many.

Columns with long tails are chosen to be compressed, or not, in the same way.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from omp_mlp import _core
from omp_mlp.data import TrainingData, Validation
from omp_mlp.losses import LossKind
from omp_mlp.options import ONE_NETWORK, Options
from omp_mlp.plan import make_plan
from omp_mlp.predictor import Predictor
from omp_mlp.run import Run

# Multiply-adds of a search: a second or two of one core.
_MOST_WORK = 4e10
_FOLDS = 5
_MOST_HALVINGS = 6
_LONGER = 4  # times the epochs of the longest training
_MUCH = 1 / 6  # of the error of the shortest training
_FLAT = 1.05  # times the least error is more than the largest: hardly anything was learned
_CLEARLY = 0.99  # times an error is better than that by more than chance
_GOOD = 0.01  # Brier score: about one wrong answer in 200
_SMALL = 2000  # rows; fewer make all five folds, because one of them alone is too small to tell


def most_epochs_of_a_search(work: float) -> int:
    """Return the epochs, each of so much work, that one more training of each fold may have."""
    return int(_MOST_WORK / (_FOLDS * work))


def is_worth_a_search(options: Options, n_samples: int, work: float) -> bool:
    """Tell whether the trainings of a search, which take so much work, are few and alike.

    A search needs trainings that depend on nothing but the data, and whose held-out rows are new to
    the network that they start from.
    """
    return (
        work <= _MOST_WORK
        and n_samples >= _FOLDS  # each fold has a row at least
        and options.strategy != "hogwild"
        and isinstance(options.init, str)
        and (options.is_periodic or options.strategy in ONE_NETWORK or options.threads == 1)
        and not options.merges_in_python
    )


def search(
    contenders: Sequence[tuple[Options, TrainingData]],
    candidates: Sequence[int],
    work: float,
    *,
    changes_rate: bool,
    most_epochs: int = 0,
    most_while_learning: int = 0,
) -> tuple[Options, TrainingData]:
    """Return options and data, with the epochs and the rate of least error on held-out rows.

    ``contenders``: options, and the data read as these ask. The search goes on with those that have
    the least error after one of the candidates; with the first, if others are hardly better.

    Every fifth row of each class is held out; small data are held out once for each fifth. Each
    candidate is a whole training, because a schedule ends with it. While the longest is the best,
    one of four times as many epochs is tried, up to ``most_epochs``, or up to
    ``most_while_learning`` where the longest still learned much. Where all errors are much the
    same, learning may not have begun: one of four times as many epochs is tried up to there, too,
    and counts if it is clearly better. Classes that are told apart get no longer trainings. The
    best of all then tries twice the rate, and if that is no better, half of it. Where all diverge,
    all try half the rate.
    """
    options, data = contenders[0]
    error = _error_of(options, data, work)
    for others, other_data in contenders[1:]:
        other_error = _error_of(others, other_data, work)
        least, other_least = (
            min(of(epochs, given.learning_rate) for epochs in candidates)
            for of, given in ((error, options), (other_error, others))
        )
        if other_least < _CLEARLY * least:
            options, data, error = others, other_data, other_error
    rate = options.learning_rate
    errors = [error(epochs, rate) for epochs in candidates]
    halvings = 0
    while changes_rate and min(errors) == math.inf and halvings < _MOST_HALVINGS:
        rate, halvings = rate / 2, halvings + 1
        errors = [error(epochs, rate) for epochs in candidates]
    epochs, least = candidates[int(np.argmin(errors))], min(errors)
    longest = candidates[-1]
    # Of classes that are told apart, longer trainings make surer of the same answers.
    good = _GOOD if data.targets.labels is not None else 0.0
    while good < least < math.inf:
        still_learns = len(errors) > 1 and errors[-2] - least > _MUCH * errors[0]
        limit = max(most_epochs, most_while_learning if still_learns else 0)
        may_learn = epochs == longest and _LONGER * longest <= limit
        is_flat = len(errors) > 1 and max(errors) < _FLAT * least
        if not may_learn and not (is_flat and _LONGER * longest <= most_while_learning):
            break
        longest *= _LONGER
        errors.append(error(longest, rate))
        if errors[-1] >= (least if may_learn else _CLEARLY * least):
            break
        epochs, least = longest, errors[-1]
    for factor in (2.0, 0.5) if changes_rate and not halvings else ():
        if error(epochs, factor * rate) < least:
            rate *= factor
            break
    return dataclasses.replace(options, epochs=epochs, learning_rate=rate), data


def _error_of(options: Options, data: TrainingData, work: float) -> Callable[[int, float], float]:
    """Return the error on held-out rows as a function of epochs and rate, which remembers."""
    fold = _folds(data, options.seed)
    is_small = data.inputs.n_samples < _SMALL and _FOLDS * work <= _MOST_WORK
    splits = [_split(data, fold == k) for k in range(_FOLDS if is_small else 1)]
    alone = dataclasses.replace(
        options,
        callback=None,
        progress=False,
        keep_replicas=False,
        costs=False,
        validation_data=None,
        on_nonfinite="raise",
    )

    @functools.cache
    def error(epochs: int, rate: float) -> float:
        tried = dataclasses.replace(alone, epochs=epochs, learning_rate=rate)
        return sum(_error(tried, *split) for split in splits) / len(splits)

    return error


def _folds(data: TrainingData, seed: int) -> npt.NDArray[np.int64]:
    """Return the fold of each row: the rows of each class are dealt out in a random order."""
    n_samples = data.inputs.n_samples
    order = _core.epoch_order(
        samples=n_samples, replicas=1, replica=0, epoch=0, shuffle="global", seed=seed
    )
    if data.targets.indices is not None:
        order = order[np.argsort(data.targets.indices[order], kind="stable")]
    fold = np.empty(n_samples, dtype=np.int64)
    fold[order] = np.arange(n_samples) % _FOLDS
    return fold


def _split(data: TrainingData, held: npt.NDArray[np.bool_]) -> tuple[TrainingData, Validation]:
    kept_rows, held_rows = np.flatnonzero(~held), np.flatnonzero(held)
    weight = data.sample_weight
    kept = TrainingData(
        data.inputs.take(kept_rows, for_training=True),
        data.targets.take(kept_rows),
        None if weight is None else weight[kept_rows],
        None,
    )
    return kept, Validation(data.inputs.take(held_rows), data.targets.take(held_rows))


def _error(options: Options, kept: TrainingData, held: Validation) -> float:
    plan = make_plan(options, kept)
    model = Run(plan, kept).train_unwatched()
    return math.inf if model is None else _held_out_error(model, held, plan.loss)


def _held_out_error(model: Predictor, held: Validation, loss: LossKind) -> float:
    """Return the loss; of softmax outputs, the squared error of the probabilities (Brier 1950).

    Cross-entropy would stop trainings early that still get more rows right, because networks become
    too sure of their answers before they become wrong.
    """
    if model.output_activation != "softmax":
        return held.evaluate(model, loss)[0]
    return 2.0 * held.evaluate(model, LossKind("squared_error"))[0]
