"""How often ranks merge where the way between them is slow: by a clock, unlike all else."""

from __future__ import annotations

import time

import numpy as np

from omp_mlp import cadence
from omp_mlp.data import TrainingData
from omp_mlp.distributed.job import Job
from omp_mlp.distributed.sending import WHOLE, Send, message_of_sums
from omp_mlp.network import layer_sizes_for
from omp_mlp.options import Options

_SHARE = 0.1  # of the time of a training that merges of the ranks may take
_SHARE_OF_OVERLAP = 0.5  # where replicas train on meanwhile: the time between merges varies
_FEWEST_MERGES = 16
_PASSES = 5
# Multiply-adds a second of a fast core that trains on images: twice what :mod:`omp_mlp.cadence`
# counts with. On slower cores, merges take less than their share.
_SPEED = 50e9
# A rank goes over its parameters to find updates and their squares, and to take the step. They are
# not in the caches of its core any more after the training of a round.
_SECONDS_A_PARAMETER = 1e-9


MergeEvery = int | tuple[int, int] | str | None


def measured_pace(
    job: Job,
    options: Options,
    data: TrainingData,
    *,
    replicas_a_rank: int,
    deterministic: bool,
    send: Send,
    overlap: bool = False,
) -> tuple[MergeEvery, int]:
    """Return the ``merge_every`` and the merges a round that leave merges a tenth of the time.

    With ``overlap``, it is half of the time, in which nobody waits for messages.

    A round ends with a merge of the ranks. It is longer by a power of two, the same on all ranks,
    if these would take more; but there are as many rounds as epochs, and 16, at least. Where a
    rank has several replicas, they are merged as often as ever, and a round has as many merges.
    Where it has one, "auto" of ``merge_every`` is as much longer, and a number stays as it is.
    """
    every = options.merge_every
    if job.size == 1 or not options.is_periodic or options.strategy != "replica":
        return every, 1
    if every is None or (every != "auto" and replicas_a_rank == 1):
        return every, 1
    sizes = layer_sizes_for(options, data.inputs, data.targets)
    parameters = cadence.count_parameters(sizes)
    # What ranks gather of each other, if they do not send sums.
    networks = replicas_a_rank if deterministic else 0
    seconds = _seconds_of_a_merge(job, parameters, networks, send)
    replicas = job.size * replicas_a_rank
    samples = options.epochs * data.inputs.longest_shard(replicas)
    if samples == 0:
        return every, 1
    nonzeros = data.inputs.nonzeros_a_sample()
    work = cadence.work_a_sample(nonzeros, sizes)
    share = _SHARE_OF_OVERLAP if overlap else _SHARE
    period = cadence.merge_period(
        every,
        is_periodic=True,
        threads=replicas,
        batch_size=options.batch_size,
        n_samples=data.inputs.n_samples,
        samples_a_replica=samples,
        layer_sizes=sizes,
        nonzeros=lambda: nonzeros,
    )
    merges = cadence.count_merges(samples, period, options.batch_size)
    factor = longer_rounds(
        merges,
        needed=seconds * _SPEED / (share * work) * merges / samples,
        fewest=max(_FEWEST_MERGES, options.epochs),
    )
    if factor == 1:
        return every, 1
    if replicas_a_rank > 1:
        return every, factor
    return (factor * period[0], factor * period[1]), 1


def longer_rounds(merges: int, *, needed: float, fewest: int) -> int:
    """Return the power of two that makes rounds longer, and their number as much smaller.

    It is at least what is needed, so that small differences of a clock make none; but at least the
    fewest merges remain, or all, if there are fewer.
    """
    factor = 1
    while factor < needed and 2 * factor * fewest <= merges:
        factor *= 2
    return factor


def _seconds_of_a_merge(job: Job, parameters: int, gathered: int, send: Send = WHOLE) -> float:
    """Return how long a merge takes, on the rank that waits longest.

    Messages are measured. It is the least of some passes: what else the machines do now is not what
    the network is like.
    """
    transport = job.transport
    message = message_of_sums(transport, parameters, send)
    replicas = np.zeros(gathered * parameters, np.float32)
    everyone = np.zeros(job.size * len(replicas), np.float32)
    word, words = bytearray(64), bytearray(64 * job.size)
    times: list[float] = []
    for _ in range(1 + _PASSES):
        began = time.perf_counter()
        if gathered:
            transport.gather(replicas.data.cast("B"), everyone.data.cast("B"))
        else:
            message()
        transport.gather(memoryview(word), memoryview(words))  # losses, and the like
        times.append(time.perf_counter() - began)
    return max(job.gather(min(times[1:]))) + _SECONDS_A_PARAMETER * parameters
