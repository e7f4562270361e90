"""What one core can do at most, and how much of that a training needs.

``benchmarks/limits.cpp`` measures multiply-adds and bandwidths. Here the work of a training is
counted, and from both come the bounds that its samples a second are compared with.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SOURCE = Path(__file__).resolve().parents[1] / "limits.cpp"
_FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast")


def build(folder: Path) -> Path | str:
    """Compile limits.cpp into ``folder``; return the program, or why there is none."""
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    compiler = next((path for name in names if name and (path := shutil.which(name))), None)
    if compiler is None:
        return "no C++ compiler was found (c++, g++, clang++, or what CXX names)"
    program = folder / "limits"
    said = ""
    # Clang calls it -mcpu on some processors.
    for native in ("-march=native", "-mcpu=native"):
        command = [compiler, *_FLAGS, native, str(SOURCE), "-o", str(program)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return program
        said = said or next((line for line in done.stderr.splitlines() if "error" in line), "")
    return f"limits.cpp could not be compiled: {said or 'the compiler failed'}"


def measure(program: Path, core: int) -> dict[str, float]:
    """Run the program on one core."""
    # It inherits the cores of this thread, which only waits for it.
    has_affinity = hasattr(os, "sched_setaffinity")
    cores = os.sched_getaffinity(0) if has_affinity else set()
    if has_affinity:
        os.sched_setaffinity(0, [core])
    try:
        done = subprocess.run([program], capture_output=True, text=True, check=True)
    finally:
        if has_affinity:
            os.sched_setaffinity(0, cores)
    limits: dict[str, float] = json.loads(done.stdout)
    return limits


@dataclass(frozen=True)
class Work:
    """What one sample of a training costs at least, on average.

    Attributes
    ----------
    dense_flop : float
        If the first layer multiplied zeros too: forward and backward without the inputs' gradient.
    flop : float
        For nonzero inputs alone.
    read_bytes : float
        Of first-layer weights, in the forward pass: a row for each nonzero.
    update_bytes : float
        Of first-layer weights that are read and written: each row once a batch in which its input
        is nonzero.
    loads : float
        Vectors of weights or of deltas that are loaded for the first layer, and broadcast inputs,
        each of which takes the load port as long as a vector. For each nonzero a row and an input
        in the forward pass, and the same in the update.
    """

    dense_flop: float
    flop: float
    read_bytes: float
    update_bytes: float
    loads: float


def count_work(
    nonzeros: float,
    rows_a_batch: float,
    batch_size: int,
    *,
    features: int,
    hidden: int,
    outputs: int,
    vector_bytes: int,
    forward_bytes: int = 4,
) -> Work:
    """Count the work of one sample.

    Parameters
    ----------
    nonzeros : float
        Nonzero inputs of a sample, on average.
    rows_a_batch : float
        Inputs that are nonzero anywhere in a batch, on average.
    forward_bytes : int
        Of a weight that the forward pass reads: 2 where it has a bfloat16 copy. What keeping the
        copy takes is not counted.
    """
    row, forward_row = 4 * hidden, forward_bytes * hidden
    # A multiply-add is two. The second layer has three products: forward, delta, gradient.
    output_layer = 6 * hidden * outputs
    return Work(
        dense_flop=4 * features * hidden + output_layer,
        flop=4 * nonzeros * hidden + output_layer,
        read_bytes=nonzeros * forward_row,
        update_bytes=rows_a_batch / batch_size * row,
        loads=nonzeros * ((forward_row + row) / vector_bytes + 2),
    )


def bounds(work: Work, limits: Mapping[str, float]) -> dict[str, float]:
    """Return the samples a second that each limit would allow if nothing else took time."""
    reading = work.read_bytes / limits["w1_read_bytes_per_second"]
    updating = work.update_bytes / limits["w1_update_bytes_per_second"]
    loading = work.loads * limits["vector_bits"] / 8 / limits["l1_read_bytes_per_second"]
    return {
        "dense_fma": limits["flop_per_second"] / work.dense_flop,
        "fma": limits["flop_per_second"] / work.flop,
        "weights_from_l2": 1 / (reading + updating),
        "loads_from_l1": 1 / loading,
    }


def distance(
    samples_per_second: float, work: Work, limits: Mapping[str, float], *, dense: bool
) -> dict[str, Any]:
    """Say how near a training comes to its bounds.

    ``percent_of_bound`` is that of the lowest bound; with dense loops over the first layer, that of
    multiply-adds.
    """
    allowed = bounds(work, limits)
    kinds = ("dense_fma",) if dense else ("fma", "weights_from_l2", "loads_from_l1")
    tightest = min(kinds, key=allowed.__getitem__)
    moved = work.read_bytes + 2 * work.update_bytes
    peak = limits["flop_per_second"]
    return {
        "gflops_dense_equivalent": samples_per_second * work.dense_flop / 1e9,
        "percent_of_peak_dense_equivalent": 100 * samples_per_second * work.dense_flop / peak,
        "gflops_done": samples_per_second * work.flop / 1e9,
        "percent_of_peak_done": 100 * samples_per_second * work.flop / peak,
        "weight_bytes_a_cycle": samples_per_second * moved / limits["cycles_per_second"],
        "bounds_samples_per_second": allowed,
        "tightest_bound": tightest,
        "percent_of_bound": 100 * samples_per_second / allowed[tightest],
    }


def nonzero_statistics(X: np.ndarray, batch_sizes: tuple[int, ...]) -> dict[str, Any]:
    """Count nonzeros a sample, and inputs that are nonzero anywhere in a batch of each size."""
    rng = np.random.default_rng(0)
    present = X[rng.permutation(len(X))[:20_000]] != 0
    rows = {
        size: float(
            np.mean(
                [
                    np.count_nonzero(present[first : first + size].any(axis=0))
                    for first in range(0, max(1, len(present) - size + 1), size)
                ]
            )
        )
        for size in batch_sizes
    }
    return {
        "nonzeros_a_sample": float(present.sum(axis=1).mean()),
        "rows_a_batch": rows,
    }
