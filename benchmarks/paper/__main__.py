"""Measure Figures 3, 4 and 5 of the note and judge its claims.

    make figures                            # threads 1 2 4 6 8 10 12 16, five seeds
    make figures ARGS=--quick               # two seeds, three timing passes
    python -m benchmarks.paper --docs       # and put tables and pictures into docs/paper.md

Figure 3  training time against threads
Figure 4  accuracy against threads, `average`
Figure 5  accuracy against threads, `sum` (green) beside `average`

How it is measured
------------------
Accuracy and time are taken apart. For accuracy there is one training for each (threads, seed) with
``merge="average"`` and ``keep_replicas=True``. The same replicas are merged by ``sum``, scored one
by one, and asked together, so the curves differ by the way the replicas are used and by nothing
else.

For time the numbers of threads take turns in passes. Shown are the median and the range. A speed-up
is the median of the ratios within a pass. Time is ``history.train_seconds +
history.merge_seconds``: loading the data and checking the arguments are not in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from ..common import arguments as reading
from ..common import data as images
from ..common import files, machine, timing
from ..common.progress import Progress
from ..common.report import show
from . import PRESETS, THREADS, judge, measure, pictures, tables

COMMAND = "make figures"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = reading.parser(
        __doc__,
        *("data", "threads", "seeds", "passes", "patience", "limit", "quick", "docs", "out"),
        threads=list(THREADS),
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default="paper")
    arguments = parser.parse_args(argv)
    if arguments.docs and (arguments.preset, arguments.limit) != ("paper", None):
        parser.error("--docs takes a run with the preset paper on all samples")
    arguments.threads = sorted(set(arguments.threads))
    arguments.seeds = arguments.seeds or (2 if arguments.quick else 5)
    arguments.passes = arguments.passes or (3 if arguments.quick else 9)
    if arguments.quick:
        arguments.patience = 0.0
    return arguments


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, write all files, print the tables and return the results."""
    arguments = parse_arguments(argv)
    data = images.load(arguments.data, arguments.limit, split="paper", dtype="float32")
    preset = PRESETS[arguments.preset]
    names = ("preset", "threads", "seeds", "passes", "limit", "quick")
    options = {"training": preset, **{name: getattr(arguments, name) for name in names}}
    # The plain names are those of the pictures in docs/.
    is_usual = (data.slug, arguments.preset) == ("mnist", "paper")
    suffix = "" if is_usual else f"-{data.slug}-{arguments.preset}"
    results = files.Results(
        arguments.out / f"paper{suffix}.json",
        {**machine.describe_run(COMMAND, options), "data": data.describe()},
    )
    say = Progress()
    probe = timing.Probe(machine.available_cores(), arguments.patience)
    counts, seeds = arguments.threads, arguments.seeds
    accuracy = results.take("accuracy", lambda: measure.accuracy(data, counts, seeds, preset, say))
    # After the accuracies, so that nothing is cold.
    time = results.take(
        "time", lambda: measure.times(data, counts, arguments.passes, preset, probe, say)
    )
    results.take("shared_start", lambda: measure.shared_start(data, say, quick=arguments.quick))
    share = measure.undisturbed_share(time["rows"], results.content["build"]["workers"])
    results.write(claims=[asdict(claim) for claim in judge.all_claims(accuracy, time, share)])
    draw = partial(pictures.all_pictures, results.content, suffix, share)
    show(arguments, results.content, "paper.md", "paper", tables.blocks(results.content), draw)
    return results.content


if __name__ == "__main__":
    main()
