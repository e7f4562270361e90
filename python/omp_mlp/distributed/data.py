"""The rows of all ranks: each reads its own, as if it had read them all."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from omp_mlp.checks import Matrix
from omp_mlp.data import TrainingData, read_data, uses_pixels
from omp_mlp.distributed.agreement import agree_on_kind, check_same, digest
from omp_mlp.distributed.job import Job
from omp_mlp.gathering import total
from omp_mlp.inputs import FIRST, Inputs, Moments, step_of_moments
from omp_mlp.options import Options
from omp_mlp.sparse import Csr
from omp_mlp.workers import effective_workers

_ROWS_OF_DENSITY = 256  # as the core has it


@dataclass(frozen=True)
class InputsOfRanks(Inputs):
    """The rows of this rank, which the core reads, and what decisions need to know of all rows.

    ``n_samples`` counts the rows of all ranks.
    """

    nonzeros: float = 0.0  # of a sample
    all_moments: Moments | None = None
    density: float = 0.0
    rows_of_ranks: tuple[int, ...] = ()

    def longest_shard(self, replicas: int) -> int:
        """Return the samples of the replica that has most, of all ranks."""
        replicas_a_rank = replicas // len(self.rows_of_ranks)
        return -(-max(self.rows_of_ranks) // replicas_a_rank)

    def nonzeros_a_sample(self) -> float:
        """Return the mean number of nonzeros in the first 256 samples of all ranks."""
        return self.nonzeros

    def moments(self) -> Moments:
        """Return what up to 4,096 samples of all ranks at equal distances are like."""
        assert self.all_moments is not None
        return self.all_moments


def share_of_rows(n_rows: int, rank: int, size: int, threads: int = 1) -> slice:
    """Return the rows of a rank: those of its ``threads`` replicas in one process."""
    quotient, rest = divmod(n_rows, size * threads)
    first, last = (
        shard * quotient + min(shard, rest) for shard in (rank * threads, (rank + 1) * threads)
    )
    return slice(first, last)


@dataclass(frozen=True)
class DataOfRanks:
    """The data of a training of several ranks."""

    data: TrainingData
    inputs: InputsOfRanks


def read_data_of_ranks(job: Job, options: Options, X: Matrix | None, y: object) -> DataOfRanks:
    """Check the data of all ranks, and read those of this rank."""
    X, y, columns = agree_on_kind(job, X, y)
    data = read_data(options, X, y, job.gather)
    _check_validation(job, data)
    inputs = _of_all(job, data.inputs)
    if uses_pixels(options):
        inputs.keep_pixels_of_all(
            job.gather,
            entries=inputs.n_samples * inputs.n_features,
            density=inputs.density,
            workers=effective_workers(options.workers, options.threads),
        )
    return DataOfRanks(dataclasses.replace(data, inputs=inputs, columns=columns), inputs)


def _check_validation(job: Job, data: TrainingData) -> None:
    held_out = data.validation
    found = "none"
    if held_out is not None:
        rows, targets = held_out.inputs.rows, held_out.targets
        arrays = (rows.starts, rows.indices, rows.values) if isinstance(rows, Csr) else (rows,)
        found = "rows of digest " + digest(*arrays, targets.indices, targets.values)
    check_same(job, {"validation_data": found})


def _of_all(job: Job, inputs: Inputs) -> InputsOfRanks:
    """Find out what one process with all rows would find out."""
    rows_of_ranks = tuple(job.gather(inputs.n_samples))
    first, n_samples = sum(rows_of_ranks[: job.rank]), sum(rows_of_ranks)
    last = first + inputs.n_samples

    def own(step: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return those of the samples 0, step, 2 step, ... of all ranks that this rank has."""
        return np.arange(-(-first // step) * step, last, step) - first

    nonzeros = total(job.gather, inputs.count_nonzeros(slice(max(min(FIRST, last) - first, 0))))
    moments = inputs.moments_of(own(step_of_moments(n_samples)))
    looked_at = own(max(1, n_samples // _ROWS_OF_DENSITY))
    stored, seen = total(job.gather, np.array([inputs.count_stored(looked_at), len(looked_at)]))
    fields = {field.name: getattr(inputs, field.name) for field in dataclasses.fields(Inputs)}
    return InputsOfRanks(
        **{**fields, "n_samples": n_samples},
        nonzeros=nonzeros / min(n_samples, FIRST),
        all_moments=total(job.gather, moments),
        density=float(stored / (seen * inputs.n_features)),
        rows_of_ranks=rows_of_ranks,
    )
