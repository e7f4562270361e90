"""Measure how much sooner two workers of a Dask cluster train, on one machine.

    python -m benchmarks.clusters --docs

How it is measured
------------------
A LocalCluster has two worker processes with a thread each. In one way, all rows are held by one of
them; in another, each holds half. For comparison, one process trains two replicas with two
workers, without a cluster. In each pass, all ways train once with the same seed, in turn, with the
defaults of ``omp_mlp.dask.train``; each pass has another seed. A time is that of the whole call.
A short call of each way comes first, and is not counted. Every
second pass goes backwards. A pass is repeated, for as long as ``--patience`` lasts, if other
programs took the cores meanwhile.
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
        __doc__,
        *("data", "limit", "passes", "patience", "resume", "docs", "out"),
        passes=5,
        patience=60.0,
    )
    parser.add_argument("--epochs", type=reading.positive, default=20)
    arguments = parser.parse_args(argv)

    data = images.load(arguments.data, arguments.limit)
    about = machine.describe_run(
        COMMAND,
        {"passes": arguments.passes, "epochs": arguments.epochs, "data": data.describe()},
    )
    results = Results(arguments.out / "clusters.json", about, resume=arguments.resume)
    print(f"{machine.machine_line(results.content['machine'])}; {images.line(data.describe())}")
    probe = timing.Probe(2, arguments.patience)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        trains = measure.ways(client, data, {"epochs": arguments.epochs})
        for train in measure.ways(client, data, {"epochs": 1}).values():
            train(0)  # workers import what they need
        passes = [
            results.take(
                f"pass {number}",
                lambda number=number: measure.one_pass(trains, data, number, probe),
            )
            for number in range(arguments.passes)
        ]
    found = measure.summary(passes)
    results.write(summary=found)
    text = "\n\n".join(
        [tables.table(found), f"{tables.verdict(found)} {tables.disturbance(passes)}"]
    )
    report.show(arguments, results.content, "dask.md", "dask", {"dask": text})
    return 0


if __name__ == "__main__":
    sys.exit(main())
