"""Train with several ranks, over any transport."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from omp_mlp import _core, checks
from omp_mlp.automatic import retreats, settle
from omp_mlp.checks import Matrix
from omp_mlp.distributed.agreement import (
    DEFAULTS_OF_RANKS,
    agree_on_options,
    check_goes_with_ranks,
    check_same,
)
from omp_mlp.distributed.data import DataOfRanks, read_data_of_ranks
from omp_mlp.distributed.job import Job, Transport
from omp_mlp.distributed.overlap import Aside, OwnBuffers
from omp_mlp.distributed.pace import measured_pace
from omp_mlp.distributed.sending import WHOLE, Send, checked_send, of_core
from omp_mlp.distributed.states import described_data_of_ranks
from omp_mlp.doubts import FEWEST_ROWS
from omp_mlp.errors import RankError, TrainingDivergedError
from omp_mlp.model import Model
from omp_mlp.options import ROWS, Options, check_options
from omp_mlp.plan import PlaceAmongRanks, Plan, make_plan
from omp_mlp.resume import check_kind, check_plan, kept_options, settle_as
from omp_mlp.run import Run
from omp_mlp.state import TrainingState
from omp_mlp.warned import Kept, keep_warnings, warn
from omp_mlp.workers import available_cores


def train_over(
    transport: Transport,
    X: Matrix | None,
    y: object,
    given: Mapping[str, Any],
    *,
    deterministic: bool,
    merge_ranks_every: int | str = 1,
    send: Send = WHOLE,
    overlap: bool = False,
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
    merge_ranks_every : int or "auto", default 1
        Merges of a rank's replicas from one merge of the ranks to the next. 1: each merge is one
        over the replicas of all ranks. "auto": so many that these take a tenth of the training.
        Where a rank has one replica, ``merge_every="auto"`` is as much longer instead.
    send : "float32", "bfloat16" or a float between 0 and 1, default "float32"
        What the ranks send of their updates. A number: the largest ones, as large a share of all.
    overlap : bool, default False
        Whether replicas train on while the messages of a merge of ranks travel.

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
    job, aside = Job(transport), Aside()

    def plan() -> Run:
        with keep_warnings() as kept:
            run = _plan(job, aside, X, y, given, deterministic, merge_ranks_every, send, overlap)
        _warn_once(job, kept)
        return run

    run = job.together(plan)
    try:
        model = run.train()
    except (RankError, TrainingDivergedError):
        raise  # all ranks know
    except BaseException as error:
        transport.leave(f"{type(error).__name__}: {error}")
        aside.end(transport)
        raise
    assert isinstance(model, Model)
    return model


def _warn_once(job: Job, kept: Sequence[Kept]) -> None:
    """Let rank 0 give the warnings of all ranks, each once. Most are of all rows alike."""
    of_all = dict.fromkeys(one for of_rank in job.gather(kept) for one in of_rank)
    if job.rank == 0:
        for message, category in of_all:
            warn(message, category)


def _plan(
    job: Job,
    aside: Aside,
    X: Matrix | None,
    y: object,
    given: Mapping[str, Any],
    deterministic: bool,
    merge_ranks_every: int | str,
    send: Send,
    overlap: bool,
) -> Run:
    unknown = [name for name in given if name not in DEFAULTS_OF_RANKS]
    if unknown:
        raise TypeError(f"{unknown[0]!r} is not an option of a training")
    options = check_options({**DEFAULTS_OF_RANKS, **_with_state(job, given)})
    if merge_ranks_every != "auto":
        merge_ranks_every = checks.integer("merge_ranks_every", merge_ranks_every, 1)
    elif options.resume is not None:
        raise ValueError("merge_ranks_every must be a number where resume is given; got 'auto'")
    send = checked_send(send)
    overlap = checks.choice("overlap", overlap, (False, True))
    check_goes_with_ranks(options, deterministic=deterministic, send=send, overlap=overlap)
    agree_on_options(
        job,
        options,
        deterministic=deterministic,
        merge_ranks_every=merge_ranks_every,
        send=send,
        overlap=overlap,
    )
    if overlap and (reason := job.transport.why_one_thread()) is not None:
        raise ValueError(f"overlap must be False, because {reason}; got True")
    share = _share_of_cores(job)
    if options.workers is None:
        options = dataclasses.replace(options, workers=share)
    data = read_data_of_ranks(job, options, X, y)
    state = options.resume
    replicas_a_rank = _replicas_a_rank(job, options, data)
    strategy = "replica" if options.strategy == "auto" else options.strategy
    # A state has the replicas of all ranks.
    all_replicas = job.size * replicas_a_rank
    asked: Any = options.threads
    options = dataclasses.replace(options, threads=all_replicas, strategy=strategy)
    given_for_all = dataclasses.replace(options, threads=asked and all_replicas)
    if state is None:
        settled, _ = settle(options, data.data)
    else:
        settled = settle_as(given_for_all, state)
    merges_a_round = 1
    if isinstance(merge_ranks_every, int):
        merges_a_round = merge_ranks_every
    else:
        every, merges_a_round = measured_pace(
            job,
            settled,
            data.data,
            replicas_a_rank=replicas_a_rank,
            deterministic=deterministic,
            send=send,
            overlap=overlap,
        )
        settled = dataclasses.replace(settled, merge_every=every)
    plan = make_plan(
        settled,
        data.data,
        retreats=retreats(options),
        ranks=job.size,
        merges_a_round=merges_a_round,
    )
    place = _place(
        job,
        plan,
        data,
        replicas_a_rank,
        deterministic=deterministic,
        send=send,
        # A rank that is alone waits for nobody.
        aside=aside if overlap and job.size > 1 else None,
        overlap=overlap,
    )
    plan = dataclasses.replace(plan, ranks=place)
    if state is not None:
        check_plan(plan, data.data, state)
    return Run(plan, data.data, given=given_for_all, resume=state)


def _with_state(job: Job, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Let all ranks go on from the state of rank 0, with the options that it has."""
    asked = given.get("resume") is not None
    check_same(job, {"resume": "given" if asked else None})
    if not asked:
        return given
    mine: TrainingState | None = None
    if job.rank == 0:
        mine = ROWS["resume"].check("resume", given["resume"])
    state = job.gather(mine)[0]
    assert state is not None
    check_kind(state, of_ranks=True)
    kept = kept_options(state)
    threads = state.settled["threads"]
    if threads % job.size:
        raise ValueError(
            f"the {threads} replicas of the state in resume must be shared out evenly among the "
            f"ranks; got {job.size} ranks"
        )
    if kept["threads"] is not None:
        kept["threads"] = threads // job.size
    return {**kept, **given, "resume": state}


def _share_of_cores(job: Job) -> int:
    """Return how many of the cores that it may use a rank has for itself."""
    sharing = job.gather(job.transport.node).count(job.transport.node)
    return max(1, available_cores() // sharing)


def _replicas_a_rank(job: Job, options: Options, data: DataOfRanks) -> int:
    """Return the threads that were asked for, or as many as the least rank has workers."""
    if options.threads is not None:
        return options.threads
    if options.resume is not None:
        return int(options.resume.settled["threads"]) // job.size
    workers = min(job.gather(options.workers or 1))
    return max(1, min(workers, data.inputs.n_samples // (FEWEST_ROWS * job.size)))


def _place(
    job: Job,
    plan: Plan,
    data: DataOfRanks,
    replicas_a_rank: int,
    *,
    deterministic: bool,
    send: Send,
    aside: Aside | None,
    overlap: bool,
) -> PlaceAmongRanks:
    rows_of_ranks, options = data.inputs.rows_of_ranks, plan.options
    may_stop = options.callback is not None or options.early_stopping
    sent_as, share = of_core(send)
    core = _core.Ranks(
        transport=job.transport if aside is None else OwnBuffers(job.transport),
        rank=job.rank,
        size=job.size,
        replicas_a_rank=replicas_a_rank,
        longest_shard=data.inputs.longest_shard(job.size * replicas_a_rank),
        first_row=sum(rows_of_ranks[: job.rank]),
        density=data.inputs.density,
        gathers=deterministic,
        may_stop=any(job.gather(may_stop)),
        merges_a_round=plan.merging.merges_a_round,
        sent_as=sent_as,
        sent_share=share,
        aside=aside,
    )
    keeps_states = options.checkpoint is not None or options.resume is not None
    return PlaceAmongRanks(
        core,
        replicas_a_rank,
        job.rank,
        job.size,
        job.gather,
        deterministic,
        send,
        overlap,
        described_data_of_ranks(job, data.data, options, replicas_a_rank) if keeps_states else {},
    )
