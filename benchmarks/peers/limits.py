"""What one core can do at most, and how much of that a training needs.

``limits.cpp`` measures the clock, multiply-adds and bandwidths; :func:`plausible` says which of
them are to be believed. The work of a training is counted, and from both come the bounds that its
samples a second are compared with. What rests on a measurement that is not to be believed is
unknown: None, null in JSON, "unknown" in tables.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..common.machine import stay_on, usable_cores
from ..common.timing import summarise

SOURCE = Path(__file__).with_name("limits.cpp")
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


def measure(program: Path, core: int) -> dict[str, float | None]:
    """Run the program on one core; return what is to be believed, see :func:`plausible`."""
    # It inherits the cores of this thread, which only waits for it.
    cores = usable_cores()
    stay_on([core])
    try:
        done = subprocess.run([program], capture_output=True, text=True, check=True)
    finally:
        stay_on(cores)
    return plausible(json.loads(done.stdout))


# Hz. Slow embedded cores are above the lower end, and no core is sold with the clock at the upper.
CLOCKS = (0.2e9, 7e9)
# By so much of it the clocks of the two chains may differ.
CLOCK_TOLERANCE = 0.05
# Vectors a cycle, least and most. The most are more than any core has units for; below the least,
# other work had the core in every pass.
VECTORS_A_CYCLE = {
    "flop_per_second": (0.2, 4.0),
    "l1_read_bytes_per_second": (0.2, 4.0),
    "w1_read_bytes_per_second": (0.02, 4.0),
    "w1_update_bytes_per_second": (0.02, 2.0),
}


def plausible(measured: Mapping[str, float]) -> dict[str, float | None]:
    """Return the limits; those that no core can have are None.

    Parameters
    ----------
    measured : mapping
        What ``limits.cpp`` prints: ``vector_bits``; ``additions_per_second`` and
        ``rotations_per_second`` of the two chains, whose instructions take a cycle each; and the
        rates named in ``VECTORS_A_CYCLE``.

    Returns
    -------
    dict
        ``vector_bits``, ``cycles_per_second`` and the rates. Without a clock that both chains agree
        about, nothing else can be checked, and all are None.
    """
    chains = measured["additions_per_second"], measured["rotations_per_second"]
    cycles = max(chains)
    known = (
        CLOCKS[0] <= min(chains)
        and cycles <= CLOCKS[1]
        and min(chains) >= (1 - CLOCK_TOLERANCE) * cycles
    )
    limits: dict[str, float | None] = {
        "vector_bits": measured["vector_bits"],
        "cycles_per_second": cycles if known else None,
    }
    for name, (least, most) in VECTORS_A_CYCLE.items():
        # A multiply-add of a vector is two operations on each of its floats.
        vector = measured["vector_bits"] / (16 if name == "flop_per_second" else 8)
        rate = measured[name]
        limits[name] = rate if known and least <= rate / vector / cycles <= most else None
    return limits


def summarised(measured: Sequence[Mapping[str, float | None]]) -> dict[str, dict[str, Any] | None]:
    """Return median, range and runs of each limit; None where most of the runs are unknown."""
    known = {key: [run[key] for run in measured if run[key] is not None] for key in measured[0]}
    return {
        key: summarise(runs) if 2 * len(runs) > len(measured) else None
        for key, runs in known.items()
    }


@dataclass(frozen=True)
class Work:
    """What one sample of a training costs at least, on average."""

    # If the first layer multiplied zeros too: forward and backward without the inputs' gradient.
    dense_flop: float
    flop: float  # for nonzero inputs alone
    # Bytes of first-layer weights in the forward pass: a row for each nonzero.
    read_bytes: float
    # Bytes of those that are read and written: a row once a batch in which its input is nonzero.
    update_bytes: float
    # Vectors of weights or of deltas that are loaded for the first layer, and broadcast inputs,
    # each of which takes the load port as long as a vector. For each nonzero a row and an input in
    # the forward pass, and the same in the update.
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
) -> Work:
    """Count the work of one sample.

    On average, a sample has so many ``nonzeros``, and a batch so many rows of which some input is
    not zero.
    """
    row = 4 * hidden
    # A multiply-add is two. The second layer has three products: forward, delta, gradient.
    output_layer = 6 * hidden * outputs
    return Work(
        dense_flop=4 * features * hidden + output_layer,
        flop=4 * nonzeros * hidden + output_layer,
        read_bytes=nonzeros * row,
        update_bytes=rows_a_batch / batch_size * row,
        loads=nonzeros * (2 * row / vector_bytes + 2),
    )


def bounds(work: Work, limits: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the samples a second that each limit would allow if nothing else took time."""
    flop, loaded = limits["flop_per_second"], limits["l1_read_bytes_per_second"]
    read, updated = limits["w1_read_bytes_per_second"], limits["w1_update_bytes_per_second"]
    bits = limits["vector_bits"]
    assert bits is not None
    return {
        "dense_fma": flop and flop / work.dense_flop,
        "fma": flop and flop / work.flop,
        "weights_from_l2": read
        and updated
        and 1 / (work.read_bytes / read + work.update_bytes / updated),
        "loads_from_l1": loaded and loaded / (work.loads * bits / 8),
    }


def distance(
    samples_per_second: float, work: Work, limits: Mapping[str, float | None], *, dense: bool
) -> dict[str, Any]:
    """Say how near a training comes to its bounds.

    ``percent_of_bound`` is that of the lowest bound; with dense loops over the first layer, that of
    multiply-adds. If one of the bounds is unknown, so is which is the lowest.
    """
    allowed = bounds(work, limits)
    kinds = ("dense_fma",) if dense else ("fma", "weights_from_l2", "loads_from_l1")
    known = {kind: bound for kind in kinds if (bound := allowed[kind]) is not None}
    tightest = min(known, key=known.__getitem__) if len(known) == len(kinds) else None
    moved = work.read_bytes + 2 * work.update_bytes
    peak, cycles = limits["flop_per_second"], limits["cycles_per_second"]
    return {
        "gflops_dense_equivalent": samples_per_second * work.dense_flop / 1e9,
        "percent_of_peak_dense_equivalent": peak
        and 100 * samples_per_second * work.dense_flop / peak,
        "gflops_done": samples_per_second * work.flop / 1e9,
        "percent_of_peak_done": peak and 100 * samples_per_second * work.flop / peak,
        "weight_bytes_a_cycle": cycles and samples_per_second * moved / cycles,
        "bounds_samples_per_second": allowed,
        "tightest_bound": tightest,
        "percent_of_bound": tightest and 100 * samples_per_second / known[tightest],
    }


def nonzero_statistics(X: np.ndarray, batch_sizes: tuple[int, ...]) -> dict[str, Any]:
    """Count nonzeros a sample, and inputs that are nonzero anywhere in a batch of each size."""
    rng = np.random.default_rng(0)
    present = X[rng.permutation(len(X))[:20_000]] != 0

    def rows(size: int) -> float:
        batches = [present[i : i + size] for i in range(0, max(1, len(present) - size + 1), size)]
        return float(np.mean([batch.any(axis=0).sum() for batch in batches]))

    return {
        "nonzeros_a_sample": float(present.sum(axis=1).mean()),
        "rows_a_batch": {size: rows(size) for size in batch_sizes},
    }
