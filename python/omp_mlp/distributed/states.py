"""What a state says of the data of several ranks, which other ranks may hold when it goes on."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

from omp_mlp.data import TrainingData
from omp_mlp.distributed.job import Job
from omp_mlp.options import Options
from omp_mlp.resume import arrays_of_rows, checksums, described_besides, values_of


def described_data_of_ranks(
    job: Job, data: TrainingData, options: Options, replicas_a_rank: int
) -> dict[str, Any]:
    """Return shape, dtype and checksum of all arrays, as of one process with all rows.

    A checksum is one of the checksums of the replicas' rows, in their order. So it is the same for
    any number of ranks, as long as every replica has the rows that it had.
    """
    of_replicas = [part for mine in job.gather(_parts(data, replicas_a_rank)) for part in mine]
    described = {}
    for name in {name: None for part in of_replicas for name in part}:
        parts = [part[name] for part in of_replicas if name in part]
        digests = "".join(part["sha256"] for part in parts)
        described[name] = {
            "shape": [sum(part["shape"][0] for part in parts), *parts[0]["shape"][1:]],
            "dtype": parts[0]["dtype"],
            "sha256": hashlib.sha256(digests.encode()).hexdigest(),
        }
    return {**described, **described_besides(data, options)}


def _parts(data: TrainingData, replicas: int) -> list[dict[str, Any]]:
    """Describe the rows of each replica of this rank."""
    X, y, weight = data.inputs.rows, values_of(data.targets), data.sample_weight
    # The shards of numpy.array_split, as the core cuts them.
    size, larger = divmod(len(y), replicas)
    ends = [k * size + min(k, larger) for k in range(replicas + 1)]
    return [
        checksums(
            arrays_of_rows(
                X[first:last], y[first:last], None if weight is None else weight[first:last]
            )
        )
        for first, last in pairwise(ends)
    ]
