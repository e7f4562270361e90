"""Compare the speed of two installed versions of omp_mlp, in turn, on the same cores.

    python -m benchmarks.versions --old OLD/bin/python --new NEW/bin/python
    python -m benchmarks.versions --old ... --new ... --strategies replica --batch-sizes 1 8
    python -m benchmarks.versions --old ... --new ... --strategies section --threads 8 --busy 2

How it is measured
------------------
Each version answers in processes of its own, those of ``benchmarks/peers``, which stay alive. In
each of ten passes over the cells both versions do the same training; which one goes first changes
from pair to pair. A time is that of the whole call of ``train_parallel``, with its checks and
conversions. Cells whose ratio is too low get more pairs. Only the public interface is used. With
``--busy``, other programs want the cores all the time.

The command fails if the median ratio of a cell is below 0.98.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from ..common import arguments as reading
from ..common import data as images
from ..common import machine
from ..common.files import Results
from ..common.process import ProcessError
from ..common.progress import Progress
from ..peers.bench import Bench
from ..peers.data import save_images
from . import cells, measure, tables
from .busy import busy_programs

COMMAND = "python -m benchmarks.versions"


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, write versions.json and print the table; 1 if a version is slower."""
    parser = reading.parser(__doc__, "data", "limit", "out")
    add = parser.add_argument
    for name in ("old", "new"):
        add(f"--{name}", required=True, metavar="PYTHON", help="an interpreter that has it")
    add("--pairs", type=reading.positive, default=10, help="of each cell")
    add("--again", type=int, default=2, metavar="TIMES", help="as many where a ratio is too low")
    add("--seconds", type=float, default=0.1, help="that a training takes, about")
    add("--strategies", nargs="+", default=list(cells.STRATEGIES), choices=cells.STRATEGIES)
    add("--forms", nargs="+", default=list(cells.FORMS), choices=cells.FORMS)
    for name, values in (
        ("batch-sizes", cells.BATCH_SIZES),
        ("hidden", cells.HIDDEN),
        ("workers", cells.WORKERS),
    ):
        add(f"--{name}", nargs="+", type=reading.positive, default=list(values), metavar="N")
    for name, words in (
        ("threads", "replicas or sections; 0: as many as workers"),
        ("busy", "programs that keep a core busy each"),
    ):
        add(f"--{name}", type=reading.positive, default=0, metavar="N", help=words)
    arguments = parser.parse_args(argv)

    data = images.load(arguments.data, arguments.limit)
    axes = ("strategies", "forms", "batch_sizes", "hidden", "workers")
    chosen = [
        cells.Cell(*cell)
        for cell in product(*(getattr(arguments, axis) for axis in axes), [arguments.threads])
    ]
    options = {name: getattr(arguments, name) for name in ("pairs", "again", "seconds", "busy")}
    about = machine.describe_run(COMMAND, {**options, "data": data.describe()})
    results = Results(arguments.out / "versions.json", about)
    print(f"{machine.machine_line(results.content['machine'])}; {images.line(data.describe())}")
    pythons = {version: getattr(arguments, version) for version in measure.VERSIONS}
    progress = Progress()
    with (
        tempfile.TemporaryDirectory() as folder,
        Bench(
            [],
            save_images(Path(folder), data.X, data.y, data.X_test, data.y_test),
            len(data.X),
            quick=False,
            rounds=arguments.pairs,
            seeds=1,
            turn=arguments.seconds,
            max_samples=len(data.X),
            say=progress,
        ) as bench,
    ):
        versions = {}
        for version, python in pythons.items():
            try:
                versions[version] = bench.process(measure.entry(chosen[0], version, python)).about
            except (OSError, ProcessError) as error:
                raise SystemExit(f"--{version}: {error}") from error
        results.write(versions=versions)
        with busy_programs(arguments.busy):
            entries = results.take(
                "speed", lambda: measure.compare(bench, chosen, pythons, arguments.again)
            )
    print(tables.table(entries))
    print(f"\n{tables.verdict(entries)} Written in {progress.seconds:.0f} s to {results.path}.")
    return 1 if measure.slower(entries) else 0


if __name__ == "__main__":
    sys.exit(main())
