"""Measure trainings of several ranks on this machine, and draw what more nodes would bring.

    python -m benchmarks.ranks
    python -m benchmarks.ranks --quick

The ranks are started by mpiexec. The speeds and the costs of a round need two cores that nobody
else uses. The curves of clusters are modelled by ``omp_mlp.costs``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..common import arguments as reading
from ..common import data as images
from ..common import machine, report
from ..common.files import Results, read_json
from . import measure, pictures, tables

COMMAND = "python -m benchmarks.ranks"
PARTS = ("rounds", "speed", "accuracy")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write ranks.json, print the tables and draw the curves."""
    names = ("data", "limit", "passes", "seeds", "quick", "resume", "redraw", "docs", "out")
    parser = reading.parser(__doc__, *names, passes=7, seeds=3)
    parser.add_argument(
        "--only", nargs="*", choices=PARTS, default=list(PARTS), help="none: what is modelled"
    )
    arguments = parser.parse_args(argv)
    path = arguments.out / "ranks.json"
    if not arguments.redraw:
        _measure(arguments, path)
    content = read_json(path)
    pieces = content["pieces"]
    blocks = {
        f"ranks-{name}": getattr(tables, name)(pieces[name]) for name in PARTS if name in pieces
    }
    report.show(
        arguments, content, "distributed.md", "distributed", blocks,
        lambda: {"distributed-modelled": pictures.curves()},
    )  # fmt: skip
    return 0


def _measure(arguments: reading.argparse.Namespace, path: Path) -> None:
    passes = 2 if arguments.quick else arguments.passes
    seeds = 1 if arguments.quick else arguments.seeds
    limit = 6_000 if arguments.quick else arguments.limit
    data = images.load(arguments.data, limit)
    options = {"passes": passes, "seeds": seeds, "quick": arguments.quick, "data": data.describe()}
    results = Results(path, machine.describe_run(COMMAND, options), resume=arguments.resume)
    print(machine.machine_line(results.content["machine"]))
    with tempfile.TemporaryDirectory() as folder:
        parts = {
            "rounds": lambda: measure.round_costs(passes),
            "speed": lambda: measure.speeds(data, Path(folder), passes),
            "accuracy": lambda: measure.accuracies(data, Path(folder), (8, 32), (1, 4, 16), seeds),
        }
        for name in arguments.only:
            print(f"{name} ...", flush=True)
            results.take(name, parts[name])
    results.write()


if __name__ == "__main__":
    sys.exit(main())
