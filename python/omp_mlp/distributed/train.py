"""Train with several ranks, over any transport."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from omp_mlp import _core
from omp_mlp.automatic import retreats, settle
from omp_mlp.checks import Matrix
from omp_mlp.distributed.agreement import (
    DEFAULTS_OF_RANKS,
    agree_on_options,
    check_goes_with_ranks,
)
from omp_mlp.distributed.data import DataOfRanks, read_data_of_ranks
from omp_mlp.distributed.job import Job, Transport
from omp_mlp.distributed.pace import measured_merge_every
from omp_mlp.doubts import FEWEST_ROWS
from omp_mlp.errors import RankError, TrainingDivergedError
from omp_mlp.model import Model
from omp_mlp.options import Options, check_options
from omp_mlp.plan import PlaceAmongRanks, Plan, make_plan
from omp_mlp.run import Run
from omp_mlp.workers import available_cores


def train_over(
    transport: Transport,
    X: Matrix | None,
    y: object,
    given: Mapping[str, Any],
    *,
    deterministic: bool,
    measures: bool = False,
) -> Model:
    """Train one network with all ranks, and return it on each of them.

    Parameters
    ----------
    transport : Transport
        To the other ranks, all of which call this function.
    X, y
        The rows of this rank, as :func:`omp_mlp.train_parallel` has them. None: no rows.
    given : mapping
        Options by their names. ``threads`` counts the replicas of each rank.
    deterministic : bool
        Whether merges have the bits of one process.
    measures : bool, default False
        Whether "auto" of ``merge_every`` looks at how long a message takes between the ranks.

    Raises
    ------
    TypeError, ValueError
        On the ranks whose options or rows are wrong, before any work, or on all of them, where they
        differ.
    RankError
        On all other ranks, if one of them fails.
    TrainingDivergedError
        On all ranks.
    """
    job = Job(transport)
    plan, data = job.together(lambda: _plan(job, X, y, given, deterministic, measures))
    try:
        model = Run(plan, data.data).train()
    except (RankError, TrainingDivergedError):
        raise  # all ranks know
    except BaseException as error:
        transport.leave(f"{type(error).__name__}: {error}")
        raise
    assert isinstance(model, Model)
    return model


def _plan(
    job: Job,
    X: Matrix | None,
    y: object,
    given: Mapping[str, Any],
    deterministic: bool,
    measures: bool,
) -> tuple[Plan, DataOfRanks]:
    unknown = [name for name in given if name not in DEFAULTS_OF_RANKS]
    if unknown:
        raise TypeError(f"{unknown[0]!r} is not an option of a training")
    options = check_options({**DEFAULTS_OF_RANKS, **given})
    check_goes_with_ranks(options, deterministic=deterministic)
    agree_on_options(job, options, deterministic=deterministic)
    share = _share_of_cores(job)
    if options.workers is None:
        options = dataclasses.replace(options, workers=share)
    data = read_data_of_ranks(job, options, X, y)
    replicas_a_rank = _replicas_a_rank(job, options, data)
    options = dataclasses.replace(
        options,
        threads=job.size * replicas_a_rank,
        strategy="replica" if options.strategy == "auto" else options.strategy,
    )
    settled = settle(options, data.data, may_search=False)
    if measures:
        every = measured_merge_every(
            job,
            settled,
            data.data,
            replicas_a_rank=replicas_a_rank,
            deterministic=deterministic,
        )
        settled = dataclasses.replace(settled, merge_every=every)
    plan = make_plan(settled, data.data, retreats=retreats(options))
    return dataclasses.replace(
        plan, ranks=_place(job, options, data, replicas_a_rank, deterministic)
    ), data


def _share_of_cores(job: Job) -> int:
    """Return how many of the cores that it may use a rank has for itself."""
    sharing = job.gather(job.transport.node).count(job.transport.node)
    return max(1, available_cores() // sharing)


def _replicas_a_rank(job: Job, options: Options, data: DataOfRanks) -> int:
    """Return the threads that were asked for, or as many as the least rank has workers."""
    if options.threads is not None:
        return options.threads
    workers = min(job.gather(options.workers or 1))
    return max(1, min(workers, data.inputs.n_samples // (FEWEST_ROWS * job.size)))


def _place(
    job: Job, options: Options, data: DataOfRanks, replicas_a_rank: int, deterministic: bool
) -> PlaceAmongRanks:
    rows_of_ranks = data.inputs.rows_of_ranks
    may_stop = options.callback is not None or options.early_stopping
    core = _core.Ranks(
        transport=job.transport,
        rank=job.rank,
        size=job.size,
        replicas_a_rank=replicas_a_rank,
        longest_shard=data.inputs.longest_shard(job.size * replicas_a_rank),
        first_row=sum(rows_of_ranks[: job.rank]),
        density=data.inputs.density,
        gathers=deterministic,
        may_stop=any(job.gather(may_stop)),
    )
    return PlaceAmongRanks(core, replicas_a_rank)
