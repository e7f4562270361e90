"""Compare omp_mlp with PyTorch, scikit-learn, NumPy and JAX on the same cores, in turn.

    make benchmark                         # everything; about 20 minutes on two cores
    make benchmark ARGS=--quick            # under two minutes, to see that all works
    python -m benchmarks.peers --only speed predict --peers numpy jax
    python -m benchmarks.peers --only limits    # how near omp_mlp is to what the core can do
    python -m benchmarks.peers --tune      # choose every peer's best settings again

The same network (784-128-10, ReLU, softmax, cross-entropy), data, batch size, learning rate,
shuffling and number of epochs for all.

How it is measured
------------------
Every peer runs in a process of its own, with as many threads as it is given cores, pinned to the
same cores as all others. The peers take turns, round after round, every second round backwards.
Shown are medians and ranges over the rounds; ratios are medians of the ratios within a round.

A time begins when the library is called with the data in memory and ends with the trained network:
conversion, shuffling and checks of the arguments are in it. All rows get the same dense float32
array, but for those that say otherwise. A warm-up, in which JAX compiles, is not counted. A peer
that cannot train on all samples within a turn trains on the first of them; how many is in the
tables, and so is its test accuracy, which has to be that of omp_mlp after the same samples.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from ..common import arguments as reading
from ..common import data as images
from ..common import files, machine
from ..common.progress import Progress
from ..common.report import show
from . import ROWS, Row, pictures, row, settings, tables
from .bench import Bench
from .data import save_images
from .judge import judge
from .parts import PARTS
from .tune import tune

COMMAND = "make benchmark"
# Training that gets less of its core than this shares it with other work.
QUIET = 0.9
VALIDATION_SAMPLES = 10_000


def chosen_rows(
    names: Sequence[str] | None, *, always_ours: bool = True
) -> tuple[list[Row], list[str]]:
    """Return the rows to compare, and the libraries that are not installed.

    A name is that of a row or of its library. The rows of omp_mlp need not be named.
    """
    wanted = [
        entry
        for entry in ROWS
        if names is None
        or entry.name in names
        or entry.library in names
        or (always_ours and entry.ours)
    ]
    missing = sorted({entry.library for entry in wanted if not entry.installed})
    return [entry for entry in wanted if entry.installed], missing


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = reading.parser(__doc__, "data", "limit", "seeds", "quick", "docs", "resume", "out")
    add = parser.add_argument
    peers = sorted({name for entry in ROWS for name in (entry.name, entry.library)})
    add("--peers", nargs="+", choices=peers, metavar="PEER", help="all installed, or: %(choices)s")
    add("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    add("--rounds", type=reading.positive, metavar="COUNT", help="turns of each (5, or 3 if quick)")
    add("--tune", action="store_true", help="search each peer's best settings, and nothing else")
    arguments = parser.parse_args(argv)
    if arguments.docs and (arguments.limit or set(arguments.only) != set(PARTS)):
        parser.error("--docs takes a run of all parts on all samples")
    arguments.only = [part for part in PARTS if part in arguments.only]
    arguments.rounds = arguments.rounds or (3 if arguments.quick else 5)
    arguments.seeds = arguments.seeds or (1 if arguments.quick else 5)
    return arguments


def processor_share(parts: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Share of the wall-clock time in which trainings on one core had it, the median over all."""
    shares = [
        entry["processor_share"]
        for part in parts.values()
        for entry in part.get("entries", ())
        if "processor_share" in entry and entry.get("cores", 1) == 1
    ]
    return median(shares) if shares else None


def disagreements(parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Name the trainings whose accuracy is not that of omp_mlp after the same samples."""
    return [
        f"{row(entry['peer']).label}, {part}, B = {entry['batch_size']}, {entry['cores']} core(s): "
        f"{entry['accuracy_percent']:.2f} % after {entry['samples']:,} samples, omp_mlp "
        f"{entry['omp_mlp_accuracy_percent']:.2f} % (margin {entry['accuracy_margin_points']:.2f})"
        for part, result in parts.items()
        for entry in result.get("entries", ())
        if entry.get("accuracy_agrees") is False
    ]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the comparison, write all files, print the tables and return the results."""
    arguments = parse_arguments(argv)
    data = images.load(arguments.data, arguments.limit)
    if arguments.tune:
        data = data.held_out(VALIDATION_SAMPLES)
    # To be compared with, omp_mlp is always there; to be tuned, it has to be meant.
    rows, missing = chosen_rows(arguments.peers, always_ours=not arguments.tune)
    for library in missing:
        print(f"{library} is not installed: left out")
    options = {
        "peers": [entry.name for entry in rows],
        **{name: getattr(arguments, name) for name in ("rounds", "seeds", "limit", "quick")},
        "pinned": hasattr(os, "sched_setaffinity"),
    }
    kind = "peers-tuning" if arguments.tune else "peers"
    results = files.Results(
        arguments.out / f"{kind}-{data.slug}.json",
        {**machine.describe_run(COMMAND, options), "data": data.describe()},
        resume=arguments.resume,
    )
    progress = Progress()
    with (
        tempfile.TemporaryDirectory() as folder,
        Bench(
            rows,
            save_images(Path(folder), data.X, data.y, data.X_test, data.y_test),
            len(data.X),
            arguments.quick,
            arguments.rounds,
            arguments.seeds,
            turn=0.05 if arguments.quick else 0.5,
            max_samples=10_000 if arguments.quick else len(data.X),
            say=progress,
        ) as bench,
    ):
        if arguments.tune:
            tuned = results.take("tuning", lambda: tune(bench))
        else:
            for part in arguments.only:
                progress.say(f"{part} ...")
                results.take(part, lambda measure=PARTS[part]: measure(bench))
    results.write(**bench.describe_peers(results.content), not_installed=missing)
    if arguments.tune:
        # A trial run is not what others should train with.
        if not (arguments.quick or arguments.limit):
            print("Written:", settings.store(tuned))
    else:
        finish(arguments, results)
    for failure in results.content["failures"]:
        print(f"failed: {failure}")
    if wrong := disagreements(results.content["pieces"]):
        print("\nNot the same training, so not to be compared:\n  " + "\n  ".join(wrong))
        raise SystemExit(1)
    return results.content


def finish(arguments: argparse.Namespace, results: files.Results) -> None:
    """Judge, draw, print the tables and fill the document."""
    content, parts = results.content, results.content["pieces"]
    share = processor_share(parts)
    results.write(processor_share=share, floors=judge(parts))
    versions = versions_line(content)
    notes = [machine.stamp(content), versions]
    if share is not None and share < QUIET:
        notes.append(f"Other work left trainings on a core only {share:.0%} of it: measure again.")
        print(notes[-1])
    blocks = {"machine": versions, **tables.blocks(content)}
    draw = partial(pictures.all_pictures, content, notes)
    show(arguments, for_page(content, blocks), "benchmarks.md", "peers", blocks, draw)


def for_page(content: Mapping[str, Any], blocks: Mapping[str, str]) -> dict[str, Any]:
    """Return what stands in the JSON beside the page: the tables, and the medians of the ratios.

    That in ``--out`` has the time of every training, and is too large for that.
    """
    medians = {
        name: [{**entry, "ratio": entry["ratio"]["median"]} for entry in part["ratios"]]
        for name, part in content["pieces"].items()
        if "ratios" in part
    }
    return {**content, "pieces": medians, "tables": blocks}


def versions_line(content: Mapping[str, Any]) -> str:
    """Say how it was measured, and with which versions."""
    versions = {
        peer["library"]: peer["version"] for peer in content["peers"].values() if peer["version"]
    }
    listed = ", ".join(f"{library} {version}" for library, version in sorted(versions.items()))
    return (
        f"Each in a process of its own, {content['options']['rounds']} interleaved rounds; "
        f"conversion and shuffling included. {listed}."
    )


if __name__ == "__main__":
    main()
