"""Measure how much accuracy n replicas keep, and how much sooner they get there, for every merge.

    make frontier                         everything; under half an hour on two cores
    make frontier ARGS=--quick            under two minutes, to see that all works
    make frontier ARGS=--docs             and put tables, pictures and JSON into docs/
    make frontier ARGS=--resume           go on where an earlier run was ended
    make frontier ARGS="--redraw --docs"  without measuring, from the JSON in --out
    make frontier ARGS=--tune             choose all settings again, and nothing else

Parts (--only)
--------------
score    the test score after a fixed number of samples over all replicas together (5 epochs on
         MNIST), for each line, n and seed; one merge at the end by every method, with shared and
         with independent starts
epochs   scores of trainings of several lengths
time     from these the epochs that a line needs for 97.0, 97.5 and 98.0 %, and their time
changes  one change at a time of the settings, on the validation split
rules    other rules to merge by, on the validation split

What a part, and of the scores each data set, has found is written as soon as it is there.

docs/frontier.md says how it is measured. Nothing is chosen on the test samples.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from ..common import arguments as options
from ..common.files import Results, read_json
from ..common.machine import describe_run
from ..common.progress import Progress
from ..common.report import show
from . import judge, measure, pictures, tables
from . import tune as tuning
from .problems import LOADERS, Source
from .settings import COMMON, SETTINGS_FILE, searched_periods, write_chosen
from .work import pool

COMMAND = "make frontier"
FILE = "frontier.json"
THREADS = (1, 2, 4, 8, 16, 32, 64)
QUICK_THREADS = (1, 8, 64)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = options.parser(
        __doc__, "data", "threads", "seeds", "patience", "quick", "limit", "resume", "redraw",
        "docs", "out",
    )  # fmt: skip
    add = parser.add_argument
    add("--problems", nargs="+", choices=LOADERS, default=list(LOADERS), metavar="PROBLEM")
    parts = measure.PARTS
    add("--only", nargs="+", choices=parts, default=list(parts), metavar="PART")
    again = "with --resume: measure these parts again"
    add("--again", nargs="+", default=[], choices=parts, metavar="PART", help=again)
    tune = "choose settings on a validation split, for score, time or both, and nothing else"
    add("--tune", nargs="*", choices=tuning.PURPOSES, metavar="PURPOSE", help=tune)
    add("--lines", nargs="+", metavar="LINE", help="the lines to tune")
    arguments = parser.parse_args(argv)
    if arguments.again and not arguments.resume:
        parser.error("--again measures parts of an earlier run again: it needs --resume")
    if "epochs" in arguments.again:
        arguments.again.append("time")  # is made from them
    return arguments


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, write all files, print the tables and return the results."""
    arguments = parse_arguments(argv)
    if arguments.tune is not None:
        return tune(arguments)
    content = read_json(arguments.out / FILE) if arguments.redraw else run(arguments)
    draw = partial(pictures.all_pictures, content)
    show(arguments, content, "frontier.md", "frontier", tables.all_tables(content), draw)
    return content


def tune(arguments: argparse.Namespace) -> dict[str, Any]:
    """Choose settings, and write them."""
    progress = Progress()
    described = describe_run(COMMAND, {})
    with pool(progress) as workers:
        chosen = tuning.tune(
            workers,
            Source(arguments.data, arguments.limit),
            arguments.problems,
            arguments.lines,
            arguments.tune or tuning.PURPOSES,
            arguments.threads,
            lambda found: write_chosen(found, described),
            resume=arguments.resume,
        )
    progress.say(f"written: {SETTINGS_FILE}")
    return chosen


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure what was asked for; all that there is so far is written after every piece."""
    progress, quick = Progress(), arguments.quick
    threads = sorted({1, *(arguments.threads or (QUICK_THREADS if quick else THREADS))})
    seeds = arguments.seeds or (1 if quick else 3)
    decided = {"quick": quick, "limit": arguments.limit, "threads": threads, "mnist_seeds": seeds}
    results = Results(
        arguments.out / FILE,
        describe_run(COMMAND, decided),
        resume=arguments.resume,
        again=arguments.again,
    )
    patience = 0.0 if quick else arguments.patience
    pieces = results.content["pieces"]
    with pool(progress) as workers:
        source = Source(arguments.data, arguments.limit)
        bench = measure.Bench(
            source, workers, tuple(arguments.problems), tuple(threads), seeds, quick, patience,
            progress,
        )  # fmt: skip
        for name, take in measure.pieces(bench, arguments.only, pieces):
            progress.say(name)
            results.take(name, take)
    results.write(
        common_options=COMMON,
        searched=searched_periods(),
        floors=judge.floors(pieces),
        rounds=judge.rounds(pieces),
        equal_periods=judge.equal_periods(),
    )
    return results.content


if __name__ == "__main__":
    main()
