"""The process of one peer, as the script that starts it sees it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..common.process import Process
from . import Row

# Of every library's pool of threads.
_THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NPROC",  # XLA's
)


class PeerProcess(Process):
    """A peer with its data, in a process of its own (serve.py), on cores of its own.

    Parameters
    ----------
    row : Row
    cores : sequence of int
        Where the process is pinned to; their number is that of its threads.
    data : mapping
        What :func:`.data.load` reads.
    environment : mapping
        Variables for this process alone.
    """

    def __init__(
        self,
        row: Row,
        cores: Sequence[int],
        data: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            row.label,
            [sys.executable, "-m", f"{__package__}.serve"],
            {**_environment(len(cores)), **(environment or {})},
            row=asdict(row),
            cores=list(cores),
            data=dict(data),
        )


def _environment(cores: int) -> dict[str, str]:
    """Return the environment of a process that may use so many cores."""
    environment = {**os.environ, **dict.fromkeys(_THREAD_COUNTS, str(cores))}
    # Each run says what it needs; a setting of the user's would change one peer and not the others.
    for name in ("OMP_MLP_KERNELS", "OMP_WAIT_POLICY", "GOMP_CPU_AFFINITY", "OMP_PROC_BIND"):
        environment.pop(name, None)
    environment["JAX_PLATFORMS"] = "cpu"
    environment["XLA_FLAGS"] = (
        "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" if cores == 1 else ""
    )
    return environment
