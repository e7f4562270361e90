"""Measure which way to make a training parallel is the quickest, and whether the model knows.

    python benchmarks/strategies.py                # everything; under 10 minutes on two cores
    python benchmarks/strategies.py --quick        # under a minute, to see that all works
    python benchmarks/strategies.py --docs         # and put tables and pictures into docs/
    python benchmarks/strategies.py --redraw       # tables and pictures anew from the last JSON

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
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

try:
    from tqdm import tqdm

    from omp_mlp import costs
except ImportError as missing:
    raise SystemExit(f"{missing}. From the project's root: pip install '.[bench]'") from missing

# Found next to this file, from whatever directory the script is started.
sys.path.insert(0, str(Path(__file__).resolve().parent))
import _report as report
from _strategies import drawings, grid, judge, pictures, tables

NETWORKS = ((64, 16, 10), (256, 64, 10), (784, 128, 10), (784, 1024, 10), (4096, 4096, 10))
SPARSE = ((784, 128, 10), (784, 1024, 10))
DENSITY = 0.2
SAMPLES = (100, 1_000, 10_000, 100_000)
BATCHES = (1, 8, 32, 256)
DOCS = report.PROJECT_ROOT / "docs"
SHOWN_SAMPLES = 10_000  # of the table of times


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n", maxsplit=1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a small grid, one pass")
    parser.add_argument("--docs", action="store_true", help="put the results into docs/ too")
    parser.add_argument("--redraw", action="store_true", help="from the JSON in --out")
    parser.add_argument("--threads", type=int, nargs="+", help="default: 1, 2, 4, ... cores")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--longest", type=float, default=0.12, help="seconds of a training")
    parser.add_argument("--out", type=Path, default=report.PROJECT_ROOT / "results")
    arguments = parser.parse_args(argv)
    if arguments.threads is None:
        cores = report.available_cores()
        arguments.threads = sorted({2**k for k in range(cores.bit_length())} | {min(cores, 2)})
        if cores == 1:
            arguments.threads = [1, 2]
    if min(arguments.threads) < 1 or max(arguments.threads) < 2:
        parser.error(f"--threads must have a number above 1; got {arguments.threads}")
    if arguments.quick:
        arguments.passes = 1
        arguments.longest = min(arguments.longest, 0.05)
    return arguments


def all_cells(*, quick: bool) -> list[grid.Cell]:
    """Return the grid; cells on the same data stand together."""
    inputs = [(network, 1.0) for network in NETWORKS] + [(network, DENSITY) for network in SPARSE]
    samples, batches = (SAMPLES[:3:2], BATCHES[::2]) if quick else (SAMPLES, BATCHES)
    return [
        grid.Cell(network, density, n, batch)
        for network, density in inputs
        for n in samples
        for batch in batches
        # The largest network takes longer to get ready than a quick run has.
        if not (quick and network == NETWORKS[-1] and (n > samples[0] or batch == 1))
    ]


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Calibrate and measure everything; what there is so far is written after every cell."""
    begin = time.perf_counter()
    cores = min(report.available_cores(), max(arguments.threads))
    known = costs.calibrate(refresh=True, cores=cores, takes=2 + 2 * (arguments.passes > 1))
    calibrated = time.perf_counter() - begin
    cells = all_cells(quick=arguments.quick)
    measured = grid.Measurements(known, arguments.threads, arguments.longest)
    about = {
        "about": "benchmarks/strategies.py",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": report.describe_machine(),
        "build": report.describe_build(),
        "source": report.describe_source(),
        "options": {
            "quick": arguments.quick,
            "threads": arguments.threads,
            "passes": arguments.passes,
            "longest": arguments.longest,
            "epochs": grid.EPOCHS,
        },
        "calibration_seconds": calibrated,
        "costs": known.as_dict(),
    }
    result: dict[str, Any] = {}
    total = sum(
        len(grid.ways(arguments.threads)) * max(arguments.passes - cell.is_large, 1)
        for cell in cells
    )
    with tqdm(total=total, unit=" trainings", disable=None) as bar:
        for done in measured.take(cells, arguments.passes):
            bar.update(done)
            entries = measured.entries()
            summary = judge.summarise(entries)
            result = {
                **about,
                "seconds": time.perf_counter() - begin,
                "summary": summary,
                "targets": judge.targets(entries, summary),
                "entries": entries,
            }
            report.write_json(arguments.out / "strategies.json", result)
    return result


def document(result: dict[str, Any]) -> str:
    """Return the measured part of docs/strategies.md."""
    entries, summary = result["entries"], result["summary"]
    node, cells = tables.node_wins(entries)
    scaled = sum(entry["share"] < 1 for entry in entries)
    date = result["date"].partition("T")[0]
    lines = [
        f"Measured on {date} by `make strategies`, {result['seconds'] / 60:.0f} minutes: "
        f"{report.machine_line(result['machine'])}; {report.build_line(result['build'])}. "
        f"{summary['cells']} cells, {len(entries)} trainings of {grid.EPOCHS} epochs, medians of "
        f"{result['options']['passes']} passes; {scaled} of them were too long and are "
        "scaled up from fewer samples. The calibration took "
        f"{result['calibration_seconds']:.1f} s.",
        "### What was aimed at",
        tables.targets(result["targets"]),
        "### Which strategy is the quickest",
        "![The quickest strategy by network, data and batch size](figures/strategies-winners.png)",
        "*x*: speed-up over one thread. *predicted*: what the model takes for the quickest; "
        '*chosen*: what `strategy="auto"` does, which leaves one thread only for a gain of 10 %.',
        tables.winners(entries),
        "### Times of all strategies",
        f"On {SHOWN_SAMPLES:,} samples with {summary['threads']} threads; in brackets the "
        "prediction.",
        tables.times(entries, SHOWN_SAMPLES),
        "### Accuracy reached",
        "On 1,000 samples apart, over the cells that every strategy trained in full; the settings "
        "are the same for all and were not tuned for any.",
        tables.accuracies(entries),
        "### How good the predictions are",
        "![Measured against predicted times](figures/strategies-predicted.png)",
        f"The choice is the measured best in {100 * summary['choice_best']:.0f} % of the cells, "
        f"within 10 % of it in {100 * summary['choice_within_10_percent']:.0f} %; at worst it "
        f"takes {summary['choice_worst_ratio']:.2f} times as long as the best, and "
        f"{summary['worst_against_one_thread']:.2f} times as long as one thread.",
        tables.errors(summary),
        "### Node or exemplar parallelism?",
        "Pethick et al. asked which is the quicker one. Here, with "
        f"{summary['threads']} threads that share a memory, node parallelism (section) is, in "
        f"{node} of {cells} cells, at the same accuracy as one thread; exemplar parallelism "
        "(replica) in the others. Speed-ups over one thread, medians over the sizes of the data:",
        tables.node_or_exemplar(entries),
        "![Speed-up of node and exemplar parallelism](figures/strategies-node-or-exemplar.png)",
        "### More cores, and clusters (modelled)",
        "![Modelled speed-up on more cores and on clusters](figures/strategies-extrapolation.png)",
    ]
    return "\n\n".join(lines)


def write(result: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Write JSON, pictures and tables, and print what matters most."""
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    print("wrote", out / "strategies.json")
    stamp = [
        f"{report.machine_line(result['machine'])}. {report.build_line(result['build'])}. "
        f"{result['date']}."
        + (" A quick run, on a part of the grid." if result["options"]["quick"] else "")
    ]
    known = costs.Costs.from_dict(result["costs"])
    folders = [out, *([DOCS / "figures"] if arguments.docs else [])]
    with report.picture_style():
        drawn = {
            **pictures.all_pictures(result["entries"], result["summary"], known, stamp),
            **drawings.all_drawings(),
        }
        for name, figure in drawn.items():
            for folder in folders:
                for path in report.save_picture(figure, folder / name, name):
                    print("wrote", path)
    if arguments.docs:
        path = DOCS / "strategies.md"
        path.write_text(
            tables.document(path.read_text(encoding="utf-8"), document(result)), encoding="utf-8"
        )
        print("wrote", path)
    print("\n" + tables.errors(result["summary"]))
    print("\n" + tables.targets(result["targets"]))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, judge, write."""
    arguments = parse_arguments(argv)
    if arguments.redraw:
        result = json.loads((arguments.out / "strategies.json").read_text(encoding="utf-8"))
    else:
        # The calibration of this run belongs to its results, not to the user.
        arguments.out.mkdir(parents=True, exist_ok=True)
        os.environ["XDG_CACHE_HOME"] = str(arguments.out.resolve() / "cache")
        result = run(arguments)
    write(result, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
