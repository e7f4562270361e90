"""Make the plan of a training: resolve what was left to "auto", and check that all fits together.

Nothing here reads a clock. A plan follows from the data and the options alone, except that
``strategy="auto"`` also asks what work costs on the machine (:func:`omp_mlp.costs.calibrate`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from omp_mlp import _core, cadence
from omp_mlp.activations import ACTIVATIONS
from omp_mlp.cadence import Merging
from omp_mlp.checks import FloatArray
from omp_mlp.costs import CHOICES, TYPICAL, Costs, Prediction, calibrate, choose, predict
from omp_mlp.data import TrainingData
from omp_mlp.gathering import Gather
from omp_mlp.losses import OF_VALUES, LossKind
from omp_mlp.network import NetworkKind, loss_kind, network_kind
from omp_mlp.options import LBFGS, ONE_NETWORK, Options, core_fields, core_options
from omp_mlp.workers import available_cores, effective_workers

# What a network answers at random at its start, training removes at its rows alone. Where rows are
# few for the inputs, much of it would stay elsewhere. So the last layer's weights start smaller by
# the rows for each input, over this number, but not below a tenth. That slows the training down,
# which classes lose by more than they gain, but for the neural tangent parametrisation.
_ENOUGH_ROWS_AN_INPUT = 100
_LEAST_LAST_WEIGHTS = 0.1
# With more inputs than this, biases of the first layer make no more difference than another seed.
_FEW_INPUTS = 16


@dataclass(frozen=True)
class PlaceAmongRanks:
    """The part of one process in a training of several, whose replicas are all in the plan."""

    core: _core.Ranks
    replicas_a_rank: int
    rank: int
    size: int
    gather: Gather
    deterministic: bool  # whether merges have the bits of one process
    send: str | float  # what is sent of updates
    overlap: bool  # whether replicas train on while updates travel
    # The arrays of all ranks as a state describes them, if one is asked for.
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """How a training goes."""

    options: Options
    n_samples: int
    network: NetworkKind
    loss: LossKind
    start: FloatArray | None  # the core's parameters to start from; None: they are drawn
    strategy: str
    threads: int
    merging: Merging
    validate_every: int  # rounds from one scoring of the validation data to the next
    prediction: Prediction | None = None
    # How often the training may halve the learning rate and go on, where it would diverge. Only a
    # rate that nobody gave may be changed.
    retreats: int = 0
    ranks: PlaceAmongRanks | None = None  # None: one process trains alone

    @property
    def total_samples(self) -> int:
        """Samples that the whole training takes."""
        return self.options.epochs * self.n_samples + self.options.warmup_samples

    @property
    def threads_here(self) -> int:
        """Replicas, or parts of the work, of this process."""
        return self.threads if self.ranks is None else self.ranks.replicas_a_rank

    @property
    def rounds(self) -> int:
        """Rounds of the whole training; a warm-up is one."""
        return self.merging.merges + (self.options.warmup_samples > 0)

    def core_init(self) -> _core.Init:
        """Return for the core how initial weights are drawn."""
        return _core.Init(**self._init())

    def _init(self) -> dict[str, Any]:
        """Return the fields of the core's Init: how initial weights and biases are drawn."""
        options = self.options
        as_ruled = {"scale": 0.0, "first_biases": 0.0, "last_weights": 1.0}
        scale = options.init_scale
        if not isinstance(scale, str):
            return {**as_ruled, "rule": "fixed", "first": "fixed", "scale": scale}
        if scale != "auto":
            return {**as_ruled, "rule": scale, "first": scale}
        is_ntk = options.parametrization == "ntk"
        auto = {**as_ruled, "last_weights": self._last_weights(is_ntk=is_ntk)}
        if is_ntk:
            return {**auto, "rule": "lecun", "first": "lecun"}
        rule = ACTIVATIONS[options.activation].init
        # He's rule keeps signals through many layers, to which the first one does not matter. Where
        # inputs are few, it makes the first layer's weights so large that training hardly turns
        # them.
        first = "glorot" if rule == "he" else rule
        # Without biases, all units bend where the inputs are 0. With few inputs, training hardly
        # moves that place.
        has_few = self.network.layer_sizes[0] <= _FEW_INPUTS and options.hidden_layer_sizes
        return {**auto, "rule": rule, "first": first, "first_biases": 1.0 if has_few else 0.0}

    def _last_weights(self, *, is_ntk: bool) -> float:
        """Return how far the last layer's weights reach, in units of what their rule says."""
        has_classes = self.network.labels is not None or self.network.is_multilabel
        if has_classes and not is_ntk:
            return 1.0
        enough_rows = _ENOUGH_ROWS_AN_INPUT * self.network.layer_sizes[0]
        return min(max(self.n_samples / enough_rows, _LEAST_LAST_WEIGHTS), 1.0)

    def core_options(self) -> _core.TrainOptions:
        """Return the options for the core."""
        options = self.options
        workers = effective_workers(options.workers, options.threads)
        if self.strategy in ("section", "synchronous"):
            # Their threads wait for each other in every batch. With more of them than cores, most
            # of the time would pass in the wait for threads that have no core.
            workers = min(workers, available_cores())
        return core_options(
            {
                **core_fields(options),
                **self._merge_fields(),
                "strategy": self.strategy if self.strategy in ONE_NETWORK else "replica",
                "threads": self.threads_here,
                "workers": min(workers, self.threads_here),
                "batch.batch_size": min(options.batch_size, self.n_samples),
                "batch.first_layer": options.first_layer,
                "optimizer.learning_rate.retreats": self.retreats,
                **{f"init.{name}": value for name, value in self._init().items()},
                "dropout": options.dropout_rates,
                "keep_replicas": options.keep_replicas or options.merges_in_python,
            }
        )

    def _merge_fields(self) -> dict[str, Any]:
        options = self.options
        if options.searches:
            # A factor of 0 gives the base back, where the search starts.
            return self.merging.core_fields(options.merge, [0.0])
        if options.merges_in_python:
            return self.merging.core_fields("average", [])
        return self.merging.core_fields(options.merge, options.method_options)


def make_plan(
    options: Options,
    data: TrainingData,
    *,
    retreats: int = 0,
    ranks: int = 1,
    merges_a_round: int = 1,
) -> Plan:
    """Resolve what was left to "auto", and check what depends on it.

    ``ranks`` share the replicas. With more than one of ``merges_a_round``, each of them merges its
    own replicas by itself, and all of them merge at the end of the round.
    """
    loss = loss_kind(options, data.targets)
    network = network_kind(options, data.inputs, data.targets, loss, data.columns)
    _check_refit(options, loss)
    _check_length(options, data.inputs.n_samples)
    is_open = options.strategy == "auto"
    strategy = "replica" if is_open else options.strategy
    if options.optimizer == LBFGS:
        is_open, strategy = False, "synchronous"
    merging = _merging(options, data, network, strategy, options.threads)
    if merges_a_round > 1:
        stream = options.epochs * data.inputs.longest_shard(options.threads)
        merging = _with_merges_of_ranks(merging, options, ranks, merges_a_round, stream)
    plan = Plan(
        options=options,
        n_samples=data.inputs.n_samples,
        network=network,
        loss=loss,
        start=network.start(options.init),
        strategy=strategy,
        threads=options.threads,
        merging=merging,
        validate_every=_validation_period(options, data, network, merging.merges),
        retreats=retreats,
    )
    _check_merging(options, plan.merging)
    _check_early_stopping(options, plan)
    prediction = _predict(options, data, network)
    if not is_open:
        return dataclasses.replace(plan, prediction=prediction)
    if prediction is None:
        strategy, threads = "replica", 1
    else:
        strategy, threads = prediction.strategy, prediction.threads
    merging = _merging(options, data, network, strategy, threads)
    return dataclasses.replace(
        plan,
        strategy=strategy,
        threads=threads,
        merging=merging,
        validate_every=_validation_period(options, data, network, merging.merges),
        prediction=prediction,
    )


def _check_length(options: Options, n_samples: int) -> None:
    if options.epochs * n_samples + options.warmup_samples >= 2**63:
        raise ValueError(
            f"epochs times samples must be less than 2^63; got {options.epochs} epochs and "
            f"{options.warmup_samples} samples of warm-up"
        )


# -------------------------------------------------------------------------- when to merge, and how


def _merging(
    options: Options, data: TrainingData, network: NetworkKind, strategy: str, threads: int
) -> Merging:
    n_samples, epochs = data.inputs.n_samples, options.epochs
    if strategy != "replica":
        # A round is an epoch: of the one network, or of the largest shard.
        shard = n_samples if strategy in ONE_NETWORK else data.inputs.longest_shard(threads)
        ends_in_average = _ends_in_average(options, 0.0, threads, epochs)
        return Merging((shard, shard), epochs, cadence.NO_OUTER_STEP, ends_in_average)
    stream = epochs * data.inputs.longest_shard(threads)
    merge_every = options.merge_every
    if options.merges_in_python and merge_every == "auto":
        merge_every = None
    period = cadence.merge_period(
        merge_every,
        is_periodic=options.is_periodic,
        threads=threads,
        batch_size=options.batch_size,
        n_samples=n_samples,
        samples_a_replica=stream,
        layer_sizes=network.layer_sizes,
        nonzeros=data.inputs.nonzeros_a_sample,
    )
    merges = cadence.count_merges(stream, period, min(options.batch_size, n_samples))
    outer = _outer_step(options, threads, merges, stream)
    ends_in_average = _ends_in_average(options, options.outer_momentum, threads, merges)
    return Merging(period, merges, outer, ends_in_average)


def _outer_step(options: Options, merged: int, merges: int, stream: int) -> cadence.OuterStep:
    """Return the outer step of so many merges, each of so many networks.

    ``stream``: the samples that a replica trains on.
    """
    # What merges at given times keeps the momentum that goes with the number of threads.
    is_given = options.merge_every != "auto"
    return cadence.outer_step(
        options.outer_optimizer,
        options.outer_learning_rate,
        options.outer_momentum,
        is_periodic=options.is_periodic,
        threads=merged,
        merges=merges,
        samples_a_replica=None if is_given else stream,
    )


def _with_merges_of_ranks(
    merging: Merging, options: Options, ranks: int, merges_a_round: int, stream: int
) -> Merging:
    """Let the ranks merge after so many merges of their own, with an outer step of the ranks."""
    rounds = -(-merging.merges // merges_a_round)
    outer = _outer_step(options, ranks, rounds, stream)
    return dataclasses.replace(merging, merges=rounds, outer=outer, merges_a_round=merges_a_round)


def _ends_in_average(
    options: Options, outer_momentum: float | str, threads: int, merges: int
) -> bool:
    if options.last_merge != "auto":
        return options.last_merge == "average"
    is_short = threads > 1 and 1 < merges <= cadence.FEW_MERGES
    return is_short and options.method.cadence == "periodic" and outer_momentum == "auto"


def _validation_period(
    options: Options, data: TrainingData, network: NetworkKind, merges: int
) -> int:
    if not isinstance(options.validate_every, str):
        return options.validate_every
    if data.validation is None:
        return 1
    nonzeros, sizes = data.inputs.nonzeros_a_sample(), network.layer_sizes
    samples = options.epochs * data.inputs.n_samples
    return cadence.validation_period(
        merges,
        epochs=options.epochs,
        rows=data.validation.inputs.n_samples,
        nonzeros=data.validation.inputs.nonzeros_a_sample(),
        training_work=samples * cadence.work_a_sample(nonzeros, sizes),
        layer_sizes=sizes,
    )


def _check_refit(options: Options, loss: LossKind) -> None:
    if options.merge == "refit_output" and loss.name in OF_VALUES:
        raise ValueError(
            "merge='refit_output' decreases the squared error or a cross-entropy by least squares; "
            f"got loss={loss.name!r}"
        )


def _check_early_stopping(options: Options, plan: Plan) -> None:
    if options.early_stopping and plan.rounds < 2:
        raise ValueError(
            "early_stopping=True judges after merges, and needs at least two of them (a smaller "
            f"merge_every, or more epochs); got {plan.rounds}"
        )


def _check_merging(options: Options, merging: Merging) -> None:
    name, outer = options.merge, merging.outer
    if options.starts_apart and (options.method.needs_base or outer.needs_base):
        raise ValueError(
            f"merge={name!r} with outer_momentum={outer.momentum:g} and outer_learning_rate="
            f"{outer.learning_rate:g} merges updates of one common start and needs init='shared' "
            "or a Model; got init='independent'"
        )
    if not options.merges_in_python:
        return
    if merging.merges > 1:
        raise ValueError(
            f"merge={name!r} merges once here, at the end, and needs merge_every=None or 'auto'; "
            f"got {options.merge_every}, which makes {merging.merges} merges"
        )
    if outer.needs_base or merging.ends_in_average:
        raise ValueError(
            f"merge={name!r} merges once here, without an outer step or another last merge; got "
            f"outer_momentum={outer.momentum:g}, outer_learning_rate={outer.learning_rate:g} and "
            f"last_merge={'average' if merging.ends_in_average else None!r}"
        )


# ---------------------------------------------------------------------------------- the cost model


def _predict(options: Options, data: TrainingData, network: NetworkKind) -> Prediction | None:
    """Return what the cost model predicts; None if no option asks for a prediction."""
    if options.optimizer == LBFGS:
        return None  # how many steps a line search takes is not known
    if options.epochs == 0 or (costs := _costs(options)) is None:
        return None
    about: dict[str, Any] = {
        "network": network.layer_sizes,
        "n_samples": data.inputs.n_samples,
        "epochs": options.epochs,
        "threads": options.threads,
        "merge_every": (
            None
            if options.merge_every == "auto" and not options.is_periodic
            else options.merge_every
        ),
        "batch_size": options.batch_size,
        "density": data.inputs.list_density(options.first_layer),
        "costs": costs,
    }
    if options.strategy != "auto":
        return predict(strategy=options.strategy, **about)
    return choose(strategies=("replica",) if options.asked_of_replicas() else CHOICES, **about)


def _costs(options: Options) -> Costs | None:
    """Return the costs to predict with; None if no option asks for a prediction."""
    costs, is_auto = options.costs, options.strategy == "auto"
    if isinstance(costs, Costs):
        return costs
    if costs is not None and not isinstance(costs, (bool, np.bool_)):
        raise TypeError(
            f"costs must be an omp_mlp.costs.Costs, True, False or None; got {type(costs).__name__}"
        )
    if costs is None and not is_auto:
        return None
    if costs is None or costs:
        return calibrate()
    return TYPICAL if is_auto else None
