"""Compare omp_mlp with PyTorch and NumPy over sizes of networks and batches, on one core.

    make sizes                                # about ten minutes
    make sizes ARGS=--quick                   # under a minute, to see that all works
    python -m benchmarks.sizes --peers torch-manual numpy

In each cell, omp_mlp and its peers train the same network in turn, each in a process of its own on
the same core. A cell shows the median of the ratios within a turn to the best peer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from ..common import arguments as reading
from ..common import files, machine
from ..common.progress import Progress
from ..common.report import show
from ..peers.__main__ import chosen_rows, versions_line
from ..peers.bench import Bench
from ..peers.data import random_inputs
from . import grid, pictures, tables
from .measure import OURS, PEERS, compare

COMMAND = "make sizes"
NAME = "sizes"


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure the map, write all files, print the tables and return the results."""
    parser = reading.parser(__doc__, "quick", "docs", "resume", "out")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="PEER")
    parser.add_argument("--rounds", type=reading.positive, metavar="COUNT", help="of each cell (3)")
    arguments = parser.parse_args(argv)
    if arguments.docs and arguments.quick:
        parser.error("--docs takes a whole run")
    rows, missing = chosen_rows([*OURS.values(), *arguments.peers], always_ours=False)
    options = {
        "peers": [entry.name for entry in rows],
        "rounds": arguments.rounds or 3,
        "quick": arguments.quick,
    }
    results = files.Results(
        arguments.out / f"{NAME}.json",
        machine.describe_run(COMMAND, options),
        resume=arguments.resume,
    )
    with Bench(
        rows,
        random_inputs(1, 1),
        grid.MOST_ROWS,
        arguments.quick,
        options["rounds"],
        seeds=1,
        turn=0.01 if arguments.quick else 0.2,
        max_samples=grid.MOST_ROWS,
        say=Progress(),
    ) as bench:
        panels = grid.QUICK if arguments.quick else grid.PANELS
        cells = results.take("cells", lambda: compare(bench, panels))
    results.write(**bench.describe_peers(results.content), not_installed=missing)
    content = results.content
    versions = versions_line(content)
    blocks = {NAME: f"{versions}\n\n{tables.block(cells)}"}

    def picture() -> dict[str, Figure]:
        return {NAME: pictures.draw(cells, [machine.stamp(content), versions])}

    show(arguments, content, "benchmarks.md", NAME, blocks, picture)
    return content


if __name__ == "__main__":
    main()
