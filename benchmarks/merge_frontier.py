"""How much accuracy n replicas keep, and how much sooner they get there, for every merge.

The note (J. A. Ott, 2017) merges n networks once, by their average or their sum, and ends with "a
simple average across weights will not yield satisfactory results". This script measures what does.

    python benchmarks/merge_frontier.py            # everything; under 20 minutes on two cores
    python benchmarks/merge_frontier.py --quick    # under two minutes, to see that all works
    python benchmarks/merge_frontier.py --large    # 256 and 1024 replicas as well
    python benchmarks/merge_frontier.py --docs     # and puts tables and pictures into docs/
    python benchmarks/merge_frontier.py --resume   # go on where an earlier run was ended
    python benchmarks/merge_frontier.py --redraw results/frontier.json --docs    # without measuring
    python benchmarks/merge_frontier.py --tune     # choose all settings again, and nothing else

Parts (--only)
--------------
score      the test score after a fixed number of samples over all replicas together (5 epochs on
           MNIST), for each line, n and seed; one merge at the end by every method, with shared and
           with independent starts
time       the epochs that a line needs for 97.0, 97.5 and 98.0 %, and what they cost in time
ablation   one change at a time, on the validation split

What a part, and of the scores each data set, has found is written as soon as it is there.

How it is measured
------------------
The number of samples is that of all replicas together, so n replicas take n-th parts of it. The
result of a training does not depend on the number of cores; so for scores, trainings run side by
side, one a core.

Settings were chosen for each line and n on a validation split, the sequential training's too
(``--tune``, ``_frontier/settings.json``). Nothing is chosen on the test samples.

Epochs to an accuracy: trainings of 1/2 to 7 epochs, each with a rate that falls to 0 at its end,
are scored on the test samples; between the mean scores of neighbouring budgets the epochs to the
target are interpolated on a logarithmic scale. Scoring is not in the time.

Time is taken afterwards, one training at a time, and again while others slow down the cores, up to
``--patience`` seconds in all. *Modelled* is a calculation for a machine with n cores: the CPU time
of the slowest replica of each round, and for each merge the measured time of one core's share of
it. It leaves out the start of n threads and the bandwidth that n cores would share. *Measured* is
wall-clock time with the cores that there are.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

try:
    import omp_mlp  # noqa: F401 - missing here is missing below
except ImportError as missing:
    raise SystemExit(f"{missing}. From the project's root: pip install '.[bench]'") from missing

# Found next to this file, from whatever directory the script is started.
sys.path.insert(0, str(Path(__file__).resolve().parent))
import _report as report
from _frontier import parts, pictures, tables
from _frontier import tune as tuning
from _frontier.judge import judge
from _frontier.problems import LOADERS
from _frontier.progress import Progress
from _frontier.settings import (
    COMMON,
    SETTINGS_FILE,
    searched_periods,
    trials_of,
    write_chosen,
)
from _frontier.work import Source, pool

THREADS = (1, 2, 4, 8, 16, 32, 64)
LARGE = (256, 1024)
# Seconds, for a quick run.
QUICK_PATIENCE = 15.0
DOCS = report.PROJECT_ROOT / "docs"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Measure the accuracy that merges keep and the time that they save.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--data",
        default="auto",
        metavar="auto|FOLDER",
        help="auto: MNIST, and augmented digits where it cannot be had; FOLDER: MNIST's four files",
    )
    add("--problems", nargs="+", choices=LOADERS, default=list(LOADERS), metavar="PROBLEM")
    add("--only", nargs="+", choices=parts.PARTS, default=list(parts.PARTS), metavar="PART")
    add("--threads", type=report.positive, nargs="+", metavar="N", help="numbers of replicas")
    add("--seeds", type=report.positive, metavar="COUNT", help="on MNIST (3, or 1 if quick)")
    add(
        "--patience",
        type=float,
        default=180.0,
        metavar="SECONDS",
        help="that timings may wait in all for cores that nobody else slows down",
    )
    add("--large", action="store_true", help="256 and 1024 replicas as well")
    add("--quick", action="store_true", help="fewer replicas, seeds, budgets and changes")
    add(
        "--limit",
        type=report.positive,
        metavar="N",
        help="N training samples only, for a trial run",
    )
    add(
        "--resume",
        action="store_true",
        help="go on with the run whose frontier.json is in the folder of --out; with --tune: do "
        "not train again what settings.json has scores of",
    )
    add(
        "--again",
        nargs="+",
        default=[],
        choices=parts.PARTS,
        metavar="PART",
        help="with --resume: measure these parts again",
    )
    add(
        "--redraw", type=Path, metavar="FILE", help="measure nothing: draw an earlier frontier.json"
    )
    add("--docs", action="store_true", help="put tables and pictures into docs/")
    add(
        "--tune",
        nargs="*",
        choices=tuning.PURPOSES,
        metavar="PURPOSE",
        help="choose settings on a validation split, for score, time or both, and nothing else",
    )
    add("--lines", nargs="+", metavar="LINE", help="the lines to tune")
    add(
        "--out",
        type=Path,
        default=report.PROJECT_ROOT / "results",
        metavar="FOLDER",
        help="where pictures and tables go",
    )
    arguments = parser.parse_args(argv)
    if arguments.again and not arguments.resume:
        parser.error("--again measures parts of an earlier run again: it needs --resume")
    if "epochs" in arguments.again:
        arguments.again.append("time")  # is made from them
    arguments.only_threads = arguments.threads
    if arguments.threads is None:
        arguments.threads = [1, 8, 64] if arguments.quick else list(THREADS)
    extra = LARGE if arguments.large else ()
    arguments.threads = sorted({1, *arguments.threads, *extra})
    arguments.seeds = arguments.seeds or (1 if arguments.quick else 3)
    return arguments


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the parts, write all files, print the tables and return the results."""
    arguments = parse_arguments(argv)
    begin = time.perf_counter()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.redraw is not None:
        return finish(json.loads(arguments.redraw.read_text(encoding="utf-8")), arguments, begin)
    about = {
        "script": Path(__file__).name,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "quick": arguments.quick,
        "limit": arguments.limit,
        "machine": report.describe_machine(),
        "build": report.describe_build(),
        "source": report.describe_source(),
    }
    source = Source(arguments.data, arguments.limit)
    progress = Progress(begin)
    with pool(progress) as workers:
        if arguments.tune is not None:
            chosen = tuning.tune(
                workers,
                source,
                arguments.problems,
                arguments.lines,
                arguments.tune or tuning.PURPOSES,
                arguments.only_threads,
                lambda found: write_chosen(found, about),
                trials_of if arguments.resume else lambda *_: (),
            )
            print(f"Written in {time.perf_counter() - begin:.0f} s: {SETTINGS_FILE}")
            return chosen
        bench = parts.Bench(
            source,
            workers,
            tuple(arguments.problems),
            tuple(arguments.threads),
            arguments.seeds,
            arguments.quick,
            min(arguments.patience, QUICK_PATIENCE) if arguments.quick else arguments.patience,
            progress,
        )
        results = start_of_run(arguments, about)
        before = results["run_seconds"]
        for part, slug, measure in parts.steps(bench, arguments.only, results["parts"]):
            name = f"{part}, {slug}"
            if name in results["step_seconds"]:
                progress.say(f"{name}: there already")
                continue
            progress.say(f"{name} ...")
            step_begin = time.perf_counter()
            found = report.plain(measure())
            if part in parts.BY_PROBLEM:
                results["parts"].setdefault(part, {})[slug] = found
            else:
                results["parts"][part] = found
            seconds = time.perf_counter() - step_begin
            results["step_seconds"][name] = seconds
            results["run_seconds"] = before + time.perf_counter() - begin
            results["floors"] = judge(results["parts"])
            write_tables(results, arguments.out)
            progress.say(f"{name}: {seconds:.0f} s; written")
    return finish(results, arguments, begin)


def start_of_run(arguments: argparse.Namespace, about: dict[str, Any]) -> dict[str, Any]:
    """Return results without any part, or, with ``--resume``, those of the run to go on with."""
    fresh: dict[str, Any] = report.plain(
        {
            **about,
            "threads": arguments.threads,
            "mnist_seeds": arguments.seeds,
            "run_seconds": 0.0,
            "step_seconds": {},
            "common_options": COMMON,
            "searched": searched_periods(),
            "parts": {},
            "floors": judge({}),
        }
    )
    path = arguments.out / "frontier.json"
    if not arguments.resume:
        return fresh
    if not path.exists():
        raise SystemExit(f"--resume: there is no earlier run to go on with, {path}")
    earlier: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for key in ("quick", "limit", "threads", "mnist_seeds", "build"):
        if earlier.get(key) != fresh[key]:
            raise SystemExit(
                f"--resume: {path} has {key} = {earlier.get(key)}; expected that of this run, "
                f"{fresh[key]}"
            )
    kept = {
        step: seconds
        for step, seconds in earlier["step_seconds"].items()
        if step.split(",")[0] not in arguments.again
    }
    return {**earlier, "searched": fresh["searched"], "step_seconds": kept}


def finish(results: dict[str, Any], arguments: argparse.Namespace, begin: float) -> dict[str, Any]:
    """Write all files, print the tables and return the results."""
    paths = write_files(results, arguments.out)
    named_tables = tables.all_tables(results)

    print(f"\nMachine: {report.machine_line(results['machine'])}")
    print(f"Build: {report.build_line(results['build'])}")
    for heading, table in named_tables.values():
        print(f"\n{heading}\n\n{tables.as_text(table)}")
    if arguments.docs:
        paths += write_docs(results, paths)
    print(f"\nWritten in {time.perf_counter() - begin:.0f} s:")
    for path in paths:
        print(f"  {path}")
    return results


def notes_of(results: dict[str, Any]) -> list[str]:
    """Return the small print of every picture."""
    settings = ", ".join(f"{key}={value}" for key, value in results["common_options"].items())
    untuned = "; ".join(
        f"{slug}: {', '.join(result['not_tuned'])}"
        for slug, result in results["parts"].get("score", {}).items()
        if result.get("not_tuned")
    )
    return [
        "Settings of each line chosen by n on a validation split of the training samples"
        + (f" (not yet: {untuned})" if untuned else "")
        + f"; all: {settings}.",
        f"Machine: {report.machine_line(results['machine'])}. "
        f"Build: {report.build_line(results['build'])}."
        + (" A quick run." if results["quick"] or results["limit"] else ""),
    ]


def write_files(results: dict[str, Any], out: Path) -> list[Path]:
    """Write pictures, CSV and JSON; return their paths."""
    notes = notes_of(results)
    measured = results["parts"]
    cores = results["machine"]["cores_available"]
    time_note = (
        "Epochs to the accuracy from trainings of several lengths, means over seeds. Modelled: CPU "
        "time of the slowest replica, with a core to itself, and the measured time of one core's "
        f"share of each merge; no machine with n cores was measured. Measured: wall clock, {cores} "
        "cores."
    )
    with report.picture_style():
        figures = {}
        scores = measured.get("score", {})
        others = {slug: result for slug, result in scores.items() if slug != parts.TIMED_PROBLEM}
        main_problem = scores.get(parts.TIMED_PROBLEM)
        if main_problem:
            figures["frontier-accuracy"] = pictures.draw_scores(main_problem, notes)
            figures["frontier-once"] = pictures.draw_once(main_problem, notes)
        if others:
            figures["frontier-others"] = pictures.draw_others(others, notes)
        if "time" in measured:
            figures["frontier-speedup"] = pictures.draw_speed_ups(
                measured["time"], [time_note, *notes]
            )
        paths = [
            path
            for name, fig in figures.items()
            for path in report.save_picture(fig, out / name, name)
        ]
    return write_tables(results, out, paths)


def write_tables(results: dict[str, Any], out: Path, drawn: Sequence[Path] = ()) -> list[Path]:
    """Write CSV and JSON; return all paths, those of the pictures first."""
    about = {key: results[key] for key in ("script", "started", "machine", "build", "source")}
    paths = list(drawn)
    for name, rows in parts.csv_rows(results["parts"]).items():
        if rows:
            paths.append(report.write_csv(out / f"frontier-{name}.csv", rows, about))
    path = out / "frontier.json"
    # Whole or not at all, whenever the run is ended.
    partial = path.with_suffix(".part")
    report.write_json(partial, {**results, "files": [p.name for p in [*paths, path]]})
    partial.replace(path)
    return [*paths, path]


def write_docs(results: dict[str, Any], paths: Sequence[Path]) -> list[Path]:
    """Put the tables into docs/frontier.md and the pictures beside it."""
    page = DOCS / "frontier.md"
    about = {
        "machine": f"{report.machine_line(results['machine'])}. "
        f"Build: {report.build_line(results['build'])}."
        + (" A quick run, to be replaced." if results["quick"] or results["limit"] else "")
    }
    rendered = {
        name: tables.as_markdown(table) for name, (_, table) in tables.all_tables(results).items()
    }
    for name in report.fill_blocks(page, {**rendered, **about}):
        print(f"{page.name}: no table for the block {name!r} in this run; left as it was")
    written = [page]
    for path in paths:
        if path.suffix == ".png":
            copy = DOCS / "figures" / path.name
            copy.write_bytes(path.read_bytes())
            written.append(copy)
    return written


if __name__ == "__main__":
    main()
