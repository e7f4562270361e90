"""What a merge costs each of n workers that have a core to themselves, for n = 2 to 64.

A merge is split into slices, and each worker merges its share of them for all replicas. A share can
be timed alone, one after another, so that n may be more than there are cores:

share    a worker's slices, and what is done by one while the others wait; the median over passes
         that take the shares of all workers in turn. The parameters of the replicas come from
         the caches of this core (small n) or the one that all cores share.
load     a replica's copying of the new master, which its own worker does as the next round begins
loop     handing out a loop's work to a team of threads and waiting for its end: measured with the
         cores there are, so for as many threads as that at most; a merge takes one or two loops

    python benchmarks/merge_cost.py
    python benchmarks/merge_cost.py --layers 784 512 10 --methods adasum median

Needs only the package. :func:`measure` is for other benchmarks.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import _report as report
from omp_mlp import _core, merge_methods
from omp_mlp.merging.methods import option_values

THREADS = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class MergeCost:
    """Medians, in seconds: what each of ``threads`` workers spends on a merge.

    ``seconds`` is all of it: the share, the load, and a loop's overhead as often as the merge has
    loops. It is modelled where there are fewer cores than threads.
    """

    method: str
    threads: int
    share_seconds: float
    load_seconds: float
    loop_seconds: float
    loops: int

    @property
    def seconds(self) -> float:
        """Return what the merge costs a worker in all."""
        return self.share_seconds + self.load_seconds + self.loops * self.loop_seconds


def measure(
    method: str,
    threads: int,
    layer_sizes: Sequence[int] = (784, 128, 10),
    *,
    touched: float | None = None,
    outer_momentum: float = 0.5,
    workers: int | None = None,
    passes: int = 200,
) -> MergeCost:
    """Measure a merge of ``threads`` replicas of such a network.

    ``touched`` is the share of the rows of a sparse first layer that each replica has touched in
    the round; None if that layer is dense. Others are not read. Those that are, a replica loads
    when a sample needs them: it is in the time of a round and not in that of a merge.
    """
    row = next(row for row in merge_methods() if row.name == method)
    cores = report.available_cores()
    costs = _core.merge_cost(
        method=method,
        options=option_values(row, None),
        layer_sizes=list(layer_sizes),
        touched=touched,
        outer_momentum=outer_momentum if row.cadence == "periodic" else 0.0,
        replicas=threads,
        workers=min(threads, cores) if workers is None else workers,
        passes=max(passes, threads),
    )
    return MergeCost(
        method,
        threads,
        statistics.median(costs["share_seconds"]),
        statistics.median(costs["load_seconds"]),
        statistics.median(costs["loop_seconds"]),
        costs["loops"],
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(
        description="Measure what a merge costs each of n workers.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    names = [row["name"] for row in _core.merge_methods()]  # those in Python have no slices
    add("--threads", type=int, nargs="+", default=list(THREADS), metavar="N")
    add("--methods", nargs="+", default=names, choices=names, metavar="NAME")
    add("--layers", type=int, nargs="+", default=[784, 128, 10], metavar="SIZE")
    add(
        "--touched",
        type=float,
        metavar="SHARE",
        help="of the rows of a sparse first layer, by each replica; without it that layer is dense",
    )
    add("--passes", type=int, default=200, help="timings of each, at least one of each share")
    add("--out", type=Path, default=report.PROJECT_ROOT / "results", metavar="FOLDER")
    arguments = parser.parse_args(argv)
    machine, build = report.describe_machine(), report.describe_build()
    print(report.machine_line(machine))
    print(report.build_line(build))
    print(f"{'-'.join(map(str, arguments.layers))}; microseconds, medians of each worker's part")
    print(f"{'method':20}{'n':>4}{'share':>9}{'load':>8}{'loops':>7}{'loop':>8}{'all':>9}")
    costs = []
    for method in arguments.methods:
        for threads in arguments.threads:
            cost = measure(
                method,
                threads,
                arguments.layers,
                touched=arguments.touched,
                passes=arguments.passes,
            )
            costs.append(cost)
            print(
                f"{method:20}{threads:4}{cost.share_seconds * 1e6:9.1f}"
                f"{cost.load_seconds * 1e6:8.1f}{cost.loops:7}{cost.loop_seconds * 1e6:8.1f}"
                f"{cost.seconds * 1e6:9.1f}"
            )
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = report.write_json(
        arguments.out / "merge_cost.json",
        {
            "layer_sizes": arguments.layers,
            "touched": arguments.touched,
            "passes": arguments.passes,
            "machine": machine,
            "build": build,
            "source": report.describe_source(),
            "costs": [{**asdict(cost), "seconds": cost.seconds} for cost in costs],
        },
    )
    print(f"Wrote {path}")


if __name__ == "__main__":
    main()
