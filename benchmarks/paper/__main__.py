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
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..common import arguments as reading
from ..common import data as images
from ..common import documents, files, machine, pictures, tables, timing
from ..common.progress import Progress
from . import PRESETS, THREADS, judge, measure
from . import pictures as drawing
from . import tables as laying_out

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
    options = {
        "preset": arguments.preset,
        "training": preset,
        **{name: getattr(arguments, name) for name in ("threads", "seeds", "passes", "limit")},
        "quick": arguments.quick,
    }
    # The plain names are those of the pictures in docs/.
    is_usual = (data.slug, arguments.preset) == ("mnist", "paper")
    suffix = "" if is_usual else f"-{data.slug}-{arguments.preset}"
    results = files.Results(
        arguments.out / f"paper{suffix}.json",
        {**machine.describe_run(COMMAND, options), "data": data.describe()},
    )
    progress = Progress()
    probe = timing.Probe(machine.available_cores(), arguments.patience)
    accuracy = results.take(
        "accuracy",
        lambda: measure.accuracy(data, arguments.threads, arguments.seeds, preset, progress),
    )
    # After the accuracies, so that nothing is cold.
    time = results.take(
        "time",
        lambda: measure.times(data, arguments.threads, arguments.passes, preset, probe, progress),
    )
    results.take(
        "shared_start", lambda: measure.shared_start(data, progress, quick=arguments.quick)
    )
    share = measure.undisturbed_share(time["rows"], results.content["build"]["workers"])
    results.write(claims=[asdict(claim) for claim in judge.all_claims(accuracy, time, share)])

    drawn = draw(results.content, arguments.out, suffix, share)
    written = [results.path, *drawn]
    print_results(results.content)
    if arguments.docs:
        written += documents.publish(
            "paper.md", "paper", results.content, laying_out.blocks(results.content), drawn
        )
    print(f"Written in {progress.seconds:.0f} s to {arguments.out}:")
    for path in written:
        print(f"  {path.name}")
    return results.content


def draw(results: Mapping[str, Any], out: Path, suffix: str, share: float) -> list[Path]:
    """Draw the figures; return their paths."""
    options, accuracy = results["options"], results["pieces"]["accuracy"]
    time = results["pieces"]["time"]
    training = ", ".join(f"{key}={value}" for key, value in options["training"].items())
    about = [f"Preset {options['preset']}: {training}.", machine.stamp(results)]
    passes = len(time["seconds"][0]["modelled"]["runs"])
    time_note = (
        f"Median and range of {passes} interleaved passes; training and merge, without loading. "
        "Modelled: CPU time of the slowest replica plus the merge, from the runs with as many "
        "workers as cores; no such machine was measured."
    )
    seeds = options["seeds"]
    spread_note = (
        f"Mean over {seeds} seeds; bands: one standard deviation; dots: single seeds."
        if seeds > 1
        else "One seed: no spread."
    )
    subtitle = f"{images.line(results['data'])}. Preset “{options['preset']}”."
    of_times = subtitle
    if share < judge.QUIET:
        of_times += f" Other work left training only {share:.0%} of its cores: measure again."
    with pictures.style():
        figures = {
            "figure3": drawing.draw_time(time, of_times, [time_note, *about]),
            "figure4": drawing.draw_average(accuracy, subtitle, [spread_note, *about]),
            "figure5": drawing.draw_sum(accuracy, subtitle, [spread_note, *about]),
        }
        return [
            pictures.save(fig, out / f"{name}{suffix}", f"{drawing.TITLES[name]}, {subtitle}")
            for name, fig in figures.items()
        ]


def print_results(results: Mapping[str, Any]) -> None:
    """Print the tables."""
    print(f"\n{images.line(results['data'])}\n{machine.stamp(results)}\n")
    print(tables.as_text(*laying_out.numbers(results), numeric=True), "\n")
    print(tables.as_text(*laying_out.shared_start(results)), "\n")
    print(tables.as_text(*laying_out.claims(results), widths=(26, 52, 30)))
    print("\nThe criteria of the verdicts:")
    for claim in results["claims"]:
        print(textwrap.fill(f"Figure {claim['figure']}, {claim['criterion']}", 110))
    accuracy, test_samples = results["pieces"]["accuracy"], results["data"]["test_samples"]
    print(f"\n{laying_out.identity(accuracy, test_samples)}")


if __name__ == "__main__":
    main()
