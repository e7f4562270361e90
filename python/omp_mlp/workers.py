"""How many operating-system threads run the replicas: this changes the speed, not the result."""

from __future__ import annotations

import math
import os
from pathlib import Path

from omp_mlp import _core

_CGROUP = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Count the cores that this process may use.

    This is the least of five limits, and at least 1: OpenMP's own maximum (which knows
    threadpoolctl's limits), ``OMP_NUM_THREADS``, the process's CPU affinity, its cgroup's CPU
    quota, and ``LOKY_MAX_CPU_COUNT``.

    ``torch.set_num_threads`` sets OpenMP's maximum, too, where PyTorch and this package share one
    OpenMP runtime. It may lower the limit, as threadpoolctl does, and cannot raise it.
    """
    limits = [_core.openmp_max_threads(), _affinity()]
    quota = _cgroup_quota()
    if quota is not None:
        limits.append(max(1, math.ceil(quota)))
    # Of a list, as "4,2", the first number is that of the outermost level.
    for text in (
        os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip(),
        os.environ.get("LOKY_MAX_CPU_COUNT", ""),
    ):
        if text.isdecimal() and int(text) > 0:
            limits.append(int(text))
    return max(1, min(limits))


def effective_workers(workers: int | None, threads: int | None) -> int:
    """Return the number of workers: the wish, or the cores; never more than ``threads``."""
    if threads == 1:
        return 1
    wanted = available_cores() if workers is None else workers
    return wanted if threads is None else min(threads, wanted)


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup_quota() -> float | None:
    """CPU time a period in cores, or None without a limit (cgroup v2, then v1)."""
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota_us = int((_CGROUP / "cpu" / "cpu.cfs_quota_us").read_text())
        period_us = int((_CGROUP / "cpu" / "cpu.cfs_period_us").read_text())
        return quota_us / period_us if quota_us > 0 and period_us > 0 else None
    except (OSError, ValueError):
        return None
