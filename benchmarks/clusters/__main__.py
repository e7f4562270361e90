"""Measure how much sooner two workers of a Dask cluster train, on one machine.

    python -m benchmarks.clusters --docs

How it is measured
------------------
A LocalCluster has two worker processes with a thread each. In one way, all rows are held by one of
them; in another, each holds half. For comparison, one process trains two replicas with two
workers, without a cluster. In each pass, all ways train once with the same seed, in turn, with the
defaults of ``omp_mlp.dask.train``; each pass has another seed. A time is that of the whole call.
The first call of each way is not counted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from distributed import Client, LocalCluster

from ..common import arguments as reading
from ..common import data as images
from ..common import machine, report, timing
from ..common.files import Results
from . import measure, tables

COMMAND = "python -m benchmarks.clusters"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write clusters.json and print the table."""
    parser = reading.parser(
        __doc__, "data", "limit", "passes", "patience", "docs", "out", passes=7, patience=60.0
    )
    parser.add_argument("--epochs", type=reading.positive, default=20)
    arguments = parser.parse_args(argv)

    data = images.load(arguments.data, arguments.limit)
    about = machine.describe_run(
        COMMAND,
        {"passes": arguments.passes, "epochs": arguments.epochs, "data": data.describe()},
    )
    results = Results(arguments.out / "clusters.json", about)
    print(f"{machine.machine_line(results.content['machine'])}; {images.line(data.describe())}")
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        found = results.take(
            "dask",
            lambda: measure.compare(
                measure.ways(client, data, {"epochs": arguments.epochs}),
                data,
                passes=arguments.passes,
                probe=timing.Probe(2, arguments.patience),
            ),
        )
    text = f"{tables.table(found)}\n\n{tables.verdict(found)}"
    report.show(arguments, results.content, "dask.md", "dask", {"dask": text})
    return 0


if __name__ == "__main__":
    sys.exit(main())
