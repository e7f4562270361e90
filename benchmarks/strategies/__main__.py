"""Measure which way to make a training parallel is the quickest, and whether the model knows.

    make strategies                         everything; under 10 minutes on two cores
    make strategies ARGS=--quick            under a minute, to see that all works
    make strategies ARGS=--docs             and put tables, pictures and JSON into docs/
    make strategies ARGS="--redraw --docs"  without measuring, from the JSON in --out

Every strategy trains networks from 64-16-10 to 4096-4096-10 on 100 to 100,000 samples with batches
of 1 to 256, on every power of two of threads that there are cores for. The samples are ten classes
of noise around a middle each: dense, and with a fifth of nonzeros as in MNIST.

How it is measured
------------------
The machine is calibrated first, anew (omp_mlp.costs.calibrate), with twice as many takes as usual.
Then the whole grid is gone through pass after pass, so that a noisy minute spoils one pass only; in
each cell the strategies take turns, every second pass backwards; shown are medians. A time is that
of the core, from the first sample to the merged network, getting ready included; the checks of the
arguments in Python are not in it. Trainings that the model expects to take longer than
``--longest`` seconds are done on the first samples only, and the time of all is put together from
getting ready, the samples' time in proportion, and as many merges as all have; how much was
measured is in the JSON ("share"), and such trainings have no accuracy.

strategies.json is written after every cell: what was measured before a run is cut off can be drawn
with --redraw.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from omp_mlp import costs

from ..common import arguments as options
from ..common.files import Results, as_columns, from_columns, read_json
from ..common.machine import available_cores, describe_run
from ..common.progress import Progress
from ..common.report import show
from . import drawings, judge, measure, pictures, tables

COMMAND = "make strategies"
FILE = "strategies.json"
# Digits of a time, and of whatever else is measured, in the JSON.
DIGITS = 4


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    cores = available_cores()
    parser = options.parser(
        __doc__,
        *("threads", "passes", "quick", "docs", "redraw", "out"),
        threads=sorted({1, 2, *(2**k for k in range(cores.bit_length()))}),
        passes=3,
    )
    parser.add_argument("--longest", type=float, default=0.12, help="seconds of a training")
    arguments = parser.parse_args(argv)
    if max(arguments.threads) < 2:
        parser.error(f"--threads must have a number above 1; got {arguments.threads}")
    if arguments.quick:
        arguments.passes = 1
        arguments.longest = min(arguments.longest, 0.05)
    return arguments


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Calibrate and measure everything; what there is so far is written after every cell."""
    progress = Progress()
    threads, passes = arguments.threads, arguments.passes
    decided = {
        key: getattr(arguments, key) for key in ("quick", "threads", "passes", "longest")
    } | {"epochs": measure.EPOCHS}
    results = Results(arguments.out / FILE, describe_run(COMMAND, decided))
    # The calibration of this run belongs to its results, not to the user.
    os.environ["XDG_CACHE_HOME"] = str(arguments.out.resolve() / "cache")
    begin = time.perf_counter()
    cores, takes = min(available_cores(), max(threads)), 2 if passes == 1 else 4
    known = costs.calibrate(refresh=True, cores=cores, takes=takes)
    results.write(calibration_seconds=time.perf_counter() - begin, costs=known.as_dict())
    cells = measure.grid(quick=arguments.quick)
    for entries in measure.take(cells, threads, passes, known, arguments.longest):
        summary = judge.summarise(entries)
        results.write(
            run_seconds=progress.seconds,
            summary=summary,
            targets=judge.targets(entries, summary),
            entries=as_columns(entries, DIGITS),
        )
        progress(f"{summary['cells']} of {len(cells)} cells")
    return results.content


def main(argv: Sequence[str] | None = None) -> Mapping[str, Any]:
    """Measure, judge, write; return the results."""
    arguments = parse_arguments(argv)
    content = read_json(arguments.out / FILE) if arguments.redraw else run(arguments)
    entries = from_columns(content["entries"])

    def draw() -> dict[str, Figure]:
        return {**pictures.all_pictures(content, entries), **drawings.all_drawings()}

    blocks = tables.all_tables(content, entries)
    show(arguments, content, "strategies.md", "strategies", blocks, draw)
    return content


if __name__ == "__main__":
    main()
